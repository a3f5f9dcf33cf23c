//! Everything that can go wrong with a stream, one sentence each.

use recognizer::SourceError;
use std::path::PathBuf;
use std::time::Duration;

/// Why a stream can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server answered for as long as the settings are patient.
    #[error(
        "no server answers: {}; waited {} in all: start one with `lookalike-server serve`, or name another with --server",
        .reasons.join(", "),
        command::human::duration(*.waited)
    )]
    Unreachable {
        /// How long.
        waited: Duration,
        /// "http://host:port (connection refused)" for each server.
        reasons: Vec<String>,
    },
    /// A server answers, and had no room for another stream for as long as the settings are patient.
    #[error("no server has room: {}; waited {} in all", .reasons.join(", "), command::human::duration(*.waited))]
    Full {
        /// How long.
        waited: Duration,
        /// "http://host:port (its answer)" for each server.
        reasons: Vec<String>,
    },
    /// Each server answers, and will not send this stream.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// The checkpoint's place is not in this stream.
    #[error("{0}")]
    OtherPlace(String),
    /// A file that is no recipe, or that this version can't follow.
    #[error("{}: {reason}", .path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// Batches that are not what they were.
    #[error("{0}")]
    Differs(String),
    /// Settings that no stream can follow.
    #[error("{0}")]
    Settings(#[from] command::WrongUse),
    /// A batch or a stream that has no form as files: a number in it is none.
    #[error("cannot write {what}: {reason}")]
    Unwritable {
        /// "batch 7 as files".
        what: String,
        /// What is in the way.
        reason: String,
    },
    /// All batches that were asked for are read.
    #[error("the stream was asked for up to batch {0} and has ended; ask for more")]
    Ended(u64),
    /// The source was told to stop, or the command was.
    #[error("stopped while waiting for a server")]
    Stopped,
    /// The threads that read the stream can't be started.
    #[error("cannot start the threads that read the stream: {0}")]
    Threads(std::io::Error),
    /// The task that reads the stream is gone.
    #[error("the task that reads the stream ended without a word; this is a bug")]
    Lost,
    /// A training.
    #[error(transparent)]
    Training(#[from] recognizer::Error),
    /// A picture, a run directory, the terminal.
    #[error(transparent)]
    Command(#[from] command::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Settings that no stream can follow, and why.
    pub fn settings(sentence: impl Into<String>) -> Self {
        Self::Settings(command::WrongUse(sentence.into()))
    }
}

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        match error {
            Error::OtherPlace(reason) => Self::Place(reason),
            error => Self::other(error),
        }
    }
}
