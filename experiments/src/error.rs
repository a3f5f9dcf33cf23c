//! Everything that can go wrong with an experiment, one sentence each.

use std::path::PathBuf;

/// Why an experiment can't be run or reported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that can't work.
    #[error("{0}")]
    Setting(#[from] command::WrongSetting),
    /// Settings that can't work together, or with what is in the output folder.
    #[error("{0}")]
    Use(#[from] command::WrongUse),
    /// A plan that this program didn't write.
    #[error("{}: expected a plan as `experiments` writes it, found {reason}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Ctrl-C; what is trained stays.
    #[error("interrupted during {0}; the same command goes on from there")]
    Interrupted(String),
    /// Generators.
    #[error(transparent)]
    Gan(#[from] cvae_gan::Error),
    /// Recognizers.
    #[error(transparent)]
    Recognizer(#[from] recognizer::Error),
    /// A figure that can't be measured.
    #[error(transparent)]
    Metric(#[from] recognizer::metrics::MetricError),
    /// Batches.
    #[error(transparent)]
    Source(#[from] recognizer::SourceError),
    /// Images or pairs.
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
