//! Listing a tar: one pass over its headers, after which every image is one `pread` away.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use tar::EntryType;

use super::{Listing, Stretch};
use crate::error::{Error, Result};
use crate::layout::Found;
use crate::report::{Reason, SetAside};

/// Size of a header and of the end's mark; contents are filled up to a multiple of it.
const BLOCK: u64 = 512;

/// Every plain file of the tar. Of several entries with one path the last counts, as when
/// unpacking; a hard link counts as the file that it repeats.
pub(crate) fn list(path: &Path) -> Result<(File, Listing<Stretch>)> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    refuse_other_files(&mut file, path)?;
    let size = file.metadata().map_err(Error::io(path))?.len();

    let mut files: HashMap<String, Result<Stretch, Reason>> = HashMap::new();
    let (mut folders, mut set_aside) = (Vec::new(), Vec::new());
    let mut end = 0;
    let mut archive = tar::Archive::new(file.try_clone().map_err(Error::io(path))?);
    for entry in archive.entries_with_seek().map_err(Error::io(path))? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(_) if end == 0 => return Err(Error::NotATar { path: path.into() }),
            Err(_) => return Err(Error::TarCutShort { path: path.into(), at: end }),
        };
        let stretch = Stretch { offset: entry.raw_file_position(), length: entry.size() };
        let kind = entry.header().entry_type();
        let stored = match kind {
            // Its size counts the holes too, which the archive doesn't hold.
            EntryType::GNUSparse => entry.header().entry_size().unwrap_or(stretch.length),
            _ => stretch.length,
        };
        end = stretch.offset.saturating_add(stored);
        if end > size {
            return Err(Error::TarCutShort { path: path.into(), at: stretch.offset });
        }
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader | EntryType::GNULongName) {
            continue;
        }
        let Some(name) = inner_name(&entry.path_bytes()) else {
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            set_aside.push(SetAside { path, reason: Reason::NotUtf8 });
            continue;
        };
        let place = match kind {
            EntryType::Directory => {
                folders.push(name);
                continue;
            }
            EntryType::Regular | EntryType::Continuous => Ok(stretch),
            EntryType::Link => {
                let target = entry.link_name_bytes().and_then(|name| inner_name(&name));
                target.and_then(|target| files.get(&target).cloned()).unwrap_or(Err(Reason::Link))
            }
            EntryType::Symlink => Err(Reason::Link),
            _ => Err(Reason::Special),
        };
        files.insert(name, place);
    }

    // Without this a tar that was cut between two entries would pass for a whole one.
    if !ends_properly(&file, end).map_err(Error::io(path))? {
        return Err(Error::TarCutShort { path: path.into(), at: end });
    }

    let mut listing = Listing { files: Vec::new(), folders, set_aside };
    for (path, place) in files {
        match place {
            Ok(place) => listing.files.push(Found { path, place }),
            Err(reason) => listing.set_aside.push(SetAside { path, reason }),
        }
    }
    Ok((file, listing))
}

/// Whether a block of zeros stands behind the last entry. The format asks for two, but a second one
/// that is missing loses nothing.
fn ends_properly(mut file: &File, end: u64) -> std::io::Result<bool> {
    let mut block = Vec::new();
    file.seek(SeekFrom::Start(end.next_multiple_of(BLOCK)))?;
    file.take(BLOCK).read_to_end(&mut block)?;
    Ok(block.len() as u64 == BLOCK && block.iter().all(|&byte| byte == 0))
}

/// Paths in a tar may begin with `./` or `/`; a path is a name here and is never opened. None for
/// one that is not UTF-8.
fn inner_name(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    Some(parts.join("/"))
}

fn refuse_other_files(file: &mut File, path: &Path) -> Result<()> {
    let mut start = Vec::new();
    file.take(BLOCK).read_to_end(&mut start).map_err(Error::io(path))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::io(path))?;
    let with = match start.as_slice() {
        [0x1f, 0x8b, ..] => "gzip",
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "zip",
        start if (start.len() as u64) < BLOCK => return Err(Error::NotATar { path: path.into() }),
        _ => return Ok(()),
    };
    Err(Error::Compressed { path: path.into(), with })
}
