//! Whose rows are next: deficit round robin.
//!
//! Every turn may take one tile's worth of rows, times its share, then it is the next one's. So a
//! stream with large batches, or with many of them waiting, gets no more of the device than one with
//! small ones; a trainer with share 2 gets twice as many rows as one with share 1 while both wait, and
//! all that there is while nobody else does. Parts of a row are kept for the next time round.

use super::{
    Face, Turn,
    tile::{Delivery, Results},
};
use crate::engine::Seat;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::time::Instant;

/// Rows that belong together: one batch's.
pub(crate) enum Rows {
    /// To be generated.
    Faces(Vec<Face>),
    /// To be encoded or embedded.
    Images(Vec<Bytes>),
}

/// What is computed of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// A face's image.
    Generate,
    /// An image's latent distribution.
    Encode,
    /// An image's identity feature.
    Embed,
}

/// What a tile computes and with whose weights; rows of different kinds don't share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) seat: Seat,
    pub(crate) task: Task,
}

/// One batch's rows, the next of them, and where their results go.
pub(crate) struct Job {
    kind: Kind,
    rows: VecDeque<Content>,
    taken: usize,
    delivery: Arc<Delivery>,
    queued_at: Instant,
}

/// A row on its way into a tile.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) content: Content,
    /// Position in its job.
    pub(crate) position: usize,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) queued_at: Instant,
    /// Whether it is the first of its job.
    pub(crate) is_first: bool,
}

pub(crate) enum Content {
    Face(Face),
    Image(Bytes),
}

/// The queues of all turns.
pub(crate) struct Turns {
    queues: BTreeMap<Turn, Queue>,
    /// Turns with jobs, the present one first.
    ring: VecDeque<Turn>,
    /// Rows that a turn of share 1 gets each time round.
    quantum: usize,
    /// Shares of trainers by name; 1 for all others.
    shares: BTreeMap<String, f64>,
}

/// The jobs of one turn.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// What the turn may still take, in [`ROW`]s.
    credit: u64,
}

/// A row in the unit of credits: shares are exact to a millionth.
const ROW: u64 = 1_000_000;

impl Turns {
    pub(crate) fn new(quantum: usize, shares: BTreeMap<String, f64>) -> Self {
        Self { queues: BTreeMap::new(), ring: VecDeque::new(), quantum, shares }
    }

    pub(crate) fn push(&mut self, turn: Turn, job: Job) {
        let queue = self.queues.entry(turn.clone()).or_default();
        queue.jobs.push_back(job);
        if queue.jobs.len() == 1 {
            self.ring.push_back(turn);
            if self.ring.len() == 1 {
                self.begin();
            }
        }
    }

    /// Gives the turn that is now the present one what it may take.
    fn begin(&mut self) {
        let Some(turn) = self.ring.front() else { return };
        let share = match turn {
            Turn::Trainer(name) => self.shares.get(name).copied().unwrap_or(1.0),
            Turn::Stream(_) | Turn::Trial => 1.0,
        };
        if let Some(queue) = self.queues.get_mut(turn) {
            queue.credit += (share * (self.quantum as u64 * ROW) as f64) as u64;
        }
    }

    /// Up to `space` rows, all of one kind: `kind` where given.
    pub(crate) fn take(&mut self, space: usize, mut kind: Option<Kind>) -> Vec<Row> {
        let mut taken = Vec::new();
        // A turn whose next row is of another kind keeps its place and its credit.
        while taken.len() < space {
            let Some(turn) = self.ring.front() else { break };
            let Some(queue) = self.queues.get_mut(turn) else { break };
            while queue.jobs.front().is_some_and(|job| job.is_finished()) {
                queue.jobs.pop_front();
            }
            let Some(job) = queue.jobs.front_mut() else {
                let turn = turn.clone();
                self.leave(&turn);
                continue;
            };
            if kind.is_some_and(|kind| job.kind != kind) {
                break;
            }
            if queue.credit < ROW {
                self.ring.rotate_left(1);
                self.begin();
                continue;
            }
            kind = Some(job.kind);
            while queue.credit >= ROW && taken.len() < space {
                let Some(row) = job.next() else { break };
                taken.push(row);
                queue.credit -= ROW;
            }
        }
        taken
    }

    /// Takes out a turn's jobs that nobody waits for any more. What is returned is better dropped
    /// outside of locks.
    pub(crate) fn sweep(&mut self, turn: &Turn) -> Vec<Job> {
        let Some(queue) = self.queues.get_mut(turn) else { return Vec::new() };
        let (finished, kept): (VecDeque<Job>, _) =
            std::mem::take(&mut queue.jobs).into_iter().partition(Job::is_finished);
        queue.jobs = kept;
        if queue.jobs.is_empty() {
            self.leave(turn);
        }
        finished.into()
    }

    /// Takes a turn without jobs out of the ring.
    fn leave(&mut self, turn: &Turn) {
        self.queues.remove(turn);
        let was_present = self.ring.front() == Some(turn);
        self.ring.retain(|other| other != turn);
        if was_present {
            self.begin();
        }
    }

    /// Rows that wait for a place in a tile.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.values().flat_map(|queue| &queue.jobs).map(|job| job.rows.len()).sum()
    }

    /// Empties every queue. What is returned is better dropped outside of locks.
    pub(crate) fn clear(&mut self) -> Vec<Job> {
        self.ring.clear();
        std::mem::take(&mut self.queues).into_values().flat_map(|queue| queue.jobs).collect()
    }
}

impl Job {
    pub(crate) fn new(kind: Kind, rows: Rows, delivery: Arc<Delivery>, queued_at: Instant) -> Self {
        let rows = match rows {
            Rows::Faces(faces) => faces.into_iter().map(Content::Face).collect(),
            Rows::Images(images) => images.into_iter().map(Content::Image).collect(),
        };
        Self { kind, rows, taken: 0, delivery, queued_at }
    }

    fn next(&mut self) -> Option<Row> {
        let content = self.rows.pop_front()?;
        let position = self.taken;
        self.taken += 1;
        let (delivery, queued_at) = (self.delivery.clone(), self.queued_at);
        Some(Row { kind: self.kind, content, position, delivery, queued_at, is_first: position == 0 })
    }

    /// Whether there is nothing left to compute, or nobody left to compute it for.
    fn is_finished(&self) -> bool {
        self.rows.is_empty() || self.delivery.is_abandoned()
    }
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Faces(faces) => faces.len(),
            Self::Images(images) => images.len(),
        }
    }
}

impl Task {
    /// The result of no rows.
    pub(crate) fn nothing(self) -> Results {
        match self {
            Self::Generate => Results::Images(Vec::new()),
            Self::Encode | Self::Embed => Results::Vectors(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::tile::Answer;
    use tokio::sync::oneshot;

    type Asker = oneshot::Receiver<Answer>;

    fn kind(seat: u64, task: Task) -> Kind {
        Kind { seat: Seat(seat), task }
    }

    fn job(rows: usize) -> (Job, Asker) {
        let faces = vec![Face { parents: Vec::new(), reach: 1.0, latent: Vec::new() }; rows];
        of(kind(0, Task::Generate), Rows::Faces(faces))
    }

    fn of(kind: Kind, rows: Rows) -> (Job, Asker) {
        let (reply, answer) = oneshot::channel();
        let delivery = Delivery::new(rows.len(), kind.task, 1, reply);
        (Job::new(kind, rows, delivery, Instant::now()), answer)
    }

    /// How many rows of which job a tile holds.
    fn tile(turns: &mut Turns, jobs: &[&Arc<Delivery>]) -> Vec<usize> {
        let rows = turns.take(4, None);
        jobs.iter().map(|&job| rows.iter().filter(|row| Arc::ptr_eq(&row.delivery, job)).count()).collect()
    }

    #[test]
    fn a_stream_with_much_waiting_delays_a_small_one_by_one_tile_at_most() {
        let mut turns = Turns::new(4, BTreeMap::new());
        let (large, _l) = job(100);
        let (small, _s) = job(6);
        let deliveries = [large.delivery.clone(), small.delivery.clone()];
        let jobs: Vec<_> = deliveries.iter().collect();
        turns.push(Turn::Stream(1), large);
        assert_eq!(tile(&mut turns, &jobs), [4, 0]);
        turns.push(Turn::Stream(2), small);
        assert_eq!(tile(&mut turns, &jobs), [0, 4]);
        assert_eq!(tile(&mut turns, &jobs), [4, 0]);
        assert_eq!(tile(&mut turns, &jobs), [2, 2], "the end of one stream and the next of another share a tile");
        assert_eq!(tile(&mut turns, &jobs), [4, 0]);
    }

    #[test]
    fn what_was_withdrawn_leaves_the_queue_before_its_turn() {
        let mut turns = Turns::new(4, BTreeMap::new());
        let [(first, _f), (left, answer), (last, _l), (lonely, lonely_answer)] = [job(2), job(3), job(1), job(1)];
        let last_delivery = last.delivery.clone();
        for job in [first, left, last] {
            turns.push(Turn::Stream(1), job);
        }
        turns.push(Turn::Stream(2), lonely);
        assert!(turns.sweep(&Turn::Stream(1)).is_empty(), "everybody waits");
        drop((answer, lonely_answer));
        assert_eq!(turns.sweep(&Turn::Stream(1)).len(), 1);
        assert_eq!(turns.sweep(&Turn::Stream(2)).len(), 1);
        assert_eq!((turns.queues.len(), turns.ring.len()), (1, 1), "a turn without jobs is in no ring");
        assert_eq!(tile(&mut turns, &[&last_delivery]), [1]);
    }

    #[test]
    fn streams_of_one_trainer_share_its_turn() {
        let mut turns = Turns::new(4, BTreeMap::new());
        let (first, _a) = job(8);
        let (second, _b) = job(8);
        let (other, _c) = job(8);
        let deliveries = [first.delivery.clone(), second.delivery.clone(), other.delivery.clone()];
        let jobs: Vec<_> = deliveries.iter().collect();
        turns.push(Turn::Trainer("one".into()), first);
        turns.push(Turn::Trainer("one".into()), second);
        turns.push(Turn::Trainer("two".into()), other);
        let tiles: Vec<_> = (0..6).map(|_| tile(&mut turns, &jobs)).collect();
        assert_eq!(tiles, [[4, 0, 0], [0, 0, 4], [4, 0, 0], [0, 0, 4], [0, 4, 0], [0, 4, 0]]);
    }

    #[test]
    fn rows_are_dealt_by_shares_while_all_wait_and_none_is_left_idle() {
        let shares = [("much", 2.0), ("little", 0.3)].map(|(name, share)| (name.to_owned(), share));
        let mut turns = Turns::new(4, shares.into());
        let names = ["much", "little", "usual"];
        let jobs: Vec<_> = names.iter().map(|_| job(10_000)).collect();
        let deliveries: Vec<_> = jobs.iter().map(|(job, _)| job.delivery.clone()).collect();
        let mut askers = Vec::new();
        for (name, (job, asker)) in names.iter().zip(jobs) {
            turns.push(Turn::Trainer((*name).into()), job);
            askers.push(asker);
        }
        let all: Vec<_> = deliveries.iter().collect();
        let mut rows = [0; 3];
        for _ in 0..3300 / 4 {
            tile(&mut turns, &all).iter().zip(&mut rows).for_each(|(new, sum)| *sum += new);
        }
        for (rows, expected) in rows.into_iter().zip([2000f64, 300.0, 1000.0]) {
            assert!((rows as f64 - expected).abs() <= 8.0, "{rows} rows, not {expected}");
        }
        // The one with the least share has it all when the others have left.
        askers.swap_remove(0);
        askers.truncate(1);
        assert_eq!(tile(&mut turns, &all).iter().sum::<usize>(), 4);
    }

    #[test]
    fn a_job_whose_asker_left_is_skipped() {
        let mut turns = Turns::new(4, BTreeMap::new());
        let (left, answer) = job(8);
        let (stayed, _s) = job(2);
        let deliveries = [left.delivery.clone(), stayed.delivery.clone()];
        turns.push(Turn::Stream(1), left);
        turns.push(Turn::Stream(2), stayed);
        drop(answer);
        assert_eq!(tile(&mut turns, &deliveries.iter().collect::<Vec<_>>()), [0, 2]);
        assert!(turns.take(4, None).is_empty());
        assert!(turns.queues.is_empty() && turns.ring.is_empty());
    }

    #[test]
    fn rows_of_different_kinds_or_weights_share_no_tile() {
        let mut turns = Turns::new(4, BTreeMap::new());
        let (faces, _f) = job(2);
        let (images, _i) = of(kind(0, Task::Encode), Rows::Images(vec![Bytes::from_static(&[0u8]); 2]));
        let (newer, _n) = of(kind(1, Task::Encode), Rows::Images(vec![Bytes::from_static(&[0u8]); 1]));
        for (stream, job) in [faces, images, newer].into_iter().enumerate() {
            turns.push(Turn::Stream(stream as u64), job);
        }
        let kinds = |rows: Vec<Row>| rows.iter().map(|row| row.kind).collect::<Vec<_>>();
        assert_eq!(kinds(turns.take(4, None)), [kind(0, Task::Generate); 2]);
        assert!(turns.take(2, Some(kind(0, Task::Generate))).is_empty());
        assert_eq!(kinds(turns.take(4, None)), [kind(0, Task::Encode); 2]);
        assert_eq!(kinds(turns.take(4, None)), [kind(1, Task::Encode)]);
    }
}
