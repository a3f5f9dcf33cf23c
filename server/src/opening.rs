//! Answers while the dataset and the bundle are being opened, which may take minutes: that this server is
//! not ready. A probe can so tell a server that starts from one that isn't there.
//!
//! Connections of this time are closed when all is open; those who ask then connect anew.

use crate::{error::Result, health::Health, listeners::Listeners, telemetry::Telemetry};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes};

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
    let health = Health::ready(false);
    let routes = Routes::from(Routes::new(health.service()).into_axum_router().fallback(unavailable));
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
