//! What health checks are told, by gRPC's health protocol (`grpc.health.v1`): whether trainers should
//! come here. All services of a server are ready or not together.

use crate::error::Result;
use std::pin::Pin;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health as Asked, HealthServer},
};

/// What may be asked for: the server as a whole, and each of its services.
pub const SERVICES: [&str; 3] = ["", "lookalike.v1.Augment", "lookalike.v1.Admin"];

/// Whether the server is ready. Those who watch it are told of every change, and their streams end
/// when this is dropped; they would hold their connections, and with them the server, for as long as
/// they like.
pub(crate) struct Health(watch::Sender<ServingStatus>);

impl Health {
    pub(crate) fn ready(ready: bool) -> Self {
        Self(watch::Sender::new(status(ready)))
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.0.send_replace(status(ready));
    }

    /// The service that tells it.
    pub(crate) fn service(&self) -> HealthServer<impl Asked> {
        HealthServer::new(Told(self.0.subscribe()))
    }
}

fn status(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

struct Told(watch::Receiver<ServingStatus>);

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Asked for Told {
    type WatchStream = Watched;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !SERVICES.contains(&request.get_ref().service.as_str()) {
            return Err(Status::not_found(format!(
                "no such service; there are {SERVICES:?} (the first is all of them)"
            )));
        }
        Ok(Response::new(answer(*self.0.borrow())))
    }

    /// Whoever watches a service that isn't here is told so and not refused, as the protocol demands.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watched>, Status> {
        let known = SERVICES.contains(&request.get_ref().service.as_str());
        let statuses = WatchStream::new(self.0.clone())
            .map(move |status| if known { status } else { ServingStatus::ServiceUnknown });
        let mut told = None;
        let changes = statuses.filter(move |status| told.replace(*status) != Some(*status));
        Ok(Response::new(Box::pin(changes.map(|status| Ok(answer(status))))))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
