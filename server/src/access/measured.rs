//! How much each call receives and sends.

use crate::{service::code_name, telemetry::Telemetry};
use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tonic::{
    Code,
    codegen::http::{HeaderMap, Response},
};

/// The header or trailer with the number of a call's status.
const STATUS: &str = "grpc-status";

/// A body whose bytes are counted on their way.
pub(super) struct Counted {
    body: Body,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    /// Adds what passes to `bytes`.
    pub(super) fn new(body: Body, bytes: Arc<AtomicU64>) -> Self {
        Self { body, bytes }
    }
}

/// The response of a call, which is told of when it has ended, however it does.
pub(super) struct Measured {
    body: Body,
    telemetry: Arc<Telemetry>,
    method: &'static str,
    received: Arc<AtomicU64>,
    sent: u64,
    /// `None` until it was said.
    status: Option<&'static str>,
}

impl Measured {
    /// Measures the response of a call that received so much.
    pub(super) fn response(
        response: Response<Body>,
        telemetry: Arc<Telemetry>,
        method: &'static str,
        received: Arc<AtomicU64>,
    ) -> Response<Body> {
        let status = status(response.headers());
        response.map(|body| Body::new(Self { body, telemetry, method, received, sent: 0, status }))
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // Who leaves in the middle never hears the status.
        let status = self.status.unwrap_or("CANCELLED");
        self.telemetry.call_measured(self.method, status, self.received.load(Ordering::Relaxed), self.sent);
    }
}

fn status(headers: &HeaderMap) -> Option<&'static str> {
    headers.get(STATUS).map(|status| code_name(Code::from_bytes(status.as_bytes())))
}

type Framed = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

fn length(polled: &Framed) -> u64 {
    match polled {
        Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
        _ => 0,
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Framed {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.bytes.fetch_add(length(&polled), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Framed {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.sent += length(&polled);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.status = status(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
