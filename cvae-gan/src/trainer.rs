//! The training loop.
//!
//! Invariants:
//! - A checkpoint holds everything that the next step depends on. A training that was stopped and
//!   resumed ends with the same bytes as one that wasn't, on any number of threads.
//! - The order at each milestone is log, picture, checkpoint; so what a checkpoint claims to have
//!   seen has been written down.
//! - Whatever ends a training, what was learned is kept, unless it is the learning itself that
//!   failed. Only after a step that broke off half-way, as when memory runs out, may that
//!   checkpoint's critics be a step ahead of E and G.

use crate::figures::Figures;
use crate::learner::Learner;
use crate::pictures::Gallery;
use crate::state;
use crate::{Error, Result};
use command::training::{Outcome, Rhythm, Stride};
use command::{Interrupt, Progress, RunDirectory};
use recognizer::{BatchSource, FolderSource};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Where a training happens and how often it reports.
pub struct Session<'a> {
    /// Figures, pictures and checkpoints go here.
    pub run: &'a RunDirectory,
    /// Looked at after every step.
    pub interrupt: &'a Interrupt,
    /// How often. Its evaluations are pictures of samples, reconstructions and an interpolation.
    pub rhythm: Rhythm,
    /// Most bytes of one file of a checkpoint; one file where there is no bound.
    pub shard_bytes: Option<NonZeroUsize>,
}

/// Trains until the settings' number of images is seen or the session is interrupted. `gathered`
/// are the figures since the last line, none for a new training.
///
/// # Errors
/// A loss that is no longer a number, an image that can't be read, a full disk. Checkpoints
/// written before stay good, and all errors but the first leave one of what was learned since.
pub fn train(
    learner: &mut Learner,
    source: &mut FolderSource,
    mut gathered: Figures,
    session: &Session<'_>,
) -> Result<Outcome> {
    let Session { run, rhythm, shard_bytes, .. } = session;
    let images = learner.settings().images;
    let progress = Progress::new("training", images, "images");
    progress.start_at(learner.images_seen());
    let began_at = learner.steps();
    let mut saved = None;
    let ended = learn(learner, source, &mut gathered, &mut saved, &progress, session);
    progress.finish();
    if let Err(error) = ended {
        let new = learner.steps() > began_at && saved.is_none();
        if new && !matches!(error, Error::NotFinite { .. }) {
            command::say(match state::save(learner, &gathered, source, run, rhythm.keep, *shard_bytes) {
                Ok(checkpoint) => format!("what was learned until here is in {}", checkpoint.display()),
                Err(second) => format!("what was learned since the last checkpoint is lost: {second}"),
            });
        }
        return Err(error);
    }

    let checkpoint = match saved {
        Some(checkpoint) => checkpoint,
        // Interrupted between two checkpoints, or resumed at its end.
        None => state::save(learner, &gathered, source, run, rhythm.keep, *shard_bytes)?,
    };
    let images_seen = learner.images_seen();
    Ok(Outcome { images_seen, interrupted: images_seen < images, checkpoint, evaluation: () })
}

/// Step after step. `saved` is the checkpoint of the very last one, where there is one.
fn learn(
    learner: &mut Learner,
    source: &mut FolderSource,
    gathered: &mut Figures,
    saved: &mut Option<PathBuf>,
    progress: &Progress,
    session: &Session<'_>,
) -> Result<()> {
    let Session { run, interrupt, rhythm, shard_bytes } = session;
    let images = learner.settings().images;
    let gallery = Gallery::new(source.dataset(), learner.settings())?;
    while learner.images_seen() < images && !interrupt.requested() {
        // Fetch.
        let batch = source.next()?;

        // Learn: make images, critics, E and G, average.
        let from = learner.images_seen();
        let figures = learner.step(&batch).map_err(|error| with_last_checkpoint(error, run))?;
        *saved = None;
        let seen = learner.images_seen();
        let stride = Stride { from, to: seen, end: images };

        // Log.
        gathered.merge(&figures);
        progress.advance(batch.rows as u64);
        if stride.passes(rhythm.log) {
            run.append_stats(seen, &gathered.means())?;
            progress.note(note(gathered));
            *gathered = Figures::default();
        }

        // Picture.
        if stride.passes(rhythm.evaluate) {
            gallery.save(learner, run)?;
        }

        // Checkpoint.
        if stride.passes(rhythm.checkpoint) {
            *saved = Some(state::save(learner, gathered, source, run, rhythm.keep, *shard_bytes)?);
        }
    }
    Ok(())
}

/// The figures that say at a glance how it goes.
fn note(figures: &Figures) -> String {
    let shown = [("pixel", "loss/pixel"), ("KL", "loss/kl"), ("identity", "loss/identity"), ("critic", "critic/gain")];
    let words = shown.iter().filter_map(|(word, name)| Some(format!("{word} {:.3}", figures.mean(name)?)));
    words.collect::<Vec<_>>().join(", ")
}

/// Tells what is left of a run whose loss is no longer a number.
fn with_last_checkpoint(error: Error, run: &RunDirectory) -> Error {
    let Error::NotFinite { term, value, images_seen, .. } = error else { return error };
    let last = run.checkpoints().list().ok().and_then(|mut list| list.pop());
    let kept = match last {
        Some(last) => format!("the last good checkpoint is {}; resume with lower learning rates", last.path.display()),
        None => "there was no checkpoint yet; start again with lower learning rates".to_owned(),
    };
    Error::NotFinite { term, value, images_seen, kept }
}
