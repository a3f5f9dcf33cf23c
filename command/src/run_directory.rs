//! What a training leaves behind: `runs/00012-name/`.
//!
//! ```text
//! config.toml                        the settings it was started with
//! stats.jsonl                        one JSON object a line: images_seen, then each figure
//! samples/grid-000012800.png         pictures, by images seen
//! checkpoints/images-000012800.safetensors
//! events.out.tfevents.*              the figures and pictures for TensorBoard
//! lock                               held by the process that writes here
//! ```
//!
//! Invariants:
//! - One process writes at a time. The lock is the operating system's and ends with the process, so
//!   a crash leaves nothing to clean up.
//! - `stats.jsonl` and `checkpoints/` are functions of the settings alone: no times or machine names
//!   are in them. A run that was stopped and resumed ends with the same bytes as one that wasn't.
//! - A checkpoint is whole or absent, be it in one file or in several.

mod checkpoints;
mod stats;

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use checkpoints::{Checkpoint, Checkpoints, load, spare};
pub use stats::{Stats, read as read_stats};

use crate::atomic_file::{self, write_atomically};
use crate::picture::Picture;
use crate::{Error, Result, tensorboard};

const CONFIG: &str = "config.toml";
const LOCK: &str = "lock";
const SAMPLES: &str = "samples";

/// A run directory that this process writes to. All methods take `&self`.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    checkpoints: Checkpoints,
    figures: Mutex<Figures>,
    // Held for its lock.
    _lock: File,
}

/// Where figures go.
#[derive(Debug)]
struct Figures {
    stats: Stats,
    /// Started with the first figure, which is when the place to resume at is known.
    events: Option<tensorboard::Writer>,
    /// Events of earlier sessions from here on are void.
    first_event: u64,
}

/// Where a run keeps its settings.
///
/// # Errors
/// [`Error::NotARun`].
pub(crate) fn config(run: &Path) -> Result<PathBuf> {
    let file = run.join(CONFIG);
    if file.is_file() { Ok(file) } else { Err(Error::NotARun(run.to_path_buf())) }
}

impl RunDirectory {
    /// Starts `parent/NNNNN-name` with the next free number, so that names sort by age. Two
    /// processes that start at once get two numbers. `config` is the text of `config.toml`, as
    /// [`crate::Settings::to_toml`] gives it.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Replace`].
    pub fn create(parent: impl AsRef<Path>, name: &str, config: &str) -> Result<Self> {
        let parent = parent.as_ref();
        fs::create_dir_all(parent).map_err(Error::writing(parent))?;
        let mut number = next_number(parent)?;
        loop {
            let path = parent.join(format!("{number:05}-{}", file_name(name)));
            match fs::create_dir(&path) {
                // Another process may have taken the number under another name in between; names
                // stay distinct all the same.
                Ok(()) => return Self::start(path, config),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::writing(&path)(error)),
            }
        }
    }

    /// Starts a run in exactly `path`, as `--out` says.
    ///
    /// # Errors
    /// [`Error::Occupied`] where a file already is, [`Error::Write`], [`Error::Replace`].
    pub fn create_at(path: impl AsRef<Path>, config: &str) -> Result<Self> {
        let path = path.as_ref();
        fs::create_dir_all(path).map_err(Error::writing(path))?;
        if fs::read_dir(path).map_err(Error::reading(path))?.next().is_some() {
            return Err(Error::Occupied(path.to_path_buf()));
        }
        Self::start(path.to_path_buf(), config)
    }

    /// Starts a run in exactly `path`, where one may have been killed while it was begun: what that left (a lock,
    /// empty folders, half a file) doesn't count, and another process that is at it is told by its lock.
    ///
    /// # Errors
    /// [`Error::Occupied`] where anything else is, [`Error::Locked`], [`Error::Write`], [`Error::Replace`].
    pub fn begin_at(path: impl AsRef<Path>, config: &str) -> Result<Self> {
        let path = path.as_ref();
        fs::create_dir_all(path).map_err(Error::writing(path))?;
        for entry in fs::read_dir(path).map_err(Error::reading(path))? {
            let entry = entry.map_err(Error::reading(path))?;
            if !is_of_a_beginning(&entry) {
                return Err(Error::Occupied(path.to_path_buf()));
            }
        }
        Self::start(path.to_path_buf(), config)
    }

    /// Opens a run to go on with it. Call [`Self::resume_at`] next.
    ///
    /// # Errors
    /// [`Error::NotARun`], [`Error::Locked`], [`Error::Read`], [`Error::Write`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        config(path)?;
        Self::lock(path.to_path_buf())
    }

    /// Whether a process writes to the run in `path` now.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn is_held(path: impl AsRef<Path>) -> Result<bool> {
        let path = path.as_ref().join(LOCK);
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::reading(&path)(error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(Error::reading(&path)(error)),
        }
    }

    /// Sets the place to go on from: figures after `images_seen` are dropped, for they will be made
    /// again, and checkpoints after it are set aside, for they were passed over. 0 starts over.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`], [`Error::Replace`], [`Error::Damaged`].
    pub fn resume_at(&self, images_seen: u64) -> Result<()> {
        self.checkpoints.set_aside_after(images_seen)?;
        let mut figures = self.figures();
        figures.stats.truncate_after(images_seen)?;
        figures.first_event = images_seen.saturating_add(1);
        figures.events = None;
        Ok(())
    }

    /// Changes one setting in `config.toml`, for a run that goes on with another value. `remark`
    /// stands behind it.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Replace`].
    pub fn change_setting(&self, name: &str, value: &str, remark: &str) -> Result<()> {
        let path = self.path.join(CONFIG);
        let text = fs::read_to_string(&path).map_err(Error::reading(&path))?;
        let is_old = |line: &&str| line.split('=').next().is_some_and(|key| key.trim() == name);
        let changed = format!("{name} = {value} # {remark}");
        let mut lines: Vec<&str> = text.lines().collect();
        match lines.iter().position(is_old) {
            Some(place) => lines[place] = &changed,
            // At the top, where no table has begun.
            None => lines.insert(0, &changed),
        }
        write_atomically(&path, |file| lines.iter().try_for_each(|line| writeln!(file, "{line}")))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes, lists and prunes checkpoints.
    pub fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    /// Appends one line to `stats.jsonl` and the points to TensorBoard's curves. Figures that are
    /// not finite become null in the line.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Damaged`] where `images_seen` is below the last line's.
    pub fn append_stats(&self, images_seen: u64, figures: &[(&str, f64)]) -> Result<()> {
        let mut state = self.figures();
        state.stats.append(images_seen, figures)?;
        self.events(&mut state)?.scalars(images_seen, figures.iter().copied())
    }

    /// Writes `samples/tag-000012800.png` and shows the picture in TensorBoard. Gives the file.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Replace`].
    pub fn save_picture(&self, tag: &str, images_seen: u64, picture: &Picture) -> Result<PathBuf> {
        let path = self.path.join(SAMPLES).join(format!("{}-{images_seen:09}.png", file_name(tag)));
        let png = picture.to_png();
        write_atomically(&path, |file| file.write_all(&png))?;
        let mut state = self.figures();
        self.events(&mut state)?.image(images_seen, tag, picture.width(), picture.height(), png)?;
        Ok(path)
    }

    fn start(path: PathBuf, config: &str) -> Result<Self> {
        let run = Self::lock(path)?;
        write_atomically(run.path.join(CONFIG), |file| file.write_all(config.as_bytes()))?;
        Ok(run)
    }

    fn lock(path: PathBuf) -> Result<Self> {
        let lock_path = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(Error::writing(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(path)),
            Err(TryLockError::Error(error)) => return Err(Error::writing(&lock_path)(error)),
        }
        let samples = path.join(SAMPLES);
        fs::create_dir_all(&samples).map_err(Error::writing(&samples))?;
        let checkpoints = Checkpoints::in_run(&path);
        fs::create_dir_all(checkpoints.directory()).map_err(Error::writing(checkpoints.directory()))?;
        for directory in [&path, &samples, checkpoints.directory()] {
            remove_unfinished(directory)?;
        }
        let stats = Stats::open(path.join(stats::FILE))?;
        let figures = Mutex::new(Figures { stats, events: None, first_event: 0 });
        Ok(Self { path, checkpoints, figures, _lock: lock })
    }

    fn events<'a>(&self, figures: &'a mut Figures) -> Result<&'a mut tensorboard::Writer> {
        let writer = match figures.events.take() {
            Some(writer) => writer,
            None => tensorboard::Writer::create(&self.path, figures.first_event)?,
        };
        Ok(figures.events.insert(writer))
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        // A writer that panicked has at worst left half a line, which the next resume drops.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a run that has only just begun may have left this: the lock, the two folders while they are empty, its
/// first lines of nothing, half a file.
fn is_of_a_beginning(entry: &fs::DirEntry) -> bool {
    let (path, name) = (entry.path(), entry.file_name());
    let Some(name) = name.to_str() else { return false };
    match name {
        LOCK => true,
        stats::FILE => fs::metadata(&path).is_ok_and(|file| file.len() == 0),
        SAMPLES | checkpoints::DIRECTORY => fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()),
        _ => name.starts_with('.') && name.ends_with(atomic_file::UNFINISHED),
    }
}

/// One more than the highest number in use.
fn next_number(parent: &Path) -> Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(parent).map_err(Error::reading(parent))? {
        let name = entry.map_err(Error::reading(parent))?.file_name();
        let number = name.to_str().and_then(|name| name.split('-').next()?.parse::<u64>().ok());
        next = next.max(number.map_or(0, |number| number.saturating_add(1)));
    }
    Ok(next)
}

/// A name without what file systems and shells trip over.
fn file_name(name: &str) -> String {
    let safe = |c: char| {
        if c.is_alphanumeric() || "-_.=+".contains(c) { c } else { '-' }
    };
    let name: String = name.trim_start_matches('.').chars().map(safe).collect();
    if name.is_empty() { "run".to_owned() } else { name }
}

/// Removes what a killed process left half-written. The lock says that nobody is writing now.
fn remove_unfinished(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(Error::reading(directory))? {
        let path = entry.map_err(Error::reading(directory))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') && name.ends_with(atomic_file::UNFINISHED) {
            fs::remove_file(&path).map_err(Error::writing(&path))?;
        }
    }
    Ok(())
}
