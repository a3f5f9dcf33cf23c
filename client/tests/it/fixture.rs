//! The real server in this process, over the stand-ins that the server's own tests serve.

use crate::stand_ins::{File, StandIns};
use client::spec::{Blending, Mix, Spec};
use client::{Error, Patience, StreamSettings, StreamSource};
use command::Interrupt;
use recognizer::Batch;
use server::access::AccessSettings;
use server::listeners::tls::{Tls, TlsFiles};
use server::listeners::{Listen, Listeners};
use server::served::Parts;
use server::{Config, Served};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes that ends at all, however busy the machine.
const NEVER: Duration = Duration::from_secs(120);

/// The outcome of what must end; what goes on for ever fails its test instead of stopping all.
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, outcome) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || sender.send(work()));
    outcome.recv_timeout(NEVER).expect("this would never end, or it panicked")
}

/// Waits until something has come about.
pub(crate) fn until(mut it_is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !it_is_so() {
        assert!(began.elapsed() < NEVER, "this would never come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

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
    pub(crate) tls: TlsFiles,
    pub(crate) tokens: Option<PathBuf>,
    /// Where it listens too.
    pub(crate) socket: Option<PathBuf>,
    /// Changes the server's settings.
    pub(crate) config: fn(Config) -> Config,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            dataset: "d0",
            bundle: "b0",
            numerics: "here",
            tiles: usize::MAX,
            port: 0,
            tls: TlsFiles::default(),
            tokens: None,
            socket: None,
            config: |config| config,
        }
    }
}

/// A running server. Dropped, it ends as a killed process would: its sockets close in mid-sentence.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    url: String,
    metrics: SocketAddr,
    served: Arc<Served>,
    /// Where newer weights are found.
    file: File,
    runtime: Option<Runtime>,
    gate: Arc<Gate>,
    stop: CancellationToken,
}

impl Setup {
    pub(crate) fn start(&self) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let gate = Arc::new(Gate::new(self.tiles));
        let access = AccessSettings { tokens: self.tokens.clone(), ..AccessSettings::default() };
        let config = Config { tile: Some(4), grace: 1, watch: 0, max_bundles: 2, access, ..Config::default() };
        let config = (self.config)(config);
        let (file, stop) = (File::default(), CancellationToken::new());
        let served = Arc::new(Served::new(&config, self.parts(gate.clone(), file.clone())).unwrap());
        let (serving, shutdown) = (served.clone(), stop.clone());
        let (address, url, metrics) = runtime.block_on(async {
            let (listeners, metrics) = (self.listeners().await, bind(0).await);
            let Listen::Tcp(address) = listeners.places().unwrap()[0] else { panic!("the first is TCP") };
            let told = (address, listeners.urls().unwrap()[0].clone(), metrics.local_addr().unwrap());
            tokio::spawn(server::serve_opened(serving, listeners, metrics, shutdown.cancelled_owned()));
            told
        });
        Running { address, url, metrics, served, file, runtime: Some(runtime), gate, stop }
    }

    async fn listeners(&self) -> Listeners {
        let tls = Tls::open(&self.tls).unwrap();
        if tls.is_none() && self.socket.is_none() {
            return bind(self.port).await.into();
        }
        let network = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], self.port)));
        let places: Vec<_> = std::iter::once(network).chain(self.socket.clone().map(Listen::Unix)).collect();
        Listeners::bind(&places, 0o600, tls).await.unwrap()
    }

    fn parts(&self, gate: Arc<Gate>, file: File) -> Parts {
        let before_tile = move || {
            gate.pass();
            Ok(None)
        };
        let stand_ins = StandIns {
            dataset_digest: self.dataset.into(),
            bundle_digest: self.bundle.into(),
            numerics: self.numerics.into(),
            before_tile: Box::new(before_tile),
            file,
            ..StandIns::default()
        };
        stand_ins.parts()
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
        self.url.clone()
    }

    /// Serves other weights; their digest, or why they are refused.
    pub(crate) fn swap(&self, weights: &str) -> Result<String, String> {
        *self.file.lock().unwrap() = Some(weights.to_owned());
        let runtime = self.runtime.as_ref().unwrap();
        let reloaded = runtime.block_on(server::reload::reload(&self.served, ""));
        reloaded.map(|reloaded| reloaded.bundle.digest).map_err(|error| error.to_string())
    }

    /// How many streams its metrics say that it was asked for.
    pub(crate) fn streams_begun(&self) -> usize {
        let mut connection = TcpStream::connect(self.metrics).unwrap();
        write!(connection, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        connection.read_to_string(&mut page).unwrap();
        let begun = |line: &&str| line.starts_with("grpc_server_call_started_total") && line.contains("StreamBatches");
        let line = page.lines().find(begun).and_then(|line| line.rsplit_once(' '));
        line.map_or(0, |(_, count)| count.parse().unwrap())
    }

    /// Asks it to end in good order, without waiting for that.
    pub(crate) fn ask_to_stop(&mut self) {
        self.stop.cancel();
    }

    /// Waits until the generator hangs with the tile after its last one.
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
pub(crate) fn spec(seed: u64) -> Spec {
    Spec { blending: Blending { count: Some(6), ..Blending::default() }, ..Spec::new(seed, 8, MIX) }
}

pub(crate) fn settings(urls: &[String], seed: u64) -> StreamSettings {
    StreamSettings {
        patience: Patience::always(Duration::from_secs(30)),
        prefetch: 2,
        ..StreamSettings::new(urls.iter().map(|url| url.parse().unwrap()).collect(), spec(seed))
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
    state: Mutex<GateState>,
    changed: Condvar,
}

struct GateState {
    left: usize,
    /// Whether a tile waits.
    stopped_one: bool,
}

impl Gate {
    fn new(tiles: usize) -> Self {
        Self { state: Mutex::new(GateState { left: tiles, stopped_one: false }), changed: Condvar::new() }
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        while state.left == 0 {
            state.stopped_one = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap();
        }
        state.left -= 1;
    }

    fn open(&self) {
        self.state.lock().unwrap().left = usize::MAX;
        self.changed.notify_all();
    }

    fn wait_until_closed(&self) {
        let waiting = |state: &mut GateState| !state.stopped_one;
        let (state, timeout) = self.changed.wait_timeout_while(self.state.lock().unwrap(), NEVER, waiting).unwrap();
        drop(state);
        assert!(!timeout.timed_out(), "the generator would never hang");
    }
}
