//! Files that are either whole or not there.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// The ending of a file that is not finished yet. One that a crash left behind may be deleted.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Writes `path` through `fill` such that a reader, or a machine that loses power, sees either the
/// old file or the whole new one.
///
/// The bytes go to a temporary file in the same directory, which is synced, renamed over `path`, and
/// the directory synced too. On any failure (a full disk most of all) the temporary file is removed
/// and an old file at `path` stays as it was.
///
/// A link stays, and the file that it leads to is replaced. What is no ordinary file, as a pipe or
/// `/dev/stdout`, is written to as it is.
///
/// # Errors
/// [`Error::Replace`] with the path and the system's reason.
pub fn write_atomically(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let special = std::fs::metadata(&target).is_ok_and(|found| !found.is_file() && !found.is_dir());
    let written = if special { write_through(&target, fill) } else { write(&target, fill, Over::Anything) };
    written.map_err(|answer| Error::Replace { path: path.to_path_buf(), answer })
}

/// The same where nothing is yet: of several processes that write one file at once, one does. Whether it was this one;
/// if not, what is there is whole.
///
/// # Errors
/// [`Error::Replace`] with the path and the system's reason.
pub fn write_new_atomically(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<bool> {
    let path = path.as_ref();
    match write(path, fill, Over::Nothing) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(answer) => Err(Error::Replace { path: path.to_path_buf(), answer }),
    }
}

/// What a file may replace.
enum Over {
    Anything,
    Nothing,
}

fn write_through(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::new(File::options().write(true).open(path)?);
    fill(&mut writer)?;
    writer.flush()
}

fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>, over: Over) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(UNFINISHED);
    #[cfg(unix)]
    {
        // As any new file, less the umask: others may read a checkpoint.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    // Dropping `temporary` on any way out but the last deletes the file.
    let (file, temporary) = builder.tempfile_in(directory)?.into_parts();
    let mut writer = BufWriter::new(file);
    fill(&mut writer)?;
    writer.flush()?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    drop(file);
    match over {
        Over::Anything => temporary.persist(path),
        Over::Nothing => temporary.persist_noclobber(path),
    }
    .map_err(|error| error.error)?;
    sync_directory(directory)
}

/// Makes a rename or a new name survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}
