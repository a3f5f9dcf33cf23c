//! A server in this process, over stand-ins for a dataset and a bundle.

pub(crate) use crate::stand_ins::{IDENTITIES, IMAGE, IMAGES};

use crate::stand_ins::{File, StandIns};
use proto::v1::{self, augment_client::AugmentClient, stream_response::Message};
use server::{
    Config, Error, Served,
    gallery::ReadError,
    listeners::{Listen, Listeners},
    served::Parts,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Status, Streaming, transport::Channel};

/// Longer than anything takes that ends at all, however busy the machine.
const NEVER: Duration = Duration::from_secs(120);

/// The outcome of what must end; what goes on for ever fails its test instead of stopping all.
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, work).await.expect("this would never end")
}

/// How the fixture's server differs from an ordinary one.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) image_counts: Vec<u32>,
    pub(crate) channels: usize,
    pub(crate) encoder: bool,
    /// Computing time of a tile.
    pub(crate) tile_time: Duration,
    /// The tile at which the generator fails, if at all; panicking or with an error.
    pub(crate) fails: Option<(usize, Failure)>,
    /// Images that can't be read.
    pub(crate) unreadable: BTreeMap<u32, ReadError>,
    /// An image whose decoder panics.
    pub(crate) bewitched: Option<u32>,
    /// Counts the tiles.
    pub(crate) tiles: Arc<AtomicUsize>,
    /// Where newer weights are found.
    pub(crate) file: File,
}

#[derive(Clone, Copy)]
pub(crate) enum Failure {
    Error,
    Panic,
    WrongSize,
    /// It neither fails nor ends.
    Hang,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: Config { tile: Some(5), grace: 5, ..Config::default() },
            image_counts: vec![IMAGES; IDENTITIES as usize],
            channels: 1,
            encoder: true,
            tile_time: Duration::ZERO,
            fails: None,
            unreadable: BTreeMap::new(),
            bewitched: None,
            tiles: Arc::default(),
            file: File::default(),
        }
    }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) served: Arc<Served>,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Setup {
    pub(crate) async fn start(self) -> Running {
        Running::start(self.open().expect("threads start"), "127.0.0.1:0").await
    }

    /// What is to be served.
    pub(crate) fn open(self) -> Result<Served, Error> {
        let config = self.config.clone();
        Served::new(&config, self.parts())
    }

    /// What would be served.
    pub(crate) fn served(self) -> Arc<Served> {
        let config = self.config.clone();
        Arc::new(Served::new(&config, self.parts()).expect("threads start"))
    }

    fn parts(self) -> Parts {
        let (tile_time, fails, tiles) = (self.tile_time, self.fails, self.tiles);
        let before_tile = move || {
            std::thread::sleep(tile_time);
            let tile = tiles.fetch_add(1, Ordering::SeqCst);
            match fails.filter(|(fatal, _)| *fatal == tile) {
                Some((_, Failure::Error)) => Err("the device is lost".into()),
                Some((_, Failure::Panic)) => panic!("the device is lost"),
                Some((_, Failure::WrongSize)) => Ok(Some(vec![0; 3])),
                Some((_, Failure::Hang)) => loop {
                    std::thread::park();
                },
                None => Ok(None),
            }
        };
        let stand_ins = StandIns {
            image_counts: self.image_counts,
            channels: self.channels,
            encoder: self.encoder,
            unreadable: self.unreadable,
            bewitched: self.bewitched,
            before_tile: Box::new(before_tile),
            file: self.file,
            ..StandIns::default()
        };
        stand_ins.parts()
    }
}

impl Running {
    /// With the ordinary setup.
    pub(crate) async fn ordinary() -> Self {
        Setup::default().start().await
    }

    pub(crate) async fn start(served: Served, address: &str) -> Self {
        Self::listen(served, TcpListener::bind(address).await.expect("an address to listen on").into()).await
    }

    /// The first listener is one of TCP.
    pub(crate) async fn listen(served: Served, listeners: Listeners) -> Self {
        let metrics = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let metrics_address = metrics.local_addr().unwrap();
        let Some(&Listen::Tcp(address)) = listeners.places().unwrap().first() else { panic!("the first is TCP") };
        let (shutdown, stop) = oneshot::channel();
        let stopped = async {
            let _ = stop.await;
        };
        let served = Arc::new(served);
        let ended = tokio::spawn(server::serve_opened(served.clone(), listeners, metrics, stopped));
        Self { served, address, metrics: metrics_address, shutdown: Some(shutdown), ended }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address))
            .expect("an address is a URI")
            .initial_stream_window_size(proto::limits::WINDOW_BYTES)
            .initial_connection_window_size(proto::limits::WINDOW_BYTES)
            .connect()
            .await
            .expect("the server listens")
    }

    pub(crate) async fn client(&self) -> AugmentClient<Channel> {
        AugmentClient::new(self.channel().await).max_decoding_message_size(proto::limits::MAX_MESSAGE_BYTES)
    }

    /// The header and all batches of a stream that ends.
    pub(crate) async fn read(&self, request: v1::StreamRequest) -> Result<(v1::StreamHeader, Vec<v1::Batch>), Status> {
        let stream = self.client().await.stream_batches(request).await?.into_inner();
        let mut reader = Reader::new(stream).await?;
        let mut batches = Vec::new();
        while let Some(batch) = reader.next().await? {
            batches.push(batch);
        }
        Ok((reader.header, batches))
    }

    /// A page of the metrics server.
    pub(crate) async fn page(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::TcpStream::connect(self.metrics).await.expect("the metrics server listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("a request is taken");
        let mut page = String::new();
        socket.read_to_string(&mut page).await.expect("a page comes");
        page
    }

    /// The value of a metric's line that starts with `start`, 0 when there is none.
    pub(crate) async fn metric(&self, start: &str) -> f64 {
        let page = self.page("/metrics").await;
        let line = page.lines().find(|line| line.starts_with(start));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// Waits until a metric has a value.
    pub(crate) async fn metric_becomes(&self, start: &str, value: f64) {
        in_time(async {
            while self.metric(start).await != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until the only stream's trainer takes no more: so many batches are finished and wait,
    /// and no further one is handed to the transport.
    pub(crate) async fn comes_to_rest(&self, waiting: f64) {
        let sent = async || self.metric(r#"lookalike_batches_total{trainer="(unnamed)",mode="made"}"#).await;
        in_time(async {
            let (mut last, mut still) = (0.0, 0);
            while still < 5 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let now = sent().await;
                let finished = self.metric("lookalike_digest_seconds_count").await;
                still = if now > 0.0 && now == last && finished - now == waiting { still + 1 } else { 0 };
                last = now;
            }
        })
        .await;
    }

    /// Asks for the end, without waiting for it.
    pub(crate) fn ask_to_stop(&mut self) {
        self.shutdown.take().map(|shutdown| shutdown.send(()));
    }

    /// The outcome of serving.
    pub(crate) async fn outcome(self) -> Result<(), Error> {
        in_time(self.ended).await.expect("serving doesn't panic")
    }

    /// Ends at once, as if killed.
    pub(crate) async fn kill(self) {
        self.ended.abort();
        let _ = self.ended.await;
    }
}

/// Reads one stream.
pub(crate) struct Reader {
    /// Takeovers and sampling tables are added to it as they are announced.
    pub(crate) header: v1::StreamHeader,
    /// The server's, once it was said.
    pub(crate) farewell: Option<v1::Farewell>,
    stream: Streaming<v1::StreamResponse>,
}

impl Reader {
    pub(crate) async fn new(mut stream: Streaming<v1::StreamResponse>) -> Result<Self, Status> {
        let first = stream.message().await?.and_then(|response| response.message);
        let Some(Message::Header(header)) = first else { panic!("a stream begins with its header, not {first:?}") };
        Ok(Self { header, farewell: None, stream })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<v1::Batch>, Status> {
        loop {
            match self.stream.message().await? {
                Some(v1::StreamResponse { message: Some(Message::Batch(batch)) }) => return Ok(Some(batch)),
                Some(v1::StreamResponse { message: Some(Message::Takeover(takeover)) }) => {
                    self.header.declared.push(takeover);
                }
                Some(v1::StreamResponse { message: Some(Message::Farewell(farewell)) }) => {
                    assert_eq!(self.farewell.replace(farewell), None, "one farewell is enough");
                }
                Some(v1::StreamResponse { message: Some(Message::Table(table)) }) => self.header.tables.push(table),
                None => return Ok(None),
                other => panic!("a batch was expected, not {other:?}"),
            }
        }
    }
}

/// A stream of `count` batches of `batch_size` rows of every source.
pub(crate) fn request(seed: u64, batch_size: u32, count: u64) -> v1::StreamRequest {
    v1::StreamRequest {
        spec: Some(v1::StreamSpec {
            seed,
            batch_size,
            mix: Some(v1::Mix { real: 0.5, existing: 0.3, blended: 0.2, schedule: None }),
            ..Default::default()
        }),
        place: Some(v1::Place { count, ..Default::default() }),
        ..Default::default()
    }
}
