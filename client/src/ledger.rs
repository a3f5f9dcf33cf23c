//! The list of batches that were read: a line of JSON for each, in order, in a file that grows.
//!
//! A training keeps one beside its checkpoints, the map from index to digest; an export's has every
//! column of the batches too, so that with the images it gives the digests again. A line counts once
//! it is whole: what a killed process left of one is dropped.

use crate::{Error, Result};
use command::Error as Trouble;
use proto::digest::{Sequence, hex};
use proto::v1;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The longest line, in bytes: a batch of 1024 rows with five parents each has a tenth of that.
const LONGEST: u64 = 4 << 20;

/// One batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its digest, as 64 hexadecimal digits.
    pub digest: String,
    /// Everything that the digest is of, but for the pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<v1::Batch>,
}

/// A list that this process adds to.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    /// Held for its lock, too.
    file: File,
    /// Index of the first entry, if there is one.
    first: Option<u64>,
    /// Number of entries.
    count: u64,
    sequence: Sequence,
}

impl Entry {
    /// A batch without its columns.
    pub fn new(index: u64, digest: &[u8; 32]) -> Self {
        Self { index, digest: hex(digest), columns: None }
    }

    /// The digest's bytes; `None` where it is none.
    pub fn bytes(&self) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        let digits = self.digest.as_bytes();
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        (digits.len() == 64).then_some(bytes)
    }
}

impl Ledger {
    /// Opens a list, new or to go on with. Entries from `end` on are dropped, and what a crash left of
    /// a line; all others are shown to `look`.
    ///
    /// # Errors
    /// [`command::Error::Locked`] where another process writes; a line that is no entry; trouble with
    /// the file.
    pub fn open(path: &Path, end: u64, look: impl FnMut(&Entry)) -> Result<Self> {
        let mut options = File::options();
        let file = options.create(true).truncate(false).read(true).write(true).open(path);
        let file = file.map_err(Trouble::writing(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Trouble::Locked(path.to_owned()).into()),
            Err(TryLockError::Error(error)) => return Err(Trouble::writing(path)(error).into()),
        }
        let mut ledger = Self { path: path.to_owned(), file, first: None, count: 0, sequence: Sequence::new() };
        ledger.keep_up_to(end, look)?;
        Ok(ledger)
    }

    /// Drops the entries from `end` on.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn rewind(&mut self, end: u64) -> Result<()> {
        self.keep_up_to(end, |_| {})
    }

    /// Adds an entry, which must be the next one; the first one may be any.
    ///
    /// # Errors
    /// [`command::Error::Write`]; what was there before stays whole.
    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        let digest = self.accept(entry)?;
        let mut line = serde_json::to_vec(entry).map_err(|error| self.damaged("an entry", &error.to_string()))?;
        line.push(b'\n');
        // In one piece, and past this process at once: it may be killed the next moment.
        self.file.write_all(&line).map_err(Trouble::writing(&self.path))?;
        self.count_in(entry.index, &digest);
        Ok(())
    }

    /// Makes it survive a power cut.
    ///
    /// # Errors
    /// [`command::Error::Write`].
    pub fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data().map_err(Trouble::writing(&self.path))?)
    }

    /// Index of the first entry, and how many there are.
    pub fn range(&self) -> Option<(u64, u64)> {
        self.first.map(|first| (first, self.count))
    }

    /// Index of the next entry; `None` where any may be.
    pub fn next(&self) -> Option<u64> {
        self.range().map(|(first, count)| first + count)
    }

    /// Over all entries.
    pub fn digest(&self) -> String {
        self.sequence.hex()
    }

    fn keep_up_to(&mut self, end: u64, mut look: impl FnMut(&Entry)) -> Result<()> {
        (self.first, self.count, self.sequence) = (None, 0, Sequence::new());
        self.file.rewind().map_err(Trouble::reading(&self.path))?;
        let mut lines = Lines::new(self.file.try_clone().map_err(Trouble::reading(&self.path))?, &self.path);
        let mut kept = 0;
        while let Some(entry) = lines.next_entry()?.filter(|entry| entry.index < end) {
            let digest = self.accept(&entry)?;
            look(&entry);
            self.count_in(entry.index, &digest);
            kept = lines.read;
        }
        let cut = |file: &mut File| file.set_len(kept).and_then(|()| file.seek(SeekFrom::Start(kept)));
        cut(&mut self.file).map_err(Trouble::writing(&self.path))?;
        Ok(())
    }

    /// The digest of an entry that may come next.
    fn accept(&self, entry: &Entry) -> Result<[u8; 32]> {
        if let Some(next) = self.next().filter(|&next| next != entry.index) {
            return Err(self.damaged(&format!("batch {next}"), &format!("batch {}", entry.index)));
        }
        entry.bytes().ok_or_else(|| self.damaged("64 hexadecimal digits as a digest", &format!("{:?}", entry.digest)))
    }

    fn count_in(&mut self, index: u64, digest: &[u8; 32]) {
        self.first.get_or_insert(index);
        self.count += 1;
        self.sequence.push(index, digest);
    }

    fn damaged(&self, expected: &str, found: &str) -> Error {
        damaged(&self.path, expected, found)
    }
}

/// The entries of a list, in order.
pub struct Lines<From> {
    path: PathBuf,
    from: BufReader<From>,
    /// Bytes of the lines read.
    read: u64,
}

impl Lines<File> {
    /// Those of a file.
    ///
    /// # Errors
    /// [`command::Error::Read`].
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::new(command::open_file(path).map_err(Trouble::reading(path))?, path))
    }
}

impl<From: Read> Lines<From> {
    fn new(from: From, path: &Path) -> Self {
        Self { path: path.to_owned(), from: BufReader::new(from), read: 0 }
    }

    /// The next entry; `None` at the end, or at a line that was never finished.
    ///
    /// # Errors
    /// A line that is no entry.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut line = Vec::new();
        let read = (&mut self.from).take(LONGEST).read_until(b'\n', &mut line);
        read.map_err(Trouble::reading(&self.path))?;
        if line.last() != Some(&b'\n') {
            let found = || damaged(&self.path, &format!("lines of at most {LONGEST} bytes"), "a longer one");
            return if line.len() as u64 == LONGEST { Err(found()) } else { Ok(None) };
        }
        self.read += line.len() as u64;
        let entry = serde_json::from_slice(&line);
        entry.map(Some).map_err(|error| damaged(&self.path, "the entry of a batch in each line", &error.to_string()))
    }
}

fn damaged(path: &Path, expected: &str, found: &str) -> Error {
    let (path, expected, found) = (path.to_owned(), expected.to_owned(), found.to_owned());
    Trouble::Damaged { path, expected, found }.into()
}
