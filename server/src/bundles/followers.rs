//! Streams that follow the newest bundle, changing together.
//!
//! The streams of one spec and one trainer's name may be the ranks that share each batch, so a newer
//! bundle takes over at one index for all of them: the first that none has begun. What was declared is
//! kept for as long as one of them is there, so that a rank that joins late changes where the others
//! did.

use super::{
    Loaded,
    declared::{Declared, Entry},
};
use crate::scheduler::Turn;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// Declarations that a group remembers, for ranks that come back to an earlier batch.
const REMEMBERED: usize = 64;

/// Whose streams change together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupKey {
    /// Unnamed trainers have a turn for each stream, and so a group of its own.
    pub(crate) turn: Turn,
    /// Digest of the spec.
    pub(crate) spec: [u8; 32],
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followers(Arc<Mutex<BTreeMap<GroupKey, Group>>>);

/// Holds no bundle: those of batches to come are held by the streams that will send them.
#[derive(Debug)]
struct Group {
    /// Who makes the batches up to the first entry of `declared`.
    begun_with: Weak<Loaded>,
    declared: Vec<(u64, Weak<Loaded>)>,
    /// The index that each member is about to begin, or has just begun.
    members: BTreeMap<u64, u64>,
    next_member: u64,
}

/// One stream's membership, and its table.
#[derive(Debug)]
pub(crate) struct Follower {
    followers: Followers,
    key: GroupKey,
    member: u64,
    table: Declared,
}

impl Followers {
    /// A stream that begins at `index`, with the table it brings. Without one it has the bundle that
    /// the others of its group have at that index, or `newest` when it is the first.
    pub(crate) fn join(&self, key: GroupKey, index: u64, table: Option<Declared>, newest: Arc<Loaded>) -> Follower {
        let mut groups = self.groups();
        let first = table.as_ref().map_or(&newest, |table| table.at(index));
        let group = groups.entry(key.clone()).or_insert_with(|| Group::new(first));
        let mut table = table.unwrap_or_else(|| Declared::new(index, group.at(index).unwrap_or(newest)));
        table.forget_before(index);
        // What it brings may be news to others, and the other way round.
        table.entries().iter().filter(|entry| entry.first > index).for_each(|entry| group.declare(entry));
        group.tell(&mut table, index);
        let member = group.next_member;
        group.next_member += 1;
        group.members.insert(member, index);
        drop(groups);
        Follower { followers: self.clone(), key, member, table }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupKey, Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    pub(crate) fn table(&self) -> &Declared {
        &self.table
    }

    /// To be asked before batch `index` is begun: what is declared that this stream doesn't know yet,
    /// `newest` included. All of it takes over at `index` or later.
    pub(crate) fn advance(&mut self, index: u64, newest: &Arc<Loaded>) -> Vec<Entry> {
        self.table.forget_before(index);
        let mut groups = self.followers.groups();
        // A member's group is there until it leaves.
        let Some(group) = groups.get_mut(&self.key) else { return Vec::new() };
        group.members.insert(self.member, index);
        let mut news = group.tell(&mut self.table, index);
        if !same(&self.table.last().bundle, newest) {
            let others = group.members.iter().filter(|(member, _)| **member != self.member);
            let unbegun = others.map(|(_, begun)| begun + 1).max().unwrap_or(0).max(index);
            let after = group.declared.last().map_or(0, |(last, _)| last + 1).max(self.table.last().first + 1);
            group.declare(&Entry { first: unbegun.max(after), bundle: newest.clone() });
            news.extend(group.tell(&mut self.table, index));
        }
        news
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut groups = self.followers.groups();
        if let Some(group) = groups.get_mut(&self.key) {
            group.members.remove(&self.member);
            if group.members.is_empty() {
                groups.remove(&self.key);
            }
        }
    }
}

impl Group {
    fn new(begun_with: &Arc<Loaded>) -> Self {
        let begun_with = Arc::downgrade(begun_with);
        Self { begun_with, declared: Vec::new(), members: BTreeMap::new(), next_member: 0 }
    }

    fn at(&self, index: u64) -> Option<Arc<Loaded>> {
        let last = self.declared.iter().rev().find(|(first, _)| *first <= index);
        last.map_or(&self.begun_with, |(_, bundle)| bundle).upgrade()
    }

    /// Adds an entry, unless something was declared for that index or a later one already.
    fn declare(&mut self, entry: &Entry) {
        if self.declared.last().is_none_or(|(last, _)| *last < entry.first) {
            self.declared.push((entry.first, Arc::downgrade(&entry.bundle)));
        }
        if self.declared.len() > REMEMBERED {
            self.begun_with = self.declared.remove(0).1;
        }
    }

    /// Completes a table by what takes over at `index` or later. Returns what was added.
    fn tell(&self, table: &mut Declared, index: u64) -> Vec<Entry> {
        let mut news = Vec::new();
        for (first, bundle) in &self.declared {
            // A bundle that nobody holds any more makes nobody's batches.
            let Some(bundle) = bundle.upgrade() else { continue };
            let last = table.last();
            if *first >= index && *first > last.first && !same(&bundle, &last.bundle) {
                let entry = Entry { first: *first, bundle };
                table.push(entry.clone());
                news.push(entry);
            }
        }
        news
    }
}

fn same(a: &Arc<Loaded>, b: &Arc<Loaded>) -> bool {
    a.digest() == b.digest()
}
