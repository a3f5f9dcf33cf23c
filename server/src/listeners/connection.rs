//! One connection, for HTTP/2: who is at its other end, and how long it may be idle at first.
//!
//! A connection is on probation until its first call is let through: its first bytes must come soon,
//! and a call not long after, else it gives its place back. From then on HTTP/2's own pings tell
//! whether the other end still lives.
//!
//! At its end the other side is listened to until it closes too. A socket that is closed before all that
//! came has been read is reset, and what was sent last, a farewell for one, is lost on its way.

use crate::telemetry::Raised;
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// How long a connection may take at first.
#[derive(Clone, Copy)]
struct Probation {
    /// For the first bytes of HTTP/2.
    preface: Duration,
    /// For a call that is let through.
    call: Duration,
}

const PROBATION: Probation = Probation { preface: Duration::from_secs(10), call: Duration::from_secs(60) };

/// How long the other end may take to read what was sent last, on a connection that ends or a stream.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(60);

/// The length of those bytes: what every client begins with.
const PREFACE_BYTES: usize = 24;

/// Bytes in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Over the network, or from this machine.
    Tcp(SocketAddr),
    /// Through a Unix socket.
    Unix,
}

impl Address {
    /// Whether it comes from this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => match address.ip() {
                IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
                IpAddr::V4(ip) => ip.is_loopback(),
            },
            Self::Unix => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// The other end, as each of its calls knows it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it is.
    pub(crate) address: Address,
    trusted: Arc<AtomicBool>,
    cut: CancellationToken,
}

impl Peer {
    /// A call was let through: the probation is over.
    pub(crate) fn trust(&self) {
        self.trusted.store(true, Ordering::Relaxed);
    }

    /// Ends the connection, and with it all its calls.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}

/// An accepted connection.
pub struct Connection {
    io: Box<dyn Io>,
    peer: Peer,
    /// Whether nothing is sent any more, and the other end's closing is awaited.
    lingers: bool,
    /// Of what is awaited next.
    deadline: Pin<Box<Sleep>>,
    /// When the call must have come.
    call_by: Instant,
    /// When it is cut.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Bytes read, as far as they matter.
    read: usize,
    /// Its place among the connections, given back when it ends.
    _held: Option<(OwnedSemaphorePermit, Raised)>,
}

impl Connection {
    /// A pipe within this process, taken for a Unix socket.
    pub fn within(pipe: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::held(PROBATION, Box::new(pipe), Address::Unix, None)
    }

    pub(crate) fn new(io: Box<dyn Io>, address: Address, held: (OwnedSemaphorePermit, Raised)) -> Self {
        Self::held(PROBATION, io, address, Some(held))
    }

    fn held(
        probation: Probation,
        io: Box<dyn Io>,
        address: Address,
        held: Option<(OwnedSemaphorePermit, Raised)>,
    ) -> Self {
        let cut = CancellationToken::new();
        Self {
            io,
            cut: Box::pin(cut.clone().cancelled_owned()),
            lingers: false,
            peer: Peer { address, trusted: Arc::default(), cut },
            deadline: Box::pin(tokio::time::sleep(probation.preface)),
            call_by: Instant::now() + probation.call,
            read: 0,
            _held: held,
        }
    }

    /// Whether its time is up.
    fn is_overdue(&mut self, context: &mut Context<'_>) -> bool {
        !self.peer.trusted.load(Ordering::Relaxed) && self.deadline.as_mut().poll(context).is_ready()
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.peer.address).finish()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_overdue(context) || self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if self.read < PREFACE_BYTES {
            self.read += buffer.filled().len() - before;
            if self.read >= PREFACE_BYTES {
                let call_by = self.call_by;
                self.deadline.as_mut().reset(call_by);
            }
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.lingers {
            ready!(Pin::new(&mut self.io).poll_shutdown(context))?;
            self.lingers = true;
            self.deadline.as_mut().reset(Instant::now() + LAST_WORDS);
        }
        let mut bytes = [0; 1024];
        loop {
            let ended = self.deadline.as_mut().poll(context).is_ready() || self.cut.as_mut().poll(context).is_ready();
            let mut buffer = ReadBuf::new(&mut bytes);
            if ended
                || ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer)).is_err()
                || buffer.filled().is_empty()
            {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
        sync::Semaphore,
    };

    const NEVER: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(20);

    fn connection(preface: Duration, call: Duration) -> (Connection, DuplexStream, Arc<Semaphore>) {
        let places = Arc::new(Semaphore::new(1));
        let place = places.clone().try_acquire_owned().unwrap();
        let (here, there) = tokio::io::duplex(64);
        let held = (place, Telemetry::new("", "").unwrap().connected());
        let connection = Connection::held(Probation { preface, call }, Box::new(here), Address::Unix, Some(held));
        (connection, there, places)
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_closed_and_gives_its_place_back() {
        let (mut silent, _there, places) = connection(SOON, NEVER);
        assert_eq!(silent.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(silent);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn one_that_begins_and_never_calls_is_closed_too() {
        let (mut idle, mut there, _places) = connection(NEVER, SOON);
        there.write_all(&[0; PREFACE_BYTES]).await.unwrap();
        idle.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        assert_eq!(idle.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn one_that_ends_waits_until_the_other_end_has_read_all() {
        let (mut ending, mut there, places) = connection(NEVER, NEVER);
        ending.write_all(b"farewell").await.unwrap();
        let ending = tokio::spawn(async move { ending.shutdown().await });
        // What comes meanwhile is taken in, however much.
        there.write_all(&[7; 5000]).await.unwrap();
        assert_eq!(places.available_permits(), 0);
        let mut word = Vec::new();
        there.read_to_end(&mut word).await.unwrap();
        assert_eq!(word, b"farewell");
        drop(there);
        ending.await.unwrap().unwrap();
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn one_that_is_cut_ends_whatever_it_waits_for() {
        let (mut cut, _there, places) = connection(NEVER, NEVER);
        let peer = cut.connect_info();
        let reading = tokio::spawn(async move { cut.read_u8().await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        peer.cut();
        assert_eq!(reading.await.unwrap(), io::ErrorKind::TimedOut);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn one_that_called_may_be_idle() {
        let (mut trusted, mut there, _places) = connection(NEVER, SOON);
        there.write_all(&[0; PREFACE_BYTES]).await.unwrap();
        trusted.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        trusted.connect_info().trust();
        tokio::time::sleep(2 * SOON).await;
        there.write_all(&[7]).await.unwrap();
        assert_eq!(trusted.read_u8().await.unwrap(), 7);
    }
}
