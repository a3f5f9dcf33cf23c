//! One connection, for HTTP/2: who is at its other end, and how long it may be idle at first.
//!
//! A connection is on probation until its first call is let through: its first bytes must come soon,
//! and a call not long after, else it gives its place back. From then on HTTP/2's own pings tell
//! whether the other end still lives.

use crate::telemetry::Raised;
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};
use tonic::transport::server::Connected;

/// How long the first bytes of HTTP/2 may take.
const PREFACE: Duration = Duration::from_secs(10);

/// The length of those bytes: what every client begins with.
const PREFACE_BYTES: usize = 24;

/// How long a connection may go without a call that is let through.
const FIRST_CALL: Duration = Duration::from_secs(60);

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
}

impl Peer {
    /// A call was let through: the probation is over.
    pub(crate) fn trust(&self) {
        self.trusted.store(true, Ordering::Relaxed);
    }
}

/// An accepted connection.
pub struct Connection {
    io: Box<dyn Io>,
    peer: Peer,
    deadline: Pin<Box<Sleep>>,
    accepted: Instant,
    /// Bytes read, as far as they matter.
    read: usize,
    /// Its place among the connections, given back when it ends.
    _held: Option<(OwnedSemaphorePermit, Raised)>,
}

impl Connection {
    /// A pipe within this process, taken for a Unix socket.
    pub fn within(pipe: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::held(Box::new(pipe), Address::Unix, None)
    }

    pub(crate) fn new(io: Box<dyn Io>, address: Address, held: (OwnedSemaphorePermit, Raised)) -> Self {
        Self::held(io, address, Some(held))
    }

    fn held(io: Box<dyn Io>, address: Address, held: Option<(OwnedSemaphorePermit, Raised)>) -> Self {
        let accepted = Instant::now();
        Self {
            io,
            peer: Peer { address, trusted: Arc::default() },
            deadline: Box::pin(tokio::time::sleep_until(accepted + PREFACE)),
            accepted,
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
        if self.is_overdue(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if self.read < PREFACE_BYTES {
            self.read += buffer.filled().len() - before;
            if self.read >= PREFACE_BYTES {
                let deadline = self.accepted + FIRST_CALL;
                self.deadline.as_mut().reset(deadline);
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
        Pin::new(&mut self.io).poll_shutdown(context)
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
