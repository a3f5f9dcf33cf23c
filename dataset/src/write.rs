//! Drawn faces as files: a folder per identity, or a tar of one. Nothing half-written is left
//! under the target's name.
//!
//! Beside the identities lie `pairs.txt`, if there are pairs, and `circumstances.jsonl`: a line for
//! each image with its path and [`Circumstances`]. Neither is an image, so neither is in the digest.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::drawn::{Circumstances, DrawnSet, circumstances};
use crate::error::{Error, Result};
use crate::layout::{CIRCUMSTANCES, PAIRS};

/// Format of the image files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Exact.
    Png,
    /// Smaller, of the given quality in `1..=100`.
    Jpeg(u8),
}

/// Draws a set into a new folder, `identity/file`, with `pairs` as its `pairs.txt`.
///
/// `progress` is told after each image and says whether to go on; when it says no, nothing is
/// left and `false` is returned.
///
/// # Errors
/// When the set is none or too large, the target exists and is not an empty folder or is the one
/// that the process is in, or writing fails.
pub fn folder(
    set: &DrawnSet,
    target: &Path,
    encoding: Encoding,
    pairs: Option<&str>,
    progress: impl Fn() -> bool + Sync,
) -> Result<bool> {
    let is_free = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(Error::Occupied { path: target.into() });
    }
    let job = Job::new(set, encoding, pairs)?;
    // Drawn faces can be drawn again, so the files are not synced one by one. Renaming replaces an
    // empty folder and nothing else.
    whole(target, |half| job.write_folder(half, &progress), |half, target| fs::rename(half, target))
}

/// Draws a set into a new tar; see [`folder`]. The same set gives the same bytes.
///
/// # Errors
/// When the set is none or too large, the target exists, or writing fails.
pub fn tar(
    set: &DrawnSet,
    target: &Path,
    encoding: Encoding,
    pairs: Option<&str>,
    progress: impl Fn() -> bool + Sync,
) -> Result<bool> {
    if target.exists() {
        return Err(Error::Occupied { path: target.into() });
    }
    let job = Job::new(set, encoding, pairs)?;
    whole(target, |half| job.write_tar(half, &progress), link)
}

/// What is to be written, wherever it goes.
struct Job<'a> {
    set: &'a DrawnSet,
    encoding: Encoding,
    pairs: Option<&'a str>,
}

/// A line of `circumstances.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(flatten)]
    circumstances: Circumstances,
}

impl<'a> Job<'a> {
    fn new(set: &'a DrawnSet, encoding: Encoding, pairs: Option<&'a str>) -> Result<Self> {
        set.check().map_err(Error::drawn(set))?;
        Ok(Self { set, encoding, pairs })
    }

    fn write_folder(&self, folder: &Path, progress: &(impl Fn() -> bool + Sync)) -> Result<bool> {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(Error::write(&path))
        };
        fs::create_dir_all(folder).map_err(Error::write(folder))?;
        if let Some(pairs) = self.pairs {
            write(PAIRS, pairs.as_bytes())?;
        }
        let lines = folder.join(CIRCUMSTANCES);
        File::create_new(&lines).and_then(|file| self.write_circumstances(file)).map_err(Error::write(&lines))?;
        let finished = self.identities().into_par_iter().map(|identity| {
            let place = folder.join(DrawnSet::identity_name(identity));
            fs::create_dir(&place).map_err(Error::write(&place))?;
            for image in 0..self.set.images {
                write(&self.path(identity, image), &self.encode(identity, image))?;
                if !progress() {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        finished.try_reduce(|| true, |one, other| Ok(one && other))
    }

    fn write_tar(&self, path: &Path, progress: &impl Fn() -> bool) -> Result<bool> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::write(parent))?;
        }
        self.fill_tar(path, progress).map_err(Error::write(path))
    }

    fn fill_tar(&self, path: &Path, progress: &impl Fn() -> bool) -> io::Result<bool> {
        let mut tar = tar::Builder::new(BufWriter::new(File::create(path)?));
        if let Some(pairs) = self.pairs {
            tar.append_data(&mut tar_header(pairs.len()), PAIRS, pairs.as_bytes())?;
        }
        let mut header = tar_header(0);
        let mut lines = tar.append_writer(&mut header, CIRCUMSTANCES)?;
        self.write_circumstances(&mut lines)?;
        lines.finish()?;
        for identity in self.identities() {
            // One identity at a time: drawn by all cores, appended in order, little kept in memory.
            let files: Vec<Vec<u8>> =
                (0..self.set.images).into_par_iter().map(|image| self.encode(identity, image)).collect();
            for (image, bytes) in (0..).zip(files) {
                tar.append_data(&mut tar_header(bytes.len()), self.path(identity, image), bytes.as_slice())?;
                if !progress() {
                    return Ok(false);
                }
            }
        }
        tar.into_inner()?.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(true)
    }

    /// One line at a time: a large set's would fill the memory.
    fn write_circumstances(&self, to: impl Write) -> io::Result<()> {
        let mut to = BufWriter::new(to);
        for identity in self.identities() {
            for image in 0..self.set.images {
                let circumstances = circumstances(identity, image, self.set.seed);
                let line = Line { path: &self.path(identity, image), circumstances };
                serde_json::to_writer(&mut to, &line)?;
                to.write_all(b"\n")?;
            }
        }
        to.flush()
    }

    fn identities(&self) -> std::ops::Range<u32> {
        self.set.first..self.set.first + self.set.identities
    }

    /// `identity/file` of an image.
    fn path(&self, identity: u32, image: u32) -> String {
        let ending = match self.encoding {
            Encoding::Png => "png",
            Encoding::Jpeg(_) => "jpg",
        };
        format!("{}/{}.{ending}", DrawnSet::identity_name(identity), DrawnSet::image_name(identity, image))
    }

    fn encode(&self, identity: u32, image: u32) -> Vec<u8> {
        let image = self.set.draw(identity, image);
        match self.encoding {
            Encoding::Png => image.to_png(),
            Encoding::Jpeg(quality) => image.to_jpeg(quality),
        }
    }
}

/// Without owner and time, so that equal sets are equal files.
fn tar_header(size: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header
}

/// Lets `write` fill a place beside the target, and `publish` give it the target's name if it says
/// that it is whole.
fn whole(
    target: &Path,
    write: impl FnOnce(&Path) -> Result<bool>,
    publish: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<bool> {
    let (place, half) = places(target).map_err(Error::write(target))?;
    let outcome = write(&half).and_then(|whole| {
        if whole {
            publish(&half, &place).and_then(|()| sync_parent(&place)).map_err(Error::write(target))?;
        }
        Ok(whole)
    });
    // Half a folder, half a tar or the whole tar's second name. What matters is the first error; a
    // leftover is named so that it can be removed.
    let _ = fs::remove_dir_all(&half).or_else(|_| fs::remove_file(&half));
    outcome
}

/// The target, and a name beside it, so that renaming stays within one file system.
fn places(target: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let place = std::path::absolute(target)?;
    // Replacing it would leave the user's shell in a folder that is no more.
    if fs::canonicalize(&place).is_ok_and(|place| std::env::current_dir().is_ok_and(|current| current == place)) {
        return refuse("it is the current folder; name a new one inside it");
    }
    let Some(name) = place.file_name() else { return refuse("it ends in no name") };
    let half = place.with_file_name(format!(".{}.half-written-{}", name.to_string_lossy(), std::process::id()));
    Ok((place, half))
}

/// A hard link, unlike a rename, never replaces what came into being meanwhile. Only where the file
/// system knows none a rename must do.
fn link(half: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(half, target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(half, target),
        other => other,
    }
}

/// Makes the new name itself durable.
fn sync_parent(target: &Path) -> io::Result<()> {
    target.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_that_came_into_being_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (half, target) = (folder.path().join("half"), folder.path().join("set.tar"));
        fs::write(&half, b"new").unwrap();
        fs::write(&target, b"mine").unwrap();
        assert_eq!(link(&half, &target).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        fs::remove_file(&target).unwrap();
        link(&half, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }
}
