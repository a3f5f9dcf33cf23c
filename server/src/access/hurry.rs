//! A request that must have come whole after some time.

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Sleep;
use tonic::Status;

/// A request's body, which ends with DEADLINE_EXCEEDED when it takes too long.
pub(super) struct Hurried {
    body: Body,
    deadline: Pin<Box<Sleep>>,
}

impl Hurried {
    /// Gives a body so much time from now on.
    pub(super) fn new(body: Body, limit: Duration) -> Self {
        Self { body, deadline: Box::pin(tokio::time::sleep(limit)) }
    }
}

impl HttpBody for Hurried {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(context));
                let late = Status::deadline_exceeded("expected the whole request sooner; ask again");
                Poll::Ready(Some(Err(late.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_never_ends_is_ended() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::convert::Infallible>>(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut body = Hurried::new(Body::from_stream(stream), Duration::from_millis(20));
        sender.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
        let mut next = async || std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert_eq!(next().await.unwrap().unwrap().into_data().unwrap(), "half");
        let error = next().await.unwrap().unwrap_err();
        assert_eq!(Status::from_error(error).code(), tonic::Code::DeadlineExceeded);
        drop(sender);
    }
}
