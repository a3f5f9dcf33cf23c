//! The stream as a training loop reads it.

use crate::check::Description;
use crate::place::{Place, short};
use crate::spec::Sampling;
use crate::tables::TableChoice;
use crate::{Error, Labels, Reader, Received, Result, StreamSettings, Waits};
use command::Interrupt;
use recognizer::{Batch, BatchSource, LatePlace, SourceError};
use serde_json::Value;
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How often a wait for the first contact looks whether the command was interrupted.
const LOOK_UP: Duration = Duration::from_millis(50);

/// A stream of batches from servers.
///
/// Threads of its own read ahead, so a training step and the next batches' way overlap. All methods
/// block; they are not for asynchronous tasks, which have a [`Reader`].
pub struct StreamSource {
    reader: Reader,
    interrupt: Interrupt,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
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
        let reader = runtime.block_on(unless_interrupted(interrupt, Reader::connect(settings)))?;
        Ok(Self { reader, interrupt: interrupt.clone(), runtime: Some(runtime) })
    }

    /// The next batch with its provenance and digest. Blocks while there is none yet.
    ///
    /// # Errors
    /// Those of [`Reader::next`].
    pub fn next_received(&mut self) -> Result<Received> {
        self.runtime.as_ref().ok_or(Error::Lost)?.block_on(self.reader.next())
    }

    /// Where the stream goes on.
    pub fn current_place(&self) -> Place {
        self.reader.place()
    }

    /// Index of the next batch.
    pub(crate) fn next_index(&self) -> u64 {
        self.reader.next_index()
    }

    /// What a training learns from: the batch with the labels that the settings ask for.
    pub(crate) fn labelled(&self, received: Received) -> Batch {
        match self.settings().labels {
            Labels::Hard => received.batch,
            Labels::Soft => received.softened(self.reader.description().spec.blending.parents as usize),
        }
    }

    /// Identities of the dataset; later classes are blended.
    pub fn identities(&self) -> usize {
        self.reader.description().identities as usize
    }

    /// How long each batch was waited for: by the training loop where one reads this source, else
    /// by [`StreamSource::next_received`].
    pub fn waits(&self) -> Waits {
        self.reader.wait_log().waits()
    }

    /// What it was made with.
    pub fn settings(&self) -> &StreamSettings {
        self.reader.settings()
    }
}

/// Waits for an answer, unless the command is interrupted.
async fn unless_interrupted<T>(interrupt: &Interrupt, answer: impl Future<Output = Result<T>>) -> Result<T> {
    let mut answer = pin!(answer);
    loop {
        match tokio::time::timeout(LOOK_UP, &mut answer).await {
            Ok(answer) => return answer,
            Err(_) if interrupt.requested() => return Err(Error::Stopped),
            Err(_) => {}
        }
    }
}

impl BatchSource for StreamSource {
    fn classes(&self) -> usize {
        let description = self.reader.description();
        match self.settings().labels {
            Labels::Hard => description.classes as usize,
            Labels::Soft => description.identities as usize,
        }
    }

    fn channels(&self) -> usize {
        self.reader.description().channels
    }

    fn batch_size(&self) -> usize {
        self.settings().rows()
    }

    fn next(&mut self) -> Result<Batch, SourceError> {
        let received = self.next_received()?;
        Ok(self.labelled(received))
    }

    fn place(&self) -> Value {
        self.place_later()()
    }

    fn place_later(&self) -> LatePlace {
        let place = self.reader.place_later();
        // Plain structs of numbers and texts always have a JSON form.
        Box::new(move || serde_json::to_value(place()).unwrap_or_default())
    }

    fn resume(&mut self, place: &Value) -> Result<(), SourceError> {
        let place: Place = serde_json::from_value(place.clone())
            .map_err(|error| SourceError::Place(format!("expected a place in a stream, found another: {error}")))?;
        let runtime = self.runtime.as_ref().ok_or(Error::Lost)?;
        Ok(runtime.block_on(unless_interrupted(&self.interrupt, self.reader.resume(place)))?)
    }

    /// Names no server, so that a training's checkpoints don't depend on who sent its batches.
    fn describe(&self) -> String {
        let Description { spec, origin, identities, .. } = self.reader.description();
        let soft = if self.settings().labels.is_hard() { "" } else { ", soft labels" };
        let spread = match spec.blending.spread {
            spread if spread > 0.0 && spec.has_blended() => format!(", a spread of {spread}"),
            _ => String::new(),
        };
        format!(
            "a stream of {}{} ({} classes from {identities} identities{soft}{spread}, dataset {}, bundle {})",
            spec.mix,
            spec.schedule,
            self.classes(),
            short(&origin.dataset),
            short(&origin.bundle)
        )
    }

    fn class_names(&self) -> Vec<String> {
        self.reader.names().to_vec()
    }

    fn dataset_digest(&self) -> Option<String> {
        Some(self.reader.description().origin.dataset.clone())
    }

    fn stopper(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let stop = self.reader.stopper();
        Some(Box::new(move || stop.cancel()))
    }

    fn wait_recorder(&self) -> Option<Box<dyn Fn(Duration) + Send>> {
        Some(Box::new(self.reader.wait_log().recorder()))
    }

    fn loss_recorder(&self) -> Option<recognizer::LossRecorder> {
        let StreamSettings { spec, trainer, tables, .. } = self.reader.settings();
        // Servers take losses of trainers with a name alone, and a replay needs none.
        if !matches!(spec.sampling, Sampling::ByLoss(_)) || trainer.is_empty() || *tables != TableChoice::Follow {
            return None;
        }
        Some(Box::new(self.reader.loss_log().recorder(self.reader.description().identities)))
    }
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamSource").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Drop for StreamSource {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Doesn't wait: a look-up of a host name may take long, and this may be an
            // asynchronous task's thread.
            runtime.shutdown_background();
        }
    }
}
