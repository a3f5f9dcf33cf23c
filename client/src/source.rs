//! The stream as a training loop reads it.

use crate::check::Description;
use crate::contact::{Contact, contact};
use crate::fetch::{Fetch, Fetched};
use crate::place::{Kind, Place, Takeover, short};
use crate::waits::WaitLog;
use crate::{BundleChoice, Error, Result, StreamSettings, Waits};
use command::Interrupt;
use recognizer::{Batch, BatchSource, SourceError};
use serde_json::Value;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often a wait for the first contact looks whether the command was interrupted.
const LOOK_UP: Duration = Duration::from_millis(50);

/// A stream of batches from servers.
///
/// Threads of its own read ahead, so a training step and the next batches' way overlap. All methods
/// block; they are not for asynchronous tasks.
pub struct StreamSource {
    settings: Arc<StreamSettings>,
    description: Arc<Description>,
    /// What has taken over from the description's bundle, or is going to.
    takeovers: Arc<Vec<Takeover>>,
    /// Whether a batch was received, here or before the place that it goes on from.
    begun: bool,
    names: Vec<String>,
    /// Position of the server that answered.
    server: usize,
    next: u64,
    /// Started by the first [`StreamSource::next_received`], so that a source that resumes asks for
    /// nothing in vain.
    batches: Option<mpsc::Receiver<Result<Fetched>>>,
    waits: WaitLog,
    interrupt: Interrupt,
    stop: CancellationToken,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// A checked batch with everything that came with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// What a training step needs.
    pub batch: Batch,
    /// Where each row comes from.
    pub provenance: proto::v1::Provenance,
    /// Of its content.
    pub digest: [u8; 32],
    /// Length of its message on the wire.
    pub message_bytes: usize,
}

impl StreamSource {
    /// Finds a server and asks what the stream is. Batches are asked for with the first one wanted.
    ///
    /// # Errors
    /// No server in time, or none that sends this stream; `interrupt` during the wait.
    pub fn connect(settings: StreamSettings, interrupt: &Interrupt) -> Result<Self> {
        // One thread for the sockets, one to check what comes: a batch's digest takes a while.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("stream")
            .enable_all()
            .build()
            .map_err(Error::Threads)?;
        let settings = Arc::new(settings);
        let found = meet(&runtime, &settings, None, interrupt)?;
        Ok(Self {
            next: settings.first,
            takeovers: Arc::new(replayed(&settings.bundle)),
            settings,
            description: Arc::new(found.description),
            begun: false,
            names: found.names,
            server: found.server,
            batches: None,
            waits: WaitLog::default(),
            interrupt: interrupt.clone(),
            stop: CancellationToken::new(),
            runtime: Some(runtime),
        })
    }

    /// The next batch with its provenance and digest. Blocks while there is none yet.
    ///
    /// # Errors
    /// [`Error::Unreachable`] and [`Error::Refused`] when the servers have failed for too long, after
    /// which another call tries again; [`Error::Ended`]; [`Error::Stopped`].
    pub fn next_received(&mut self) -> Result<Received> {
        if self.stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        if let Some(end) = self.settings.end.filter(|&end| self.next >= end) {
            return Err(Error::Ended(end));
        }
        let began = Instant::now();
        let mut batches = match self.batches.take() {
            Some(batches) => batches,
            None => self.fetch()?,
        };
        match batches.blocking_recv() {
            Some(Ok(fetched)) => {
                self.waits.waited_inside(began.elapsed());
                self.next = fetched.received.batch.index + 1;
                (self.description, self.takeovers, self.begun) = (fetched.description, fetched.takeovers, true);
                self.batches = Some(batches);
                Ok(fetched.received)
            }
            Some(Err(error)) => Err(error),
            None if self.stop.is_cancelled() => Err(Error::Stopped),
            None => Err(Error::Lost),
        }
    }

    /// Where the stream goes on.
    pub fn current_place(&self) -> Place {
        // What is to come yet is the server's to declare anew: it may not be the same for all ranks.
        let past = self.takeovers.iter().filter(|takeover| takeover.first <= self.next);
        Place {
            takeovers: past.cloned().collect(),
            kind: Kind::Stream,
            spec: self.description.spec.clone(),
            rank: self.settings.rank,
            world_size: self.settings.world_size,
            origin: self.description.origin.clone(),
            next: self.next,
        }
    }

    /// Identities of the dataset; later classes are blended.
    pub fn identities(&self) -> usize {
        self.description.identities as usize
    }

    /// How long each batch was waited for: by the training loop where one reads this source, else
    /// by [`StreamSource::next_received`].
    pub fn waits(&self) -> Waits {
        self.waits.waits()
    }

    /// What it was made with.
    pub fn settings(&self) -> &StreamSettings {
        &self.settings
    }

    /// Starts the task that reads ahead.
    fn fetch(&self) -> Result<mpsc::Receiver<Result<Fetched>>> {
        let runtime = self.runtime.as_ref().ok_or(Error::Lost)?;
        let (sender, batches) = mpsc::channel(self.settings.prefetch.max(1));
        let fetch = Fetch {
            settings: self.settings.clone(),
            description: self.description.clone(),
            takeovers: self.takeovers.clone(),
            begun: self.begun,
            server: self.server,
            next: self.next,
            waits: self.waits.clone(),
        };
        let stop = self.stop.clone();
        runtime.spawn(async move { stop.run_until_cancelled(fetch.run(sender)).await });
        Ok(batches)
    }
}

/// What takes over in a replay.
fn replayed(bundle: &BundleChoice) -> Vec<Takeover> {
    match bundle {
        BundleChoice::Replay(_, takeovers) => takeovers.clone(),
        _ => Vec::new(),
    }
}

/// Runs a contact beside the caller, who may be interrupted.
fn meet(
    runtime: &Runtime,
    settings: &Arc<StreamSettings>,
    place: Option<Place>,
    interrupt: &Interrupt,
) -> Result<Contact> {
    let (sender, answer) = sync_channel(1);
    let asked = settings.clone();
    let task = runtime.spawn(async move {
        // Nobody listens any more after an interrupt.
        let _ = sender.send(contact(&asked, place.as_ref()).await);
    });
    loop {
        match answer.recv_timeout(LOOK_UP) {
            Ok(found) => return found,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Lost),
            Err(RecvTimeoutError::Timeout) if interrupt.requested() => {
                task.abort();
                return Err(Error::Stopped);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl BatchSource for StreamSource {
    fn classes(&self) -> usize {
        self.description.classes as usize
    }

    fn channels(&self) -> usize {
        self.description.channels
    }

    fn batch_size(&self) -> usize {
        self.settings.rows()
    }

    fn next(&mut self) -> Result<Batch, SourceError> {
        Ok(self.next_received()?.batch)
    }

    fn place(&self) -> Value {
        // Plain structs of numbers and texts always have a JSON form.
        serde_json::to_value(self.current_place()).unwrap_or_default()
    }

    fn resume(&mut self, place: &Value) -> Result<(), SourceError> {
        let place: Place = serde_json::from_value(place.clone())
            .map_err(|error| SourceError::Place(format!("expected a place in a stream, found another: {error}")))?;
        // Before a server is asked, which would read a place of another spec as its own.
        place.refuse_settings(&self.description.spec, &self.settings).map_err(SourceError::Place)?;
        let runtime = self.runtime.as_ref().ok_or(Error::Lost)?;
        let (next, takeovers, begun_with) = (place.next, place.takeovers.clone(), place.origin.bundle.clone());
        let expected = place.origin_of_next().bundle;
        let mut found = meet(runtime, &self.settings, Some(place), &self.interrupt)?;
        self.takeovers = Arc::new(takeovers);
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

    /// Names no server, so that a training's checkpoints don't depend on who sent its batches.
    fn describe(&self) -> String {
        let Description { spec, origin, identities, classes, .. } = &*self.description;
        format!(
            "a stream of {} ({} classes from {identities} identities, dataset {}, bundle {})",
            spec.mix,
            classes,
            short(&origin.dataset),
            short(&origin.bundle)
        )
    }

    fn class_names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn dataset_digest(&self) -> Option<String> {
        Some(self.description.origin.dataset.clone())
    }

    fn stopper(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let stop = self.stop.clone();
        Some(Box::new(move || stop.cancel()))
    }

    fn wait_recorder(&self) -> Option<Box<dyn Fn(Duration) + Send>> {
        Some(Box::new(self.waits.recorder()))
    }
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamSource")
            .field("settings", &self.settings)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Drop for StreamSource {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            // Doesn't wait: a look-up of a host name may take long, and this may be an
            // asynchronous task's thread.
            runtime.shutdown_background();
        }
    }
}
