//! The checkpoints of a run: `checkpoints/images-000012800.safetensors`, named by images seen.
//!
//! Which ones are kept: **the newest N, and every one at a multiple of M images**. Pruning happens
//! after a new checkpoint is whole, never before.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use crate::atomic_file::write_atomically;
use crate::{Error, Result};

const DIRECTORY: &str = "checkpoints";
const PREFIX: &str = "images-";
const SUFFIX: &str = ".safetensors";

/// One checkpoint's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    /// Images seen when it was written.
    pub images_seen: u64,
    /// Its file.
    pub path: PathBuf,
}

/// The checkpoint folder of one run. Reading it needs no lock.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    directory: PathBuf,
}

/// The file that `RUN|FILE` on a command line means: a file itself, or the newest checkpoint of a
/// run directory.
///
/// # Errors
/// [`Error::NoCheckpoint`], [`Error::Read`].
pub fn find(run_or_file: impl AsRef<Path>) -> Result<PathBuf> {
    let place = run_or_file.as_ref();
    let metadata = fs::metadata(place).map_err(Error::reading(place))?;
    if !metadata.is_dir() {
        return Ok(place.to_path_buf());
    }
    let newest = Checkpoints::in_run(place).list()?.pop();
    newest
        .map(|checkpoint| checkpoint.path)
        .ok_or_else(|| Error::NoCheckpoint { place: place.to_path_buf(), found: "none".to_owned() })
}

/// The images seen of the checkpoints that the rule gives up: all but the newest `keep_newest` and
/// those at multiples of `keep_every` (0: none are kept for that reason). The newest one always
/// stays.
pub fn to_prune(images_seen: &[u64], keep_newest: usize, keep_every: u64) -> Vec<u64> {
    let sorted: BTreeSet<u64> = images_seen.iter().copied().collect();
    let is_milestone = |seen: &u64| keep_every > 0 && seen.is_multiple_of(keep_every);
    let mut pruned: Vec<u64> =
        sorted.into_iter().rev().skip(keep_newest.max(1)).filter(|seen| !is_milestone(seen)).collect();
    pruned.reverse();
    pruned
}

impl Checkpoints {
    /// Those of the run directory at `run`.
    pub fn in_run(run: impl AsRef<Path>) -> Self {
        Self { directory: run.as_ref().join(DIRECTORY) }
    }

    /// The folder itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file for a place in the training, whether it exists or not. For writers of their own that
    /// also write to a temporary name, sync and rename.
    pub fn path(&self, images_seen: u64) -> PathBuf {
        self.directory.join(format!("{PREFIX}{images_seen:09}{SUFFIX}"))
    }

    /// Writes a checkpoint through `fill`, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`]; older checkpoints are untouched.
    pub fn write(
        &self,
        images_seen: u64,
        fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<PathBuf> {
        let path = self.path(images_seen);
        write_atomically(&path, fill)?;
        Ok(path)
    }

    /// All checkpoints, oldest first; none where the folder doesn't exist. Other files are ignored.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn list(&self) -> Result<Vec<Checkpoint>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::reading(&self.directory)(error)),
        };
        let mut checkpoints = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::reading(&self.directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok());
            if let Some(images_seen) = number {
                checkpoints.push(Checkpoint { images_seen, path });
            }
        }
        checkpoints.sort();
        Ok(checkpoints)
    }

    /// The newest checkpoint that `read` accepts, with what it read. Refused ones are passed over
    /// with a warning, so that one damaged file doesn't end a run.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] where there is none, or none that `read` accepts; it then holds the
    /// newest one's refusal.
    pub fn newest<T, Refusal: std::fmt::Display>(
        &self,
        mut read: impl FnMut(&Checkpoint) -> Result<T, Refusal>,
    ) -> Result<(Checkpoint, T)> {
        let mut first_refusal = None;
        for checkpoint in self.list()?.into_iter().rev() {
            match read(&checkpoint) {
                Ok(content) => return Ok((checkpoint, content)),
                Err(refusal) => {
                    tracing::warn!("passing over {}: {refusal}", checkpoint.path.display());
                    first_refusal.get_or_insert(refusal.to_string());
                }
            }
        }
        let found = first_refusal.map_or("none".to_owned(), |refusal| format!("only damaged ones: {refusal}"));
        Err(Error::NoCheckpoint { place: self.directory.clone(), found })
    }

    /// Deletes what the rule of [`to_prune`] gives up, and says what.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`].
    pub fn prune(&self, keep_newest: usize, keep_every: u64) -> Result<Vec<Checkpoint>> {
        let mut checkpoints = self.list()?;
        let seen: Vec<u64> = checkpoints.iter().map(|checkpoint| checkpoint.images_seen).collect();
        let pruned = to_prune(&seen, keep_newest, keep_every);
        checkpoints.retain(|checkpoint| pruned.contains(&checkpoint.images_seen));
        for checkpoint in &checkpoints {
            fs::remove_file(&checkpoint.path).map_err(Error::writing(&checkpoint.path))?;
        }
        Ok(checkpoints)
    }
}
