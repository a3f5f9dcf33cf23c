//! Streams that follow the newest bundle, changing together.
//!
//! The streams of one spec and one trainer's name may be the ranks that share each batch, so a newer
//! bundle takes over at one index for all of them: the first that none has begun, and only while all
//! ranks are there. Where one is missing, nobody here knows how far it came with the bundle they have,
//! with another server or before this one started. What was declared is kept for as long as one of them
//! is there, so that a rank that joins late, or comes back, changes where the others did.

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
    /// Ranks that share each batch.
    pub(crate) world_size: u32,
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
    /// The last batch that any member has begun, here or before it came, whether or not it is still there.
    furthest: Option<u64>,
    /// Members of each rank; none of none.
    members: BTreeMap<u32, u64>,
}

/// One stream's membership, and its table.
#[derive(Debug)]
pub(crate) struct Follower {
    followers: Followers,
    key: GroupKey,
    rank: u32,
    table: Declared,
}

impl Followers {
    /// A stream that begins at `index`, with the table it brings. Without one it has the bundle that
    /// the others of its group have at that index, or `newest` when it is the first.
    pub(crate) fn join(
        &self,
        key: GroupKey,
        rank: u32,
        index: u64,
        table: Option<Declared>,
        newest: Arc<Loaded>,
    ) -> Follower {
        let mut groups = self.groups();
        let first = table.as_ref().map_or(&newest, |table| table.at(index));
        let group = groups.entry(key.clone()).or_insert_with(|| Group::new(first));
        let mut table = table.unwrap_or_else(|| Declared::new(index, group.at(index).unwrap_or(newest)));
        table.forget_before(index);
        // What it brings may be news to others, and the other way round.
        table.entries().iter().filter(|entry| entry.first > 0).for_each(|entry| group.declare(entry));
        group.tell(&mut table, index);
        group.furthest = group.furthest.max(index.checked_sub(1));
        *group.members.entry(rank).or_default() += 1;
        drop(groups);
        Follower { followers: self.clone(), key, rank, table }
    }

    /// Groups of streams that change together.
    pub(crate) fn count(&self) -> usize {
        self.groups().len()
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupKey, Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    pub(crate) fn table(&self) -> &Declared {
        &self.table
    }

    /// To be asked before each batch is begun: what is declared that this stream doesn't know yet,
    /// `newest` included. All of it takes over at `index` or later.
    pub(crate) fn advance(&mut self, index: u64, newest: &Arc<Loaded>) -> Vec<Entry> {
        self.table.forget_before(index);
        let mut groups = self.followers.groups();
        // A member's group is there until it leaves.
        let Some(group) = groups.get_mut(&self.key) else { return Vec::new() };
        let mut news = group.tell(&mut self.table, index);
        let complete = group.members.len() == self.key.world_size as usize;
        if complete && !same(&self.table.last().bundle, newest) {
            let after = |last: Option<u64>| last.map_or(0, |last| last + 1);
            let declared = after(group.declared.last().map(|(last, _)| *last)).max(self.table.last().first + 1);
            let first = index.max(after(group.furthest)).max(declared);
            group.declare(&Entry { first, bundle: newest.clone() });
            news.extend(group.tell(&mut self.table, index));
        }
        group.furthest = group.furthest.max(Some(index));
        news
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut groups = self.followers.groups();
        if let Some(group) = groups.get_mut(&self.key) {
            if let Some(members) = group.members.get_mut(&self.rank) {
                *members -= 1;
            }
            group.members.retain(|_, members| *members > 0);
            if group.members.is_empty() {
                groups.remove(&self.key);
            }
        }
    }
}

impl Group {
    fn new(begun_with: &Arc<Loaded>) -> Self {
        let begun_with = Arc::downgrade(begun_with);
        Self { begun_with, declared: Vec::new(), furthest: None, members: BTreeMap::new() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bundles::{BundleFacts, Candidate},
        engine::{GeneratorError, RowGenerator},
        scheduler::Scheduler,
        telemetry::Telemetry,
        workers::Workers,
    };
    use proptest::prelude::*;

    struct Nothing;

    impl RowGenerator for Nothing {
        fn channels(&self) -> usize {
            1
        }
        fn classes(&self) -> usize {
            1
        }
        fn generate(&mut self, _: usize, _: &[f32], _: &[f32]) -> Result<Vec<u8>, GeneratorError> {
            Err("nobody asks".into())
        }
        fn encode(&mut self, _: usize, _: &[u8]) -> Result<Vec<f32>, GeneratorError> {
            Err("nobody asks".into())
        }
        fn embed(&mut self, _: usize, _: &[u8]) -> Result<Vec<f32>, GeneratorError> {
            Err("nobody asks".into())
        }
    }

    struct Shop {
        scheduler: Scheduler,
        telemetry: Arc<Telemetry>,
    }

    impl Shop {
        fn new() -> Self {
            let telemetry = Arc::new(Telemetry::new("", "").unwrap());
            Self {
                scheduler: Scheduler::start(1, 1, 1, BTreeMap::new(), telemetry.clone(), &Workers::Threads).unwrap(),
                telemetry,
            }
        }

        fn bundle(&self, number: usize) -> Arc<Loaded> {
            let facts = BundleFacts {
                digest: format!("bundle {number}"),
                architecture: String::new(),
                images_seen: 0,
                dataset_digest: String::new(),
                channels: 1,
                encoder: false,
            };
            let generator = Box::new(|_| Box::new(Nothing) as Box<dyn RowGenerator>);
            let candidate = Candidate { facts, names: Vec::new(), centres: Vec::new(), generator };
            Arc::new(Loaded::new(candidate, &self.scheduler, &self.telemetry).unwrap())
        }
    }

    /// A rank, and what its client would keep of it.
    struct Rank {
        next: u64,
        table: Option<Declared>,
        follower: Option<Follower>,
    }

    #[derive(Clone, Debug)]
    enum Event {
        Step(usize),
        Leave(usize),
        Swap,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => (0..3usize).prop_map(Event::Step),
            1 => (0..3usize).prop_map(Event::Leave),
            1 => Just(Event::Swap),
        ]
    }

    proptest! {
        #[test]
        fn ranks_that_come_and_go_make_each_batch_with_one_bundle(events in proptest::collection::vec(event(), 1..200)) {
            let shop = Shop::new();
            let followers = Followers::default();
            let key = GroupKey { turn: Turn::Trainer("one".into()), spec: [0; 32], world_size: 3 };
            let mut bundles = vec![shop.bundle(0)];
            let mut made = BTreeMap::<u64, String>::new();
            let mut ranks: Vec<Rank> = (0..3).map(|_| Rank { next: 0, table: None, follower: None }).collect();
            for event in events {
                let newest = bundles[bundles.len() - 1].clone();
                let present = ranks.iter().filter(|rank| rank.follower.is_some()).count();
                match event {
                    Event::Swap => bundles.push(shop.bundle(bundles.len())),
                    // When the last one goes, so does what was declared.
                    Event::Leave(rank) if present > 1 => ranks[rank].follower = None,
                    Event::Leave(_) => {}
                    Event::Step(number) => {
                        let rank = &mut ranks[number];
                        let join = || followers.join(key.clone(), number as u32, rank.next, rank.table.clone(), newest.clone());
                        let follower = rank.follower.get_or_insert_with(join);
                        for entry in follower.advance(rank.next, &newest) {
                            prop_assert!(entry.first >= rank.next, "declared too late");
                        }
                        let bundle = follower.table().at(rank.next).digest().to_owned();
                        let first = made.entry(rank.next).or_insert_with(|| bundle.clone());
                        prop_assert_eq!(&*first, &bundle, "batch {}", rank.next);
                        rank.table = Some(follower.table().clone());
                        rank.next += 1;
                    }
                }
            }
            // Left alone, everybody comes to the newest.
            let newest = bundles[bundles.len() - 1].clone();
            let end = ranks.iter().map(|rank| rank.next).max().unwrap_or(0) + 2;
            for (number, rank) in ranks.iter_mut().enumerate() {
                let join = || followers.join(key.clone(), number as u32, rank.next, rank.table.clone(), newest.clone());
                rank.follower.get_or_insert_with(join);
            }
            for rank in &mut ranks {
                let Some(follower) = &mut rank.follower else { unreachable!("all have joined") };
                (rank.next..=end).for_each(|index| drop(follower.advance(index, &newest)));
                prop_assert_eq!(follower.table().at(end).digest(), newest.digest());
            }
            drop(ranks);
            prop_assert!(followers.groups().is_empty());
        }
    }

    #[test]
    fn nothing_takes_over_while_a_rank_is_missing() {
        let shop = Shop::new();
        let followers = Followers::default();
        let key = GroupKey { turn: Turn::Trainer("one".into()), spec: [0; 32], world_size: 2 };
        let [old, new] = [shop.bundle(0), shop.bundle(1)];
        let join = |rank, index| {
            let table = Declared::new(0, old.clone());
            followers.join(key.clone(), rank, index, Some(table), new.clone())
        };
        let mut first = join(0, 17);
        // The other one may have come further with the old bundle, before this server started.
        assert!(first.advance(17, &new).is_empty());
        let mut second = join(1, 21);
        let news = first.advance(18, &new);
        assert_eq!(news.iter().map(|entry| entry.first).collect::<Vec<_>>(), [21]);
        assert_eq!(second.advance(21, &new).len(), 1, "it is told what was declared");
        assert_eq!(second.table().at(21).digest(), new.digest());
    }
}
