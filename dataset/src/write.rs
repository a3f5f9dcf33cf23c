//! Drawn faces as files: a folder per identity, or a tar of one. Nothing half-written is left
//! under the target's name.

use std::fs::{self, File};
use std::path::Path;

use rayon::prelude::*;

use crate::drawn::DrawnSet;
use crate::error::{Error, Result};

/// Format of the image files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Exact.
    Png,
    /// Smaller, of the given quality in `1..=100`.
    Jpeg(u8),
}

impl Encoding {
    fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg(_) => "jpg",
        }
    }
}

/// Draws a set into a new folder, `identity/file`, with `pairs` as its `pairs.txt`.
///
/// `progress` is told after each image and says whether to go on; when it says no, nothing is
/// left and `false` is returned.
///
/// # Errors
/// When the target exists and is not an empty folder, or writing fails.
pub fn folder(
    set: &DrawnSet,
    target: &Path,
    encoding: Encoding,
    pairs: Option<&str>,
    progress: impl Fn() -> bool + Sync,
) -> Result<bool> {
    let is_free = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(Error::Occupied { path: target.into() });
    }
    let half = half_written(target);
    fs::create_dir_all(&half).map_err(Error::write(&half))?;
    let written = write_files(set, &half, encoding, pairs, progress);
    let finish = || match written {
        Ok(true) => {
            // Drawn faces can be drawn again, so the files are not synced one by one. Renaming
            // replaces an empty folder and nothing else.
            fs::rename(&half, target).map_err(Error::write(target))?;
            sync_parent(target)?;
            Ok(true)
        }
        other => other,
    };
    let outcome = finish();
    if !matches!(outcome, Ok(true)) {
        // What matters is the first error; a leftover is named so that it can be removed.
        let _ = fs::remove_dir_all(&half);
    }
    outcome
}

fn write_files(
    set: &DrawnSet,
    folder: &Path,
    encoding: Encoding,
    pairs: Option<&str>,
    progress: impl Fn() -> bool + Sync,
) -> Result<bool> {
    if let Some(pairs) = pairs {
        write_file(&folder.join("pairs.txt"), pairs.as_bytes())?;
    }
    let finished = (0..set.identities).into_par_iter().map(|class| {
        let identity = set.first + class;
        let place = folder.join(DrawnSet::identity_name(identity));
        fs::create_dir(&place).map_err(Error::write(&place))?;
        for image in 0..set.images {
            let name = format!("{}.{}", DrawnSet::image_name(identity, image), encoding.ending());
            write_file(&place.join(name), &encode(set, identity, image, encoding))?;
            if !progress() {
                return Ok(false);
            }
        }
        Ok(true)
    });
    finished.try_reduce(|| true, |one, other| Ok(one && other))
}

/// Draws a set into a new tar; see [`folder`]. The same set gives the same bytes.
///
/// # Errors
/// When the target exists, or writing fails.
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
    let half = half_written(target);
    let written = write_tar(set, &half, encoding, pairs, progress);
    let finish = || match written {
        Ok(true) => {
            // A hard link, unlike a rename, never replaces what came into being meanwhile.
            fs::hard_link(&half, target).or_else(|_| fs::rename(&half, target)).map_err(Error::write(target))?;
            sync_parent(target)?;
            Ok(true)
        }
        other => other,
    };
    let outcome = finish();
    let _ = fs::remove_file(&half);
    outcome
}

fn write_tar(
    set: &DrawnSet,
    path: &Path,
    encoding: Encoding,
    pairs: Option<&str>,
    progress: impl Fn() -> bool + Sync,
) -> Result<bool> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::write(parent))?;
    }
    let file = File::create(path).map_err(Error::write(path))?;
    let mut tar = tar::Builder::new(std::io::BufWriter::new(file));
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).map_err(Error::write(path))
    };
    if let Some(pairs) = pairs {
        append("pairs.txt", pairs.as_bytes())?;
    }
    for class in 0..set.identities {
        let identity = set.first + class;
        // One identity at a time: drawn by all cores, appended in order, little kept in memory.
        let files: Vec<Vec<u8>> =
            (0..set.images).into_par_iter().map(|image| encode(set, identity, image, encoding)).collect();
        for (image, bytes) in (0..).zip(files) {
            let folder = DrawnSet::identity_name(identity);
            append(&format!("{folder}/{}.{}", DrawnSet::image_name(identity, image), encoding.ending()), &bytes)?;
            if !progress() {
                return Ok(false);
            }
        }
    }
    let file = tar.into_inner().and_then(|buffer| buffer.into_inner().map_err(|error| error.into_error()));
    file.and_then(|file| file.sync_all()).map_err(Error::write(path))?;
    Ok(true)
}

fn encode(set: &DrawnSet, identity: u32, image: u32, encoding: Encoding) -> Vec<u8> {
    let image = set.draw(identity, image);
    match encoding {
        Encoding::Png => image.to_png(),
        Encoding::Jpeg(quality) => image.to_jpeg(quality),
    }
}

/// A name beside the target, so that renaming stays within one file system.
fn half_written(target: &Path) -> std::path::PathBuf {
    let name = target.file_name().map_or_else(|| "faces".into(), |name| name.to_string_lossy());
    target.with_file_name(format!(".{name}.half-written-{}", std::process::id()))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::write(path))
}

/// Makes the new name itself durable.
fn sync_parent(target: &Path) -> Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(Error::write(parent))
}
