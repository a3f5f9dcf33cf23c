//! The checkpoints of a run: `checkpoints/images-000012800.safetensors`, named by images seen.
//!
//! One in several files has an index in its place, and its shards, `images-000012800.shard-001-of-002`, beside
//! it. They come before it and go after it, so that a checkpoint is whole or absent.
//!
//! **The newest N are kept.** Older ones go after a new one is whole and has been read back, never
//! before. One that is damaged counts for nothing: a resumed run sets it aside as `*.damaged`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::atomic_file::{sync_directory, write_atomically};
use crate::{Error, Result};

pub(super) const DIRECTORY: &str = "checkpoints";
const PREFIX: &str = "images-";
const SUFFIX: &str = ".safetensors";
const SHARD: &str = ".shard-";
const DAMAGED: &str = ".damaged";

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

/// Reads what `RUN|FILE` on a command line means: a file itself, or the newest checkpoint of a run
/// directory that `read` accepts.
///
/// # Errors
/// `read`'s own for a file; [`Error::NoCheckpoint`] and [`Error::Read`] for a run.
pub fn load<T, Refusal: From<Error> + std::fmt::Display>(
    run_or_file: impl AsRef<Path>,
    mut read: impl FnMut(&Path) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let place = run_or_file.as_ref();
    if !fs::metadata(place).map_err(Error::reading(place))?.is_dir() {
        return read(place);
    }
    let (_, content) = Checkpoints::in_run(place).newest(|checkpoint| read(&checkpoint.path))?;
    Ok(content)
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

    /// Whether there are none, or no such run.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(!self.directory.is_dir() || self.list()?.is_empty())
    }

    /// Writes a checkpoint, whole or not at all, and reads it back. One that doesn't read back as it
    /// was written is set aside.
    ///
    /// # Errors
    /// [`Error::Replace`], [`Error::Read`], [`Error::Damaged`]; older checkpoints are untouched.
    pub fn write_verified(&self, images_seen: u64, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.directory.join(format!("{PREFIX}{images_seen:09}{SUFFIX}"));
        write_and_read(&path, bytes)?;
        self.remove_shards(|seen, _| seen == images_seen)?;
        Ok(path)
    }

    /// The name of one of the `count` shards of the checkpoint at `images_seen`; the first is 0.
    pub fn shard_name(images_seen: u64, nth: usize, count: usize) -> String {
        format!("{PREFIX}{images_seen:09}{SHARD}{:03}-of-{count:03}", nth + 1)
    }

    /// As [`Checkpoints::write_verified`], of a checkpoint in several files: `shards`, by
    /// [`Checkpoints::shard_name`], and the `index` that stands for them.
    ///
    /// # Errors
    /// The same; then no index leads to the shards.
    pub fn write_in_shards(&self, images_seen: u64, shards: &[(String, &[u8])], index: &[u8]) -> Result<PathBuf> {
        for (name, bytes) in shards {
            write_and_read(&self.directory.join(name), bytes)?;
        }
        let path = self.directory.join(format!("{PREFIX}{images_seen:09}{SUFFIX}"));
        write_and_read(&path, index)?;
        self.remove_shards(|seen, name| seen == images_seen && shards.iter().all(|(own, _)| own != name))?;
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

    /// Deletes all but the newest `keep` (at least one) up to the one at `written`, and says which.
    /// Call it after [`Checkpoints::write_verified`] with the same place: files beyond it are not
    /// known to be good and count for nothing.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`].
    pub fn prune(&self, written: u64, keep: usize) -> Result<Vec<Checkpoint>> {
        let mut old = self.list()?;
        old.retain(|checkpoint| checkpoint.images_seen <= written);
        old.truncate(old.len().saturating_sub(keep.max(1)));
        for checkpoint in &old {
            fs::remove_file(&checkpoint.path).map_err(Error::writing(&checkpoint.path))?;
        }
        let kept: Vec<u64> = self.list()?.into_iter().map(|checkpoint| checkpoint.images_seen).collect();
        self.remove_shards(|seen, _| seen <= written && !kept.contains(&seen))?;
        Ok(old)
    }

    /// Deletes the shards of which `is_old` says so, by the images seen and the name.
    fn remove_shards(&self, is_old: impl Fn(u64, &str) -> bool) -> Result<()> {
        for entry in fs::read_dir(&self.directory).map_err(Error::reading(&self.directory))? {
            let path = entry.map_err(Error::reading(&self.directory))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let shard = name.strip_prefix(PREFIX).and_then(|name| name.split_once(SHARD));
            if shard.and_then(|(seen, _)| seen.parse().ok()).is_some_and(|seen| is_old(seen, name)) {
                fs::remove_file(&path).map_err(Error::writing(&path))?;
            }
        }
        Ok(())
    }

    /// Renames the checkpoints beyond `images_seen`, which a resumed run passed over, to `*.damaged`.
    pub(super) fn set_aside_after(&self, images_seen: u64) -> Result<()> {
        for checkpoint in self.list()?.iter().filter(|checkpoint| checkpoint.images_seen > images_seen) {
            set_aside(&checkpoint.path)?;
        }
        Ok(())
    }
}

/// Writes a file, whole or not at all. One that doesn't read back as it was written is set aside.
fn write_and_read(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |file| file.write_all(bytes))?;
    if holds(path, bytes).map_err(Error::reading(path))? {
        return Ok(());
    }
    set_aside(path)?;
    Err(Error::Damaged {
        path: path.to_path_buf(),
        expected: "what was just written".to_owned(),
        found: "something else; older checkpoints are kept, this disk may be failing".to_owned(),
    })
}

fn set_aside(path: &Path) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(DAMAGED);
    fs::rename(path, &name).map_err(Error::writing(path))?;
    path.parent().map_or(Ok(()), sync_directory).map_err(Error::writing(path))?;
    tracing::warn!("set aside {}", Path::new(&name).display());
    Ok(())
}

/// Whether a file holds exactly `bytes`, read in parts: a checkpoint may fill half the memory.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut part = vec![0; 1 << 20];
    for expected in bytes.chunks(part.len()) {
        let found = &mut part[..expected.len()];
        match file.read_exact(found) {
            Ok(()) if found == expected => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(file.read(&mut part[..1])? == 0)
}

/// Refuses to replace what an output is made of: the file `input`, or a checkpoint of that run.
///
/// # Errors
/// [`Error::OverInput`].
pub fn spare(input: &Path, out: &Path) -> Result<()> {
    let true_path = |path: &Path| fs::canonicalize(path).ok();
    let (Some(input), Some(found)) = (true_path(input), true_path(out)) else { return Ok(()) };
    let replaces = found == input || found.starts_with(input.join(DIRECTORY));
    if replaces { Err(Error::OverInput(out.to_path_buf())) } else { Ok(()) }
}
