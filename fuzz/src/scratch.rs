//! A folder for decoders that read files.

use std::path::PathBuf;
use tempfile::TempDir;

/// A new folder, in memory where the system has such a place: inputs come by the thousand.
pub(crate) fn folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a place for temporary files")
}
