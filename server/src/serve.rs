//! The listening sockets, from their first connection to a graceful end.

use crate::{
    config::Config,
    error::{Error, Result},
    served::Served,
    service::Service,
    telemetry::Telemetry,
};
use axum::{Router, http::header, routing::get};
use proto::{limits, v1::augment_server::AugmentServer};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

/// The service's name in health checks.
pub const SERVICE_NAME: &str = "lookalike.v1.Augment";

/// The longest request accepted: identity weights for half a million people fit.
const MAX_REQUEST_BYTES: usize = 8 << 20;

/// How often a silent connection is asked whether it still lives, so that a trainer's machine that
/// vanished gives its stream back.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long such a question waits for its answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

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
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::Serving).await;
    let augment = AugmentServer::new(Service::new(served.clone()))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(limits::MAX_MESSAGE_BYTES);
    let mut routes = Routes::builder();
    routes.add_service(augment).add_service(health_service);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |error: tonic_reflection::server::Error| Error::Bug(format!("reflection: {error}"));
    routes.add_service(reflection().build_v1().map_err(broken)?);
    routes.add_service(reflection().build_v1alpha().map_err(broken)?);

    let metrics = tokio::spawn(serve_metrics(metrics, served.telemetry.clone(), served.closing.clone()));
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(accepted(listener), served.closing.clone().cancelled_owned());

    let grace = Duration::from_secs(served.config.grace);
    let closing = {
        let served = served.clone();
        async move {
            tokio::select! {
                () = shutdown => {}
                () = served.scheduler.failed() => {}
            }
            set_health(&health, ServingStatus::NotServing).await;
            served.closing.cancel();
            tokio::time::sleep(grace).await;
        }
    };
    let ended = tokio::select! {
        ended = server => ended.map_err(|error| Error::Transport(error.to_string())),
        () = closing => Ok(()),
    };
    served.closing.cancel();
    // The metrics server ends with the token; it fails only with its socket, which is gone then.
    let _ = metrics.await;
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
fn accepted(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE))
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in ["", SERVICE_NAME] {
        health.set_service_status(service, status).await;
    }
}

/// `GET /metrics` in Prometheus's text format.
async fn serve_metrics(listener: TcpListener, telemetry: Arc<Telemetry>, closing: tokio_util::sync::CancellationToken) {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let render = move || async move { ([(header::CONTENT_TYPE, TEXT)], telemetry.render()) };
    let pages = Router::new().route("/", get(|| async { "metrics are at /metrics\n" })).route("/metrics", get(render));
    if let Err(error) = axum::serve(listener, pages).with_graceful_shutdown(closing.cancelled_owned()).await {
        tracing::error!(%error, "the metrics server ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn accepted_sockets_send_at_once() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _trainer = tokio::net::TcpStream::connect(address).await.unwrap();
        let socket = accepted(listener).next().await.unwrap().unwrap();
        assert!(socket.nodelay().unwrap(), "Nagle's algorithm is on");
    }
}
