//! Which bundle makes which batch: a table of ascending indices.

use super::Loaded;
use std::sync::Arc;

/// From an index on, a bundle.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) first: u64,
    pub(crate) bundle: Arc<Loaded>,
}

/// The bundles of a stream, from some index on. Never empty; indices ascend.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    entries: Vec<Entry>,
}

impl Declared {
    /// One bundle from `first` on.
    pub(crate) fn new(first: u64, bundle: Arc<Loaded>) -> Self {
        Self { entries: vec![Entry { first, bundle }] }
    }

    /// Another bundle from an index on that comes after all others'.
    pub(crate) fn then(mut self, entry: Entry) -> Self {
        self.push(entry);
        self
    }

    pub(super) fn push(&mut self, entry: Entry) {
        debug_assert!(self.last().first < entry.first, "indices ascend");
        self.entries.push(entry);
    }

    /// The bundle of a batch.
    pub(crate) fn at(&self, index: u64) -> &Arc<Loaded> {
        let after = self.entries.partition_point(|entry| entry.first <= index);
        &self.entries[after.saturating_sub(1)].bundle
    }

    pub(crate) fn last(&self) -> &Entry {
        &self.entries[self.entries.len() - 1]
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Lets go of the bundles that make no batch from `index` on.
    pub(crate) fn forget_before(&mut self, index: u64) {
        let after = self.entries.partition_point(|entry| entry.first <= index);
        self.entries.drain(..after.saturating_sub(1));
    }
}
