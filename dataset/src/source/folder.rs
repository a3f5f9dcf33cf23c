//! Listing a folder: names only, links followed, circles noticed.

use std::fs::{self, DirEntry};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Listing;
use crate::decode::Flaw;
use crate::error::{Error, Result};
use crate::layout::{Found, is_hidden};
use crate::report::{Reason, SetAside};

/// Folders below the root that are entered; `wrapper/wrapper/identity/file` needs three, and
/// deeper files would be set aside anyway.
const DEEPEST: usize = 8;

/// Every file below `root`, with its path relative to it. The order is the file system's.
pub(crate) fn list(root: &Path) -> Result<Listing<PathBuf>> {
    let mut listing = Listing { files: Vec::new(), folders: Vec::new(), set_aside: Vec::new() };
    let mut above = vec![fs::canonicalize(root).map_err(Error::io(root))?];
    let entries = read_all(root).map_err(Error::io(root))?;
    enter(entries, String::new(), &mut above, &mut listing);
    Ok(listing)
}

fn read_all(folder: &Path) -> std::io::Result<Vec<DirEntry>> {
    fs::read_dir(folder)?.collect()
}

/// `above` holds the true paths of the folders on the way down, to notice links that lead back up.
fn enter(entries: Vec<DirEntry>, prefix: String, above: &mut Vec<PathBuf>, listing: &mut Listing<PathBuf>) {
    for entry in entries {
        let place = entry.path();
        let name = match entry.file_name().into_string() {
            Ok(name) => name,
            Err(name) if name.to_string_lossy().starts_with('.') => continue,
            Err(name) => {
                let path = format!("{prefix}{}", name.to_string_lossy());
                listing.set_aside.push(SetAside { path, reason: Reason::NotUtf8 });
                continue;
            }
        };
        let path = format!("{prefix}{name}");
        if is_hidden(&name) {
            // Listed, so that it is counted, but never entered.
            listing.files.push(Found { path, place });
            continue;
        }
        let reason = match fs::metadata(&place) {
            Ok(kind) if kind.is_file() => {
                listing.files.push(Found { path, place });
                continue;
            }
            Ok(kind) if kind.is_dir() => match fs::canonicalize(&place) {
                // Also what leads to where the set itself lies, as a link to `/`.
                Ok(true_path) if above.iter().any(|above| above.starts_with(&true_path)) => Reason::Link,
                Ok(_) if above.len() > DEEPEST => Reason::Nested,
                Ok(true_path) => match read_all(&place) {
                    Ok(inside) => {
                        above.push(true_path);
                        enter(inside, format!("{path}/"), above, listing);
                        above.pop();
                        listing.folders.push(path);
                        continue;
                    }
                    Err(error) => Reason::Unreadable(error.to_string()),
                },
                Err(error) => Reason::Unreadable(error.to_string()),
            },
            Ok(_) => Reason::Special,
            Err(_) if entry.file_type().is_ok_and(|kind| kind.is_symlink()) => Reason::Link,
            Err(error) => Reason::Unreadable(error.to_string()),
        };
        listing.set_aside.push(SetAside { path, reason });
    }
}

/// The bytes of one file; one of more than `most` is refused unread.
pub(crate) fn read(place: &Path, most: u64) -> std::io::Result<Result<Vec<u8>, Flaw>> {
    let file = fs::File::open(place)?;
    let bytes = file.metadata()?.len();
    if bytes > most {
        return Ok(Err(Flaw::TooLarge { bytes, most }));
    }
    let mut content = Vec::with_capacity(bytes as usize);
    // Bounded also when the file grows meanwhile.
    file.take(most).read_to_end(&mut content)?;
    Ok(Ok(content))
}
