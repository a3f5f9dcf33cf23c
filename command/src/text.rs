//! Files that people name, within a bound: a device needs no end, and a pipe may never begin.

use crate::{Error, Result};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The text of a file of at most `most` bytes.
///
/// # Errors
/// When it can't be read, is longer, or is no text.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::other(format!("expected at most {most} bytes, found more")));
        }
        String::from_utf8(bytes).map_err(|_| io::Error::other("expected text in UTF-8, found other bytes"))
    };
    read().map_err(Error::reading(path))
}

/// Opens what must be a file, or a link to one.
///
/// # Errors
/// When it can't be opened, or is a folder, a pipe or a device, whose content is never the same twice.
pub fn open_file(path: &Path) -> io::Result<File> {
    // Asked before opening, as opening a pipe waits for its writer.
    if std::fs::metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(io::Error::other("expected a file, found a folder, a pipe or a device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_the_bound_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "ten bytes.").unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "ten bytes.");
        let refusal = |path: &Path, most| read_text(path, most).unwrap_err().to_string();
        assert!(refusal(&path, 9).contains("expected at most 9 bytes, found more"));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(refusal(&path, 9).contains("expected text in utf-8"));
        #[cfg(unix)]
        assert!(refusal(Path::new("/dev/zero"), 9).contains("found more"));
    }
}
