//! The one training loop: `recognizer train`, online training and the demo all run it, on whatever
//! source of batches they have.
//!
//! Invariants:
//! - A checkpoint holds everything: network, optimizer, centres, the place in the stream and the
//!   figures gathered since the last line of `stats.jsonl`. A training that was stopped and resumed
//!   ends with the same bits as one that wasn't.
//! - The order at each milestone is log, evaluate, checkpoint; so what a checkpoint claims to have
//!   seen has been written down.

pub mod centre_loss;
mod config;
mod curves;
mod dropout;
mod gathered;
mod state;
mod trainer;

pub use config::{Loss, Schedule, TrainConfig};
pub use trainer::{Step, Trainer};

use crate::batch::BatchSource;
use crate::error::Result;
use crate::evaluate::{Evaluation, PairSet};
use crate::prefetch::{Prefetched, prefetch};
use candle_core::Device;
use command::{Interrupt, Progress, RunDirectory};
use gathered::Gathered;
use std::path::PathBuf;

/// Where a training happens and how often it reports.
pub struct Session<'a> {
    /// Figures, curves and checkpoints go here.
    pub run: &'a RunDirectory,
    /// What computes.
    pub device: &'a Device,
    /// Looked at after every step.
    pub interrupt: &'a Interrupt,
    /// Goes on at the run's newest good checkpoint, from the start where there is none.
    pub resume: bool,
    /// Judged on now and then, and at the end.
    pub pairs: Option<&'a PairSet>,
    /// How often.
    pub rhythm: Rhythm,
}

/// How often a training reports, in images seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// A line of figures, averaged since the last one.
    pub log: u64,
    /// An evaluation on pairs.
    pub evaluate: u64,
    /// A checkpoint.
    pub checkpoint: u64,
    /// Newest checkpoints that are kept.
    pub keep: usize,
}

impl Rhythm {
    /// A hundred lines, ten evaluations (fewer in a short training, as each costs as much as some
    /// hundred images of training) and checkpoints over a training; two checkpoints are kept, so
    /// that one that is damaged later costs a tenth of the training and not all of it.
    pub fn over(images: u64) -> Self {
        let part = |parts: u64| (images / parts).max(1);
        Self { log: part(100), evaluate: part(10).max(5_000), checkpoint: part(10), keep: 2 }
    }
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How far it came.
    pub images_seen: u64,
    /// Whether it was asked to stop before its end.
    pub interrupted: bool,
    /// Its last checkpoint.
    pub checkpoint: PathBuf,
    /// On the session's pairs, at its end.
    pub evaluation: Option<Evaluation>,
}

/// Trains until `config.images` images are seen or the session is interrupted.
///
/// # Errors
/// A setting that can't train, a source that fails, a checkpoint of another training, a loss that
/// is no longer a number, a disk that is full. Checkpoints written before stay good.
pub fn train(config: &TrainConfig, source: &mut dyn BatchSource, session: &Session<'_>) -> Result<Outcome> {
    let mut trainer = Trainer::new(config, source.classes(), session.device)?;
    let mut gathered = Gathered::default();
    if session.resume {
        state::resume(config, source, session.run, &mut trainer, &mut gathered)?;
    }
    let about = state::About::of(config, source);
    let progress = Progress::new("training", config.images, "images");
    progress.start_at(trainer.images_seen());
    let mut place = source.place();
    let outcome =
        prefetch(source, |batches| run(&mut trainer, &mut gathered, &mut place, &batches, &about, session, &progress));
    progress.finish();
    outcome
}

fn run(
    trainer: &mut Trainer,
    gathered: &mut Gathered,
    place: &mut serde_json::Value,
    batches: &Prefetched,
    about: &state::About,
    session: &Session<'_>,
    progress: &Progress,
) -> Result<Outcome> {
    let Session { run, interrupt, rhythm, .. } = session;
    let images = about.config.images;
    let mut evaluation = None;
    let mut saved = None;
    while trainer.images_seen() < images && !interrupt.requested() {
        // Fetch.
        let fetched = match batches.next(|| interrupt.requested()) {
            Ok(Some(fetched)) => fetched,
            Ok(None) => break,
            Err(error) => {
                // What was learned until here is not the source's to lose.
                if saved.is_none() && trainer.steps() > 0 {
                    state::save(trainer, gathered, place, about, run, rhythm.keep)?;
                }
                return Err(error.into());
            }
        };

        // Forward, loss, update.
        let before = trainer.images_seen();
        let step = trainer.step(&fetched.batch)?;
        *place = fetched.place;
        let seen = trainer.images_seen();
        let ended = seen >= images;
        let due = |every: u64| ended || before / every.max(1) != seen / every.max(1);

        // Log.
        gathered.add(&step);
        progress.advance(step.rows as u64);
        if due(rhythm.log) {
            run.append_stats(seen, &gathered.figures())?;
            progress.note(gathered.note());
            gathered.clear();
        }

        // Evaluate.
        if let Some(pairs) = session.pairs
            && due(rhythm.evaluate)
        {
            let judged = evaluate(trainer, pairs)?;
            run.append_stats(seen, &curves::pair_figures(&judged))?;
            progress.say(line(seen, &judged));
            evaluation = ended.then_some(judged);
        }

        // Checkpoint.
        saved = None;
        if due(rhythm.checkpoint) {
            saved = Some(state::save(trainer, gathered, place, about, run, rhythm.keep)?);
            curves::draw(run)?;
        }
    }
    let checkpoint = match saved {
        Some(checkpoint) => checkpoint,
        // Interrupted between two checkpoints, or resumed at its end.
        None => state::save(trainer, gathered, place, about, run, rhythm.keep)?,
    };
    if let (Some(pairs), None, true) = (session.pairs, &evaluation, trainer.images_seen() >= images) {
        evaluation = Some(evaluate(trainer, pairs)?);
    }
    let images_seen = trainer.images_seen();
    Ok(Outcome { images_seen, interrupted: images_seen < images, checkpoint, evaluation })
}

fn evaluate(trainer: &Trainer, pairs: &PairSet) -> Result<Evaluation> {
    let features = pairs.embed(&trainer.frozen()?, trainer.device(), |_| {})?;
    pairs.judge(&features)
}

fn line(seen: u64, evaluation: &Evaluation) -> String {
    let percent = |figures: &crate::evaluate::PairFigures| {
        let verification = &figures.verification;
        format!("{:.2} +- {:.2} %", 100.0 * verification.accuracy, 100.0 * verification.standard_error)
    };
    format!(
        "pairs after {} images: {} cosine, {} Euclidean",
        command::human::count(seen),
        percent(&evaluation.cosine),
        percent(&evaluation.euclidean)
    )
}
