//! Pipes between trainers and servers: they have latency, are cut in mid-frame, and lose their way.

use client::{Connect, Connecting, Pipe, ServerUrl};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes on their way in one direction.
const BUFFER: usize = 1 << 16;

/// Who opens a pipe: a training or another client, by number.
pub type Host = usize;

/// All ways of a world; clones are the same.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

struct State {
    ports: Vec<Port>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    /// Until when nothing from or to a host passes.
    apart: BTreeMap<Host, Instant>,
    window_bytes: u32,
}

/// A replica's end.
struct Port {
    listener: Option<mpsc::UnboundedSender<io::Result<DuplexStream>>>,
    latency: Duration,
    apart_until: Option<Instant>,
}

struct Link {
    host: Host,
    replica: usize,
    cut: CancellationToken,
    /// Bytes to the trainer until it is cut.
    cut_after: Arc<Mutex<Option<usize>>>,
}

/// One host's way to all replicas.
pub struct Way {
    network: Network,
    host: Host,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host {}", self.host)
    }
}

/// The URL of a replica.
pub fn url(replica: usize) -> ServerUrl {
    format!("http://replica:{}", replica + 1).parse().expect("a URL")
}

fn replica_of(server: &ServerUrl) -> Option<usize> {
    server.to_string().rsplit(':').next()?.parse::<usize>().ok()?.checked_sub(1)
}

impl Network {
    /// So many replicas, nobody listening yet.
    pub fn new(replicas: usize, latency: Duration, window_bytes: u32) -> Self {
        let port = || Port { listener: None, latency, apart_until: None };
        let state = State {
            ports: (0..replicas).map(|_| port()).collect(),
            links: BTreeMap::new(),
            next_link: 0,
            apart: BTreeMap::new(),
            window_bytes,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A replica listens: the connections that come.
    pub fn listen(&self, replica: usize) -> mpsc::UnboundedReceiver<io::Result<DuplexStream>> {
        let (sender, connections) = mpsc::unbounded_channel();
        self.state().ports[replica].listener = Some(sender);
        connections
    }

    /// A replica listens no more; what was connected stays.
    pub fn stop_listening(&self, replica: usize) {
        self.state().ports[replica].listener = None;
    }

    /// A replica is gone with all its connections.
    pub fn cut_replica(&self, replica: usize) {
        self.stop_listening(replica);
        self.cut(|link| link.replica == replica);
    }

    /// A host is gone with all its connections.
    pub fn cut_host(&self, host: Host) {
        self.cut(|link| link.host == host);
    }

    /// Cuts one of the connections after so many more bytes to the trainer. Whose it is.
    pub fn cut_one(&self, nth: u64, after: usize) -> Option<Host> {
        let state = self.state();
        let nth = nth.checked_rem(state.links.len() as u64)?;
        let link = state.links.values().nth(nth as usize)?;
        *lock(&link.cut_after) = Some(after);
        Some(link.host)
    }

    /// Nothing passes to and from a host for a while.
    pub fn part_host(&self, host: Host, time: Duration) {
        self.state().apart.insert(host, Instant::now() + time);
    }

    /// Nothing passes to and from a replica for a while.
    pub fn part_replica(&self, replica: usize, time: Duration) {
        self.state().ports[replica].apart_until = Some(Instant::now() + time);
    }

    /// Changes the latency of a replica's connections.
    pub fn slow(&self, replica: usize, latency: Duration) {
        self.state().ports[replica].latency = latency;
    }

    /// A host's way.
    pub fn way(&self, host: Host) -> Arc<Way> {
        Arc::new(Way { network: self.clone(), host })
    }

    /// Connections that are open.
    pub fn links(&self) -> usize {
        self.state().links.len()
    }

    /// Opens a pipe from a host to a replica.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(&self, host: Host, replica: usize) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        self.pass(host, replica).await;
        let listener = {
            let state = self.state();
            let port = state.ports.get(replica).ok_or_else(refused)?;
            port.listener.clone().ok_or_else(refused)?
        };
        let (trainer, near) = duplex(BUFFER);
        let (far, server) = duplex(BUFFER);
        listener.send(Ok(server)).map_err(|_| refused())?;
        let (cut, cut_after) = (CancellationToken::new(), Arc::new(Mutex::new(None)));
        let number = {
            let mut state = self.state();
            let number = state.next_link;
            state.next_link += 1;
            state.links.insert(number, Link { host, replica, cut: cut.clone(), cut_after: cut_after.clone() });
            number
        };
        tokio::spawn(self.clone().relay(number, host, replica, near, far, cut, cut_after));
        Ok(trainer)
    }

    #[allow(clippy::too_many_arguments, reason = "two ends, and what is between them")]
    async fn relay(
        self,
        number: u64,
        host: Host,
        replica: usize,
        near: DuplexStream,
        far: DuplexStream,
        cut: CancellationToken,
        cut_after: Arc<Mutex<Option<usize>>>,
    ) {
        let ((near_out, near_in), (far_out, far_in)) = (split(near), split(far));
        let never = Arc::new(Mutex::new(None));
        let both = async {
            tokio::join!(
                self.pump(host, replica, near_out, far_in, &never, &cut),
                self.pump(host, replica, far_out, near_in, &cut_after, &cut),
            )
        };
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            _ = both => {}
        }
        self.state().links.remove(&number);
    }

    async fn pump(
        &self,
        host: Host,
        replica: usize,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
        cut_after: &Mutex<Option<usize>>,
        cut: &CancellationToken,
    ) {
        let mut chunk = vec![0; 1 << 15];
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            self.pass(host, replica).await;
            let left = *lock(cut_after);
            let passes = left.map_or(count, |left| left.min(count));
            if to.write_all(&chunk[..passes]).await.is_err() {
                break;
            }
            if let Some(left) = left {
                *lock(cut_after) = Some(left - passes);
                if left == passes {
                    cut.cancel();
                    return;
                }
            }
        }
        // The other end may still have something to say.
        let _ = to.shutdown().await;
    }

    /// The time that bytes take between a host and a replica.
    async fn pass(&self, host: Host, replica: usize) {
        let (until, latency) = {
            let state = self.state();
            let port = state.ports.get(replica);
            let until = port.and_then(|port| port.apart_until).max(state.apart.get(&host).copied());
            (until, port.map_or(Duration::ZERO, |port| port.latency))
        };
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
        tokio::time::sleep(latency).await;
    }

    fn cut(&self, which: impl Fn(&Link) -> bool) {
        let state = self.state();
        state.links.values().filter(|link| which(link)).for_each(|link| link.cut.cancel());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connect for Way {
    fn connect(&self, server: &ServerUrl) -> Connecting {
        let (network, host, replica) = (self.network.clone(), self.host, replica_of(server));
        Box::pin(async move {
            let replica = replica.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let pipe: Box<dyn Pipe> = Box::new(network.connect(host, replica).await?);
            Ok(pipe)
        })
    }

    fn window_bytes(&self) -> u32 {
        self.network.state().window_bytes
    }
}
