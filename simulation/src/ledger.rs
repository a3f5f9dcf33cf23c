//! What was seen, held against the promises.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Lines of a story that are kept for its end.
const REMEMBERED: usize = 400;

/// Writes down what happens in a world; clones write into the same book.
#[derive(Clone)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
    began: Instant,
    broken: CancellationToken,
}

#[derive(Default)]
struct Book {
    hash: blake3::Hasher,
    lines: VecDeque<String>,
    counts: BTreeMap<&'static str, u64>,
    rows: HashMap<RowKey, RowSeen>,
    /// Generated rows by their pixels, so that none is seen twice.
    faces: HashMap<(u64, [u8; 16]), (u64, u32)>,
    broken: Option<String>,
}

/// Which row of which stream, by whose weights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowKey {
    /// Of the spec.
    pub stream: u64,
    /// Digest of the bundle.
    pub bundle: String,
    /// Of the batch.
    pub index: u64,
    /// Within the global batch.
    pub row: u32,
}

/// What a row was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSeen {
    /// Of everything that came with it.
    pub digest: [u8; 16],
    /// Of its pixels, where they were generated from a latent of the prior.
    pub face: Option<[u8; 16]>,
}

/// How a world went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The same for the same story.
    pub hash: String,
    /// How often each kind of event happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Of the world.
    pub seed: u64,
    /// In a sentence.
    pub promise: String,
    /// The last lines of the story.
    pub lines: Vec<String>,
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {} breaks a promise: {}\nplay it again: simulate --seed {}", self.seed, self.promise, self.seed)
    }
}

impl std::error::Error for Failure {}

impl Ledger {
    /// An empty book, begun now.
    pub fn new() -> Self {
        Self { book: Arc::default(), began: Instant::now(), broken: CancellationToken::new() }
    }

    /// Something happened.
    pub fn event(&self, kind: &'static str, detail: impl Display) {
        let line = format!("{:9.3} s  {kind}: {detail}", self.began.elapsed().as_secs_f64());
        let mut book = self.book();
        book.hash.update(line.as_bytes());
        *book.counts.entry(kind).or_default() += 1;
        if book.lines.len() == REMEMBERED {
            book.lines.pop_front();
        }
        book.lines.push_back(line);
    }

    /// A promise is broken. The first one is kept, and ends the world.
    pub fn broken(&self, promise: impl Display) {
        self.event("BROKEN", &promise);
        self.book().broken.get_or_insert_with(|| promise.to_string());
        self.broken.cancel();
    }

    /// Breaks a promise unless something holds.
    pub fn check(&self, holds: bool, promise: impl FnOnce() -> String) {
        if !holds {
            self.broken(promise());
        }
    }

    /// Waits until a promise is broken.
    pub async fn until_broken(&self) {
        self.broken.cancelled().await;
    }

    /// A row came. One that came before must be the same.
    pub fn row(&self, key: RowKey, seen: RowSeen) {
        let mut broken = None;
        let mut book = self.book();
        if let Some(face) = seen.face {
            let place = (key.index, key.row);
            let first = *book.faces.entry((key.stream, face)).or_insert(place);
            if first != place {
                broken = Some(format!("one face is in rows {first:?} and {place:?} of stream {:x}", key.stream));
            }
        }
        match book.rows.get(&key) {
            Some(before) if *before != seen => {
                broken = Some(format!("{key:?} changed: it was {before:?} and is {seen:?}"));
            }
            Some(_) => {}
            None => drop(book.rows.insert(key, seen)),
        }
        drop(book);
        if let Some(broken) = broken {
            self.broken(broken);
        }
    }

    /// Some of the rows that came, evenly over all of them, in order.
    pub fn some_batches(&self, count: usize) -> Vec<RowKey> {
        let book = self.book();
        let mut batches: Vec<RowKey> = book.rows.keys().filter(|key| key.row == 0).cloned().collect();
        batches.sort_by(|a, b| (a.stream, a.index, &a.bundle).cmp(&(b.stream, b.index, &b.bundle)));
        let step = (batches.len() / count.max(1)).max(1);
        batches.into_iter().step_by(step).take(count).collect()
    }

    /// The end: the story, or the promise that was broken.
    pub fn close(&self, seed: u64) -> Result<Story, Failure> {
        let book = self.book();
        match &book.broken {
            Some(promise) => {
                let lines = book.lines.iter().cloned().collect();
                Err(Failure { seed, promise: promise.clone(), lines })
            }
            None => Ok(Story { hash: book.hash.finalize().to_hex().to_string(), counts: book.counts.clone() }),
        }
    }

    /// The lines written last.
    pub fn lines(&self) -> Vec<String> {
        self.book().lines.iter().cloned().collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}
