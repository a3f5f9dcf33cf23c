//! Batches and where they come from.

use bytes::Bytes;
use nets::pixels::IMAGE_SIZE;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Labelled images for one training step, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Place in the stream: batch 0 is the first of a source that was never resumed.
    pub index: u64,
    /// Number of images.
    pub rows: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `rows * 128 * 128 * channels` bytes, NHWC.
    pub pixels: Bytes,
    /// One class per row, each below [`BatchSource::classes`]; of a row in `mixtures`, the heaviest.
    pub labels: Vec<u32>,
    /// One per row.
    pub sources: Vec<Source>,
    /// Rows that are learned as several classes at once, by ascending row; all others as their label.
    pub mixtures: Vec<Mixture>,
}

/// A row that is of several classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// Which row of the batch.
    pub row: u32,
    /// Its classes.
    pub parts: Vec<Part>,
}

/// A class's part in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Which class.
    pub class: u32,
    /// How much of the row; the parts of a row sum to 1.
    pub weight: f32,
}

/// Weights are rounded to 32 bits.
const SUM_TOLERANCE: f64 = 1e-4;

impl Batch {
    /// Refuses a batch that does not keep what its fields promise.
    ///
    /// A source is another program as often as not, so the training loop checks what it receives.
    pub fn check(&self, classes: usize) -> Result<(), SourceError> {
        let refuse = |reason: String| Err(SourceError::Malformed { index: self.index, reason });
        if self.rows == 0 {
            return refuse("expected at least one row, found none".to_owned());
        }
        if !matches!(self.channels, 1 | 3) {
            return refuse(format!("expected 1 or 3 channels, found {}", self.channels));
        }
        let bytes = self.rows.saturating_mul(IMAGE_SIZE * IMAGE_SIZE * self.channels);
        if self.pixels.len() != bytes {
            return refuse(format!("expected {bytes} bytes of pixels, found {}", self.pixels.len()));
        }
        if self.labels.len() != self.rows || self.sources.len() != self.rows {
            return refuse(format!(
                "expected {} labels and sources, found {} and {}",
                self.rows,
                self.labels.len(),
                self.sources.len()
            ));
        }
        if let Some(label) = self.labels.iter().find(|&&label| label as usize >= classes) {
            return refuse(format!("expected labels below {classes}, found {label}"));
        }
        let mut least = 0;
        for Mixture { row, parts } in &self.mixtures {
            if !(least..self.rows).contains(&(*row as usize)) {
                return refuse(format!("expected mixtures of ascending rows below {}, found row {row}", self.rows));
            }
            if let Some(part) = parts.iter().find(|part| part.class as usize >= classes) {
                return refuse(format!("row {row}: expected classes below {classes}, found {}", part.class));
            }
            let sum: f64 = parts.iter().map(|part| f64::from(part.weight)).sum();
            // A sum that is not a number is no better.
            if !((sum - 1.0).abs() <= SUM_TOLERANCE && parts.iter().all(|part| part.weight >= 0.0)) {
                return refuse(format!(
                    "row {row}: expected weights of at least 0 that sum to 1, found a sum of {sum}"
                ));
            }
            least = *row as usize + 1;
        }
        Ok(())
    }
}

/// How a row came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// An image of the data set.
    Real,
    /// A generated image of an identity of the data set.
    Existing,
    /// A generated image of an identity blended from several of the data set.
    Blended,
}

/// What blended rows are learned as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// People of their own: a class for each of them
    #[default]
    Hard,
    /// The people they are blended from, each by its weight
    Soft,
}

impl Labels {
    /// Whether blended people are classes of their own.
    pub fn is_hard(&self) -> bool {
        *self == Self::Hard
    }

    /// As `--labels` names it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }
}

/// A place in a stream that is not written out yet.
pub type LatePlace = Box<dyn Fn() -> serde_json::Value + Send>;

/// An endless, resumable sequence of batches.
///
/// Batch n is a function of the source's settings and n alone, so a source that resumes at a place
/// gives what an undisturbed one would have given.
pub trait BatchSource: Send {
    /// Number of classes; labels lie below it.
    fn classes(&self) -> usize;

    /// Channels of every batch: 1 or 3.
    fn channels(&self) -> usize;

    /// Rows of every batch.
    fn batch_size(&self) -> usize;

    /// The next batch. Blocks while there is none yet; one that may block long has a
    /// [`BatchSource::stopper`].
    fn next(&mut self) -> Result<Batch, SourceError>;

    /// Where [`BatchSource::next`] goes on, with whatever tells this stream from another. Kept in
    /// checkpoints, and readable there.
    fn place(&self) -> serde_json::Value;

    /// [`BatchSource::place`] as it is now, written out whenever it is wanted: it is taken after every
    /// batch and kept once in a checkpoint. For a source whose places are long.
    fn place_later(&self) -> LatePlace {
        let place = self.place();
        Box::new(move || place.clone())
    }

    /// Goes on at a place that an equal source gave. A place of another stream is refused.
    fn resume(&mut self, place: &serde_json::Value) -> Result<(), SourceError>;

    /// One line for the log: what is streamed from where.
    fn describe(&self) -> String;

    /// Names of the first classes, in class order. Later classes (blended identities) have none.
    fn class_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Digest of the data set behind the stream, where it is known.
    fn dataset_digest(&self) -> Option<String> {
        None
    }

    /// Ends a [`BatchSource::next`] that waits, called from another thread when no more batches are
    /// wanted. `None` for a source that never waits for long.
    fn stopper(&self) -> Option<Box<dyn FnOnce() + Send>> {
        None
    }

    /// Takes note of how long each training step stood waiting for its batch, for a source that
    /// wants to know: the waits inside [`BatchSource::next`] overlap with training.
    fn wait_recorder(&self) -> Option<Box<dyn Fn(Duration) + Send>> {
        None
    }

    /// Told the place of each checkpoint once it is written, for a source that keeps more beside it;
    /// the training has then learned from all batches up to that place.
    fn checkpoint_recorder(&self) -> Option<CheckpointRecorder> {
        None
    }

    /// Takes the class and the loss of each row after a training step, for a source that shows more of
    /// what is learned badly.
    fn loss_recorder(&self) -> Option<LossRecorder> {
        None
    }
}

/// What [`BatchSource::loss_recorder`] gives: it takes classes and losses of rows.
pub type LossRecorder = Box<dyn Fn(&[u32], &[f32]) + Send>;

/// What [`BatchSource::checkpoint_recorder`] gives.
pub type CheckpointRecorder = Box<dyn Fn(&serde_json::Value) -> Result<(), SourceError> + Send>;

/// Why a source gave no batch, or refused a place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A batch that breaks its own description.
    #[error("batch {index} is malformed: {reason}")]
    Malformed {
        /// The batch's index.
        index: u64,
        /// What was expected and found.
        reason: String,
    },
    /// A place that belongs to another stream.
    #[error("can't go on in this stream: {0}")]
    Place(String),
    /// Settings that no stream can follow.
    #[error("{0}")]
    Settings(String),
    /// Anything the source's own world reports: a file, a network.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl SourceError {
    /// Wraps the error of a source's own world.
    pub fn other(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(error))
    }
}
