//! The task that reads ahead. After a failure it asks again, the same server or the next, at
//! exactly the index that is still missing.

use crate::attempts::{Attempts, Failure, Next};
use crate::check::{self, Description};
use crate::contact::{announce, description, request, within};
use crate::waits::WaitLog;
use crate::{Received, Result, StreamSettings};
use proto::v1::{self, augment_client::AugmentClient, stream_response::Message};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::transport::Channel;

/// How long a header may take.
const HEADER: Duration = Duration::from_secs(10);
/// How long a batch may take before its server is believed to hang: this, and so much for each row,
/// for a processor needs seconds where a GPU needs milliseconds.
const BATCH: Duration = Duration::from_secs(300);
const ROW: Duration = Duration::from_secs(2);
/// How often waits are reported.
const REPORT: Duration = Duration::from_secs(10);

/// A batch, and the stream that it came from.
pub(crate) struct Fetched {
    pub(crate) received: Received,
    pub(crate) description: Arc<Description>,
}

/// Where the task begins.
pub(crate) struct Fetch {
    pub(crate) settings: Arc<StreamSettings>,
    pub(crate) description: Arc<Description>,
    /// Position of the server to ask first.
    pub(crate) server: usize,
    /// Index of the next batch.
    pub(crate) next: u64,
    pub(crate) waits: WaitLog,
}

impl Fetch {
    /// Sends batches until the last one, until nobody takes them, or until it must give up: then its
    /// last word is the error.
    pub(crate) async fn run(mut self, batches: mpsc::Sender<Result<Fetched>>) {
        let urls = self.settings.servers.iter().map(ToString::to_string);
        let patience = self.settings.patience.later;
        let mut attempts = Attempts::new(urls, patience).starting_with(self.server);
        loop {
            let Err(failure) = self.read(&mut attempts, &batches).await else { return };
            announce(&self.settings, &attempts, &failure, patience);
            match attempts.failed(failure, Instant::now()) {
                Next::Ask { pause } => tokio::time::sleep(pause).await,
                Next::GiveUp(error) => {
                    // A trainer that is gone needs no error.
                    let _ = batches.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Reads from one server. `Ok` when nothing is left to do.
    async fn read(&mut self, attempts: &mut Attempts, batches: &mpsc::Sender<Result<Fetched>>) -> Result<(), Failure> {
        let settings = self.settings.clone();
        let Some(url) = settings.servers.get(attempts.server()) else {
            return Err(Failure::Final("no server is named".to_owned()));
        };
        let count = match settings.end.map(|end| end.saturating_sub(self.next)) {
            Some(0) => return Ok(()),
            Some(count) => count,
            None => 0,
        };
        let mut client = url.connect().await?;
        let request = request(&settings, self.next, count);
        let mut stream = within(HEADER, client.stream_batches(request)).await?.into_inner();
        let header = within(HEADER, stream.message()).await?;
        self.compare(description(header, &settings, self.next)?)?;
        let limit = BATCH + ROW * settings.spec.batch_size;
        let mut reported = Instant::now();
        loop {
            let message = within(limit, stream.message()).await?;
            let batch = match message.and_then(|message| message.message) {
                Some(Message::Batch(batch)) => batch,
                Some(Message::Header(_)) => {
                    return Err(Failure::Lasting("expected a batch, found a second header".to_owned()));
                }
                None if settings.end == Some(self.next) => return Ok(()),
                None => return Err(Failure::Passing("the stream ended early".to_owned())),
            };
            let received = check::batch(batch, self.next, &settings, &self.description).map_err(Failure::Lasting)?;
            if !attempts.is_untroubled() {
                command::say(format!("going on at batch {} with {url}", self.next));
            }
            attempts.succeeded();
            self.next += 1;
            let fetched = Fetched { received, description: self.description.clone() };
            if batches.send(Ok(fetched)).await.is_err() {
                return Ok(());
            }
            let ended = settings.end == Some(self.next);
            if ended || reported.elapsed() >= REPORT {
                reported = Instant::now();
                tokio::spawn(report(client.clone(), settings.trainer.clone(), self.waits.take_unreported()));
            }
        }
    }

    /// A server must send the stream that began, but for what the settings accept.
    fn compare(&mut self, found: Description) -> Result<(), Failure> {
        let begun = &*self.description;
        begun.origin.refuse(&found.origin, &self.settings.accepted).map_err(Failure::Lasting)?;
        if (found.identities, found.classes, &found.spec) != (begun.identities, begun.classes, &begun.spec) {
            return Err(Failure::Lasting(format!(
                "expected a stream of {} identities and {} classes as it began, found {} and {}",
                begun.identities, begun.classes, found.identities, found.classes
            )));
        }
        self.description = Arc::new(found);
        Ok(())
    }
}

/// Lets the server's metrics name the trainer that starves. Nothing depends on its arrival.
async fn report(mut client: AugmentClient<Channel>, trainer: String, wait_seconds: Vec<f32>) {
    if !wait_seconds.is_empty() {
        let _ = client.report(v1::ReportRequest { trainer, wait_seconds }).await;
    }
}
