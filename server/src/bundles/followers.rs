//! Streams that follow what is declared, changing together: the newest bundle, and the sampling tables
//! that are made of what they report.
//!
//! The streams of one spec and one trainer's name may be the ranks that share each batch, so a newer
//! bundle, or another table, takes over at one index for all of them: the first that none has begun, and
//! only while all ranks are there. Where one is missing, nobody here knows how far it came with what they
//! have, with another server or before this one started. What was declared is kept for a while after the
//! last of them has left, so that a rank that joins late, or comes back when its stream was sent for as long
//! as one is, changes where the others did; and tables and losses, so that a trainer that was killed, and
//! goes on at its checkpoint, comes to the same batches again.

mod announced;
mod tables;

use super::{
    Loaded,
    declared::{Course, Declared, Entry, Wanted},
};
use crate::{
    losses::Reported,
    plan::{catalogue::Catalogue, spec::ByLoss, table::Table},
    scheduler::Turn,
};
use announced::{Announced, Kept};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tables::Tables;

/// Bundles that a group remembers, for ranks that come back to an earlier batch.
const REMEMBERED: usize = 64;

/// Groups without streams that are kept, with what was declared and reported; the one that was left first
/// goes first.
const LEFT: usize = 16;

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

/// How a stream follows sampling tables.
#[derive(Clone, Debug)]
pub(crate) struct Steered {
    pub(crate) rule: ByLoss,
    pub(crate) catalogue: Arc<Catalogue>,
    /// Tables that it has had, those that it brings included.
    pub(crate) had: usize,
}

/// What a stream wants of its course.
pub(crate) struct Joining {
    pub(crate) bundles: Wanted<Arc<Loaded>>,
    pub(crate) tables: Wanted<Option<Arc<Table>>>,
    /// Of a spec that heeds tables.
    pub(crate) steered: Option<Steered>,
}

/// Something that takes over.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Bundle(Entry<Arc<Loaded>>),
    Table(u64, Arc<Table>),
}

impl News {
    /// First index of what takes over.
    pub(crate) fn first(&self) -> u64 {
        match self {
            Self::Bundle(entry) => entry.first,
            Self::Table(first, _) => *first,
        }
    }
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followers(Arc<Mutex<Groups>>);

#[derive(Debug, Default)]
struct Groups {
    all: BTreeMap<GroupKey, Group>,
    /// How often a group was left by its last member.
    left: u64,
}

#[derive(Debug, Default)]
struct Group {
    bundles: Option<Announced<Weak<Loaded>>>,
    tables: Option<Tables>,
    /// The last batch that any member has begun, here or before it came, whether or not it is still there.
    furthest: Option<u64>,
    /// Members of each rank; none of none.
    members: BTreeMap<u32, u64>,
    /// When the last member left, counted in [`Groups::left`].
    left: u64,
}

/// One stream's membership, and its course.
#[derive(Debug)]
pub(crate) struct Follower {
    followers: Followers,
    key: GroupKey,
    rank: u32,
    course: Course,
    follows_bundles: bool,
    follows_tables: bool,
}

impl Followers {
    /// A stream that begins at `index`, with what it brings. What it follows and brings nothing of is
    /// what the others of its group have at that index; when it is the first, `newest` and no table.
    pub(crate) fn join(&self, key: GroupKey, rank: u32, index: u64, joining: Joining, newest: Arc<Loaded>) -> Follower {
        let Joining { bundles, tables, steered } = joining;
        let mut groups = self.groups();
        let group = groups.all.entry(key.clone()).or_default();
        group.enter(rank, index, &bundles, &tables);
        let (follows_bundles, bundles) = match bundles {
            Wanted::Closed(bundles) => (false, bundles),
            Wanted::Follow(brought) => {
                let first = brought.as_ref().map_or(&newest, |bundles| bundles.at(index));
                let announced = group.bundles.get_or_insert_with(|| Announced::new(index, first, REMEMBERED));
                (true, announced.join(index, brought, newest))
            }
        };
        let (follows_tables, tables) = match (tables, steered) {
            (Wanted::Closed(tables), _) => (false, tables),
            (Wanted::Follow(brought), None) => (false, brought.unwrap_or_else(|| Declared::new(index, None))),
            (Wanted::Follow(brought), Some(steered)) => {
                let first = brought.as_ref().and_then(|tables| tables.at(index).clone());
                let tables = group.tables.get_or_insert_with(|| Tables::new(&steered, index, &first));
                tables.has_had(steered.had);
                (true, tables.announced.join(index, brought, None))
            }
        };
        group.furthest = group.furthest.max(index.checked_sub(1));
        drop(groups);
        Follower {
            followers: self.clone(),
            key,
            rank,
            course: Course { bundles, tables },
            follows_bundles,
            follows_tables,
        }
    }

    /// Takes up what a trainer reports of its streams of a spec, and makes their next table of it. Returns
    /// how many identities that were; 0 when none of these streams follows tables. It takes a moment.
    pub(crate) fn report(&self, turn: &Turn, spec: [u8; 32], report: &[Reported]) -> usize {
        let [least, most] = [0, u32::MAX].map(|world_size| GroupKey { turn: turn.clone(), spec, world_size });
        let keys: Vec<GroupKey> = self.groups().all.range(least..=most).map(|(key, _)| key.clone()).collect();
        keys.iter().map(|key| self.report_to(key, report)).max().unwrap_or(0)
    }

    fn report_to(&self, key: &GroupKey, report: &[Reported]) -> usize {
        let group_losses = |groups: &Groups| {
            let group = groups.all.get(key).filter(|group| !group.members.is_empty())?;
            Some(group.tables.as_ref()?.losses.clone())
        };
        let Some(losses) = group_losses(&self.groups()) else { return 0 };
        let mut folding = losses.lock().unwrap_or_else(PoisonError::into_inner);
        folding.fold(report);
        let table = Arc::new(folding.table());
        // Offered while no other report is folded, so that the last one made is the last one offered.
        let mut groups = self.groups();
        let tables = groups.all.get_mut(key).and_then(|group| group.tables.as_mut());
        // A group that was begun anew meanwhile has losses of its own.
        let Some(tables) = tables.filter(|tables| Arc::ptr_eq(&tables.losses, &losses)) else { return 0 };
        tables.next = Some(table);
        report.len()
    }

    /// Groups of streams that change together, those left aside.
    pub(crate) fn count(&self) -> usize {
        self.groups().all.values().filter(|group| !group.members.is_empty()).count()
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    pub(crate) fn course(&self) -> &Course {
        &self.course
    }

    /// To be asked before each batch is begun: what is declared that this stream doesn't know yet,
    /// `newest` and a table that is due included. All of it takes over at `index` or later.
    pub(crate) fn advance(&mut self, index: u64, newest: &Arc<Loaded>) -> Vec<News> {
        let Course { bundles, tables } = &mut self.course;
        bundles.forget_before(index);
        tables.forget_before(index);
        let mut groups = self.followers.groups();
        // A member's group is there until it leaves.
        let Some(group) = groups.all.get_mut(&self.key) else { return Vec::new() };
        let mut news = Vec::new();
        let complete = group.members.len() == self.key.world_size as usize;
        let earliest = index.max(group.furthest.map_or(0, |furthest| furthest + 1));
        if let Some(announced) = group.bundles.as_mut().filter(|_| self.follows_bundles) {
            news.extend(announced.tell(bundles, index).into_iter().map(News::Bundle));
            if complete && !Weak::<Loaded>::same(&bundles.last().what, newest) {
                let first = earliest.max(announced.free()).max(bundles.last().first + 1);
                announced.declare(&Entry { first, what: newest.clone() });
                news.extend(announced.tell(bundles, index).into_iter().map(News::Bundle));
            }
        }
        if let Some(declared) = group.tables.as_mut().filter(|_| self.follows_tables) {
            let mut told = declared.announced.tell(tables, index);
            if complete {
                declared.declare_next(earliest, tables);
            }
            told.extend(declared.announced.tell(tables, index));
            news.extend(told.into_iter().filter_map(|entry| Some(News::Table(entry.first, entry.what?))));
        }
        group.furthest = group.furthest.max(Some(index));
        news
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.followers.groups().leave(&self.key, self.rank);
    }
}

impl Groups {
    fn leave(&mut self, key: &GroupKey, rank: u32) {
        let Some(group) = self.all.get_mut(key) else { return };
        if let Some(members) = group.members.get_mut(&rank) {
            *members -= 1;
        }
        group.members.retain(|_, members| *members > 0);
        if !group.members.is_empty() {
            return;
        }
        self.left += 1;
        group.left = self.left;
        // Nobody finds an unnamed trainer's group again, and one rank alone has nobody to agree with.
        if group.tables.is_none() && key.world_size == 1 || matches!(key.turn, Turn::Stream(_)) {
            self.all.remove(key);
        }
        let left = || self.all.iter().filter(|(_, group)| group.members.is_empty());
        if left().count() > LEFT
            && let Some(first) = left().min_by_key(|(_, group)| group.left).map(|(key, _)| key.clone())
        {
            self.all.remove(&first);
        }
    }
}

impl Group {
    /// Another member, at `index` with what it brings. A group that everybody had left is begun anew unless
    /// the member goes on where those have been.
    fn enter(&mut self, rank: u32, index: u64, bundles: &Wanted<Arc<Loaded>>, tables: &Wanted<Option<Arc<Table>>>) {
        if self.members.is_empty() {
            let keeps_bundles = match (&self.bundles, bundles) {
                (Some(announced), Wanted::Follow(Some(brought))) => announced.knows(index, brought.at(index)),
                _ => false,
            };
            let keeps_tables = match (&self.tables, tables) {
                (None, _) => false,
                (Some(_), Wanted::Follow(None)) if index == 0 => false,
                (Some(tables), Wanted::Follow(brought)) => {
                    let begins_with = brought.as_ref().and_then(|brought| brought.at(index).clone());
                    tables.announced.knows(index, &begins_with)
                }
                (Some(_), Wanted::Closed(_)) => true,
            };
            let left = std::mem::take(self);
            self.bundles = left.bundles.filter(|_| keeps_bundles);
            self.tables = left.tables.filter(|_| keeps_tables);
            self.furthest = left.furthest.filter(|_| keeps_bundles || keeps_tables);
        }
        *self.members.entry(rank).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bundles::{BundleFacts, Candidate, MakeGenerator},
        engine::{GeneratorError, RowGenerator},
        plan::spec::Before,
        scheduler::Scheduler,
        telemetry::Telemetry,
        workers::Workers,
    };
    use proptest::prelude::*;
    use proto::limits;

    struct Nothing;

    impl RowGenerator for Nothing {
        fn channels(&self) -> usize {
            1
        }
        fn classes(&self) -> usize {
            1
        }
        fn generate(&mut self, _: usize, _: &[f32], _: &[f32]) -> Result<bytes::Bytes, GeneratorError> {
            Err("nobody asks".into())
        }
        fn encode(&mut self, _: usize, _: &[u8]) -> Result<Vec<f32>, GeneratorError> {
            Err("nobody asks".into())
        }
        fn embed(&mut self, _: usize, _: &[u8]) -> Result<Vec<f32>, GeneratorError> {
            Err("nobody asks".into())
        }
    }

    fn somebody() -> Catalogue {
        Catalogue::new([1])
    }

    struct Shop {
        scheduler: Scheduler,
        telemetry: Arc<Telemetry>,
    }

    impl Shop {
        fn new() -> Self {
            let telemetry = Arc::new(Telemetry::new("", "").unwrap());
            Self {
                scheduler: Scheduler::start(
                    1,
                    1,
                    &somebody(),
                    BTreeMap::new(),
                    telemetry.clone(),
                    &Workers::Threads,
                    1,
                )
                .unwrap(),
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
            let generators: Vec<MakeGenerator> = vec![Box::new(|_| Box::new(Nothing))];
            let candidate = Candidate { facts, names: Vec::new(), centres: Vec::new(), generators };
            Arc::new(Loaded::new(candidate, &somebody(), &self.scheduler, &self.telemetry).unwrap())
        }
    }

    /// A rank, and what its client would keep of it.
    struct Rank {
        next: u64,
        kept: Option<Course>,
        follower: Option<Follower>,
    }

    impl Rank {
        fn new() -> Self {
            Self { next: 0, kept: None, follower: None }
        }

        fn join(&mut self, followers: &Followers, number: u32, newest: &Arc<Loaded>, most: usize) -> &mut Follower {
            let index = self.next;
            self.follower.get_or_insert_with(|| {
                let kept = self.kept.clone();
                let (bundles, tables) = kept.map_or((None, None), |kept| (Some(kept.bundles), Some(kept.tables)));
                let joining = Joining {
                    bundles: Wanted::Follow(bundles),
                    tables: Wanted::Follow(tables.filter(|tables| tables.last().what.is_some())),
                    steered: Some(steered(limits::max_tables(PEOPLE) - most)),
                };
                followers.join(key(3), number, index, joining, newest.clone())
            })
        }

        fn step(
            &mut self,
            followers: &Followers,
            number: u32,
            newest: &Arc<Loaded>,
            most: usize,
        ) -> (Vec<News>, (String, String)) {
            let index = self.next;
            let follower = self.join(followers, number, newest, most);
            let news = follower.advance(index, newest);
            let course = follower.course();
            let table = course.tables.at(index).as_ref().map_or("", |table| table.digest());
            let made = (course.bundles.at(index).digest().to_owned(), table.to_owned());
            self.kept = Some(course.clone());
            self.next += 1;
            (news, made)
        }
    }

    const PEOPLE: u32 = 4;
    const RULE: ByLoss = ByLoss { power: 1.0, floor: 0.25, cap: 4.0, interval: 5, before: Before::ByIdentity };

    fn key(world_size: u32) -> GroupKey {
        GroupKey { turn: Turn::Trainer("one".into()), spec: [0; 32], world_size }
    }

    fn steered(had: usize) -> Steered {
        Steered { rule: RULE, catalogue: Arc::new(Catalogue::new([1; 4])), had }
    }

    fn report(followers: &Followers, identity: u32, loss: f64) -> usize {
        followers.report(&key(0).turn, [0; 32], &[Reported { identity, loss, rows: 8 }])
    }

    #[derive(Clone, Debug)]
    enum Event {
        Step(usize),
        Leave(usize),
        Swap,
        Report(u32, f64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => (0..3usize).prop_map(Event::Step),
            1 => (0..3usize).prop_map(Event::Leave),
            1 => Just(Event::Swap),
            2 => (0..PEOPLE, 0.0..9.0f64).prop_map(|(identity, loss)| Event::Report(identity, loss)),
        ]
    }

    proptest! {
        #[test]
        fn ranks_that_come_and_go_make_each_batch_alike(events in proptest::collection::vec(event(), 1..200), most in 0usize..9) {
            let shop = Shop::new();
            let followers = Followers::default();
            let mut bundles = vec![shop.bundle(0)];
            let mut made = BTreeMap::<u64, (String, String)>::new();
            let mut tables = BTreeMap::<u64, String>::new();
            let mut ranks: Vec<Rank> = (0..3).map(|_| Rank::new()).collect();
            for event in events {
                let newest = bundles[bundles.len() - 1].clone();
                let present = ranks.iter().filter(|rank| rank.follower.is_some()).count();
                let all_begun = ranks.iter().all(|rank| rank.kept.is_some());
                match event {
                    Event::Swap => bundles.push(shop.bundle(bundles.len())),
                    // Were all gone, one that comes for the first time would begin a training of its own.
                    Event::Leave(rank) if present > 1 || all_begun => ranks[rank].follower = None,
                    Event::Leave(_) => {}
                    Event::Report(identity, lost) => {
                        prop_assert_eq!(report(&followers, identity, lost), usize::from(present > 0));
                    }
                    Event::Step(rank) => {
                        let index = ranks[rank].next;
                        let (news, by) = ranks[rank].step(&followers, rank as u32, &newest, most);
                        for news in news {
                            prop_assert!(news.first() >= index, "declared too late");
                            if let News::Table(first, table) = news {
                                let known = tables.entry(first).or_insert_with(|| table.digest().to_owned());
                                prop_assert_eq!(&*known, table.digest());
                            }
                        }
                        let first = made.entry(index).or_insert_with(|| by.clone());
                        prop_assert_eq!(&*first, &by, "batch {}", index);
                    }
                }
            }
            prop_assert!(tables.len() <= most, "{} tables, not {most}", tables.len());
            let firsts: Vec<u64> = std::iter::once(0).chain(tables.keys().copied()).collect();
            prop_assert!(firsts.windows(2).all(|pair| pair[1] >= pair[0] + 5), "{firsts:?}");
            // Left alone, everybody comes to the newest.
            let newest = bundles[bundles.len() - 1].clone();
            // Each bundle that was declared takes an index of its own.
            let end = ranks.iter().map(|rank| rank.next).max().unwrap_or(0) + bundles.len() as u64 + 2;
            for (number, rank) in (0..).zip(&mut ranks) {
                rank.join(&followers, number, &newest, most);
            }
            for (number, rank) in (0..).zip(&mut ranks) {
                let steps = (rank.next..=end).map(|_| rank.step(&followers, number, &newest, most).1);
                let last = steps.last().unwrap();
                prop_assert_eq!(&last.0, newest.digest());
            }
            drop(ranks);
            prop_assert!(followers.groups().all.values().all(|group| group.members.is_empty() && group.tables.is_some()));
        }
    }

    /// A trainer alone, which steps to an index; what made each batch.
    fn walk(rank: &mut Rank, followers: &Followers, bundle: &Arc<Loaded>, end: u64) -> Vec<(String, String)> {
        let index = rank.next;
        rank.follower.get_or_insert_with(|| {
            let tables = rank.kept.clone().map(|kept| kept.tables).filter(|tables| tables.last().what.is_some());
            let joining =
                Joining { bundles: Wanted::Follow(None), tables: Wanted::Follow(tables), steered: Some(steered(0)) };
            followers.join(key(1), 0, index, joining, bundle.clone())
        });
        (index..end).map(|_| rank.step(followers, 0, bundle, 9).1).collect()
    }

    #[test]
    fn a_trainer_that_was_killed_comes_to_the_same_tables_again_and_one_that_begins_anew_to_none() {
        let (shop, followers) = (Shop::new(), Followers::default());
        let bundle = shop.bundle(0);
        let mut first = Rank::new();
        walk(&mut first, &followers, &bundle, 3);
        assert_eq!(report(&followers, 1, 3.0), 1);
        // Somebody else is needed for a table to differ from that of equal parts.
        assert_eq!(report(&followers, 2, 1.0), 1);
        walk(&mut first, &followers, &bundle, 8);
        let (kept, next) = (first.kept.clone(), first.next);
        report(&followers, 2, 9.0);
        let by = walk(&mut first, &followers, &bundle, 20);
        let tables: std::collections::BTreeSet<&String> = by.iter().map(|by| &by.1).collect();
        assert_eq!(tables.len(), 2, "one and another: {by:?}");
        drop(first);
        assert_eq!(report(&followers, 1, 1.0), 0, "nobody is there");

        // Its checkpoint knows of the first table only.
        let mut again = Rank { next, kept, follower: None };
        assert_eq!(walk(&mut again, &followers, &bundle, 20), by);
        drop(again);
        let mut anew = Rank::new();
        assert!(walk(&mut anew, &followers, &bundle, 20).iter().all(|by| by.1.is_empty()));
    }

    #[test]
    fn only_so_many_groups_that_were_left_are_remembered() {
        let (shop, followers) = (Shop::new(), Followers::default());
        let bundle = shop.bundle(0);
        for spec in 0..40 {
            let joining =
                Joining { bundles: Wanted::Follow(None), tables: Wanted::Follow(None), steered: Some(steered(0)) };
            let key = GroupKey { spec: [spec; 32], ..key(1) };
            drop(followers.join(key, 0, 0, joining, bundle.clone()));
        }
        let left: Vec<u8> = followers.groups().all.keys().map(|key| key.spec[0]).collect();
        assert_eq!(left, (40 - LEFT as u8..40).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_declared_holds_for_ranks_that_come_back_after_all_had_left() {
        let (shop, followers) = (Shop::new(), Followers::default());
        let [old, new] = [shop.bundle(0), shop.bundle(1)];
        let join = |rank, index| {
            let joining = Joining {
                bundles: Wanted::Follow(Some(Declared::new(0, old.clone()))),
                tables: Wanted::Follow(None),
                steered: None,
            };
            followers.join(key(2), rank, index, joining, new.clone())
        };
        // The first one's stream ended early and goes on, while the other one's still runs.
        let (mut first, mut second) = (join(0, 10), join(1, 10));
        assert!(second.advance(10, &old).is_empty());
        drop(first);
        first = join(0, 11);
        assert_eq!(first.advance(11, &new).iter().map(News::first).collect::<Vec<_>>(), [11]);
        drop((first, second));
        second = join(1, 11);
        assert_eq!(second.course().bundles.at(11).digest(), new.digest(), "it hears of it with its first batch");
        // A training that begins anew has what is newest.
        drop(second);
        let joining = Joining { bundles: Wanted::Follow(None), tables: Wanted::Follow(None), steered: None };
        assert_eq!(followers.join(key(2), 0, 0, joining, new.clone()).course().bundles.at(0).digest(), new.digest());
    }

    #[test]
    fn nothing_takes_over_while_a_rank_is_missing() {
        let shop = Shop::new();
        let followers = Followers::default();
        let [old, new] = [shop.bundle(0), shop.bundle(1)];
        let join = |rank, index| {
            let joining = Joining {
                bundles: Wanted::Follow(Some(Declared::new(0, old.clone()))),
                tables: Wanted::Follow(None),
                steered: Some(steered(0)),
            };
            followers.join(key(2), rank, index, joining, new.clone())
        };
        let mut first = join(0, 17);
        assert_eq!((report(&followers, 1, 3.0), report(&followers, 2, 1.0)), (1, 1));
        // The other one may have come further with the old bundle, before this server started.
        assert!(first.advance(17, &new).is_empty());
        let mut second = join(1, 21);
        let news = first.advance(18, &new);
        // The second one's reader was told that batch 21 has no table.
        assert_eq!(news.iter().map(News::first).collect::<Vec<_>>(), [21, 22]);
        assert_eq!(second.advance(21, &new).len(), 2, "it is told what was declared");
        assert_eq!(second.course().bundles.at(21).digest(), new.digest());
        assert!(second.course().tables.at(21).is_none() && second.course().tables.at(22).is_some());
    }
}
