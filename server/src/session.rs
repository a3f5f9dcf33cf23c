//! One trainer's stream: its cursor and its credit.
//!
//! A session keeps a bounded number of batches in the making. A finished one waits until the
//! transport takes it, which it does as fast as the trainer reads; so a slow trainer holds its own
//! few batches and nothing else. One that has read nothing for a while holds not even those: they are made
//! again when it reads on. When the trainer leaves, the receiver is dropped, and with it the
//! session, its batches and their rows in the scheduler.

use crate::{
    assemble::Batch,
    bundles::{
        declared::Course,
        followers::{Follower, News},
    },
    config::Config,
    error::{Error, Result},
    listeners::connection::{LAST_WORDS, Peer},
    making::By,
    plan::{Planner, table::Table},
    scheduler::Turn,
    served::Served,
    shelf::StreamKey,
    streams::Admission,
    telemetry::{Mode, Raised, Trainer},
};
use nets::pixels::IMAGE_SIZE;
use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use tracing::Instrument;

/// What a stream sends of each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Everything.
    Whole,
    /// Everything but pixels, which aren't even made.
    PlanOnly,
    /// Nothing but the digest, of everything.
    Digests,
}

/// What a session yields.
pub enum Sent {
    /// The next batch.
    Batch(Arc<Batch>),
    /// The bundle with this digest makes the batches from this index on, which are yet to come.
    Takeover(u64, String),
    /// This sampling table shapes the batches from this index on, which are yet to come.
    Table(u64, Arc<Table>),
    /// The stream ends in good order, before its time: this is the index of the first batch that was not
    /// sent. The error follows.
    Farewell(u64, Parting),
}

/// Why a stream ends before its time although nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The server ends.
    Shutdown,
    /// The stream was sent for as long as one is.
    Lease,
}

impl Parting {
    /// `None` for what is wrong.
    fn of(error: &Error) -> Option<Self> {
        match error {
            Error::ShuttingDown => Some(Self::Shutdown),
            Error::Lease(_) => Some(Self::Lease),
            _ => None,
        }
    }
}

/// What makes which of a stream's batches.
pub(crate) enum Policy {
    /// What is declared, and nothing else.
    Closed(Course),
    /// What is declared, and newer ones as they come.
    Following(Follower),
}

/// A checked stream.
#[derive(Clone)]
pub struct Stream {
    pub(crate) planner: Planner,
    /// Of the planner's spec.
    pub(crate) spec_digest: [u8; 32],
    /// Indices to send.
    pub(crate) indices: Range<u64>,
    /// Rows of each batch.
    pub(crate) rows: Range<u32>,
    pub(crate) content: Content,
    pub(crate) trainer: Trainer,
    pub(crate) turn: Turn,
    /// When its request came.
    pub(crate) asked: Instant,
    /// Cancelled when the token that it was asked for with is withdrawn.
    pub(crate) withdrawn: CancellationToken,
    /// Who reads it, where there is a connection.
    pub(crate) peer: Option<Peer>,
}

/// What a stream yields: batches in order, and an error as its last item if it ends before its time. Its
/// place among the streams is given back when this is dropped, and not before: what was sent and not read
/// is still held.
pub(crate) struct Yielded {
    pub(crate) items: mpsc::Receiver<Result<Sent>>,
    _read: DropGuard,
}

/// Starts sending a stream.
pub(crate) fn start(served: Arc<Served>, stream: Stream, policy: Policy, admission: Admission) -> Yielded {
    let (sender, items) = mpsc::channel(1);
    let read = CancellationToken::new();
    tokio::spawn(run(served, Arc::new(stream), policy, admission, sender, read.clone()).in_current_span());
    Yielded { items, _read: read.drop_guard() }
}

/// The gauge that counts a batch in the making, and its place among its trainer's.
type Pending = (Raised, Option<OwnedSemaphorePermit>);

/// What is sent next, in order.
enum Next {
    /// A batch, and what makes it.
    Batch {
        index: u64,
        by: By,
        /// `None` where the trainer was not expected to read soon.
        made: Option<Making>,
    },
    News(News),
}

/// A batch in the making, and what counts it.
struct Making {
    batch: AbortOnDropHandle<Result<(Arc<Batch>, Mode)>>,
    _pending: Pending,
}

/// How long a trainer may read nothing before what was made ahead for it is let go of.
const IDLE: Duration = Duration::from_secs(5);

async fn run(
    served: Arc<Served>,
    stream: Arc<Stream>,
    policy: Policy,
    admission: Admission,
    sender: mpsc::Sender<Result<Sent>>,
    read: CancellationToken,
) {
    let _active = stream.trainer.active();
    let (mut next, lease) = (stream.indices.start, Lease::of(&stream, &served.config));
    let outcome = send(&served, &stream, policy, &admission, &lease, &sender, &mut next).await;
    // What was in the making is gone by now; what was sent last may still wait to be read.
    let (is_whole, parting) = (outcome.is_ok(), outcome.as_ref().err().and_then(Parting::of));
    let patience = async { if is_whole { drop(lease.out().await) } else { tokio::time::sleep(LAST_WORDS).await } };
    let last_words = async {
        if let Some(parting) = parting {
            let _ = sender.send(Ok(Sent::Farewell(next, parting))).await;
        }
        if let Err(error) = outcome {
            let _ = sender.send(Err(error)).await;
        }
        drop(sender);
        read.cancelled().await;
    };
    tokio::select! {
        biased;
        () = last_words => {}
        () = patience => if let Some(peer) = &stream.peer {
            // The transport asks for nothing on behalf of a reader that reads nothing: else the place, and
            // what is held there, would be given back by nobody.
            tracing::info!("the trainer doesn't read the end of its stream; its connection is cut");
            peer.cut();
        }
    }
}

/// Sends batches until the last one or until the trainer leaves. `next` is the index of the first one that
/// was not sent yet.
async fn send(
    served: &Arc<Served>,
    stream: &Arc<Stream>,
    mut policy: Policy,
    admission: &Admission,
    lease: &Lease,
    sender: &mpsc::Sender<Result<Sent>>,
    next: &mut u64,
) -> Result<()> {
    let credit = stream.credit(served);
    let mut indices = lease.indices.clone();
    let mut queue: VecDeque<Next> = VecDeque::new();
    loop {
        let mut is_first = true;
        for waiting in &mut queue {
            if let Next::Batch { index, by, made: made @ None } = waiting {
                // The batch to be sent next is made in any case, others where the trainer has room for them.
                let ahead = admission.ahead();
                if ahead.is_none() && !is_first {
                    break;
                }
                *made = Some(stream.making(served, *index, by, ahead));
            }
            is_first = false;
        }
        while queue.len() < credit {
            let ahead = admission.ahead();
            if ahead.is_none() && !queue.is_empty() {
                break;
            }
            let Some(index) = indices.next() else { break };
            let (course, news) = policy.before(index, served);
            let end = lease.indices.end;
            queue.extend(news.into_iter().filter(|news| news.first() < end).map(Next::News));
            let by = By::at(course, index);
            let made = Some(stream.making(served, index, &by, ahead));
            queue.push_back(Next::Batch { index, by, made });
        }
        let sent = match queue.front_mut() {
            None => return lease.over(*next),
            Some(Next::News(News::Bundle(entry))) => {
                (Sent::Takeover(entry.first, entry.what.digest().to_owned()), None)
            }
            Some(Next::News(News::Table(first, table))) => (Sent::Table(*first, table.clone()), None),
            Some(Next::Batch { made: None, .. }) => return Err(Error::Bug("the next batch is not being made".into())),
            Some(Next::Batch { made: Some(Making { batch, .. }), .. }) => {
                let batch = tokio::select! {
                    biased;
                    () = sender.closed() => return Ok(()),
                    () = served.closing.cancelled() => return Err(Error::ShuttingDown),
                    () = stream.withdrawn.cancelled() => return Err(Error::withdrawn()),
                    batch = batch => batch,
                };
                let (batch, mode) = batch.map_err(|panic| Error::Bug(format!("making a batch failed: {panic}")))??;
                if batch.index == stream.indices.start && stream.content == Content::Whole {
                    served.telemetry.first_batch(stream.asked.elapsed());
                }
                (Sent::Batch(batch), Some(mode))
            }
        };
        lease.check(*next)?;
        let finished = Instant::now();
        let room = async || {
            tokio::select! {
                biased;
                () = served.closing.cancelled() => Err(Error::ShuttingDown),
                () = stream.withdrawn.cancelled() => Err(Error::withdrawn()),
                permit = sender.reserve() => Ok(permit.ok()),
                error = lease.out() => Err(error),
            }
        };
        let permit = match tokio::time::timeout(IDLE, room()).await {
            Ok(permit) => permit?,
            Err(_) => {
                drop(sent);
                queue.iter_mut().for_each(Next::let_go);
                served.buffers.give_back();
                if room().await?.is_none() {
                    return Ok(());
                }
                stream.trainer.send_blocked(finished.elapsed());
                continue;
            }
        };
        let Some(permit) = permit else { return Ok(()) };
        if let (Sent::Batch(batch), Some(mode)) = &sent {
            stream.trainer.send_blocked(finished.elapsed());
            if stream.content == Content::Whole {
                stream.trainer.sent(*mode, &batch.sources, batch.pixels.len());
            }
        }
        match &sent.0 {
            Sent::Batch(batch) => *next = batch.index + 1,
            Sent::Table(..) => stream.trainer.table(),
            Sent::Takeover(..) | Sent::Farewell(..) => {}
        }
        permit.send(Ok(sent.0));
        queue.pop_front();
    }
}

impl Next {
    /// Ends or forgets what was made; it can be made again.
    fn let_go(&mut self) {
        if let Self::Batch { made, .. } = self {
            *made = None;
        }
    }
}

/// How much of a stream is sent at most before its trainer must ask again.
struct Lease {
    /// Indices that are sent.
    indices: Range<u64>,
    /// Index at which the stream itself ends.
    end: u64,
    begun: Instant,
    /// `None` for any age.
    max_age: Option<Duration>,
}

impl Lease {
    fn of(stream: &Stream, config: &Config) -> Self {
        let Range { start, end } = stream.indices;
        // Plans are cheap, and digests are compared from end to end.
        let (batches, age) = match stream.content {
            Content::Whole => (config.max_stream_batches, config.max_stream_age),
            Content::PlanOnly | Content::Digests => (0, 0),
        };
        let last = if batches == 0 { end } else { end.min(start.saturating_add(batches)) };
        let max_age = (age > 0).then(|| Duration::from_secs(age));
        Self { indices: start..last, end, begun: Instant::now(), max_age }
    }

    /// All that is sent was sent, up to `next`: an error unless that is the whole stream.
    fn over(&self, next: u64) -> Result<()> {
        if next >= self.end { Ok(()) } else { Err(Error::Lease(format!("{} batches", next - self.indices.start))) }
    }

    /// An error once the stream is too old; it is sent one batch in any case, `next` being the next one.
    fn check(&self, next: u64) -> Result<()> {
        match self.max_age {
            Some(age) if next > self.indices.start && self.begun.elapsed() >= age => Err(Self::aged(age)),
            _ => Ok(()),
        }
    }

    /// Waits until the stream is too old, for a trainer that doesn't read.
    async fn out(&self) -> Error {
        let Some(age) = self.max_age else { return std::future::pending().await };
        tokio::time::sleep_until(self.begun + age).await;
        Self::aged(age)
    }

    fn aged(age: Duration) -> Error {
        Error::Lease(format!("{} seconds", age.as_secs()))
    }
}

impl Policy {
    /// The course that batch `index` is begun with, and what is new in it.
    fn before(&mut self, index: u64, served: &Served) -> (&Course, Vec<News>) {
        match self {
            Self::Closed(course) => {
                course.forget_before(index);
                (course, Vec::new())
            }
            Self::Following(follower) => {
                let news = follower.advance(index, &served.bundles.newest());
                (follower.course(), news)
            }
        }
    }

    pub(crate) fn course(&self) -> &Course {
        match self {
            Self::Closed(course) => course,
            Self::Following(follower) => follower.course(),
        }
    }
}

impl Stream {
    /// Begins with a batch; `ahead` is its place among its trainer's.
    fn making(
        self: &Arc<Self>,
        served: &Arc<Served>,
        index: u64,
        by: &By,
        ahead: Option<OwnedSemaphorePermit>,
    ) -> Making {
        let batch = self.clone().begin(served.clone(), index, by.clone());
        let batch = AbortOnDropHandle::new(tokio::spawn(batch.in_current_span()));
        Making { batch, _pending: (self.trainer.pending(), ahead) }
    }

    /// One batch, from the shelf or made.
    async fn begin(self: Arc<Self>, served: Arc<Served>, index: u64, by: By) -> Result<(Arc<Batch>, Mode)> {
        let batch = self.make(&served, index, &by);
        match self.content {
            Content::Whole | Content::Digests => {
                let key = StreamKey::new(self.spec_digest, &self.rows, by.bundle.digest(), by.table_digest());
                let found = served.shelf.get_or_make(key, index, batch).await;
                if let Ok((_, mode)) = &found {
                    served.telemetry.shelved(*mode);
                }
                found
            }
            Content::PlanOnly => Ok((Arc::new(batch.await?), Mode::Made)),
        }
    }

    /// Batches that may be in the making.
    fn credit(&self, served: &Served) -> usize {
        let Config { read_ahead, read_ahead_memory, max_streams, .. } = served.config;
        let spec = self.planner.spec();
        // What is sent, what it is made of, and what the filter looks at.
        let copies = spec.channels + served.channels * if spec.filter.is_some() { 2 } else { 1 };
        let batch = self.rows.len() * IMAGE_SIZE * IMAGE_SIZE * copies;
        read_ahead.min((read_ahead_memory << 20) / max_streams.max(1) / batch.max(1)).max(1)
    }
}
