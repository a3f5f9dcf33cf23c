//! One trainer's stream: its cursor, its credit, and how one batch is made.
//!
//! A session keeps a bounded number of batches in the making. A finished one waits until the
//! transport takes it, which it does as fast as the trainer reads; so a slow trainer holds its own
//! few batches and nothing else. When the trainer leaves, the receiver is dropped, and with it the
//! session, its batches and their rows in the scheduler.

use crate::{
    assemble::{self, Batch},
    error::{Error, Result},
    gallery::Picture,
    plan::{Planner, Row, Source, latent, spec::Latent},
    scheduler::{Face, Turn},
    served::Served,
    shelf::StreamKey,
    telemetry::{Mode, Raised, Trainer},
};
use nets::{chance::Chance, pixels::IMAGE_SIZE};
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
    let begun = Instant::now();
    let telemetry = served.telemetry.clone();
    let _active = stream.trainer.active();
    let credit = stream.credit(&served);
    let key = StreamKey::new(stream.planner.spec(), &stream.rows);
    let mut indices = stream.indices.clone();
    let mut making: VecDeque<Making> = VecDeque::new();
    loop {
        while making.len() < credit
            && let Some(index) = indices.next()
        {
            let (served, stream, pending) = (served.clone(), stream.clone(), stream.trainer.pending());
            let batch = tokio::spawn(async move {
                match stream.content {
                    Content::Whole => served.shelf.get_or_make(key, index, stream.make(&served, index)).await,
                    Content::PlanOnly => Ok((Arc::new(stream.plan(&served, index)), Mode::Made)),
                }
            });
            making.push_back(Making { batch: AbortOnDropHandle::new(batch), _pending: pending });
        }
        let Some(front) = making.front_mut() else { return };
        let batch = tokio::select! {
            batch = &mut front.batch => batch,
            () = sender.closed() => return,
            () = served.closing.cancelled() => return last_words(&sender, Error::ShuttingDown).await,
        };
        let (batch, mode) = match batch {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return last_words(&sender, error).await,
            Err(panic) => return last_words(&sender, Error::Bug(format!("making a batch failed: {panic}"))).await,
        };
        if batch.index == stream.indices.start {
            telemetry.first_batch(begun.elapsed());
        }
        let finished = Instant::now();
        let permit = tokio::select! {
            permit = sender.reserve() => permit,
            () = served.closing.cancelled() => return last_words(&sender, Error::ShuttingDown).await,
        };
        let Ok(permit) = permit else { return };
        stream.trainer.send_blocked(finished.elapsed());
        if stream.content == Content::Whole {
            stream.trainer.sent(mode, &batch.sources, batch.pixels.len());
        }
        permit.send(Ok(batch));
        making.pop_front();
    }
}

/// Ends a stream with an error. A trainer that doesn't read it is not waited for: at shutdown the
/// server ends after its grace time, and otherwise the trainer's leaving ends the wait.
async fn last_words(sender: &mpsc::Sender<Result<Arc<Batch>>>, error: Error) {
    let _ = sender.send(Err(error)).await;
}

impl Stream {
    /// Batches that may be in the making.
    fn credit(&self, served: &Served) -> usize {
        let image = IMAGE_SIZE * IMAGE_SIZE * self.planner.spec().channels;
        let batch = self.rows.len() * image;
        served.config.read_ahead.min((served.config.read_ahead_memory << 20) / batch.max(1)).max(1)
    }

    /// The columns of a batch.
    fn plan(&self, served: &Served, index: u64) -> Batch {
        let begun = Instant::now();
        let rows = self.planner.rows(index, self.rows.clone());
        served.telemetry.planned(begun.elapsed());
        Batch::planned(index, self.rows.start, &rows)
    }

    /// A whole batch: planned, its real rows decoded and its others generated at the same time,
    /// then assembled.
    async fn make(&self, served: &Arc<Served>, index: u64) -> Result<Batch> {
        let (stream, telemetry) = (self.clone(), served.telemetry.clone());
        let (rows, latents) = blocking(move || {
            let begun = Instant::now();
            let rows = stream.planner.rows(index, stream.rows.clone());
            telemetry.planned(begun.elapsed());
            let latents = stream.prior_latents(index, &rows);
            Ok((rows, latents))
        })
        .await?;
        let shown: Vec<u32> = images_of(&rows, |source| source == Source::Real);
        let (shown, (generated, encoded)) =
            tokio::try_join!(served.gallery.pictures(&shown), self.generate(served, index, &rows, latents))?;
        let (stream, served) = (self.clone(), served.clone());
        blocking(move || stream.compose(&served, index, rows, &shown, &generated, &encoded)).await
    }

    /// Latents of the generated rows, when they come from the prior.
    fn prior_latents(&self, index: u64, rows: &[Row]) -> Vec<Vec<f32>> {
        let Latent::Prior { truncation } = self.planner.spec().latent else { return Vec::new() };
        let chance = Chance::new(self.planner.spec().seed, latent::PURPOSE);
        let generated = rows.iter().filter(|row| row.source != Source::Real);
        generated.map(|row| latent::prior(&mut chance.at(index, row.number.into()), truncation)).collect()
    }

    /// Pixels of the generated rows, and the pictures that were encoded for them.
    async fn generate(
        &self,
        served: &Served,
        index: u64,
        rows: &[Row],
        mut latents: Vec<Vec<f32>>,
    ) -> Result<(Vec<u8>, Vec<Picture>)> {
        let mut encoded = Vec::new();
        if let Latent::Jitter { scale } = self.planner.spec().latent {
            encoded = served.gallery.pictures(&images_of(rows, |source| source != Source::Real)).await?;
            let encodings = served.encodings.of(self.turn.clone(), &encoded).await?;
            let chance = Chance::new(self.planner.spec().seed, latent::PURPOSE);
            let generated = rows.iter().filter(|row| row.source != Source::Real);
            latents = generated
                .zip(&encodings)
                .map(|(row, encoding)| latent::jitter(&mut chance.at(index, row.number.into()), encoding, scale))
                .collect();
        }
        let generated = rows.iter().filter(|row| row.source != Source::Real);
        let faces = generated.zip(latents).map(|(row, latent)| Face { parents: row.parents.clone(), latent }).collect();
        Ok((served.scheduler.generate(self.turn.clone(), faces).await?, encoded))
    }

    /// The finished batch of rows whose pixels are there.
    fn compose(
        &self,
        served: &Served,
        index: u64,
        mut rows: Vec<Row>,
        shown: &[Picture],
        generated: &[u8],
        encoded: &[Picture],
    ) -> Result<Batch> {
        let begun = Instant::now();
        let channels = served.bundle.channels;
        let (mut shown, mut encoded) = (shown.iter(), encoded.iter());
        let mut generated = generated.chunks_exact(IMAGE_SIZE * IMAGE_SIZE * channels);
        let mut images: Vec<&[u8]> = Vec::with_capacity(rows.len());
        let mut replaced = Vec::new();
        let missing = || Error::Bug("a row's pixels are missing".into());
        for (nth, row) in rows.iter_mut().enumerate() {
            let picture = if row.source == Source::Real {
                let picture = shown.next().ok_or_else(missing)?;
                images.push(&picture.pixels);
                Some(picture)
            } else {
                images.push(generated.next().ok_or_else(missing)?);
                row.image.and_then(|_| encoded.next())
            };
            if let Some(picture) = picture.filter(|picture| row.image != Some(picture.number)) {
                row.image = Some(picture.number);
                replaced.push(nth as u32);
            }
        }
        let pixels = assemble::pixels(self.planner.spec(), index, &rows, &images, channels)?;
        served.telemetry.composed(begun.elapsed());
        served.telemetry.replaced(replaced.len());
        let begun = Instant::now();
        let batch = Batch { pixels, replaced, ..Batch::planned(index, self.rows.start, &rows) };
        let batch = batch.seal(&served.bundle.digest);
        served.telemetry.encoded(begun.elapsed());
        Ok(batch)
    }
}

/// The images of the rows of some sources that have one.
fn images_of(rows: &[Row], source: impl Fn(Source) -> bool) -> Vec<u32> {
    rows.iter().filter(|row| source(row.source)).filter_map(|row| row.image).collect()
}

/// Runs work of a millisecond or more beside the tasks that talk to the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => Err(Error::Bug(format!("making a batch failed: {panic}"))),
    }
}
