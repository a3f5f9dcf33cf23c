//! Everything that can go wrong with a recognizer, one sentence each.

use crate::batch::SourceError;
use crate::metrics::MetricError;
use std::path::{Path, PathBuf};

/// Why a recognizer can't be trained, read or judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that can't train.
    #[error("{0}")]
    Setting(#[from] command::WrongSetting),
    /// The source of batches failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A term of the loss, or the gradient, is no longer a number.
    #[error("the {term} is {value} after {images_seen} images; {}", advice(kept.as_deref()))]
    NotFinite {
        /// The term, as it is named in the figures.
        term: &'static str,
        /// NaN or an infinity.
        value: f64,
        /// Where in the training.
        images_seen: u64,
        /// The newest checkpoint, from before; none where a training failed before its first.
        kept: Option<PathBuf>,
    },
    /// A file that holds no recognizer, or another one than is needed.
    #[error(transparent)]
    Checkpoint(#[from] nets::checkpoint::CheckpointError),
    /// A file of PyTorch's that can't be read.
    #[error(transparent)]
    Legacy(#[from] nets::legacy::LegacyError),
    /// A file of PyTorch's that holds no LightCNN.
    #[error("{}: {reason}", path.display())]
    Published {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// A checkpoint and a training that don't belong together.
    #[error("can't resume: expected {expected}, found {found}")]
    OtherTraining {
        /// What the training has.
        expected: String,
        /// What the checkpoint holds.
        found: String,
    },
    /// Images or pairs.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// Pairs that can't be used, with the place that they stand in.
    #[error("{}: {source}", path.display())]
    Pairs {
        /// The data set, or the file itself.
        path: PathBuf,
        /// What is wrong with them.
        source: Box<dataset::Error>,
    },
    /// A figure that can't be measured.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A run directory, or the world around it.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// A tensor operation, or a device that is not there.
    #[error("{}", nets::sentence(.0))]
    Tensor(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What to do about a loss that is no longer a number.
fn advice(kept: Option<&Path>) -> String {
    match kept {
        Some(kept) => format!("{} is kept: resume with a lower --learning-rate", kept.display()),
        None => "there is no checkpoint yet: start again with a lower --learning-rate".to_owned(),
    }
}
