//! What was declared to a group of streams: of bundles or of sampling tables, which differ only in who
//! holds them.

use crate::{
    bundles::{
        Loaded,
        declared::{Declared, Entry},
    },
    plan::table::Table,
};
use std::sync::{Arc, Weak};

/// What a group keeps of something that makes batches.
pub(super) trait Kept {
    /// What streams hold of it.
    type Held: Clone;

    fn of(held: &Self::Held) -> Self;

    /// `None` when nobody holds it any more: then it makes nobody's batches.
    fn held(&self) -> Option<Self::Held>;

    fn same(a: &Self::Held, b: &Self::Held) -> bool;

    /// Whether it is anything at all: before the first sampling table there is none.
    fn is_something(_held: &Self::Held) -> bool {
        true
    }
}

/// A bundle is held by the streams that will send its batches alone.
impl Kept for Weak<Loaded> {
    type Held = Arc<Loaded>;

    fn of(held: &Arc<Loaded>) -> Self {
        Arc::downgrade(held)
    }

    fn held(&self) -> Option<Arc<Loaded>> {
        self.upgrade()
    }

    fn same(a: &Arc<Loaded>, b: &Arc<Loaded>) -> bool {
        a.digest() == b.digest()
    }
}

/// A sampling table is small.
impl Kept for Option<Arc<Table>> {
    type Held = Self;

    fn of(held: &Self) -> Self {
        held.clone()
    }

    fn held(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn same(a: &Self, b: &Self) -> bool {
        a == b
    }

    fn is_something(held: &Self) -> bool {
        held.is_some()
    }
}

/// The last declarations, in order of index.
#[derive(Debug)]
pub(super) struct Announced<K> {
    /// From which index on they are known.
    since: u64,
    /// Makes the batches up to the first entry of `declared`.
    begun_with: K,
    declared: Vec<(u64, K)>,
    /// How many are kept, for ranks that come back to an earlier batch.
    most: usize,
    /// Up to here some member's own table says who makes the batches, and its reader was told so.
    told: u64,
}

impl<K: Kept> Announced<K> {
    pub(super) fn new(since: u64, begun_with: &K::Held, most: usize) -> Self {
        Self { since, begun_with: K::of(begun_with), declared: Vec::new(), most, told: 0 }
    }

    /// Whether a stream that has `held` at an index is one of those to whom this was declared; it may not
    /// have heard yet of what takes over at that very index.
    pub(super) fn knows(&self, index: u64, held: &K::Held) -> bool {
        let same = |index| self.at(index).is_some_and(|known| K::same(&known, held));
        index >= self.since && (same(index) || same(index.saturating_sub(1)))
    }

    /// The table of a stream that begins at `index`: the one it brings, or else what others have at that
    /// index, or else `otherwise`; then what is declared from there on.
    pub(super) fn join(
        &mut self,
        index: u64,
        brought: Option<Declared<K::Held>>,
        otherwise: K::Held,
    ) -> Declared<K::Held> {
        let mut table = brought.unwrap_or_else(|| Declared::new(index, self.at(index).unwrap_or(otherwise)));
        table.forget_before(index);
        // What it brings may be news to others, and the other way round.
        let declared = table.entries().iter().filter(|entry| entry.first > 0 && K::is_something(&entry.what));
        declared.for_each(|entry| self.declare(entry));
        self.tell(&mut table, index);
        self.told = self.told.max(table.last().first.saturating_add(1));
        table
    }

    /// The first index for which something new may be declared.
    pub(super) fn free(&self) -> u64 {
        self.end().max(self.told)
    }

    /// The first index for which nothing is declared yet.
    pub(super) fn end(&self) -> u64 {
        self.declared.last().map_or(0, |(last, _)| last + 1)
    }

    /// Adds an entry, unless something was declared for that index or a later one already.
    pub(super) fn declare(&mut self, entry: &Entry<K::Held>) {
        if self.end() <= entry.first {
            self.declared.push((entry.first, K::of(&entry.what)));
        }
        if self.declared.len() > self.most {
            (self.since, self.begun_with) = self.declared.remove(0);
        }
    }

    /// Completes a table by what takes over at `index` or later. Returns what was added.
    pub(super) fn tell(&self, table: &mut Declared<K::Held>, index: u64) -> Vec<Entry<K::Held>> {
        let mut news = Vec::new();
        for (first, kept) in &self.declared {
            let Some(what) = kept.held() else { continue };
            let last = table.last();
            if *first >= index && *first > last.first && !K::same(&what, &last.what) {
                let entry = Entry { first: *first, what };
                table.push(entry.clone());
                news.push(entry);
            }
        }
        news
    }

    fn at(&self, index: u64) -> Option<K::Held> {
        let last = self.declared.iter().rev().find(|(first, _)| *first <= index);
        last.map_or(&self.begun_with, |(_, kept)| kept).held()
    }
}
