//! The listening sockets, from their first connection to a graceful end.

use crate::{
    access::gate::gate,
    config::Config,
    error::{Error, Result},
    health::Health,
    listeners::{Listeners, connection::Connection, tls::Tls},
    metrics_page, opening, reload,
    served::Served,
    service::{Service, admin::AdminService, frames},
    telemetry::Telemetry,
    watched::{Credentials, keep_current},
};
use axum::{middleware, routing};
use proto::{
    limits,
    v1::{admin_server::AdminServer, augment_server::AugmentServer},
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::service::Routes;

/// How often a silent connection is asked whether it still lives, so that a trainer's machine that
/// vanished gives its stream back.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long such a question waits for its answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest headers of a call [unit: bytes]; a token and a request id take a few hundred.
const MAX_HEADERS: u32 = 16 << 10;

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
/// All listeners are bound already, so their addresses are known; streams are answered once the
/// dataset and the bundle are open.
///
/// # Errors
/// When the dataset or the bundle can't be used, or the generator fails for good.
pub async fn serve(
    config: Config,
    listeners: impl Into<Listeners>,
    metrics: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let listeners = listeners.into();
    let opened = opening::answer_while(&listeners, tokio::task::spawn_blocking(move || Served::open(&config))).await?;
    let served = opened.map_err(|error| Error::Bug(format!("opening failed: {error}")))??;
    serve_opened(Arc::new(served), listeners, metrics, shutdown).await
}

/// Serves what was opened until `shutdown` comes: then the health service says so, streams end
/// with UNAVAILABLE, and connections have the configured grace time to take their last words.
///
/// # Errors
/// When the generator fails for good. The process should then end, so that whatever supervises it
/// starts it again.
pub async fn serve_opened(
    served: Arc<Served>,
    listeners: impl Into<Listeners>,
    metrics: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    // The metrics stay up until the last stream has ended: that is when one wants to see them.
    let all_ended = CancellationToken::new();
    let metrics = metrics_page::serve(metrics, served.clone(), all_ended.clone());
    let metrics = AbortOnDropHandle::new(tokio::spawn(metrics));
    let listeners = listeners.into();
    let _current = keep_credentials(&served, listeners.tls());
    let most = served.config.access.max_connections as usize;
    let accepted = listeners.accepted(most, served.telemetry.clone());
    let ended = serve_connections(served, accepted, shutdown).await;
    all_ended.cancel();
    // It fails only with its socket. Somebody who asked for half a page is not waited for long.
    let _ = tokio::time::timeout(LAST_PAGE, metrics).await;
    ended
}

/// As [`serve_opened`], over connections however they come, and without the page of metrics.
///
/// # Errors
/// As [`serve_opened`].
pub async fn serve_connections(
    served: Arc<Served>,
    connections: impl Stream<Item = io::Result<Connection>>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let health = Health::ready(true);
    let service = Arc::new(Service::new(served.clone()));
    let augment = AugmentServer::from_arc(service.clone())
        .max_decoding_message_size(limits::MAX_REQUEST_BYTES)
        .max_encoding_message_size(limits::MAX_MESSAGE_BYTES);
    let mut routes = Routes::builder();
    let admin = AdminServer::new(AdminService::new(served.clone()));
    routes.add_service(augment).add_service(admin).add_service(health.service());
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |error: tonic_reflection::server::Error| Error::Bug(format!("reflection: {error}"));
    routes.add_service(reflection().build_v1().map_err(broken)?);
    routes.add_service(reflection().build_v1alpha().map_err(broken)?);
    let gate = middleware::from_fn_with_state(served.clone(), gate);
    let stream_batches = routing::post(move |request| frames::stream_batches(service.clone(), request));
    let routes = routes.routes().into_axum_router().route(frames::PATH, stream_batches);
    let routes = Routes::from(routes.layer(gate));

    let watching = AbortOnDropHandle::new(tokio::spawn(reload::watch(served.clone())));
    let _keeping_up = AbortOnDropHandle::new(tokio::spawn(keep_up(served.telemetry.clone())));
    let access = &served.config.access;
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(access.max_calls_per_connection)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, served.closing.clone().cancelled_owned());

    let grace = Duration::from_secs(served.config.grace);
    let closing = {
        let served = served.clone();
        async move {
            tokio::select! {
                biased;
                () = served.scheduler.failed() => {}
                () = served.scheduler.hangs(Duration::from_secs(served.config.device_timeout)) => {}
                () = shutdown => {}
            }
            health.set_ready(false);
            served.closing.cancel();
            drop(health);
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

/// Reads tokens and certificates again when they change, for as long as the answer lives.
fn keep_credentials(served: &Arc<Served>, tls: Option<Arc<Tls>>) -> Vec<AbortOnDropHandle<()>> {
    let period = Duration::from_secs(served.config.watch);
    let tls = tls.map(|tls| tls as Arc<dyn Credentials>);
    let all = [served.access.tokens(), tls].into_iter().flatten();
    all.map(|credentials| {
        AbortOnDropHandle::new(tokio::spawn(keep_current(credentials, period, served.telemetry.clone())))
    })
    .collect()
}

/// Keeps the metrics small for as long as it is polled.
async fn keep_up(telemetry: Arc<Telemetry>) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        telemetry.upkeep();
    }
}
