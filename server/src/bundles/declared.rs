//! Which bundle, and which sampling table, makes which batch: tables of ascending indices.

use super::Loaded;
use crate::plan::table::Table;
use std::sync::Arc;

/// From an index on, a bundle or a sampling table.
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub(crate) first: u64,
    pub(crate) what: T,
}

/// The bundles of a stream, or its sampling tables, from some index on. Never empty; indices ascend.
#[derive(Clone, Debug)]
pub(crate) struct Declared<T> {
    entries: Vec<Entry<T>>,
}

/// Whatever makes the batches of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) bundles: Declared<Arc<Loaded>>,
    /// It begins without one.
    pub(crate) tables: Declared<Option<Arc<Table>>>,
}

/// What a stream wants to be made by.
#[derive(Clone, Debug)]
pub(crate) enum Wanted<T> {
    /// What is declared, and nothing else.
    Closed(Declared<T>),
    /// What is declared, if anything, and newer ones as they come.
    Follow(Option<Declared<T>>),
}

impl<T> Declared<T> {
    /// One from `first` on.
    pub(crate) fn new(first: u64, what: T) -> Self {
        Self { entries: vec![Entry { first, what }] }
    }

    /// Another one from an index on that comes after all others'.
    pub(crate) fn then(mut self, entry: Entry<T>) -> Self {
        self.push(entry);
        self
    }

    pub(super) fn push(&mut self, entry: Entry<T>) {
        debug_assert!(self.last().first < entry.first, "indices ascend");
        self.entries.push(entry);
    }

    /// The one of a batch.
    pub(crate) fn at(&self, index: u64) -> &T {
        let after = self.entries.partition_point(|entry| entry.first <= index);
        &self.entries[after.saturating_sub(1)].what
    }

    pub(crate) fn last(&self) -> &Entry<T> {
        &self.entries[self.entries.len() - 1]
    }

    pub(crate) fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }

    /// Lets go of those that make no batch from `index` on.
    pub(crate) fn forget_before(&mut self, index: u64) {
        let after = self.entries.partition_point(|entry| entry.first <= index);
        self.entries.drain(..after.saturating_sub(1));
    }
}

impl<T> Wanted<T> {
    /// What is declared, if anything.
    pub(crate) fn declared(self) -> Option<Declared<T>> {
        match self {
            Self::Closed(declared) => Some(declared),
            Self::Follow(declared) => declared,
        }
    }
}

impl Course {
    /// Lets go of what makes no batch from `index` on.
    pub(crate) fn forget_before(&mut self, index: u64) {
        self.bundles.forget_before(index);
        self.tables.forget_before(index);
    }
}
