//! The stream as an asynchronous task reads it.

use crate::check::Description;
use crate::contact::contact;
use crate::fetch::{Fetch, Fetched};
use crate::losses::LossLog;
use crate::place::{Kind, Place, Takeover};
use crate::tables::TableTakeover;
use crate::waits::WaitLog;
use crate::{BundleChoice, Error, Result, Spec, StreamSettings};
use recognizer::{Batch, Mixture, Part, Source};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A stream of batches from servers, for tasks. [`crate::StreamSource`] is the same for threads.
///
/// A task of its own reads ahead; it ends with the reader.
#[derive(Debug)]
pub struct Reader {
    settings: Arc<StreamSettings>,
    description: Arc<Description>,
    /// What has taken over from the description's bundle, or is going to.
    takeovers: Arc<Vec<Takeover>>,
    /// Sampling tables that shape the batches, or are going to.
    tables: Arc<Vec<TableTakeover>>,
    /// Whether a batch was received, here or before the place that it goes on from.
    begun: bool,
    names: Vec<String>,
    /// Position of the server that answered.
    server: usize,
    next: u64,
    /// Started by the first [`Reader::next`], so that a reader that resumes asks for nothing in vain.
    batches: Option<mpsc::Receiver<Result<Fetched>>>,
    waits: WaitLog,
    losses: LossLog,
    stop: CancellationToken,
}

/// A checked batch with everything that came with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// What a training step needs.
    pub batch: Batch,
    /// Where each row comes from.
    pub provenance: proto::v1::Provenance,
    /// The rest of the message: neither provenance nor pixels.
    pub rest: proto::v1::Batch,
    /// Digest of the bundle that made it.
    pub bundle: String,
    /// Of its content.
    pub digest: [u8; 32],
    /// Length of its message on the wire.
    pub message_bytes: usize,
}

impl Received {
    /// The batch with its blended rows as mixtures of their parents, of whom each has so many.
    pub(crate) fn softened(self, parents: usize) -> Batch {
        let Self { mut batch, provenance, .. } = self;
        let parts = provenance.parents.into_iter().zip(provenance.parent_weights);
        let mut parts = parts.map(|(class, weight)| Part { class, weight });
        let blended = (0..).zip(&mut batch.labels).zip(&batch.sources);
        for ((row, label), _) in blended.filter(|(_, source)| **source == Source::Blended) {
            let parts: Vec<Part> = parts.by_ref().take(parents).collect();
            // The heaviest comes first.
            *label = parts.first().map_or(*label, |part| part.class);
            batch.mixtures.push(Mixture { row, parts });
        }
        batch
    }
}

impl Reader {
    /// Finds a server and asks what the stream is. Batches are asked for with the first one wanted.
    ///
    /// # Errors
    /// No server in time, or none that sends this stream.
    pub async fn connect(settings: StreamSettings) -> Result<Self> {
        let settings = Arc::new(settings);
        let found = contact(&settings, None).await?;
        Ok(Self {
            next: settings.first,
            takeovers: Arc::new(replayed(&settings.bundle)),
            tables: Arc::new(settings.tables.known(Vec::new())),
            settings,
            description: Arc::new(found.description),
            begun: false,
            names: found.names,
            server: found.server,
            batches: None,
            waits: WaitLog::default(),
            losses: LossLog::default(),
            stop: CancellationToken::new(),
        })
    }

    /// The next batch.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Unreachable`] and [`Error::Refused`] when the servers have failed for too long, after
    /// which another call tries again; [`Error::Ended`]; [`Error::Stopped`].
    pub async fn next(&mut self) -> Result<Received> {
        if self.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        if let Some(end) = self.settings.end.filter(|&end| self.next >= end) {
            return Err(Error::Ended(end));
        }
        let began = Instant::now();
        if self.batches.is_none() {
            self.batches = Some(self.fetch());
        }
        let next = match &mut self.batches {
            Some(batches) => batches.recv().await,
            None => None,
        };
        match next {
            Some(Ok(fetched)) => {
                self.waits.waited_inside(began.elapsed());
                self.next = fetched.received.batch.index + 1;
                (self.description, self.begun) = (fetched.description, true);
                (self.takeovers, self.tables) = (fetched.takeovers, fetched.tables);
                Ok(fetched.received)
            }
            last => {
                self.batches = None;
                match last {
                    Some(Err(error)) => Err(error),
                    _ if self.stop.is_cancelled() => Err(Error::Stopped),
                    _ => Err(Error::Lost),
                }
            }
        }
    }

    /// Where the stream goes on.
    pub fn place(&self) -> Place {
        self.place_later()()
    }

    /// The same, put together when it is wanted: it holds the spec, which may have a weight for each of
    /// a million identities.
    pub fn place_later(&self) -> impl Fn() -> Place + Send + use<> {
        let (settings, description) = (self.settings.clone(), self.description.clone());
        let (takeovers, tables, next) = (self.takeovers.clone(), self.tables.clone(), self.next);
        move || {
            // What is to come yet is the server's to declare anew. What comes with the next batch is
            // known to a rank alone, but perhaps not to all ranks.
            let known = if settings.world_size > 1 { next } else { next.saturating_add(1) };
            let past = takeovers.iter().filter(|takeover| takeover.first < known);
            let past_tables = tables.iter().filter(|table| table.first < known);
            Place {
                takeovers: past.cloned().collect(),
                tables: past_tables.cloned().collect(),
                kind: Kind::Stream,
                spec: description.spec.clone(),
                labels: settings.labels,
                rank: settings.rank,
                world_size: settings.world_size,
                origin: description.origin.clone(),
                next,
            }
        }
    }

    /// Index of the next batch.
    pub(crate) fn next_index(&self) -> u64 {
        self.next
    }

    /// Goes on from a place.
    ///
    /// # Errors
    /// [`Error::OtherPlace`] when it is not one in this stream; those of [`connect`](Self::connect).
    pub async fn resume(&mut self, place: Place) -> Result<()> {
        // Before a server is asked, which would read a place of another spec as its own.
        // The centres are the place's own: those that a server named just now may be newer ones.
        let asked = Spec { centres: self.settings.spec.centres.clone(), ..self.description.spec.clone() };
        place.refuse_settings(&asked, &self.settings).map_err(Error::OtherPlace)?;
        let (next, takeovers, begun_with) = (place.next, place.takeovers.clone(), place.origin.bundle.clone());
        let expected = place.origin_of_next().bundle;
        let mut found = contact(&self.settings, Some(&place)).await?;
        self.takeovers = Arc::new(takeovers);
        self.tables = Arc::new(self.settings.tables.known(place.tables));
        if matches!(self.settings.bundle, BundleChoice::Replay(..)) {
            self.takeovers = Arc::new(replayed(&self.settings.bundle));
        } else if found.description.origin.bundle == expected {
            found.description.origin.bundle = begun_with;
        } else {
            // Accepted: the stream goes on as if it had begun with this one.
            self.takeovers = Arc::default();
        }
        self.begun = true;
        self.stop.cancel();
        self.stop = CancellationToken::new();
        (self.batches, self.next, self.server) = (None, next, found.server);
        (self.description, self.names) = (Arc::new(found.description), found.names);
        Ok(())
    }

    /// Names of the dataset's identities, in class order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What it was made with.
    pub fn settings(&self) -> &StreamSettings {
        &self.settings
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    pub(crate) fn loss_log(&self) -> &LossLog {
        &self.losses
    }

    pub(crate) fn wait_log(&self) -> &WaitLog {
        &self.waits
    }

    /// Ends what is read ahead, and the wait for it.
    pub(crate) fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts the task that reads ahead.
    fn fetch(&self) -> mpsc::Receiver<Result<Fetched>> {
        let (sender, batches) = mpsc::channel(self.settings.prefetch.max(1));
        let fetch = Fetch {
            settings: self.settings.clone(),
            description: self.description.clone(),
            takeovers: self.takeovers.clone(),
            tables: self.tables.clone(),
            begun: self.begun,
            server: self.server,
            next: self.next,
            waits: self.waits.clone(),
            losses: self.losses.clone(),
        };
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(fetch.run(sender)).await });
        batches
    }
}

/// What takes over in a replay.
fn replayed(bundle: &BundleChoice) -> Vec<Takeover> {
    match bundle {
        BundleChoice::Replay(_, takeovers) => takeovers.clone(),
        _ => Vec::new(),
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
