//! A server in this process, over images and a generator that can be written down in a line each.

use nets::{LATENT, pixels::IMAGE_SIZE};
use proto::v1::{self, augment_client::AugmentClient, stream_response::Message};
use server::{
    Config, Error, Served,
    engine::{GeneratorError, RowGenerator},
    gallery::{ImageStore, ReadError},
    served::{BundleFacts, Parts},
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

/// Bytes of a grey image.
pub(crate) const IMAGE: usize = IMAGE_SIZE * IMAGE_SIZE;

/// Identities of the fixture's dataset.
pub(crate) const IDENTITIES: u32 = 6;

/// Images of each.
pub(crate) const IMAGES: u32 = 4;

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
    /// Counts the tiles.
    pub(crate) tiles: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
pub(crate) enum Failure {
    Error,
    Panic,
    WrongSize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: Config { tile: 5, grace: 5, ..Config::default() },
            image_counts: vec![IMAGES; IDENTITIES as usize],
            channels: 1,
            encoder: true,
            tile_time: Duration::ZERO,
            fails: None,
            unreadable: BTreeMap::new(),
            tiles: Arc::default(),
        }
    }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Setup {
    pub(crate) async fn start(self) -> Running {
        let config = self.config.clone();
        Running::start(Served::new(&config, self.parts()).expect("threads start"), "127.0.0.1:0").await
    }

    fn parts(self) -> Parts {
        let (channels, encoder, count) = (self.channels, self.encoder, self.image_counts.len());
        Parts {
            names: (0..count).map(|identity| format!("person {identity}")).collect(),
            image_counts: self.image_counts,
            dataset_digest: "d".repeat(64),
            images: Arc::new(Numbered { channels, unreadable: self.unreadable }),
            bundle: BundleFacts {
                digest: "b".repeat(64),
                architecture: "a fixture".into(),
                images_seen: 7,
                dataset_digest: "d".repeat(64),
                channels,
                encoder,
            },
            numerics: "fixture".into(),
            generator: Box::new(move |_| {
                let (tile_time, fails, tiles) = (self.tile_time, self.fails, self.tiles);
                Box::new(Formula { channels, classes: count, encoder, tile_time, fails, tiles })
            }),
        }
    }
}

impl Running {
    /// With the ordinary setup.
    pub(crate) async fn ordinary() -> Self {
        Setup::default().start().await
    }

    pub(crate) async fn start(served: Served, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("an address to listen on");
        let metrics = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, metrics_address) = (listener.local_addr().unwrap(), metrics.local_addr().unwrap());
        let (shutdown, stop) = oneshot::channel();
        let stopped = async {
            let _ = stop.await;
        };
        let ended = tokio::spawn(server::serve_opened(Arc::new(served), listener, metrics, stopped));
        Self { address, metrics: metrics_address, shutdown: Some(shutdown), ended }
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
        while self.metric(start).await != value {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks for the end, without waiting for it.
    pub(crate) fn ask_to_stop(&mut self) {
        self.shutdown.take().map(|shutdown| shutdown.send(()));
    }

    /// The outcome of serving.
    pub(crate) async fn outcome(self) -> Result<(), Error> {
        self.ended.await.expect("serving doesn't panic")
    }

    /// Ends at once, as if killed.
    pub(crate) async fn kill(self) {
        self.ended.abort();
        let _ = self.ended.await;
    }
}

/// Reads one stream.
pub(crate) struct Reader {
    pub(crate) header: v1::StreamHeader,
    stream: Streaming<v1::StreamResponse>,
}

impl Reader {
    pub(crate) async fn new(mut stream: Streaming<v1::StreamResponse>) -> Result<Self, Status> {
        let first = stream.message().await?.and_then(|response| response.message);
        let Some(Message::Header(header)) = first else { panic!("a stream begins with its header, not {first:?}") };
        Ok(Self { header, stream })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<v1::Batch>, Status> {
        match self.stream.message().await? {
            Some(v1::StreamResponse { message: Some(Message::Batch(batch)) }) => Ok(Some(batch)),
            None => Ok(None),
            other => panic!("a batch was expected, not {other:?}"),
        }
    }
}

/// A stream of `count` batches of `batch_size` rows of every source.
pub(crate) fn request(seed: u64, batch_size: u32, count: u64) -> v1::StreamRequest {
    v1::StreamRequest {
        spec: Some(v1::StreamSpec {
            seed,
            batch_size,
            mix: Some(v1::Mix { real: 0.5, existing: 0.3, blended: 0.2 }),
            ..Default::default()
        }),
        place: Some(v1::Place { count, ..Default::default() }),
        ..Default::default()
    }
}

/// Image `n` is full of the byte `n`.
struct Numbered {
    channels: usize,
    unreadable: BTreeMap<u32, ReadError>,
}

impl ImageStore for Numbered {
    fn read(&self, number: u32) -> Result<Vec<u8>, ReadError> {
        match self.unreadable.get(&number) {
            Some(error) => Err(error.clone()),
            None => Ok(vec![number as u8; IMAGE * self.channels]),
        }
    }
}

/// Pixel `p` of a row is a simple function of `p`, the latent and the label.
struct Formula {
    channels: usize,
    classes: usize,
    encoder: bool,
    tile_time: Duration,
    fails: Option<(usize, Failure)>,
    tiles: Arc<AtomicUsize>,
}

impl RowGenerator for Formula {
    fn channels(&self) -> usize {
        self.channels
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn has_encoder(&self) -> bool {
        self.encoder
    }

    fn generate(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<Vec<u8>, GeneratorError> {
        std::thread::sleep(self.tile_time);
        let tile = self.tiles.fetch_add(1, Ordering::SeqCst);
        match self.fails {
            Some((fatal, Failure::Error)) if tile == fatal => return Err("the device is lost".into()),
            Some((fatal, Failure::Panic)) if tile == fatal => panic!("the device is lost"),
            Some((fatal, Failure::WrongSize)) if tile == fatal => return Ok(vec![0; 3]),
            _ => {}
        }
        let image = IMAGE * self.channels;
        let row = |row: usize| {
            let latent = &latents[row * LATENT..][..LATENT];
            let label = &labels[row * self.classes..][..self.classes];
            let shade: f32 = label.iter().enumerate().map(|(identity, weight)| identity as f32 * weight).sum();
            (0..image).map(move |pixel| ((latent[pixel % LATENT] + shade) * 40.0 + 100.0) as u8)
        };
        Ok((0..rows).flat_map(row).collect())
    }

    fn encode(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        let image = IMAGE * self.channels;
        let encoding = |row: usize| {
            let mean = f32::from(pixels[row * image]) / 255.0;
            (0..2 * LATENT).map(move |nth| if nth < LATENT { mean } else { -1.0 })
        };
        Ok((0..rows).flat_map(encoding).collect())
    }
}
