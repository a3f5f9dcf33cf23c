//! The sampling tables of a group: what was declared, what is reported, and when the next one is due.

use super::{Steered, announced::Announced};
use crate::{
    bundles::declared::{Declared, Entry},
    losses::Losses,
    plan::table::Table,
};
use proto::limits;
use std::sync::{Arc, Mutex};

/// Sampling tables that a group remembers, for ranks that come back to an earlier batch.
const REMEMBERED: usize = 8;

#[derive(Debug)]
pub(super) struct Tables {
    pub(super) announced: Announced<Option<Arc<Table>>>,
    /// What was reported. Locked before the groups are, never while they are.
    pub(super) losses: Arc<Mutex<Losses>>,
    /// What was made of it since the last declaration.
    pub(super) next: Option<Arc<Table>>,
    interval: u64,
    /// Tables that a member has had, and may have.
    had: usize,
    most: usize,
}

impl Tables {
    /// For streams that begin at `index` with `table`.
    pub(super) fn new(steered: &Steered, index: u64, table: &Option<Arc<Table>>) -> Self {
        Self {
            announced: Announced::new(index, table, REMEMBERED),
            losses: Arc::new(Mutex::new(Losses::new(steered.rule, steered.catalogue.clone()))),
            next: None,
            interval: steered.rule.interval.into(),
            had: 0,
            most: limits::max_tables(steered.catalogue.identities()),
        }
    }

    /// A member has had so many tables.
    pub(super) fn has_had(&mut self, tables: usize) {
        self.had = self.had.max(tables);
    }

    /// Declares the next table, if there is one and it is time: for `earliest` or later. `known` is the
    /// asking member's, who was told everything.
    pub(super) fn declare_next(&mut self, earliest: u64, known: &Declared<Option<Arc<Table>>>) {
        let last = known.last();
        let begun = if last.what.is_some() { last.first } else { 0 };
        let latest = begun.max(self.announced.end().saturating_sub(1));
        let first = earliest.max(self.announced.free()).max(last.first + 1);
        if first < latest.saturating_add(self.interval) || self.had >= self.most {
            return;
        }
        let Some(table) = self.next.take().filter(|table| last.what.as_ref() != Some(table)) else { return };
        self.announced.declare(&Entry { first, what: Some(table) });
        self.had += 1;
    }
}
