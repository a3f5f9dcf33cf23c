//! A stream whose batches are written down: what a training was trained on, so that it can be
//! published, and proven.
//!
//! In the run directory, `batches.jsonl` has the digest of each batch, and `recipe.toml`, written with
//! each checkpoint, is the recipe of all that was learned from up to it. A checkpoint's place names the
//! digest, so that a list that lost something is noticed when the training goes on.

use crate::ledger::{Entry, Ledger};
use crate::{Place, Recipe, Result, StreamSource};
use recognizer::{Batch, BatchSource, CheckpointRecorder, LatePlace, SourceError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The recipe's name in a run directory.
pub const RECIPE: &str = "recipe.toml";
/// The list's name in a run directory.
pub const BATCHES: &str = "batches.jsonl";
/// Where a place keeps [`TrainedOn`].
const TRAINED_ON: &str = "trained_on";

/// A stream that is written down in a run directory.
pub struct Recorded {
    source: StreamSource,
    run: PathBuf,
    ledger: Arc<Mutex<Ledger>>,
}

/// What came out of the stream up to a place.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct TrainedOn {
    /// Index of the first batch.
    first: u64,
    /// Over all batches from there up to the place.
    digest: String,
}

impl Recorded {
    /// Writes down what `source` gives in the run directory `run`.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn new(source: StreamSource, run: &Path) -> Result<Self> {
        let ledger = Ledger::open(&run.join(BATCHES), u64::MAX, |_| {})?;
        Ok(Self { source, run: run.to_owned(), ledger: Arc::new(Mutex::new(ledger)) })
    }

    /// The stream itself.
    pub fn stream(&self) -> &StreamSource {
        &self.source
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        unpoisoned(&self.ledger)
    }

    fn write_down(&self, index: u64, digest: &[u8; 32]) -> Result<()> {
        let mut ledger = self.ledger();
        if ledger.next().is_some_and(|next| next != index) {
            // From an earlier session that came further than its last checkpoint.
            ledger.rewind(index)?;
        }
        if ledger.next().is_some_and(|next| next != index) {
            ledger.rewind(0)?;
        }
        ledger.push(&Entry::new(index, digest))
    }
}

fn unpoisoned(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    // A writer that panicked has at worst left half a line, which is dropped when the list is read.
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the recipe of everything up to a place.
fn record(run: &Path, ledger: &Mutex<Ledger>, place: &Value) -> Result<(), SourceError> {
    let refuse = |error: serde_json::Error| SourceError::Place(format!("expected its own place, found {error}"));
    let Some(trained_on) = place.get(TRAINED_ON) else { return Ok(()) };
    let TrainedOn { first, digest } = TrainedOn::deserialize(trained_on).map_err(refuse)?;
    let place = Place::deserialize(place).map_err(refuse)?;
    unpoisoned(ledger).sync()?;
    Ok(Recipe::of(&place, first, place.next.saturating_sub(first), digest).write(&run.join(RECIPE))?)
}

impl BatchSource for Recorded {
    fn classes(&self) -> usize {
        self.source.classes()
    }

    fn channels(&self) -> usize {
        self.source.channels()
    }

    fn batch_size(&self) -> usize {
        self.source.batch_size()
    }

    fn next(&mut self) -> Result<Batch, SourceError> {
        let received = self.source.next_received()?;
        self.write_down(received.batch.index, &received.digest)?;
        Ok(self.source.labelled(received))
    }

    fn place(&self) -> Value {
        self.place_later()()
    }

    fn place_later(&self) -> LatePlace {
        let ledger = self.ledger();
        // Before the first batch of a session the list may still hold what an earlier one read ahead.
        let range = ledger.range().filter(|_| ledger.next() == Some(self.source.next_index()));
        let trained_on = range.map(|(first, _)| TrainedOn { first, digest: ledger.digest() });
        let place = self.source.place_later();
        Box::new(move || {
            let mut place = place();
            if let Some(trained_on) = &trained_on {
                place[TRAINED_ON] = serde_json::to_value(trained_on).unwrap_or_default();
            }
            place
        })
    }

    fn resume(&mut self, place: &Value) -> Result<(), SourceError> {
        self.source.resume(place)?;
        let next = self.source.current_place().next;
        let mut ledger = self.ledger();
        ledger.rewind(next)?;
        let found = ledger.range().map(|(first, _)| TrainedOn { first, digest: ledger.digest() });
        let expected = place.get(TRAINED_ON).and_then(|place| TrainedOn::deserialize(place).ok());
        if found != expected {
            command::say(format!(
                "{} is not what the checkpoint was trained on; its recipe will begin at batch {next}",
                self.run.join(BATCHES).display()
            ));
            ledger.rewind(0)?;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        self.source.describe()
    }

    fn class_names(&self) -> Vec<String> {
        self.source.class_names()
    }

    fn dataset_digest(&self) -> Option<String> {
        self.source.dataset_digest()
    }

    fn stopper(&self) -> Option<Box<dyn FnOnce() + Send>> {
        self.source.stopper()
    }

    fn loss_recorder(&self) -> Option<recognizer::LossRecorder> {
        self.source.loss_recorder()
    }

    fn wait_recorder(&self) -> Option<Box<dyn Fn(Duration) + Send>> {
        self.source.wait_recorder()
    }

    fn checkpoint_recorder(&self) -> Option<CheckpointRecorder> {
        let (run, ledger) = (self.run.clone(), self.ledger.clone());
        Some(Box::new(move |place| record(&run, &ledger, place)))
    }
}
