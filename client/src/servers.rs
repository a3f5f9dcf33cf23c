//! Addresses of servers, and connections to them.

use crate::access::{Access, Bearer};
use crate::attempts::Failure;
use crate::names;
use hyper_util::rt::TokioIo;
use proto::limits;
use proto::v1::augment_client::AugmentClient;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::{self, CertificateError};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// How long a connection may take; then the next server is tried.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it still lives, and how long it may take to say
/// so. A server that makes a batch for minutes still answers; a machine that vanished doesn't.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

/// How requests are sent once a connection is there.
pub(crate) type Requests = InterceptedService<Channel, Bearer>;

/// How a call is made then.
pub(crate) type Client = AugmentClient<Requests>;

/// The longest that a server's word on when to ask again is believed.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Where a server listens: `http://HOST:PORT`, whose scheme may be left out or be `dns:///`,
/// `https://HOST:PORT` or `unix:PATH`. A name may be that of several servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Of http or https.
    Network(Uri),
    /// The path of a Unix socket.
    Socket(String),
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            return Ok(Self(Place::Socket(path.to_owned())));
        }
        let text = text.trim_end_matches('/');
        // How gRPC's own clients write a name of several servers; every name may be one here.
        let text = text.strip_prefix("dns:///").unwrap_or(text);
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        match whole.parse::<Uri>() {
            Ok(uri)
                if matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some_and(|host| !host.is_empty())
                    && uri.port().is_some()
                    && uri.path() == "/" =>
            {
                Ok(Self(Place::Network(uri)))
            }
            _ => Err(format!("expected http://HOST:PORT, https://HOST:PORT or unix:PATH, found {text:?}")),
        }
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Place::Network(uri) => f.write_str(uri.to_string().trim_end_matches('/')),
            Place::Socket(path) => write!(f, "unix:{path}"),
        }
    }
}

/// A way to servers other than by sockets: whoever has both ends in one process needs no network.
pub trait Connect: std::fmt::Debug + Send + Sync {
    /// Opens a pipe to a server.
    fn connect(&self, server: &ServerUrl) -> Connecting;

    /// Bytes that a server may send before they are read, for a stream and for a connection.
    fn window_bytes(&self) -> u32 {
        limits::WINDOW_BYTES
    }
}

/// A pipe to a server that is being opened.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Pipe>>> + Send>>;

/// What is left of a connection that the other end closed.
const CLOSED: &str = "connection closed";

/// What a connection is spoken over.
pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// Calls over a connection.
pub(crate) fn client(requests: Requests) -> Client {
    AugmentClient::new(requests).max_decoding_message_size(limits::MAX_MESSAGE_BYTES)
}

impl ServerUrl {
    /// Calls over a new connection.
    pub(crate) async fn connect(
        &self,
        access: &Access,
        connector: Option<&Arc<dyn Connect>>,
    ) -> Result<Client, Failure> {
        Ok(client(self.open(access, connector).await?))
    }

    /// A new connection. The receiver's window and frame size rule how fast a download is, so they
    /// are opened here.
    pub(crate) async fn open(
        &self,
        access: &Access,
        connector: Option<&Arc<dyn Connect>>,
    ) -> Result<Requests, Failure> {
        let bearer = access.bearer(self)?;
        let wrong = |error: tonic::transport::Error| trouble(&error);
        let mut endpoint = match &self.0 {
            Place::Network(uri) => Endpoint::from(uri.clone()),
            Place::Socket(path) => Endpoint::from_shared(format!("unix:{path}")).map_err(wrong)?,
        };
        if self.is_encrypted() {
            let unfit = |error: tonic::transport::Error| {
                Failure::Here(format!("cannot use the certificates or the key: {}", words(&error)))
            };
            endpoint = endpoint.tls_config(access.tls()?).map_err(unfit)?;
        }
        let window = connector.map_or(limits::WINDOW_BYTES, |connector| connector.window_bytes());
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .initial_stream_window_size(window)
            .initial_connection_window_size(window)
            .max_frame_size(limits::FRAME_BYTES)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true);
        let connected = match connector {
            None => match self.name() {
                None => endpoint.connect().await,
                Some((host, port)) => {
                    let dial = move |_: Uri| names::dial(host.clone(), port);
                    endpoint.connect_timeout(names::NAME).connect_with_connector(tower::service_fn(dial)).await
                }
            },
            Some(connector) => {
                let (connector, server) = (connector.clone(), self.clone());
                let pipe = move |_: Uri| {
                    let connecting = connector.connect(&server);
                    async move { connecting.await.map(TokioIo::new) }
                };
                endpoint.connect_with_connector(tower::service_fn(pipe)).await
            }
        };
        let channel = connected.map_err(wrong)?;
        Ok(InterceptedService::new(channel, bearer))
    }

    /// A failure of the first question over a new connection. Servers judge certificates after the
    /// handshake, and what they say of one that is missing may be lost with the connection.
    pub(crate) fn at_first(&self, access: &Access, failure: Failure) -> Failure {
        let shows_none = self.is_encrypted() && access.tls_cert.is_none();
        match failure {
            Failure::Passing(reason) if shows_none && reason == CLOSED => Failure::Passing(format!(
                "{CLOSED} before it answered; if it asks for a certificate, show one with --tls-cert and --tls-key"
            )),
            failure => failure,
        }
    }

    /// The name and port, where there is a name.
    fn name(&self) -> Option<(String, u16)> {
        let Place::Network(uri) = &self.0 else { return None };
        let host = uri.host().filter(|host| !host.starts_with('[') && host.parse::<IpAddr>().is_err())?;
        Some((host.to_owned(), uri.port_u16()?))
    }

    fn is_encrypted(&self) -> bool {
        matches!(&self.0, Place::Network(uri) if uri.scheme_str() == Some("https"))
    }

    /// Whether what is sent goes over a network in the clear.
    pub(crate) fn is_readable_on_the_way(&self) -> bool {
        let Place::Network(uri) = &self.0 else { return false };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        !self.is_encrypted() && !here
    }
}

/// What a status means for the next attempt.
pub(crate) fn failure(status: &Status) -> Failure {
    let reason = match status.source() {
        // A status that this end made up of a broken connection: what broke it says more.
        Some(source) => match trouble(source) {
            Failure::Here(reason) | Failure::Passing(reason) => reason,
            failure => return failure,
        },
        None if status.message().is_empty() => status.code().to_string(),
        None => status.message().to_owned(),
    };
    if let Some(id) = status.metadata().get("x-request-id").and_then(|id| id.to_str().ok()) {
        // Under this name the server's log tells more.
        tracing::info!(request_id = id, reason, "a server refused");
    }
    match status.code() {
        Code::InvalidArgument => Failure::Final(reason),
        Code::FailedPrecondition | Code::DataLoss | Code::PermissionDenied | Code::Unauthenticated => {
            Failure::Lasting(reason)
        }
        Code::OutOfRange | Code::NotFound => Failure::Lasting(reason),
        Code::ResourceExhausted => Failure::Full(reason, delay(status)),
        Code::Unimplemented => Failure::Lasting(format!("it is no Lookalike server of this version ({reason})")),
        _ => Failure::Passing(reason),
    }
}

/// When a server that has no room says to ask again.
fn delay(status: &Status) -> Duration {
    let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let pushback = || {
        let milliseconds = status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_millis(milliseconds))
    };
    told.or_else(pushback).unwrap_or_default().min(LONGEST_DELAY)
}

/// What a broken connection, or none, comes from.
fn trouble(error: &(dyn Error + 'static)) -> Failure {
    causes(error).find_map(handshake).unwrap_or_else(|| Failure::Passing(words(error)))
}

/// An error, what it comes from, what that comes from, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The deepest cause, as people say it: "connection refused".
fn words(error: &(dyn Error + 'static)) -> String {
    let text = causes(error).last().unwrap_or(error).to_string();
    // Servers judge certificates after the handshake; of what comes then, HTTP/2 keeps the words alone.
    match text.strip_prefix("received fatal alert: ") {
        Some("CertificateRequired") => {
            return "it asks for a certificate; show one with --tls-cert and --tls-key".into();
        }
        Some(alert) => return format!("it refuses the certificate that is shown ({alert})"),
        None => {}
    }
    // What a TLS server says to whoever speaks in the clear, read as HTTP/2.
    if text.contains("frame with invalid size") {
        return "it doesn't speak HTTP/2 in the clear; if it asks for TLS, call it https://".into();
    }
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Why there is no encrypted connection, and what to do about it; `None` for other troubles.
fn handshake(error: &(dyn Error + 'static)) -> Option<Failure> {
    let within = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref()?.downcast_ref());
    let words = match error.downcast_ref::<rustls::Error>().or(within)? {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is signed by nobody who is trusted here; name its issuer with --tls-ca"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name; say which with --tls-name",
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        rustls::Error::InvalidMessage(_) => "it doesn't speak TLS; ask for it at http://",
        _ => return None,
    };
    Some(Failure::Here(words.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<ServerUrl>().map(|url| url.to_string());
        assert_eq!(read("http://127.0.0.1:50051/"), Ok("http://127.0.0.1:50051".to_owned()));
        assert_eq!(read("gpu-7:50051"), Ok("http://gpu-7:50051".to_owned()));
        assert_eq!(read("[::1]:50051"), Ok("http://[::1]:50051".to_owned()));
        assert_eq!(read("dns:///faces.svc:50051"), Ok("http://faces.svc:50051".to_owned()));
        let name = |text: &str| text.parse::<ServerUrl>().unwrap().name();
        assert_eq!(name("dns:///faces.svc:50051"), Some(("faces.svc".to_owned(), 50051)));
        assert_eq!(name("https://gpu-7:1"), Some(("gpu-7".to_owned(), 1)));
        assert_eq!([name("[::1]:50051"), name("127.0.0.1:1"), name("unix:a")], [None, None, None]);
        assert_eq!(read("https://gpu-7:50051/"), Ok("https://gpu-7:50051".to_owned()));
        assert_eq!(read("unix:///run/faces.sock"), Ok("unix:/run/faces.sock".to_owned()));
        assert_eq!(read("unix:faces.sock"), Ok("unix:faces.sock".to_owned()));
        for wrong in
            ["", "gpu-7", "http://gpu-7", "ftp://gpu-7:1", "http://:5", "https://gpu-7:1/path", "a b:1", "unix:"]
        {
            let error = read(wrong).unwrap_err();
            assert!(error.starts_with("expected http://HOST:PORT, https://HOST:PORT or unix:PATH, found"), "{error}");
        }
    }

    #[test]
    fn a_server_that_has_no_room_is_believed_when_it_says_how_long_for_a_minute_at_most() {
        let details = |seconds| {
            let details = tonic_types::ErrorDetails::with_retry_info(Some(Duration::from_secs(seconds)));
            Status::with_error_details(Code::ResourceExhausted, "full", details)
        };
        let full = |seconds| Failure::Full("full".to_owned(), Duration::from_secs(seconds));
        assert_eq!(failure(&details(7)), full(7));
        assert_eq!(failure(&details(1_000_000)), full(60));
        let mut pushback = Status::resource_exhausted("full");
        assert_eq!(failure(&pushback), full(0));
        for (written, meant) in [("3000", 3), ("-1", 0), ("soon", 0)] {
            pushback.metadata_mut().insert("grpc-retry-pushback-ms", written.parse().unwrap());
            assert_eq!(failure(&pushback), full(meant));
        }
    }
}
