//! The real server in this process, over images and a generator that fit in a line each.

use client::recipe::{Blending, Mix, Recipe};
use client::{Error, Patience, StreamSettings, StreamSource};
use command::Interrupt;
use nets::LATENT;
use nets::pixels::IMAGE_SIZE;
use recognizer::Batch;
use server::engine::{GeneratorError, RowGenerator};
use server::gallery::{ImageStore, ReadError};
use server::served::{BundleFacts, Parts};
use server::{Config, Served};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Bytes of a grey image.
const IMAGE: usize = IMAGE_SIZE * IMAGE_SIZE;
/// Identities of the dataset, each with so many images.
pub(crate) const IDENTITIES: u32 = 6;
const IMAGES: u32 = 4;

/// What a server serves.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) dataset: &'static str,
    pub(crate) bundle: &'static str,
    pub(crate) numerics: &'static str,
    /// Tiles of four rows that the generator makes before it hangs.
    pub(crate) tiles: usize,
    /// 0 for a free port.
    pub(crate) port: u16,
}

impl Default for Setup {
    fn default() -> Self {
        Self { dataset: "d0", bundle: "b0", numerics: "here", tiles: usize::MAX, port: 0 }
    }
}

/// A running server. Dropped, it ends as a killed process would: its sockets close in mid-sentence.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
    gate: Arc<Gate>,
}

impl Setup {
    pub(crate) fn start(&self) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let gate = Arc::new(Gate::new(self.tiles));
        let config = Config { tile: 4, grace: 1, ..Config::default() };
        let served = Arc::new(Served::new(&config, self.parts(gate.clone())).unwrap());
        let address = runtime.block_on(async {
            let listener = bind(self.port).await;
            let metrics = bind(0).await;
            let address = listener.local_addr().unwrap();
            tokio::spawn(server::serve_opened(served, listener, metrics, std::future::pending()));
            address
        });
        Running { address, runtime: Some(runtime), gate }
    }

    fn parts(&self, gate: Arc<Gate>) -> Parts {
        Parts {
            names: (0..IDENTITIES).map(|identity| format!("person {identity}")).collect(),
            image_counts: vec![IMAGES; IDENTITIES as usize],
            dataset_digest: self.dataset.into(),
            images: Arc::new(Numbered),
            bundle: BundleFacts {
                digest: self.bundle.into(),
                architecture: "a fixture".into(),
                images_seen: 7,
                dataset_digest: self.dataset.into(),
                channels: 1,
                encoder: true,
            },
            numerics: self.numerics.into(),
            generator: Box::new(move |_| Box::new(Formula { gate })),
        }
    }
}

/// Takes a port, which the killed server before may give back only in a moment.
async fn bind(port: u16) -> TcpListener {
    for _ in 0..500 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("port {port} stays taken");
}

impl Running {
    pub(crate) fn ordinary() -> Self {
        Setup::default().start()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the generator hangs after its last tile.
    pub(crate) fn wait_until_it_hangs(&self) {
        self.gate.wait_until_closed();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gate.open();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// A URL at which nobody listens.
pub(crate) fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub(crate) const MIX: Mix = Mix { real: 0.5, existing: 0.3, blended: 0.2 };

/// Batches of eight rows of all sources, six blended identities.
pub(crate) fn recipe(seed: u64) -> Recipe {
    Recipe { blending: Blending { count: Some(6), ..Blending::default() }, ..Recipe::new(seed, 8, MIX) }
}

pub(crate) fn settings(urls: &[String], seed: u64) -> StreamSettings {
    StreamSettings {
        patience: Patience::always(Duration::from_secs(30)),
        prefetch: 2,
        ..StreamSettings::new(urls.iter().map(|url| url.parse().unwrap()).collect(), recipe(seed))
    }
}

/// A stream of seed 7 from one server or several.
pub(crate) fn connect(urls: &[String]) -> StreamSource {
    try_connect(settings(urls, 7)).unwrap()
}

pub(crate) fn try_connect(settings: StreamSettings) -> Result<StreamSource, Error> {
    StreamSource::connect(settings, &Interrupt::new())
}

pub(crate) fn read(source: &mut StreamSource, count: usize) -> Vec<Batch> {
    (0..count).map(|_| source.next_received().unwrap().batch).collect()
}

/// Lets only so many tiles pass.
struct Gate {
    left: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn new(tiles: usize) -> Self {
        Self { left: Mutex::new(tiles), changed: Condvar::new() }
    }

    fn pass(&self) {
        let mut left = self.left.lock().unwrap();
        while *left == 0 {
            left = self.changed.wait(left).unwrap();
        }
        *left = left.saturating_sub(1);
        self.changed.notify_all();
    }

    fn open(&self) {
        *self.left.lock().unwrap() = usize::MAX;
        self.changed.notify_all();
    }

    fn wait_until_closed(&self) {
        let mut left = self.left.lock().unwrap();
        while *left > 0 {
            left = self.changed.wait(left).unwrap();
        }
    }
}

/// Image `n` is a gradient that begins at the byte `n`.
struct Numbered;

impl ImageStore for Numbered {
    fn read(&self, number: u32) -> Result<Vec<u8>, ReadError> {
        Ok((0..IMAGE).map(|pixel| (pixel / 7 + 31 * number as usize) as u8).collect())
    }
}

/// Pixel `p` of a row is a simple function of `p`, the latent and the label.
struct Formula {
    gate: Arc<Gate>,
}

impl RowGenerator for Formula {
    fn channels(&self) -> usize {
        1
    }

    fn classes(&self) -> usize {
        IDENTITIES as usize
    }

    fn has_encoder(&self) -> bool {
        true
    }

    fn generate(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<Vec<u8>, GeneratorError> {
        self.gate.pass();
        let row = |row: usize| {
            let latent = &latents[row * LATENT..][..LATENT];
            let label = &labels[row * IDENTITIES as usize..][..IDENTITIES as usize];
            let shade: f32 = label.iter().enumerate().map(|(identity, weight)| identity as f32 * weight).sum();
            (0..IMAGE).map(move |pixel| ((latent[pixel % LATENT] + shade) * 40.0 + 100.0) as u8)
        };
        Ok((0..rows).flat_map(row).collect())
    }

    fn encode(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        let encoding = |row: usize| {
            let mean = f32::from(pixels[row * IMAGE]) / 255.0;
            (0..2 * LATENT).map(move |nth| if nth < LATENT { mean } else { -1.0 })
        };
        Ok((0..rows).flat_map(encoding).collect())
    }
}
