//! The listening sockets, from their first connection to a graceful end.

use crate::{
    config::Config,
    error::{Error, Result},
    reload,
    served::Served,
    service::{Service, admin::AdminService},
    telemetry::Telemetry,
};
use axum::{Router, http::header, routing::get};
use proto::{
    limits,
    v1::{admin_server::AdminServer, augment_server::AugmentServer},
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_stream::{Stream, StreamExt};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{
    service::Routes,
    transport::server::{Connected, TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

/// The service's name in health checks.
pub const SERVICE_NAME: &str = "lookalike.v1.Augment";

/// How often a silent connection is asked whether it still lives, so that a trainer's machine that
/// vanished gives its stream back.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long such a question waits for its answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait before accepting connections again after that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How long a reader of the metrics may take to end once everything else has.
const LAST_PAGE: Duration = Duration::from_secs(1);

/// How often observations are sorted into buckets; each takes 16 bytes until then.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Listens on an address.
///
/// # Errors
/// [`Error::Bind`], in one sentence.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|reason| Error::Bind { address, reason })
}

/// Opens what the settings name and serves it until `shutdown` comes.
///
/// Both listeners are bound already, so their addresses are known; streams are answered once the
/// dataset and the bundle are open.
///
/// # Errors
/// When the dataset or the bundle can't be used, or the generator fails for good.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    metrics: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let opened = tokio::task::spawn_blocking(move || Served::open(&config)).await;
    let served = opened.map_err(|error| Error::Bug(format!("opening failed: {error}")))??;
    serve_opened(Arc::new(served), listener, metrics, shutdown).await
}

/// Serves what was opened until `shutdown` comes: then the health service says so, streams end
/// with UNAVAILABLE, and connections have the configured grace time to take their last words.
///
/// # Errors
/// When the generator fails for good. The process should then end, so that whatever supervises it
/// starts it again.
pub async fn serve_opened(
    served: Arc<Served>,
    listener: TcpListener,
    metrics: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    // The metrics stay up until the last stream has ended: that is when one wants to see them.
    let all_ended = CancellationToken::new();
    let metrics = serve_metrics(metrics, served.telemetry.clone(), all_ended.clone());
    let metrics = AbortOnDropHandle::new(tokio::spawn(metrics));
    let ended = serve_connections(served, accepted(listener), shutdown).await;
    all_ended.cancel();
    // It fails only with its socket. Somebody who asked for half a page is not waited for long.
    let _ = tokio::time::timeout(LAST_PAGE, metrics).await;
    ended
}

/// As [`serve_opened`], over connections however they come, and without the page of metrics.
///
/// # Errors
/// As [`serve_opened`].
pub async fn serve_connections<IO, E>(
    served: Arc<Served>,
    connections: impl Stream<Item = Result<IO, E>>,
    shutdown: impl Future<Output = ()>,
) -> Result<()>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::Serving).await;
    let augment = AugmentServer::new(Service::new(served.clone()))
        .max_decoding_message_size(limits::MAX_REQUEST_BYTES)
        .max_encoding_message_size(limits::MAX_MESSAGE_BYTES);
    let mut routes = Routes::builder();
    let admin = AdminServer::new(AdminService::new(served.clone()));
    routes.add_service(augment).add_service(admin).add_service(health_service);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |error: tonic_reflection::server::Error| Error::Bug(format!("reflection: {error}"));
    routes.add_service(reflection().build_v1().map_err(broken)?);
    routes.add_service(reflection().build_v1alpha().map_err(broken)?);

    let watching = AbortOnDropHandle::new(tokio::spawn(reload::watch(served.clone())));
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(connections, served.closing.clone().cancelled_owned());

    let grace = Duration::from_secs(served.config.grace);
    let closing = {
        let served = served.clone();
        async move {
            tokio::select! {
                biased;
                () = served.scheduler.failed() => {}
                () = shutdown => {}
            }
            set_health(&health, ServingStatus::NotServing).await;
            served.closing.cancel();
            end_watches(health).await;
            tokio::time::sleep(grace).await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = server => ended.map_err(|error| Error::Transport(error.to_string())),
        () = closing => Ok(()),
    };
    served.closing.cancel();
    drop(watching);
    match served.scheduler.failure() {
        Some(reason) => Err(Error::Engine(reason)),
        None => {
            served.scheduler.close();
            ended
        }
    }
}

/// The connections of a listener. Their settings are made on the accepted sockets: tonic's own are
/// not applied to listeners it is handed, and with Nagle's algorithm a batch waits for delayed
/// acknowledgements, two seconds each.
///
/// A failure that is not one connection's own, mostly too many open files, lasts until a connection
/// ends, and tonic would ask again without a pause.
fn accepted(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    incoming.then(|connection| async {
        if let Err(error) = &connection
            && !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
        {
            tracing::warn!(%error, "no connection can be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        connection
    })
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in ["", SERVICE_NAME] {
        health.set_service_status(service, status).await;
    }
}

/// Ends the streams of those who watch the health, after the last status. They would hold their
/// connections, and with them the server, for as long as they like.
async fn end_watches(mut health: HealthReporter) {
    for service in ["", SERVICE_NAME] {
        health.clear_service_status(service).await;
    }
}

/// `GET /metrics` in Prometheus's text format, and the metrics' upkeep.
async fn serve_metrics(listener: TcpListener, telemetry: Arc<Telemetry>, closing: CancellationToken) {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    let keeping_up = keep_up(telemetry.clone());
    let render = move || async move { ([(header::CONTENT_TYPE, TEXT)], telemetry.render()) };
    let pages = Router::new().route("/", get(|| async { "metrics are at /metrics\n" })).route("/metrics", get(render));
    let serving = axum::serve(listener, pages).with_graceful_shutdown(closing.cancelled_owned());
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::error!(%error, "the metrics server ended");
        },
        () = keeping_up => {}
    }
}

/// Keeps the metrics small for as long as it is polled.
async fn keep_up(telemetry: Arc<Telemetry>) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        telemetry.upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_send_at_once() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _trainer = tokio::net::TcpStream::connect(address).await.unwrap();
        let socket = std::pin::pin!(accepted(listener)).next().await.unwrap().unwrap();
        assert!(socket.nodelay().unwrap(), "Nagle's algorithm is on");
    }
}
