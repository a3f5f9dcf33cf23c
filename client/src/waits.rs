//! How long a trainer stood waiting for its batches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Waits in seconds, one for each batch taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waits {
    // Four bytes a batch: a training of a hundred million images keeps a few megabytes.
    seconds: Vec<f32>,
}

impl Waits {
    fn push(&mut self, waited: Duration) {
        self.seconds.push(waited.as_secs_f32());
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.seconds.len()
    }

    /// All of them together, in seconds.
    pub fn total(&self) -> f64 {
        self.seconds.iter().map(|&seconds| f64::from(seconds)).sum()
    }

    /// The wait that a share of all waits does not exceed (nearest rank), in seconds: 0.5 is the
    /// median. 0 where there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f32::total_cmp);
        let rank = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).map_or(0.0, |&seconds| seconds.into())
    }
}

/// Where waits are written down; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitLog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    books: Mutex<Books>,
    /// Whether the training loop itself says how long it waited.
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct Books {
    waits: Waits,
    /// Those that no server was told of yet.
    unreported: Vec<f32>,
}

impl WaitLog {
    /// Notes how long a batch was waited for inside the source, where nobody knows better.
    pub(crate) fn waited_inside(&self, waited: Duration) {
        if !self.shared.told.load(Ordering::Relaxed) {
            self.push(waited);
        }
    }

    /// For a training loop that says itself how long it waited.
    pub(crate) fn recorder(&self) -> impl Fn(Duration) + Send + use<> {
        self.shared.told.store(true, Ordering::Relaxed);
        let log = self.clone();
        move |waited| log.push(waited)
    }

    /// All waits so far.
    pub(crate) fn waits(&self) -> Waits {
        self.books().waits.clone()
    }

    /// Waits that were not taken before.
    pub(crate) fn take_unreported(&self) -> Vec<f32> {
        std::mem::take(&mut self.books().unreported)
    }

    fn push(&self, waited: Duration) {
        let mut books = self.books();
        books.waits.push(waited);
        // A report that is full drops the rest: its metric is a distribution and can miss some.
        if books.unreported.len() < proto::limits::MAX_REPORTED_WAITS {
            books.unreported.push(waited.as_secs_f32());
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Every change is one push, so a panic elsewhere leaves the books whole.
        self.shared.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_waits_that_occurred() {
        let mut waits = Waits::default();
        assert_eq!(waits.quantile(0.99), 0.0);
        for seconds in (1..=100).rev() {
            waits.push(Duration::from_secs(seconds));
        }
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| waits.quantile(share)), [1.0, 50.0, 99.0, 100.0]);
        assert_eq!((waits.count(), waits.total()), (100, 5050.0));
    }
}
