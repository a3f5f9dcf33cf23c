//! The sockets that trainers connect to, and what becomes of a connection before its first call.
//!
//! 1. [`Listen`]: where to listen, as the flag says it; [`Listeners::bind`] does it, [`unix`] where it
//!    is a path;
//! 2. `accepted`: a place among the connections, or none; the [`tls`] handshake, where there is one;
//! 3. [`connection`]: what is left of it for HTTP/2, on probation until its first call.
//!
//! Nothing waits without a bound: connections beyond the limit are closed at once, handshakes under
//! way are counted, and each step has its time.

pub mod connection;
pub mod tls;
mod unix;

use crate::{
    error::{Error, Result},
    telemetry::Telemetry,
};
use connection::{Address, Connection, Io};
use std::{fmt, io, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};
use tls::Tls;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tokio_util::task::AbortOnDropHandle;

/// How often a silent connection's machine is asked whether it still lives [unit: seconds].
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long to wait before accepting connections again after that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// TLS handshakes under way at once. One costs a millisecond of a core; only those who dawdle add up.
const MAX_HANDSHAKES: usize = 256;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long, and how many bytes more, one is listened to whose handshake failed [unit: bytes].
const PARTING: Duration = Duration::from_secs(1);
const MOST_HEARD: u64 = 64 << 10;

/// Connections that wait until the server takes them up, which it does at once.
const WAITING: usize = 16;

/// Where to listen: an IP address and a port, or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let expected = "expected an IP address and a port, as in 127.0.0.1:50051, or 0.0.0.0:50051 for every network";
        text.parse().map(Self::Tcp).map_err(|_| format!("{expected}, or unix:PATH; found `{text}`"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Sockets that are bound, and the certificate they show.
pub struct Listeners {
    sockets: Vec<Arc<Socket>>,
    tls: Option<Arc<Tls>>,
}

enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(unix::UnixSocket),
}

impl From<TcpListener> for Listeners {
    /// One socket without TLS.
    fn from(listener: TcpListener) -> Self {
        Self { sockets: vec![Arc::new(Socket::Tcp(listener))], tls: None }
    }
}

impl Listeners {
    /// Listens at every one of some places. `mode` are the permissions of Unix sockets; with `tls`,
    /// TCP connections are encrypted.
    ///
    /// # Errors
    /// [`Error::Bind`] and [`Error::BindUnix`], in one sentence.
    pub async fn bind(places: &[Listen], mode: u32, tls: Option<Arc<Tls>>) -> Result<Self> {
        let mut sockets = Vec::new();
        for place in places {
            sockets.push(Arc::new(match place {
                Listen::Tcp(address) => Socket::Tcp(crate::bind(*address).await?),
                #[cfg(unix)]
                Listen::Unix(path) => Socket::Unix(unix::UnixSocket::bind(path, mode)?),
                #[cfg(not(unix))]
                Listen::Unix(path) => {
                    let reason = "this system has no Unix sockets".into();
                    return Err(Error::BindUnix { path: path.clone(), reason });
                }
            }));
        }
        Ok(Self { sockets, tls })
    }

    /// Where they listen: ports that were 0 have their number.
    ///
    /// # Errors
    /// When a socket doesn't know its address.
    pub fn places(&self) -> Result<Vec<Listen>> {
        let place = |socket: &Arc<Socket>| match &**socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => Ok(Listen::Tcp(address)),
                Err(error) => Err(Error::Transport(format!("a listening socket has no address: {error}"))),
            },
            #[cfg(unix)]
            Socket::Unix(socket) => Ok(Listen::Unix(socket.path().to_owned())),
        };
        self.sockets.iter().map(place).collect()
    }

    /// Their addresses as trainers write them.
    ///
    /// # Errors
    /// As [`Listeners::places`].
    pub fn urls(&self) -> Result<Vec<String>> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = |place: &Listen| match place {
            Listen::Tcp(address) => format!("{scheme}://{address}"),
            Listen::Unix(_) => place.to_string(),
        };
        Ok(self.places()?.iter().map(url).collect())
    }

    /// The certificate, to be read again when it changes.
    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Their connections, at most so many at once; nobody listens any more when the answer is dropped.
    pub(crate) fn accepted(
        self,
        most: usize,
        telemetry: Arc<Telemetry>,
    ) -> impl Stream<Item = io::Result<Connection>> + use<> {
        self.accepted_for_now(most, telemetry)
    }

    /// The same, and when the answer is dropped they can be accepted anew.
    pub(crate) fn accepted_for_now(
        &self,
        most: usize,
        telemetry: Arc<Telemetry>,
    ) -> impl Stream<Item = io::Result<Connection>> + use<> {
        let (sender, connections) = mpsc::channel(WAITING);
        let door = Arc::new(Door {
            tls: self.tls.clone(),
            places: Arc::new(Semaphore::new(most)),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            telemetry,
        });
        let accepting: Vec<_> = self
            .sockets
            .iter()
            .cloned()
            .map(|socket| AbortOnDropHandle::new(tokio::spawn(accept(socket, door.clone(), sender.clone()))))
            .collect();
        ReceiverStream::new(connections).map(move |connection| {
            // The tasks end with the stream.
            let _ = &accepting;
            Ok(connection)
        })
    }
}

/// What decides who comes in.
struct Door {
    tls: Option<Arc<Tls>>,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    telemetry: Arc<Telemetry>,
}

/// Accepts the connections of one socket for as long as somebody takes them up.
///
/// A failure that is not one connection's own, mostly too many open files, lasts until a connection
/// ends, so it is not asked again without a pause.
async fn accept(socket: Arc<Socket>, door: Arc<Door>, connections: mpsc::Sender<Connection>) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = connections.closed() => return,
        };
        match accepted {
            Ok(Accepted::Tcp(stream, address)) => {
                let Some(place) = door.place() else { continue };
                let Some(tls) = &door.tls else {
                    door.enter(Box::new(stream), Address::Tcp(address), place, &connections).await;
                    continue;
                };
                let Ok(turn) = door.handshakes.clone().try_acquire_owned() else {
                    door.refuse("handshakes", "too many handshakes are under way");
                    continue;
                };
                let (acceptor, door, connections) = (tls.acceptor(), door.clone(), connections.clone());
                tokio::spawn(async move {
                    let shaken = tokio::select! {
                        shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream).into_fallible()) => shaken,
                        () = connections.closed() => return,
                    };
                    drop(turn);
                    match shaken {
                        Ok(Ok(stream)) => {
                            door.enter(Box::new(stream), Address::Tcp(address), place, &connections).await;
                        }
                        Ok(Err((error, stream))) => {
                            door.refuse("handshake", &error.to_string());
                            part(stream).await;
                        }
                        Err(_) => door.refuse("slow", "the handshake took too long"),
                    }
                });
            }
            #[cfg(unix)]
            Ok(Accepted::Unix(stream)) => {
                let Some(place) = door.place() else { continue };
                door.enter(Box::new(stream), Address::Unix, place, &connections).await;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ends a connection whose handshake failed. The other end may have begun to speak; closed over words
/// unread, the connection is reset, and with it goes the alert that says why.
async fn part(mut stream: TcpStream) {
    let heard = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MOST_HEARD), &mut tokio::io::sink()).await
    };
    // Whichever way it ends, it has ended.
    let _ = tokio::time::timeout(PARTING, heard).await;
}

impl Door {
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.places.clone().try_acquire_owned().ok();
        if place.is_none() {
            self.refuse("limit", "the limit of connections is reached");
        }
        place
    }

    async fn enter(
        &self,
        io: Box<dyn Io>,
        address: Address,
        place: OwnedSemaphorePermit,
        connections: &mpsc::Sender<Connection>,
    ) {
        let connection = Connection::new(io, address, (place, self.telemetry.connected()));
        // When nobody takes it up any more, the server ends.
        let _ = connections.send(connection).await;
    }

    fn refuse(&self, label: &'static str, reason: &str) {
        tracing::debug!(reason, "a connection was closed before its first call");
        self.telemetry.connection_refused(label);
    }
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Socket {
    /// The next connection. Its settings are made here: tonic's own are not applied to listeners that
    /// it is handed, and with Nagle's algorithm a batch waits for delayed acknowledgements, two seconds
    /// each.
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
                socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                Ok(Accepted::Tcp(stream, address))
            }
            #[cfg(unix)]
            Self::Unix(socket) => Ok(Accepted::Unix(socket.accept().await?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_send_at_once() {
        let listener = crate::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _trainer = TcpStream::connect(address).await.unwrap();
        let Accepted::Tcp(stream, _) = Socket::Tcp(listener).accept().await.unwrap() else { panic!("it is TCP") };
        assert!(stream.nodelay().unwrap(), "Nagle's algorithm is on");
    }

    #[test]
    fn places_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Listen>().map(|place| place.to_string());
        assert_eq!(read("127.0.0.1:50051"), Ok("127.0.0.1:50051".into()));
        assert_eq!(read("[::1]:0"), Ok("[::1]:0".into()));
        assert_eq!(read("unix:/run/faces.sock"), Ok("unix:/run/faces.sock".into()));
        assert_eq!(read("unix:///run/faces.sock"), Ok("unix:/run/faces.sock".into()));
        for wrong in ["", "here:1", "unix:", "127.0.0.1"] {
            assert!(read(wrong).unwrap_err().ends_with(&format!("or unix:PATH; found `{wrong}`")));
        }
    }
}
