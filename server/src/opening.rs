//! Answers while the dataset and the bundle are being opened, which may take minutes: that this server is
//! not ready. A probe can so tell a server that starts from one that isn't there.
//!
//! Connections of this time are closed when all is open; those who ask then connect anew.

use crate::{error::Result, listeners::Listeners, serve::SERVICES, telemetry::Telemetry};
use std::{pin::Pin, sync::Arc};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

/// Connections at once: probes, and trainers that came early.
const CONNECTIONS: usize = 64;

/// Answers for as long as `opening` takes: NOT_SERVING to health checks and UNAVAILABLE to everything
/// else. Returns what it came to.
///
/// # Errors
/// None but for a bug.
pub async fn answer_while<T>(listeners: &Listeners, opening: impl Future<Output = T>) -> Result<T> {
    // What is counted now is on nobody's page.
    let telemetry = Arc::new(Telemetry::new("", "")?);
    let opened = CancellationToken::new();
    let _told = opened.clone().drop_guard();
    let health = HealthServer::new(NotYet { opened: opened.clone() });
    let routes = Routes::from(Routes::new(health).into_axum_router().fallback(unavailable));
    let server = tonic::transport::Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(listeners.accepted_for_now(CONNECTIONS, telemetry), opened.cancelled_owned());
    tokio::pin!(opening);
    tokio::select! {
        opened = &mut opening => return Ok(opened),
        ended = server => if let Err(error) = ended {
            tracing::warn!(%error, "nobody is answered until all is opened");
        },
    }
    Ok(opening.await)
}

async fn unavailable() -> axum::response::Response {
    Status::unavailable("the server is still opening its dataset; ask another server, or this one again").into_http()
}

/// Says that nothing is served yet.
struct NotYet {
    opened: CancellationToken,
}

impl NotYet {
    fn answer() -> HealthCheckResponse {
        HealthCheckResponse { status: ServingStatus::NotServing.into() }
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for NotYet {
    type WatchStream = Watched;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !SERVICES.contains(&request.get_ref().service.as_str()) {
            return Err(Status::not_found("service not registered"));
        }
        Ok(Response::new(Self::answer()))
    }

    /// Ends when all is open, for then this connection does.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watched>, Status> {
        let known = SERVICES.contains(&request.get_ref().service.as_str());
        let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
        let answer = if known { Self::answer() } else { unknown };
        let end = ending(self.opened.clone());
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(answer)).chain(end))))
    }
}

/// Nothing, and then the end.
fn ending<T: Send + 'static>(opened: CancellationToken) -> impl Stream<Item = T> + Send {
    let (waiting, nothing) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = opened.cancelled() => {}
            () = waiting.closed() => {}
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(nothing)
}
