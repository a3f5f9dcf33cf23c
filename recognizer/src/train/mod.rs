//! The one training loop: `recognizer train`, online training and the demo all run it, on whatever
//! source of batches they have.
//!
//! Invariants:
//! - A checkpoint holds everything: network, optimizer, centres, the place in the stream and the
//!   figures gathered since the last line of `stats.jsonl`. A training that was stopped and resumed
//!   ends with the same bits as one that wasn't.
//! - The order at each milestone is log, checkpoint, evaluate; so what a checkpoint claims to have
//!   seen has been written down, and a failed evaluation loses nothing. A resumed training that
//!   lacks the evaluation of its checkpoint's place begins with it.

pub mod centre_loss;
mod config;
mod curves;
mod dropout;
mod gathered;
mod row_losses;
mod state;
pub mod targets;
mod trainer;

pub use command::training::Rhythm;
pub use config::{Loss, Schedule, TrainConfig};
pub use state::finished;
pub use trainer::{Step, Trainer};

use crate::batch::{BatchSource, CheckpointRecorder, LatePlace, SourceError};
use crate::error::{Error, Result};
use crate::evaluate::{Evaluation, PairSet};
use crate::prefetch::{Prefetched, prefetch};
use candle_core::Device;
use command::training::Stride;
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

/// How a training ended, with the evaluation on the session's pairs at its end.
pub type Outcome = command::training::Outcome<Option<Evaluation>>;

/// Trains until `config.images` images are seen or the session is interrupted.
///
/// # Errors
/// A setting that can't train, a source that fails, a checkpoint of another training, pairs that
/// can't be judged, a loss that is no longer a number, a disk that is full. What was learned until
/// then is kept in a checkpoint, unless it is the loss or the disk that failed.
pub fn train(config: &TrainConfig, source: &mut dyn BatchSource, session: &Session<'_>) -> Result<Outcome> {
    if source.classes() < 2 {
        let found = source.classes();
        return Err(
            SourceError::Settings(format!("expected at least 2 identities to tell apart, found {found}")).into()
        );
    }
    let mut trainer = Trainer::new(config, source.classes(), session.device)?;
    let mut gathered = Gathered::default();
    if session.resume {
        state::resume(config, source, session.run, &mut trainer, &mut gathered)?;
    }
    if let Some(record) = source.loss_recorder() {
        trainer.record_losses(record);
    }
    let progress = Progress::new("training", config.images, "images");
    progress.start_at(trainer.images_seen());
    let training = Training {
        about: state::About::of(config, source),
        place: source.place_later(),
        record: source.checkpoint_recorder(),
        rows: source.batch_size() as u64,
        trainer,
        gathered,
        session,
        progress,
        saved: None,
        evaluation: None,
    };
    prefetch(source, |batches| training.run(&batches))
}

/// A training on its way.
struct Training<'a> {
    about: state::About,
    trainer: Trainer,
    /// Since the last line of figures.
    gathered: Gathered,
    /// Where the source stood after the last batch.
    place: LatePlace,
    /// Told where each checkpoint is.
    record: Option<CheckpointRecorder>,
    /// Of a batch.
    rows: u64,
    session: &'a Session<'a>,
    progress: Progress,
    /// The checkpoint of this very state.
    saved: Option<PathBuf>,
    /// Of the end.
    evaluation: Option<Evaluation>,
}

impl Training<'_> {
    fn run(mut self, batches: &Prefetched) -> Result<Outcome> {
        if let Err(error) = self.learn(batches) {
            return Err(self.keep_what_was_learned(error));
        }
        let checkpoint = match self.saved.take() {
            Some(checkpoint) => checkpoint,
            // Interrupted between two checkpoints, or resumed at its end.
            None => self.save()?,
        };
        self.progress.finish();
        let images_seen = self.trainer.images_seen();
        let unjudged = self.session.pairs.is_some() && self.evaluation.is_none();
        let interrupted = images_seen < self.about.config.images || unjudged;
        Ok(Outcome { images_seen, interrupted, checkpoint, evaluation: self.evaluation })
    }

    fn learn(&mut self, batches: &Prefetched) -> Result<()> {
        let Session { run, interrupt, rhythm, .. } = self.session;
        let end = self.about.config.images;
        self.catch_up()?;
        while self.trainer.images_seen() < end && !interrupt.requested() {
            // Fetch.
            let Some(fetched) = batches.next(|| interrupt.requested())? else { break };

            // Forward, loss, update.
            let from = self.trainer.images_seen();
            let step = self.trainer.step(&fetched.batch)?;
            let seen = self.trainer.images_seen();
            let stride = Stride { from, to: seen, end };
            (self.place, self.saved) = (fetched.place, None);

            // Log.
            self.gathered.add(&step);
            self.progress.advance(step.rows as u64);
            if stride.passes(rhythm.log) {
                run.append_stats(seen, &self.gathered.figures())?;
                self.progress.note(self.gathered.note());
                self.gathered.clear();
            }

            // Checkpoint.
            if stride.passes(rhythm.checkpoint) {
                self.saved = Some(self.save()?);
            }

            // Evaluate.
            if stride.passes(rhythm.evaluate) {
                self.evaluate(stride)?;
            }
            if stride.passes(rhythm.checkpoint) {
                curves::draw(run)?;
            }
        }
        Ok(())
    }

    /// A training that ended between a checkpoint and the evaluation at the same place makes up for
    /// it, so that its figures are those of an undisturbed one.
    fn catch_up(&mut self) -> Result<()> {
        let to = self.trainer.images_seen();
        let stride = Stride { from: to.saturating_sub(self.rows), to, end: self.about.config.images };
        let due = to > 0 && stride.passes(self.session.rhythm.evaluate);
        if due && (stride.is_last() || !curves::has_pair_figures(self.session.run, to)?) {
            self.evaluate(stride)?;
        }
        Ok(())
    }

    /// Judges on the session's pairs, if any. An interrupt ends it without figures.
    fn evaluate(&mut self, stride: Stride) -> Result<()> {
        let Session { run, interrupt, pairs, .. } = self.session;
        let Some(pairs) = pairs else { return Ok(()) };
        let network = self.trainer.frozen()?;
        let features = match pairs.embed_unless(interrupt, &network, self.trainer.device(), |_| {}) {
            Err(Error::Command(command::Error::Interrupted)) => return Ok(()),
            features => features?,
        };
        let judged = pairs.judge(&features)?;
        if !curves::has_pair_figures(run, stride.to)? {
            run.append_stats(stride.to, &curves::pair_figures(&judged))?;
            self.progress.say(line(stride.to, &judged));
        }
        self.evaluation = stride.is_last().then_some(judged);
        Ok(())
    }

    fn save(&self) -> Result<PathBuf> {
        let Session { run, rhythm, .. } = self.session;
        let place = (self.place)();
        let path = state::save(&self.trainer, &self.gathered, &place, &self.about, run, rhythm.keep)?;
        self.record.as_ref().map_or(Ok(()), |record| record(&place))?;
        Ok(path)
    }

    /// What was learned until an error is not the error's to lose, but for a state that is itself
    /// no good. Gives the error back.
    fn keep_what_was_learned(&self, mut error: Error) -> Error {
        if let Error::NotFinite { kept, .. } = &mut error {
            let last = self.session.run.checkpoints().list().ok().and_then(|mut list| list.pop());
            *kept = last.map(|checkpoint| checkpoint.path);
        } else if self.saved.is_none() && self.trainer.steps() > 0 && self.trainer.is_whole() {
            match self.save() {
                Ok(path) => command::say(format!("kept what was learned: {}", path.display())),
                Err(lost) => command::say(format!("what was learned since the last checkpoint is lost: {lost}")),
            }
        }
        error
    }
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
