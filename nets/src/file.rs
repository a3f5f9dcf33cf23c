//! Files from outside, whole and within a bound.

use std::fs::File;
use std::io::{Error, Read, Result};
use std::path::Path;

/// The bytes of a file of at most `max`.
///
/// # Errors
/// When it is larger, cannot be read, or is no file: a pipe or a device need not have an end.
pub(crate) fn read_file(path: &Path, max: u64) -> Result<Vec<u8>> {
    // Asked before opening, as opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Error::other("expected a file, found a folder, a pipe or a device"));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(metadata.len().min(max) as usize).map_err(Error::other)?;
    // The file may grow meanwhile: what is read counts, not what was said.
    File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(Error::other(format!("expected at most {max} bytes, found {} or more", bytes.len())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_within_the_bound_are_read() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ten");
        std::fs::write(&path, [7; 10])?;
        assert_eq!(read_file(&path, 10)?, [7; 10]);
        assert_eq!(read_file(&path, 9).unwrap_err().to_string(), "expected at most 9 bytes, found 10 or more");
        assert!(read_file(folder.path(), 9).unwrap_err().to_string().starts_with("expected a file"));
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_refused() {
        assert!(read_file(Path::new("/dev/zero"), 9).unwrap_err().to_string().starts_with("expected a file"));
    }
}
