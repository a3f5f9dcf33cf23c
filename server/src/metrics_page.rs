//! The page of metrics: `GET /metrics` in Prometheus's text format, for as long as anything is served.
//!
//! Whoever connects here needs no token, so nobody can hold much: connections are counted, and one that
//! neither asks nor reads is closed.

use crate::served::Served;
use axum::{Router, http::header, routing::get, serve::Listener};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Connections at once; further ones wait for a place. A server has one or two scrapers, and a person.
const CONNECTIONS: usize = 64;

/// How long a connection may be silent. Scrapers ask every few seconds, seldom once a minute.
const SILENCE: Duration = Duration::from_secs(120);

/// Serves the page until `closing`.
pub(crate) async fn serve(listener: TcpListener, served: Arc<Served>, closing: CancellationToken) {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    let render = move || async move {
        served.telemetry.in_use(&served.usage());
        ([(header::CONTENT_TYPE, TEXT)], served.telemetry.render())
    };
    let pages = Router::new().route("/", get(|| async { "metrics are at /metrics\n" })).route("/metrics", get(render));
    let door = Door { listener, places: Arc::new(Semaphore::new(CONNECTIONS)), silence: SILENCE };
    let serving = axum::serve(door, pages).with_graceful_shutdown(closing.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "the metrics server ended");
    }
}

/// Accepts connections while there are places.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    silence: Duration,
}

/// A connection that ends when it is silent for too long, and its place.
struct Visitor {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Listener for Door {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        // It is closed by nobody.
        let place = self.places.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(self.silence));
        stream.set_write_timeout(Some(self.silence));
        (Visitor { stream: Box::pin(stream), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A page behind a door with so many places and so much patience.
    async fn page(places: usize, silence: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door { listener, places: Arc::new(Semaphore::new(places)), silence };
        let pages = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(async move { axum::serve(door, pages).await });
        address
    }

    #[tokio::test]
    async fn who_says_nothing_gives_the_place_to_who_asks() {
        let address = page(1, Duration::from_millis(50)).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("here"), "{answer}");
        assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0, "the silent one is closed");
    }
}
