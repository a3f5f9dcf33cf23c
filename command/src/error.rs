//! Everything that can go wrong between a command and the world around it.

use std::io;
use std::path::{Path, PathBuf};

/// A refusal in one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line itself is wrong, or asks for help or the version.
    #[error("{}", .0.to_string().trim_end().trim_start_matches("error: "))]
    Usage(Box<clap::Error>),
    /// A value from the environment or a settings file doesn't fit its flag.
    #[error("{place}: setting `{key}`: {problem}")]
    Setting {
        /// The name as it stands in the file or the environment.
        key: String,
        /// "runs/a/config.toml" or "the environment".
        place: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A settings file names something that this command doesn't know.
    #[error("{file}: unknown setting `{key}`{hint}")]
    UnknownSetting {
        /// The name as it stands in the file.
        key: String,
        /// The settings file.
        file: String,
        /// "; did you mean `batch`?" or a list of what there is.
        hint: String,
    },
    /// A settings file is no TOML.
    #[error("{file}: expected a TOML settings file, found a mistake at line {line}: {reason}")]
    Toml {
        /// The settings file.
        file: String,
        /// One-based line of the mistake.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// A file or directory could not be read.
    #[error("cannot read {}: {}", .path.display(), reason(.answer))]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The system's answer; no `source`, because the sentence already holds it.
        answer: io::Error,
    },
    /// A file could not be written whole; what was there before is still there.
    #[error("cannot write {}: {}; earlier files are untouched", .path.display(), reason(.answer))]
    Replace {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer; no `source`, because the sentence already holds it.
        answer: io::Error,
    },
    /// A file, directory or stream could not be written; a part may have been.
    #[error("cannot write {}: {}", .path.display(), reason(.answer))]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer; no `source`, because the sentence already holds it.
        answer: io::Error,
    },
    /// Another process writes to this run directory.
    #[error("{} is in use by another process; wait for it to end or choose another run", .0.display())]
    Locked(PathBuf),
    /// The path is no run directory.
    #[error("expected a run directory (one that holds config.toml), found none at {}", .0.display())]
    NotARun(PathBuf),
    /// The run was made by another command.
    #[error("{} is a run of `{found}`; resume it with that, not with `{expected}`", run.display())]
    OtherRun {
        /// The run directory.
        run: PathBuf,
        /// Who made it.
        found: String,
        /// Who was asked to go on.
        expected: String,
    },
    /// An output would have replaced what it is made of.
    #[error("{} is an input of this command; choose another --out", .0.display())]
    OverInput(PathBuf),
    /// A new run was to start in a place that is taken.
    #[error("{} already holds files; resume that run or choose another --out", .0.display())]
    Occupied(PathBuf),
    /// No checkpoint to go on from.
    #[error("expected a checkpoint in {}, found {found}", .place.display())]
    NoCheckpoint {
        /// The run directory or file that was asked for.
        place: PathBuf,
        /// What was there instead.
        found: String,
    },
    /// A recorded file is damaged.
    #[error("{}: expected {expected}, found {found}", .path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A picture could not be laid out.
    #[error("picture: expected {expected}, found {found}")]
    Picture {
        /// What the picture needs.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// Signals or log lines could not be set up, or the worker threads not started.
    #[error("cannot set up {what}: {reason}")]
    Setup {
        /// "Ctrl-C handling", "log lines".
        what: &'static str,
        /// The system's answer.
        reason: String,
    },
    /// Ctrl-C came before there was anything worth keeping.
    #[error("interrupted before there was a result to keep")]
    Interrupted,
}

/// A setting whose value can't work, wherever it came from. Anywhere among the causes of a
/// command's failure, it makes the exit code 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} as {setting}, found {found}")]
pub struct WrongSetting {
    /// Which.
    pub setting: &'static str,
    /// What it may be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

/// Settings that can't work, in a sentence of their own. Makes the exit code 2, as [`WrongSetting`]
/// does, which is the shorter way where one setting is wrong by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongUse(pub String);

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err` on a failed read of `path`.
    pub fn reading(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |answer| Self::Read { path, answer }
    }

    /// For `map_err` on a failed write to `path`.
    pub fn writing(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |answer| Self::Write { path, answer }
    }
}

/// The system's answer without its error number, and with advice where there is some.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full; free some space and resume".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up; free some space".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_lowercase()
        }
    }
}
