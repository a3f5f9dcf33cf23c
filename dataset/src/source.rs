//! Where bytes come from: a folder, a tar, or the drawing itself.

mod archive;
mod folder;

use std::fs::File;
use std::path::Path;

pub(crate) use archive::list as list_archive;
pub(crate) use folder::{list as list_folder, read as read_folder};

use crate::error::{Error, Result};
use crate::report::SetAside;

/// What listing a source found: files with their places, and what can't be one.
pub(crate) struct Listing<P> {
    pub(crate) files: Vec<crate::layout::Found<P>>,
    pub(crate) folders: Vec<String>,
    pub(crate) set_aside: Vec<SetAside>,
}

/// A stretch of bytes of an archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Reads a stretch without moving any cursor, so that many threads can share one handle.
pub(crate) fn read_stretch(file: &File, path: &Path, stretch: Stretch) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; stretch.length as usize];
    match file.read_exact_at(&mut bytes, stretch.offset) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Error::TarCutShort { path: path.into(), at: stretch.offset })
        }
        Err(error) => Err(Error::io(path)(error)),
    }
}
