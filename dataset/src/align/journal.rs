//! `alignment.jsonl`: how a folder of aligned faces came to be. The first line holds the settings, each
//! further one a photograph. A line is added as soon as its face is written, so that a run that is
//! stopped or killed loses no work; at the end the lines are sorted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use command::atomic_file::write_atomically;
use nets::mtcnn::Face;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::ALIGNMENT;

/// Version of the lines; a reader refuses others.
const FORMAT: u32 = 1;
/// Larger journals are refused: a million photographs take less.
const LARGEST: u64 = 2 << 30;

/// What became of one photograph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Below the folder of photographs, parts separated by `/`.
    pub path: String,
    /// Length of the file.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970; 0 where the system doesn't say.
    pub modified: u64,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a photograph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// A face was found and written.
    Aligned(AlignedFace),
    /// None was found that is probable enough and upright.
    NoFace {
        /// What the detector found nevertheless.
        faces: Vec<Face>,
    },
    /// The file is no whole JPEG or PNG within the bounds, or can't be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// A face that was found and written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlignedFace {
    /// The written file, below the folder of aligned faces.
    pub out: String,
    /// Which of `faces` was taken.
    pub taken: usize,
    /// How many of `faces` are probable enough.
    pub good: usize,
    /// Pixels of the aligned face for each pixel of the photograph.
    pub scale: f64,
    /// How far the photograph was turned, clockwise, in degrees.
    pub degrees: f64,
    /// Share of the aligned face that lies outside the photograph.
    pub outside: f64,
    /// All that the detector found, the most probable first.
    pub faces: Vec<Face>,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    settings: BTreeMap<String, String>,
}

/// Lines as they are added, by any thread.
pub(super) struct Journal {
    path: PathBuf,
    settings: BTreeMap<String, String>,
    file: Mutex<File>,
}

impl Journal {
    /// The records of an earlier run in `folder`; `None` where there was none. A line that a killed run
    /// left half-written is no record.
    pub(super) fn read(folder: &Path, settings: &BTreeMap<String, String>) -> Result<Option<Vec<Record>>> {
        let path = folder.join(ALIGNMENT);
        if !path.exists() {
            return Ok(None);
        }
        let text = command::read_text(&path, LARGEST)?;
        let damaged = |line: usize, why: String| Error::Journal { path: path.clone(), line, why };
        let mut lines = text.split_inclusive('\n').enumerate().map(|(at, line)| (at + 1, line));
        let (_, first) = lines.next().ok_or_else(|| damaged(1, "it is empty".to_owned()))?;
        let header: Header = serde_json::from_str(first).map_err(|error| damaged(1, error.to_string()))?;
        if header.format != FORMAT {
            return Err(damaged(1, format!("expected format {FORMAT}, found {}", header.format)));
        }
        for (name, value) in settings {
            let found = header.settings.get(name).map_or("none", String::as_str);
            if found != value {
                let (setting, expected, found) = (name.clone(), value.clone(), found.to_owned());
                return Err(Error::OtherAlignment { path: folder.into(), setting, expected, found });
            }
        }
        let whole = lines.filter(|(_, line)| line.ends_with('\n'));
        let records =
            whole.map(|(at, line)| serde_json::from_str(line).map_err(|error| damaged(at, error.to_string())));
        Ok(Some(records.collect::<Result<_>>()?))
    }

    /// Begins with these records, ready for more.
    pub(super) fn begin<'a>(
        folder: &Path,
        settings: &BTreeMap<String, String>,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<Self> {
        let path = folder.join(ALIGNMENT);
        write(&path, settings, records)?;
        let file = File::options().append(true).open(&path).map_err(Error::write(&path))?;
        Ok(Self { path, settings: settings.clone(), file: Mutex::new(file) })
    }

    /// Adds a line.
    pub(super) fn add(&self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|error| Error::write(&self.path)(error.into()))?;
        line.push(b'\n');
        // A thread that panicked has written its line or not; the file is still good to append to.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(Error::write(&self.path))
    }

    /// Ends with exactly these records.
    pub(super) fn finish<'a>(self, records: impl IntoIterator<Item = &'a Record>) -> Result<()> {
        write(&self.path, &self.settings, records)
    }
}

fn write<'a>(
    path: &Path,
    settings: &BTreeMap<String, String>,
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<()> {
    write_atomically(path, |file| {
        line(file, &Header { format: FORMAT, settings: settings.clone() })?;
        records.into_iter().try_for_each(|record| line(file, record))
    })?;
    Ok(())
}

fn line(file: &mut BufWriter<File>, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(b"\n")
}
