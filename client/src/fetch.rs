//! The task that reads ahead. After a failure it asks again, the same server or the next, at
//! exactly the index that is still missing.

use crate::attempts::{Attempts, Failure};
use crate::check::{self, Description};
use crate::contact::{Known, description, explained, request, within};
use crate::frames;
use crate::losses::{LossLog, Sum};
use crate::place::{Origin, Takeover, bundle_at, short};
use crate::servers::{Client, client};
use crate::spec::{ByLoss, Sampling};
use crate::tables::{self, TableChoice, TableTakeover, table_at};
use crate::waits::WaitLog;
use crate::{BundleChoice, Received, Result, StreamSettings};
use bytes::Bytes;
use proto::v1::{self, stream_response::Message};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a header may take.
pub(crate) const HEADER: Duration = Duration::from_secs(10);
/// How long a batch may take before its server is believed to hang: this, and so much for each row,
/// for a processor needs seconds where a GPU needs milliseconds.
pub(crate) const BATCH: Duration = Duration::from_secs(300);
pub(crate) const ROW: Duration = Duration::from_secs(2);
/// How often waits are reported.
const REPORT: Duration = Duration::from_secs(10);
/// How long a report may wait for its answer, which tells nothing.
const REPORT_ANSWER: Duration = Duration::from_secs(30);

/// A batch, and the stream that it came from.
pub(crate) struct Fetched {
    pub(crate) received: Received,
    pub(crate) description: Arc<Description>,
    /// What has taken over, or is going to, as far as it is known.
    pub(crate) takeovers: Arc<Vec<Takeover>>,
    /// The same of sampling tables.
    pub(crate) tables: Arc<Vec<TableTakeover>>,
}

/// What came to its end with a server.
enum Ended {
    /// Everything that was wanted.
    Stream,
    /// Only what was asked of this server, or what it sends at most; the next one goes on.
    Lease,
}

/// Where the task begins.
pub(crate) struct Fetch {
    pub(crate) settings: Arc<StreamSettings>,
    /// Of the stream as it began.
    pub(crate) description: Arc<Description>,
    /// What has taken over since.
    pub(crate) takeovers: Arc<Vec<Takeover>>,
    /// Sampling tables that shape the batches, or are going to.
    pub(crate) tables: Arc<Vec<TableTakeover>>,
    /// Whether the description binds: somebody has been given a batch.
    pub(crate) begun: bool,
    /// Position of the server to ask first.
    pub(crate) server: usize,
    /// Index of the next batch.
    pub(crate) next: u64,
    pub(crate) waits: WaitLog,
    pub(crate) losses: LossLog,
}

impl Fetch {
    /// Sends batches until the last one, until nobody takes them, or until it must give up: then its
    /// last word is the error.
    pub(crate) async fn run(mut self, batches: mpsc::Sender<Result<Fetched>>) {
        let urls = self.settings.servers.iter().map(ToString::to_string);
        let mut attempts = Attempts::new(urls, self.settings.patience.later).going_on_with(self.server);
        loop {
            let failure = match self.read(&mut attempts, &batches).await {
                Ok(Ended::Stream) => return,
                Ok(Ended::Lease) => {
                    attempts.pass_on();
                    continue;
                }
                Err(failure) => failure,
            };
            // All that was wanted is there, or nobody wants more: a connection that is lost then is nobody's trouble.
            let enough = batches.is_closed() || self.settings.end.is_some_and(|end| self.next >= end);
            if enough && matches!(failure, Failure::Passing(_)) {
                return;
            }
            if let Err(error) = attempts.recover(failure, self.settings.silent).await {
                // A trainer that is gone needs no error.
                let _ = batches.send(Err(error)).await;
                return;
            }
        }
    }

    /// Reads from one server, up to the end of the stream or of its lease.
    async fn read(
        &mut self,
        attempts: &mut Attempts,
        batches: &mpsc::Sender<Result<Fetched>>,
    ) -> Result<Ended, Failure> {
        let settings = self.settings.clone();
        let Some(url) = settings.servers.get(attempts.server()) else {
            return Err(Failure::Final("no server is named".to_owned()));
        };
        let lease = settings.lease.map(|lease| self.next.saturating_add(lease.get()));
        // `None` for a stream without end.
        let until = [settings.end, lease].into_iter().flatten().min();
        let count = until.map_or(0, |until| until.saturating_sub(self.next));
        if until.is_some() && count == 0 {
            return Ok(Ended::Stream);
        }
        let mut requests = url.open(&settings.access, settings.connector.as_ref()).await?;
        let mut client = client(requests.clone());
        let known = Known { bundle: &self.description.origin.bundle, takeovers: &self.takeovers, tables: &self.tables };
        let known = Some(known).filter(|_| self.is_bound());
        let centres = self.description.spec.centres.as_deref();
        let request = request(&settings, known, centres, self.next, count);
        let mut stream = match within(HEADER, frames::stream_batches(&mut requests, &request)).await {
            Ok(stream) => stream,
            Err(failure) => {
                let expected = bundle_at(&self.description.origin.bundle, &self.takeovers, self.next).to_owned();
                return Err(explained(&mut client, failure, Some(&expected)).await);
            }
        };
        let header = within(HEADER, stream.message()).await?;
        self.compare(description(header, &settings, self.next)?)?;
        let limit = BATCH + ROW * settings.spec.batch_size;
        let first = self.next;
        let (mut reported, mut unreported) = (Instant::now(), 0);
        let mut reporting: Option<JoinHandle<()>> = None;
        loop {
            let message = within(limit, stream.message()).await?;
            let batch = match message.and_then(|message| message.message) {
                Some(Message::Batch(batch)) => batch,
                Some(Message::Takeover(announced)) if settings.bundle.follows() => {
                    let takeovers = Arc::make_mut(&mut self.takeovers);
                    check::take_over(takeovers, announced, self.next).map_err(Failure::Lasting)?;
                    continue;
                }
                Some(Message::Takeover(_)) => {
                    return Err(Failure::Lasting(
                        "expected one bundle throughout, found that another takes over".into(),
                    ));
                }
                Some(Message::Farewell(farewell)) => return self.part(first, &farewell),
                Some(Message::Table(declared)) if settings.tables == TableChoice::Follow => {
                    let declared = tables::read(&declared, self.description.identities);
                    let tables = Arc::make_mut(&mut self.tables);
                    declared
                        .and_then(|declared| tables::take_effect(tables, declared, self.next))
                        .map_err(Failure::Lasting)?;
                    continue;
                }
                Some(Message::Table(_)) => {
                    return Err(Failure::Lasting("expected no further sampling table, found one".into()));
                }
                Some(Message::Header(_)) => {
                    return Err(Failure::Lasting("expected a batch, found a second header".to_owned()));
                }
                None if settings.end == Some(self.next) => return Ok(Ended::Stream),
                None if until == Some(self.next) => return Ok(Ended::Lease),
                None => return Err(Failure::Passing("the stream ended early".to_owned())),
            };
            let bundle = bundle_at(&self.description.origin.bundle, &self.takeovers, self.next);
            let table = table_at(&self.tables, self.next);
            let received = check::batch(batch, self.next, bundle, table, &settings, &self.description);
            let received = received.map_err(Failure::Lasting)?;
            if !attempts.is_untroubled() && !settings.silent {
                command::say(format!("going on at batch {} with {url}", self.next));
            }
            attempts.succeeded();
            self.next += 1;
            self.begun = true;
            let (description, takeovers) = (self.description.clone(), self.takeovers.clone());
            let fetched = Fetched { received, description, takeovers, tables: self.tables.clone() };
            if batches.send(Ok(fetched)).await.is_err() {
                return Ok(Ended::Stream);
            }
            let ended = until == Some(self.next);
            unreported += 1;
            let due = reported.elapsed() >= REPORT || self.is_table_near(unreported);
            // One at a time: what a slow one leaves is in the next.
            if ended || due && reporting.as_ref().is_none_or(JoinHandle::is_finished) {
                (reported, unreported) = (Instant::now(), 0);
                reporting = Some(tokio::spawn(report(client.clone(), self.report())));
            }
        }
    }

    /// The server ends in good order a stream that it was asked for from batch `first` on. That is no
    /// trouble, unless it has sent nothing: or two servers could send a trainer to and fro for ever.
    fn part(&self, first: u64, farewell: &v1::Farewell) -> Result<Ended, Failure> {
        if farewell.next_index != self.next {
            let (expected, found) = (self.next, farewell.next_index);
            return Err(Failure::Lasting(format!(
                "expected a farewell before batch {expected}, found one before {found}"
            )));
        }
        if self.next == first {
            return Err(Failure::Passing("it ended the stream before its first batch".to_owned()));
        }
        Ok(Ended::Lease)
    }

    /// Whether a server that makes sampling tables wants to hear of its last batches before the next one.
    fn is_table_near(&self, unreported: u32) -> bool {
        const REPORTS_PER_TABLE: u32 = 4;
        match self.settings.spec.sampling {
            Sampling::ByLoss(ByLoss { interval, .. }) => unreported >= (interval / REPORTS_PER_TABLE).max(1),
            _ => false,
        }
    }

    /// What no server was told yet.
    fn report(&self) -> v1::ReportRequest {
        let losses = self.losses.take();
        v1::ReportRequest {
            trainer: self.settings.trainer.clone(),
            wait_seconds: self.waits.take_unreported(),
            spec_digest: if losses.is_empty() { Bytes::new() } else { self.description.spec_digest.clone() },
            identities: losses.keys().copied().collect(),
            losses: losses.values().map(|Sum { loss, .. }| *loss).collect(),
            rows: losses.values().map(|Sum { rows, .. }| *rows).collect(),
        }
    }

    /// Whether the stream has its bundle. One that follows begins with the newest, unless it is told with
    /// which; others stay with the one first heard of.
    fn is_bound(&self) -> bool {
        self.begun || self.settings.bundle != BundleChoice::Follow { from: None }
    }

    /// A server must send the stream that began, but for what the settings accept.
    fn compare(&mut self, mut found: Description) -> Result<(), Failure> {
        let begun = self.description.clone();
        let follows = self.settings.bundle.follows();
        let declared = std::mem::take(&mut found.takeovers);
        if follows {
            // A rank that comes after others may hear by the header of what takes over with its next batch.
            self.learn(&declared)?;
        }
        let bundle = bundle_at(&begun.origin.bundle, &self.takeovers, self.next).to_owned();
        if self.is_bound() {
            let expected = Origin { bundle: bundle.clone(), ..begun.origin.clone() };
            expected.refuse(&found.origin, &self.settings.accepted).map_err(Failure::Lasting)?;
        }
        if (found.identities, found.classes, &found.spec) != (begun.identities, begun.classes, &begun.spec) {
            return Err(Failure::Lasting(format!(
                "expected a stream of {} identities and {} classes as it began, found {} and {}",
                begun.identities, begun.classes, found.identities, found.classes
            )));
        }
        if self.begun {
            let takeovers = Arc::make_mut(&mut self.takeovers);
            if found.origin.bundle != bundle {
                // Accepted, above: what was to come is not what comes.
                takeovers.retain(|takeover| takeover.first < self.next);
                takeovers.push(Takeover { first: self.next, bundle: found.origin.bundle.clone() });
                if follows {
                    self.learn(&declared)?;
                }
            }
            found.origin.bundle.clone_from(&begun.origin.bundle);
        }
        self.compare_tables(std::mem::take(&mut found.tables))?;
        self.description = Arc::new(found);
        Ok(())
    }

    /// Adds what a header declares to what is known.
    fn learn(&mut self, declared: &[Takeover]) -> Result<(), Failure> {
        let takeovers = Arc::make_mut(&mut self.takeovers);
        declared.iter().try_for_each(|Takeover { first, bundle }| {
            let announced = v1::Takeover { first_index: *first, bundle_digest: bundle.clone() };
            check::take_over(takeovers, announced, self.next).map_err(Failure::Lasting)
        })
    }

    /// The next batch must be shaped as it was to be; what is declared from it on is taken note of.
    fn compare_tables(&mut self, found: Vec<TableTakeover>) -> Result<(), Failure> {
        let follows = self.settings.tables == TableChoice::Follow;
        if follows && !self.begun {
            // As with bundles: a rank that comes late begins with what the others have.
            self.tables = Arc::new(found);
            return Ok(());
        }
        let tables = Arc::make_mut(&mut self.tables);
        for declared in found.iter().filter(|table| follows && table.first >= self.next) {
            tables::take_effect(tables, declared.clone(), self.next).map_err(Failure::Lasting)?;
        }
        let (expected, found) = (table_at(tables, self.next), table_at(&found, self.next));
        if expected != found {
            let [expected, found] = [expected, found].map(|digest| if digest.is_empty() { "none" } else { digest });
            return Err(Failure::Lasting(format!(
                "expected sampling table {} for batch {}, found {}",
                short(expected),
                self.next,
                short(found)
            )));
        }
        Ok(())
    }
}

/// Lets the server's metrics name the trainer that starves, and its next sampling table be made. Nothing
/// that was declared depends on its arrival.
async fn report(mut client: Client, report: v1::ReportRequest) {
    if !(report.wait_seconds.is_empty() && report.identities.is_empty()) {
        let _ = tokio::time::timeout(REPORT_ANSWER, client.report(report)).await;
    }
}
