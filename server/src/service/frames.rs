//! Streams of batches on the wire, whose pixels are handed to the socket as they lie in memory.
//!
//! tonic writes a message into a buffer before it is sent, and so would copy every pixel once more. Here
//! a message goes out in two pieces: what stands before the pixels, encoded, and the pixels themselves,
//! which HTTP/2 cuts into frames without touching them. They are a batch's last field, so the bytes are
//! those that any other encoder of the contract writes.

use super::{Messages, Service};
use axum::{body::Body, extract::Request, response::Response};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use proto::{
    limits,
    v1::{self, stream_response::Message},
};
use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio_stream::Stream;
use tonic::{
    Status,
    codec::{Codec, Streaming},
    codegen::http::{HeaderMap, HeaderValue, header},
};
use tonic_prost::ProstCodec;

/// The call that is answered here and not by the generated service.
pub(crate) const PATH: &str = "/lookalike.v1.Augment/StreamBatches";

/// Numbers of the contract's fields.
const BATCH: u32 = 2;
const PIXELS: u32 = 15;

/// Which encoding the messages of a request have.
const ENCODING: &str = "grpc-encoding";

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Answers a request for a stream of batches.
pub(crate) async fn stream_batches(service: Arc<Service>, request: Request) -> Response {
    match begin(&service, request).await {
        Ok(messages) => {
            let mut response = Response::new(Body::new(Frames { messages: Some(messages), pixels: Bytes::new() }));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(status) => status.into_http(),
    }
}

async fn begin(service: &Service, request: Request) -> Result<Messages, Status> {
    let encoding = request.headers().get(ENCODING).filter(|encoding| *encoding != "identity");
    if encoding.is_some() {
        return Err(Status::unimplemented("expected a request that isn't compressed, found a compressed one"));
    }
    let (parts, body) = request.into_parts();
    let decoder = ProstCodec::<v1::StreamResponse, v1::StreamRequest>::default().decoder();
    let mut messages = Streaming::new_request(decoder, body, None, Some(limits::MAX_REQUEST_BYTES));
    let Some(message) = messages.message().await? else {
        return Err(Status::invalid_argument("expected a request, found an empty call"));
    };
    let request = tonic::Request::from_http(tonic::codegen::http::Request::from_parts(parts, message));
    service.stream(request, super::Content::Whole).await
}

/// The body of such an answer.
struct Frames {
    /// `None` once they have ended.
    messages: Option<Messages>,
    /// Of the message whose beginning was sent last.
    pixels: Bytes,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.pixels.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.pixels)))));
        }
        let Some(messages) = &mut self.messages else { return Poll::Ready(None) };
        let status = match ready!(Pin::new(messages).poll_next(context)) {
            Some(Ok(message)) => {
                let (begin, pixels) = pieces(message);
                self.pixels = pixels;
                return Poll::Ready(Some(Ok(Frame::data(begin))));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.messages = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_none() && self.pixels.is_empty()
    }
}

/// A message with its prefix, up to its pixels, and those.
fn pieces(mut message: v1::StreamResponse) -> (Bytes, Bytes) {
    let pixels = match &mut message.message {
        Some(Message::Batch(batch)) => mem::take(&mut batch.pixels),
        _ => Bytes::new(),
    };
    let mut begin = BytesMut::new();
    // Every message of the contract is far below 4 GiB.
    let prefix = |begin: &mut BytesMut, length: usize| {
        begin.reserve(PREFIX_BYTES + length.min(1 << 16));
        begin.put_u8(0);
        begin.put_u32(length as u32);
    };
    match &message.message {
        Some(Message::Batch(batch)) if !pixels.is_empty() => {
            let before = batch.encoded_len() + key_len(PIXELS) + encoded_len_varint(pixels.len() as u64);
            let length = before + pixels.len();
            prefix(&mut begin, key_len(BATCH) + encoded_len_varint(length as u64) + length);
            encode_key(BATCH, WireType::LengthDelimited, &mut begin);
            encode_varint(length as u64, &mut begin);
            batch.encode_raw(&mut begin);
            encode_key(PIXELS, WireType::LengthDelimited, &mut begin);
            encode_varint(pixels.len() as u64, &mut begin);
        }
        _ => {
            prefix(&mut begin, message.encoded_len());
            message.encode_raw(&mut begin);
        }
    }
    (begin.freeze(), pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_bytes_that_any_encoder_writes_and_pixels_stay_where_they_are() {
        let batch = |pixels: usize, rows: u32| {
            Message::Batch(v1::Batch {
                index: 300,
                rows,
                labels: (0..rows).collect(),
                digest: vec![7; 32].into(),
                pixels: vec![9; pixels].into(),
                ..v1::Batch::default()
            })
        };
        let takeover = Message::Takeover(v1::Takeover { first_index: 9, bundle_digest: "b".into() });
        for message in [batch(0, 0), batch(1, 0), batch(127, 1), batch(128, 2), batch(70_000, 200), takeover] {
            let message = v1::StreamResponse { message: Some(message) };
            let mut expected = vec![0];
            expected.put_u32(message.encoded_len() as u32);
            message.encode(&mut expected).unwrap();
            let kept = match &message.message {
                Some(Message::Batch(batch)) => batch.pixels.as_ptr(),
                _ => std::ptr::null(),
            };
            let (begin, pixels) = pieces(message);
            assert!(pixels.is_empty() || pixels.as_ptr() == kept, "they were copied");
            assert_eq!([begin, pixels].concat(), expected);
        }
    }
}
