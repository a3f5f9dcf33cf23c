//! Rows as members of tars, in the form that WebDataset reads: `KEY.png`, `KEY.cls`, `KEY.json`.
//!
//! A tar holds whole batches and is written under another name until it is whole. One that was
//! interrupted is cut behind its last whole batch, and goes on there: with the same rows it ends as the
//! same bytes, as its members have neither owner nor time.

use super::place::ExportPlace;
use super::rows::Row;
use crate::{Error, Result};
use command::Error as Trouble;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Members of a row.
pub(super) const MEMBERS: [&str; 3] = ["png", "cls", "json"];

/// Which batches are in which tar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    /// Batches of a tar; all of them for one tar.
    batches: u64,
    /// Of a batch.
    rows: u64,
}

/// The tar that is being written.
pub(super) struct Shards {
    place: ExportPlace,
    division: Division,
    current: Option<Shard>,
}

struct Shard {
    number: u64,
    path: PathBuf,
    tar: tar::Builder<BufWriter<File>>,
}

impl Division {
    pub(super) fn new(place: &ExportPlace, rows: usize) -> Self {
        let rows = (rows as u64).max(1);
        Self { batches: place.shard_images().map_or(u64::MAX, |images| (images / rows).max(1)), rows }
    }

    /// The tar of the batch at a position, counted from the export's first.
    pub(super) fn shard(self, position: u64) -> u64 {
        position / self.batches
    }

    /// Batches of that tar that lie before the position.
    fn before(self, position: u64) -> u64 {
        position % self.batches
    }
}

impl Shards {
    /// Goes on behind the first `written` batches.
    pub(super) fn open(place: &ExportPlace, division: Division, written: u64) -> Result<Self> {
        let mut shards = Self { place: place.clone(), division, current: None };
        if let Some(last) = written.checked_sub(1) {
            // The last one may be whole but for its end; it is brought to it again, to the same bytes.
            let number = division.shard(last);
            shards.current = Some(shards.reopen(number, division.before(last) + 1)?);
        }
        Ok(shards)
    }

    /// Adds the batch at a position. It is past this process when this returns.
    pub(super) fn write(&mut self, position: u64, rows: &[Row], provenance: &[String]) -> Result<u64> {
        let number = self.division.shard(position);
        if self.current.as_ref().is_some_and(|shard| shard.number != number) {
            self.finish()?;
        }
        let shard = match self.current.take() {
            Some(shard) => shard,
            None => self.create(number)?,
        };
        let Shard { path, tar, .. } = self.current.insert(shard);
        let mut bytes = 0;
        let mut append = |tar: &mut tar::Builder<_>, name: String, content: &[u8]| {
            bytes += content.len() as u64;
            tar.append_data(&mut header(content.len()), name, content)
        };
        for (row, provenance) in rows.iter().zip(provenance) {
            let class = row.class.to_string();
            let contents = [&row.png[..], class.as_bytes(), provenance.as_bytes()];
            for (member, content) in MEMBERS.iter().zip(contents) {
                append(tar, format!("{}.{member}", row.key), content).map_err(Trouble::writing(&*path))?;
            }
        }
        tar.get_mut().flush().map_err(Trouble::writing(&*path))?;
        Ok(bytes)
    }

    /// Gives the tar that is being written its name.
    pub(super) fn finish(&mut self) -> Result<()> {
        let Some(Shard { path, tar, .. }) = self.current.take() else { return Ok(()) };
        let close = || {
            let file = tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(ExportPlace::half(&path), &path)
        };
        Ok(close().map_err(Trouble::writing(&path))?)
    }

    fn create(&self, number: u64) -> Result<Shard> {
        let path = self.place.shard(number);
        let half = ExportPlace::half(&path);
        let file = File::create(&half).map_err(Trouble::writing(&path))?;
        Ok(Shard { number, path, tar: tar::Builder::new(BufWriter::new(file)) })
    }

    fn reopen(&self, number: u64, batches: u64) -> Result<Shard> {
        let path = self.place.shard(number);
        let half = ExportPlace::half(&path);
        if !half.exists() {
            fs::rename(&path, &half).map_err(Trouble::reading(&path))?;
        }
        let file = File::options().read(true).write(true).open(&half).map_err(Trouble::writing(&half))?;
        let members = batches * self.division.rows * MEMBERS.len() as u64;
        let file = cut_behind(file, &half, members)?;
        Ok(Shard { number, path, tar: tar::Builder::new(BufWriter::new(file)) })
    }
}

/// Cuts a tar behind so many members, and stands there.
fn cut_behind(mut file: File, path: &Path, members: u64) -> Result<File> {
    let end = |file: &File| -> io::Result<(u64, u64)> {
        let (mut found, mut end) = (0, 0);
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek()?.take(members as usize) {
            // Cut short within a member: what follows is not whole.
            let Ok(entry) = entry else { break };
            end = (entry.raw_file_position() + entry.size()).next_multiple_of(512);
            found += 1;
        }
        Ok((found, end))
    };
    let (found, end) = end(&file).map_err(Trouble::reading(path))?;
    if found < members || file.metadata().map_err(Trouble::reading(path))?.len() < end {
        let expected = format!("{members} members, as the list of batches says");
        let found = format!("{found}; remove this export and begin again");
        return Err(Trouble::Damaged { path: path.to_owned(), expected, found }.into());
    }
    file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(Trouble::writing(path))?;
    Ok(file)
}

/// Without owner and time.
fn header(size: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Reads the members of an export's tars in order.
pub(super) struct Members {
    place: ExportPlace,
    number: u64,
    /// The tar that is being read, and where its next member begins.
    open: Option<(File, u64)>,
}

impl Members {
    pub(super) fn new(place: &ExportPlace) -> Self {
        Self { place: place.clone(), number: 0, open: None }
    }

    /// The next member, which must have a name.
    pub(super) fn next(&mut self, name: &str) -> Result<Vec<u8>> {
        loop {
            let path = self.place.shard(self.number);
            let (mut file, at) = match self.open.take() {
                Some(open) => open,
                None => (command::open_file(&path).map_err(Trouble::reading(&path))?, 0),
            };
            match member(&mut file, at).map_err(|error| unreadable(&path, error))? {
                Some((found, content, next)) if found == name => {
                    self.open = Some((file, next));
                    return Ok(content);
                }
                // At its end, another one may follow.
                None if at > 0 && self.place.shard_images().is_some() => self.number += 1,
                found => {
                    let found = found.map_or("none".to_owned(), |(found, ..)| found);
                    let path = path.display();
                    return Err(Error::Differs(format!("{path}: expected {name}, found {found}")));
                }
            }
        }
    }
}

/// The system's trouble with a tar, or the tar's own.
fn unreadable(path: &Path, error: io::Error) -> Trouble {
    if error.raw_os_error().is_some() {
        return Trouble::reading(path)(error);
    }
    let (expected, found) = ("a tar as it was written".to_owned(), format!("a damaged one ({error})"));
    Trouble::Damaged { path: path.to_owned(), expected, found }
}

/// Name, content and end of the member at a place; `None` at the end of the tar.
fn member(file: &mut File, at: u64) -> io::Result<Option<(String, Vec<u8>, u64)>> {
    /// Longer than any of ours.
    const LONGEST: u64 = 1 << 20;
    file.seek(SeekFrom::Start(at))?;
    let mut archive = tar::Archive::new(file);
    let Some(entry) = archive.entries()?.next() else { return Ok(None) };
    let mut entry = entry?;
    let (name, size) = (entry.path()?.to_string_lossy().into_owned(), entry.size());
    let next = (at + entry.raw_file_position() + size).next_multiple_of(512);
    let mut content = Vec::new();
    (&mut entry).take(LONGEST).read_to_end(&mut content)?;
    Ok(Some((name, content, next)))
}
