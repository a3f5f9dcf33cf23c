//! Everything that can go wrong with a CVAE-GAN, one sentence each.

use command::WrongSetting;
use nets::checkpoint::CheckpointError;
use std::path::PathBuf;

/// Why a CVAE-GAN can't be trained, read or judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that can't train.
    #[error("{0}")]
    Setting(#[from] WrongSetting),
    /// A term of the loss, or a gradient, is no longer a number.
    #[error("{term} is {value} after {images_seen} images; {kept}")]
    NotFinite {
        /// The term, as it is named in the figures.
        term: String,
        /// NaN or an infinity.
        value: f64,
        /// Where in the training.
        images_seen: u64,
        /// What remains of the run, and what to do.
        kept: String,
    },
    /// An identity network that doesn't fit.
    #[error("identity network {}: {reason}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// A training that needs an identity network and has none.
    #[error("{0}")]
    NoIdentity(&'static str),
    /// A checkpoint and a training that don't belong together.
    #[error("can't resume: expected {expected}, found {found}")]
    OtherTraining {
        /// What the training has.
        expected: String,
        /// What the checkpoint holds.
        found: String,
    },
    /// Data that can't be used here.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Data {
        /// Where they are.
        path: PathBuf,
        /// What is needed.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A checkpoint or bundle.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The recognizer's world.
    #[error(transparent)]
    Recognizer(#[from] recognizer::Error),
    /// A figure that can't be measured.
    #[error(transparent)]
    Metric(#[from] recognizer::metrics::MetricError),
    /// The source of batches.
    #[error(transparent)]
    Source(#[from] recognizer::SourceError),
    /// Images.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// A run directory, a picture, or the world around them.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// A tensor operation, or a device that is not there.
    #[error("{}", nets::sentence(.0))]
    Tensor(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
