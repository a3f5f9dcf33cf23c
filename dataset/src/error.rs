//! Everything that can go wrong with a data set, one sentence each.

use std::path::PathBuf;

use crate::decode::Flaw;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a data set, an image of it or its pairs can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at the path.
    #[error(
        "no data set at {}; give a folder that holds a folder per identity, a tar of one, or `demo`",
        path.display()
    )]
    Missing {
        /// As given.
        path: PathBuf,
    },

    /// The operating system refused.
    #[error("can't read {}", path.display())]
    Io {
        /// What was being read.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },

    /// The file is compressed, so that it offers no random access.
    #[error("{} is compressed with {with}; random access needs a plain tar: decompress it first", path.display())]
    Compressed {
        /// As given.
        path: PathBuf,
        /// Name of the compression.
        with: &'static str,
    },

    /// The file is no tar archive.
    #[error("expected a folder of folders, or a tar of one, found another kind of file at {}", path.display())]
    NotATar {
        /// As given.
        path: PathBuf,
    },

    /// The archive ends inside an entry or inside its list of entries.
    #[error("the tar {} is cut short or damaged at byte {at}; copy it again", path.display())]
    TarCutShort {
        /// As given.
        path: PathBuf,
        /// Where reading stopped.
        at: u64,
    },

    /// Every image was set aside, or there was none.
    #[error("no usable image in {}: {why}", path.display())]
    NothingUsable {
        /// The data set.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },

    /// A description of drawn faces that can't be understood.
    #[error("expected `demo`, `demo:held-out` or `demo:identities=32,images=20,seed=1`, found `{found}`: {why}")]
    DrawnSpec {
        /// As given.
        found: String,
        /// The part that is wrong. As the source it makes a command end as for any wrong setting.
        #[source]
        why: command::WrongUse,
    },

    /// An identity that was to be withheld is not there.
    #[error("can't withhold identity `{name}`: the data set has no such identity")]
    WithheldAbsent {
        /// As given.
        name: String,
    },

    /// Neither grey nor RGB was asked for.
    #[error("expected 1 channel (grey) or 3 (RGB), found {found}")]
    Channels {
        /// As given.
        found: usize,
    },

    /// An image that passed the check of its structure doesn't decode.
    #[error("can't decode {path}: {flaw}")]
    Image {
        /// Path inside the data set.
        path: String,
        /// What is wrong with it.
        flaw: Flaw,
    },

    /// The file is not the one whose hash went into the digest.
    #[error("{path} changed after the data set was opened; open it again")]
    Changed {
        /// Path inside the data set.
        path: String,
    },

    /// The index of an image is past the end.
    #[error("expected an image index below {len}, found {index}")]
    OutOfRange {
        /// As given.
        index: usize,
        /// How many images there are.
        len: usize,
    },

    /// A pairs file that can't be read as text at all.
    #[error("pairs: {why}")]
    PairsFile {
        /// What was expected or went wrong.
        why: String,
    },

    /// A pairs file that can't be understood.
    #[error("pairs, line {line}: {why}")]
    PairsSyntax {
        /// Counted from 1.
        line: usize,
        /// What was expected and found.
        why: String,
    },

    /// A pairs file names an image that the data set doesn't hold.
    #[error("pairs, line {line}: {why}; these pairs belong to another data set, or images are missing")]
    PairsAbsent {
        /// Counted from 1.
        line: usize,
        /// The name and number that were looked for.
        why: String,
    },

    /// A name that would read back as another one, because tabs and line breaks part the columns.
    #[error("a pairs file can't hold the name {name:?}, with a tab, a line break or space at an end; rename it")]
    PairsName {
        /// Identity or file.
        name: String,
    },

    /// The data set has no pairs of its own.
    #[error("{} has no pairs.txt; for a folder, `faces pairs FOLDER --out FOLDER/pairs.txt` makes one", path.display())]
    NoPairs {
        /// The data set.
        path: PathBuf,
    },

    /// Too few identities or images for the pairs or the split that were asked for.
    #[error("{0}")]
    TooFew(String),

    /// A target that must be new or empty isn't.
    #[error("{} exists and is not empty; choose another name or remove it", path.display())]
    Occupied {
        /// As given.
        path: PathBuf,
    },

    /// Photographs were to be read from where there is nothing.
    #[error("no folder of photographs at {}; give one of JPEG and PNG files, flat or a folder per identity", path.display())]
    NoPhotographs {
        /// As given.
        path: PathBuf,
    },

    /// A file stands where a folder is needed.
    #[error("expected a folder at {}, found a file", path.display())]
    NotAFolder {
        /// As given.
        path: PathBuf,
    },

    /// What is written would become part of what is read.
    #[error("{} lies inside {}, whose photographs are read; choose a folder beside it", path.display(), input.display())]
    InsideInput {
        /// As given.
        path: PathBuf,
        /// The folder of photographs.
        input: PathBuf,
    },

    /// Another process writes to the folder.
    #[error("{} is in use by another process; wait for it to end or choose another folder", path.display())]
    InUse {
        /// As given.
        path: PathBuf,
    },

    /// A folder of aligned faces was made with other settings.
    #[error(
        "{} holds faces aligned with {setting} {found}, where this command says {expected}; choose the same settings or \
         another folder",
        path.display()
    )]
    OtherAlignment {
        /// As given.
        path: PathBuf,
        /// Which differs.
        setting: String,
        /// Of this command.
        expected: String,
        /// Of the earlier one.
        found: String,
    },

    /// The record of earlier work can't be understood.
    #[error("{}, line {line}: {why}; delete the folder to begin anew", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },

    /// Threads for the work could not be started.
    #[error("can't start threads: {why}")]
    Threads {
        /// The system's answer.
        why: String,
    },

    /// The face detector has no weights, or failed.
    #[error(transparent)]
    Detector(#[from] nets::mtcnn::MtcnnError),

    /// A file of the command's own can't be read or written.
    #[error(transparent)]
    Command(#[from] command::Error),

    /// The operating system refused to write.
    #[error("can't write {}", path.display())]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err` on what a description of drawn faces says.
    pub(crate) fn drawn(found: impl ToString) -> impl FnOnce(String) -> Self {
        let found = found.to_string();
        move |why| Self::DrawnSpec { found, why: command::WrongUse(why) }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}
