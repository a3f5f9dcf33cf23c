//! Addresses of servers, and connections to them.

use crate::attempts::Failure;
use hyper_util::rt::TokioIo;
use proto::limits;
use proto::v1::augment_client::AugmentClient;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

/// How long a connection may take; then the next server is tried.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it still lives, and how long it may take to say
/// so. A server that makes a batch for minutes still answers; a machine that vanished doesn't.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

/// Where a server listens: `http://HOST:PORT`, the scheme may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Uri);

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_end_matches('/');
        if text.starts_with("https://") {
            return Err(format!("expected http://HOST:PORT, found {text:?}; encryption is left to a proxy"));
        }
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        match whole.parse::<Uri>() {
            Ok(uri)
                if uri.scheme_str() == Some("http")
                    && uri.host().is_some_and(|host| !host.is_empty())
                    && uri.port().is_some()
                    && uri.path() == "/" =>
            {
                Ok(Self(uri))
            }
            _ => Err(format!("expected http://HOST:PORT, found {text:?}")),
        }
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
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

/// What a connection is spoken over.
pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

impl ServerUrl {
    /// A new connection. The receiver's window and frame size rule how fast a download is, so they
    /// are opened here.
    pub(crate) async fn connect(
        &self,
        connector: Option<&Arc<dyn Connect>>,
    ) -> Result<AugmentClient<Channel>, Failure> {
        let window = connector.map_or(limits::WINDOW_BYTES, |connector| connector.window_bytes());
        let endpoint = Endpoint::from(self.0.clone())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .initial_stream_window_size(window)
            .initial_connection_window_size(window)
            .max_frame_size(limits::FRAME_BYTES)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true);
        let connected = match connector {
            None => endpoint.connect().await,
            Some(connector) => {
                let (connector, server) = (connector.clone(), self.clone());
                let pipe = move |_: Uri| {
                    let connecting = connector.connect(&server);
                    async move { connecting.await.map(TokioIo::new) }
                };
                endpoint.connect_with_connector(tower::service_fn(pipe)).await
            }
        };
        let channel = connected.map_err(|error| Failure::Passing(innermost(&error)))?;
        Ok(AugmentClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES))
    }
}

/// What a status means for the next attempt.
pub(crate) fn failure(status: &Status) -> Failure {
    let reason = match status.source() {
        // A status that this end made up of a broken connection: what broke it says more.
        Some(source) => innermost(source),
        None if status.message().is_empty() => status.code().to_string(),
        None => status.message().to_owned(),
    };
    match status.code() {
        Code::InvalidArgument => Failure::Final(reason),
        Code::FailedPrecondition | Code::DataLoss | Code::PermissionDenied | Code::Unauthenticated => {
            Failure::Lasting(reason)
        }
        Code::OutOfRange | Code::NotFound => Failure::Lasting(reason),
        Code::ResourceExhausted => Failure::Full(reason),
        Code::Unimplemented => Failure::Lasting(format!("it is no Lookalike server of this version ({reason})")),
        _ => Failure::Passing(reason),
    }
}

/// The deepest cause, as people say it: "connection refused".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let text = deepest.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
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
        for wrong in ["", "gpu-7", "http://gpu-7", "ftp://gpu-7:1", "http://:5", "http://gpu-7:1/path", "a b:1"] {
            let error = read(wrong).unwrap_err();
            assert!(error.starts_with("expected http://HOST:PORT, found"), "{error}");
        }
        assert!(read("https://gpu-7:1").unwrap_err().ends_with("encryption is left to a proxy"));
    }
}
