//! What every call passes: it gets a name, and is let through or refused.

use super::{
    Kind,
    hurry::Hurried,
    measured::{Counted, Measured},
    request_id,
};
use crate::{
    error::Error,
    listeners::connection::Peer,
    served::Served,
    service::{self, Call},
};
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tonic::codegen::http::{HeaderValue, header};
use tracing::Instrument;

/// How long a request may take to come whole. The largest has 8 MiB.
const REQUEST: Duration = Duration::from_secs(30);

/// Lets a call through to its service, or answers it with a status.
pub(crate) async fn gate(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    let id = request_id::of(request.headers());
    let method = method(request.uri().path());
    // Log lines of every level bear the call's name, so its span is of the most important one.
    let span = tracing::error_span!("call", id, method, peer = tracing::field::Empty, trainer = tracing::field::Empty);
    let received = Arc::new(AtomicU64::new(0));
    let request = request.map(|body| Body::new(Counted::new(body, received.clone())));
    let telemetry = served.telemetry.clone();
    let response = pass(served, method, request, next).instrument(span).await;
    let mut response = Measured::response(response, telemetry, method, received);
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(request_id::HEADER, id);
    }
    response
}

async fn pass(served: Arc<Served>, method: &'static str, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().cloned() else {
        let refused = Error::Bug("a call came without a connection".into());
        return Call::begin(served, method).refuse(&refused).into_http();
    };
    tracing::Span::current().record("peer", tracing::field::display(peer.address));
    let path = request.uri().path();
    let kind = kind(path);
    let asks_once = !path.contains("ServerReflection");
    let authorization = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    match served.access.admit(kind, peer.address, authorization) {
        Ok(caller) => {
            if kind != Kind::Health || !served.access.asks_tokens() {
                peer.trust();
            }
            if let Some(name) = caller.name() {
                tracing::Span::current().record("trainer", name);
            }
            // Nothing behind the gate needs it.
            request.headers_mut().remove(header::AUTHORIZATION);
            request.extensions_mut().insert(caller);
            if asks_once {
                request = request.map(|body| Body::new(Hurried::new(body, REQUEST)));
            }
            next.run(request).await
        }
        Err(error) => Call::begin(served, method).refuse(&error).into_http(),
    }
}

/// What a call asks for. Whatever isn't known needs what streams need.
fn kind(path: &str) -> Kind {
    match path.trim_start_matches('/').split('/').next() {
        Some("grpc.health.v1.Health") => Kind::Health,
        Some("lookalike.v1.Admin") => Kind::Admin,
        _ => Kind::Augment,
    }
}

/// A call's name for logs and metrics, one of a few.
fn method(path: &str) -> &'static str {
    let name = path.trim_start_matches('/');
    service::METHODS.into_iter().find(|&method| method == name).unwrap_or(match kind(path) {
        Kind::Health => "grpc.health.v1.Health",
        Kind::Augment if name.starts_with("grpc.reflection.") => "grpc.reflection",
        _ => "(other)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_contract_has_its_name() {
        let contract = include_str!("../../../proto/proto/lookalike/v1/augment.proto");
        let (mut service, mut calls) = ("", 0);
        for line in contract.lines() {
            let name = |keyword| line.trim_start().strip_prefix(keyword)?.split([' ', '(']).next();
            if let Some(name) = name("service ") {
                service = name;
            } else if let Some(call) = name("rpc ") {
                let call = format!("lookalike.v1.{service}/{call}");
                assert_eq!(method(&format!("/{call}")), call);
                calls += 1;
            }
        }
        assert_eq!(calls, service::METHODS.len());
    }

    #[test]
    fn what_is_not_known_is_not_open() {
        assert_eq!(kind("/grpc.health.v1.Health/Check"), Kind::Health);
        assert_eq!(kind("/lookalike.v1.Admin/Reload"), Kind::Admin);
        for path in ["/lookalike.v1.Augment/Plan", "/", "", "//x", "/grpc.health.v1.HealthX/Check", "/grpc.reflection"]
        {
            assert_eq!(kind(path), Kind::Augment, "{path}");
        }
        assert_eq!(method("/lookalike.v1.Augment/Plan"), "lookalike.v1.Augment/Plan");
        assert_eq!(method("/lookalike.v1.Augment/Made-up"), "(other)");
    }
}
