//! One trainer's stream: its cursor and its credit.
//!
//! A session keeps a bounded number of batches in the making. A finished one waits until the
//! transport takes it, which it does as fast as the trainer reads; so a slow trainer holds its own
//! few batches and nothing else. When the trainer leaves, the receiver is dropped, and with it the
//! session, its batches and their rows in the scheduler.

use crate::{
    assemble::Batch,
    config::Config,
    error::{Error, Result},
    plan::Planner,
    scheduler::Turn,
    served::Served,
    shelf::StreamKey,
    telemetry::{Mode, Raised, Trainer},
};
use nets::pixels::IMAGE_SIZE;
use std::{collections::VecDeque, ops::Range, sync::Arc, time::Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

/// What a stream sends of each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Everything.
    Whole,
    /// Everything but pixels.
    PlanOnly,
}

/// A checked stream.
#[derive(Clone)]
pub struct Stream {
    pub(crate) planner: Planner,
    /// Indices to send.
    pub(crate) indices: Range<u64>,
    /// Rows of each batch.
    pub(crate) rows: Range<u32>,
    pub(crate) content: Content,
    pub(crate) trainer: Trainer,
    pub(crate) turn: Turn,
    /// When its request came.
    pub(crate) asked: Instant,
}

/// Starts sending a stream. The receiver yields batches in order, and an error as its last item if
/// the stream ends before its time.
pub fn start(served: Arc<Served>, stream: Stream, permit: OwnedSemaphorePermit) -> mpsc::Receiver<Result<Arc<Batch>>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(run(served, Arc::new(stream), permit, sender));
    receiver
}

/// A batch in the making, and the gauge that counts it.
struct Making {
    batch: AbortOnDropHandle<Result<(Arc<Batch>, Mode)>>,
    _pending: Raised,
}

async fn run(
    served: Arc<Served>,
    stream: Arc<Stream>,
    _permit: OwnedSemaphorePermit,
    sender: mpsc::Sender<Result<Arc<Batch>>>,
) {
    let _active = stream.trainer.active();
    if let Err(error) = send(&served, &stream, &sender).await {
        // A trainer that doesn't read it is not waited for: at shutdown the server ends after its
        // grace time, and otherwise the trainer's leaving ends the wait. What was in the making is
        // gone by now.
        let _ = sender.send(Err(error)).await;
    }
}

/// Sends batches until the last one or until the trainer leaves.
async fn send(served: &Arc<Served>, stream: &Arc<Stream>, sender: &mpsc::Sender<Result<Arc<Batch>>>) -> Result<()> {
    let credit = stream.credit(served);
    let key = StreamKey::new(stream.planner.spec(), &stream.rows);
    let mut indices = stream.indices.clone();
    let mut making: VecDeque<Making> = VecDeque::new();
    loop {
        while making.len() < credit
            && let Some(index) = indices.next()
        {
            let (served, stream, pending) = (served.clone(), stream.clone(), stream.trainer.pending());
            let batch = tokio::spawn(async move {
                let batch = stream.make(&served, index);
                match stream.content {
                    Content::Whole => served.shelf.get_or_make(key, index, batch).await,
                    Content::PlanOnly => Ok((Arc::new(batch.await?), Mode::Made)),
                }
            });
            making.push_back(Making { batch: AbortOnDropHandle::new(batch), _pending: pending });
        }
        let Some(front) = making.front_mut() else { return Ok(()) };
        let batch = tokio::select! {
            batch = &mut front.batch => batch,
            () = sender.closed() => return Ok(()),
            () = served.closing.cancelled() => return Err(Error::ShuttingDown),
        };
        let (batch, mode) = batch.map_err(|panic| Error::Bug(format!("making a batch failed: {panic}")))??;
        if batch.index == stream.indices.start && stream.content == Content::Whole {
            served.telemetry.first_batch(stream.asked.elapsed());
        }
        let finished = Instant::now();
        let permit = tokio::select! {
            permit = sender.reserve() => permit,
            () = served.closing.cancelled() => return Err(Error::ShuttingDown),
        };
        let Ok(permit) = permit else { return Ok(()) };
        stream.trainer.send_blocked(finished.elapsed());
        if stream.content == Content::Whole {
            stream.trainer.sent(mode, &batch.sources, batch.pixels.len());
        }
        permit.send(Ok(batch));
        making.pop_front();
    }
}

impl Stream {
    /// Batches that may be in the making.
    fn credit(&self, served: &Served) -> usize {
        let Config { read_ahead, read_ahead_memory, max_streams, .. } = served.config;
        let image = IMAGE_SIZE * IMAGE_SIZE * self.planner.spec().channels;
        let batch = self.rows.len() * image;
        read_ahead.min((read_ahead_memory << 20) / max_streams.max(1) / batch.max(1)).max(1)
    }
}
