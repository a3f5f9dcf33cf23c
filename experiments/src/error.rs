//! Everything that can go wrong with an experiment, one sentence each.

use recognizer::SourceError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
    /// An output folder that holds something else.
    #[error("{}: expected an empty folder, or one that `experiments` began, with its plan.toml; found {found}; take another \
             --out", path.display())]
    NoPlan {
        /// The folder.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A plan that this program didn't write.
    #[error("{}: expected a plan as `experiments` writes it, found {reason}; take another --out, or delete \
             the file if nothing else is in its folder", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A training's folder that holds something else.
    #[error("{}: expected a training of this plan, found other files and no config.toml; move them away, or delete the \
             folder and it is trained again", .0.display())]
    NoTraining(PathBuf),
    /// A training that can't be used or gone on with.
    #[error("{error}; this is the training in {}: delete that folder and it is trained again", path.display())]
    Training {
        /// Its folder.
        path: PathBuf,
        /// What is the matter with it.
        error: Box<Error>,
    },
    /// A training that came to nothing by its settings.
    #[error("{term} became {value} in the training in {} after {images_seen} images; a folder has one plan: take another \
             --out, with {remedy}", path.display())]
    Diverged {
        /// Its folder.
        path: PathBuf,
        /// What is no number any more.
        term: String,
        /// NaN or an infinity.
        value: f64,
        /// Where in the training.
        images_seen: u64,
        /// Which settings may help.
        remedy: &'static str,
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

impl Error {
    /// Says which training it is about, and what to do: in these folders nobody resumes a single one.
    pub(crate) fn of_training(self, path: &Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::Recognizer(recognizer::Error::NotFinite { term, value, images_seen, .. }) => {
                let remedy = "a lower --learning-rate or --centre-weight";
                Self::Diverged { path, term: term.to_owned(), value, images_seen, remedy }
            }
            Self::Gan(cvae_gan::Error::NotFinite { term, value, images_seen, .. }) => {
                let remedy = "a lower rate, as in --generator-set learning-rate=0.0002, or in `ablation` another --generator-images";
                Self::Diverged { path, term, value, images_seen, remedy }
            }
            error if error.is_of_the_folder() => Self::Training { path, error: Box::new(error) },
            error => error,
        }
    }

    /// Whether another process is at the training.
    pub(crate) fn is_of_another_process(&self) -> bool {
        matches!(self, Self::Command(command::Error::Locked(_)))
    }

    /// Whether deleting the training's folder would help.
    fn is_of_the_folder(&self) -> bool {
        let of_command = |error: &command::Error| {
            matches!(error, command::Error::NoCheckpoint { .. } | command::Error::Damaged { .. })
                || matches!(error, command::Error::Read { answer, .. } if answer.kind() == ErrorKind::InvalidData)
        };
        match self {
            // What a finished training was found to be; of others, their place alone, and no image that can't be read.
            Self::Source(SourceError::Place(_) | SourceError::Settings(_))
            | Self::Recognizer(recognizer::Error::Source(SourceError::Place(_))) => true,
            Self::Recognizer(recognizer::Error::Checkpoint(_) | recognizer::Error::OtherTraining { .. })
            | Self::Gan(cvae_gan::Error::Checkpoint(_) | cvae_gan::Error::OtherTraining { .. }) => true,
            Self::Command(error)
            | Self::Recognizer(recognizer::Error::Command(error))
            | Self::Gan(cvae_gan::Error::Command(error)) => of_command(error),
            _ => false,
        }
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
