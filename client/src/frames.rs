//! Streams of batches off the wire, whose pixels stay where the transport put them.
//!
//! tonic gathers a message's frames in a buffer before it is decoded, and so would copy every pixel once
//! more. Here a message is decoded out of its frames: pixels that came in one of them are a part of that
//! frame, and others are put together once.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use proto::{
    buffers::Buffers,
    limits,
    v1::{StreamRequest, StreamResponse},
};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tower::Service;

/// The call that is made here and not by the generated client.
const PATH: &str = "/lookalike.v1.Augment/StreamBatches";

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The messages of one answer.
#[derive(Debug)]
pub(crate) struct Messages<B> {
    body: B,
    came: Frames,
    /// Whether the answer is over, in whichever way.
    over: bool,
}

/// What came and was not decoded yet.
#[derive(Debug)]
struct Frames {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Where pixels are put together that came in several.
    buffers: Buffers,
}

/// Bytes of memory for pixels that are kept until the next ones come.
const KEPT: usize = 16 << 20;

/// Fields from so many bytes on are put together in memory that was used before.
const LARGE: usize = 1 << 16;

/// Asks for a stream of batches.
pub(crate) async fn stream_batches<S, B>(channel: &mut S, request: &StreamRequest) -> Result<Messages<B>, Status>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(request.encoded_len() as u32);
    request.encode(&mut message).map_err(|error| Status::internal(error.to_string()))?;
    let body = Body::new(http_body_util::Full::new(message.freeze()));
    let mut call = Request::new(body);
    (*call.method_mut(), *call.version_mut()) = (Method::POST, Version::HTTP_2);
    *call.uri_mut() = tonic::codegen::http::Uri::from_static(PATH);
    let headers = call.headers_mut();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    poll_fn(|context| channel.poll_ready(context)).await.map_err(|error| Status::from_error(error.into()))?;
    let answer = channel.call(call).await.map_err(|error| Status::from_error(error.into()))?;
    match Status::from_header_map(answer.headers()) {
        Some(status) if status.code() != tonic::Code::Ok => return Err(status),
        _ => {}
    }
    match answer.status() {
        StatusCode::OK => Ok(Messages { body: answer.into_body(), came: Frames::new(), over: false }),
        other => Err(Status::unavailable(format!("expected an answer in gRPC, found HTTP status {other}"))),
    }
}

impl<B> Messages<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    /// The next message; `None` after the last one. Dropping the future loses nothing.
    pub(crate) async fn message(&mut self) -> Result<Option<StreamResponse>, Status> {
        loop {
            if self.over {
                return Ok(None);
            }
            if let Some(message) = self.came.message().inspect_err(|_| self.over = true)? {
                return Ok(Some(message));
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.came.push(data),
                    Err(frame) => return self.end(frame.trailers_ref().and_then(Status::from_header_map)),
                },
                Some(Err(error)) => return self.end(Some(Status::from_error(error.into()))),
                None => return self.end(None),
            }
        }
    }

    /// The answer is over, with a status or without a word.
    fn end(&mut self, status: Option<Status>) -> Result<Option<StreamResponse>, Status> {
        self.over = true;
        match status {
            Some(status) if status.code() != tonic::Code::Ok => Err(status),
            _ if self.came.bytes > 0 => Err(Status::unavailable("the stream ended within a message")),
            _ => Ok(None),
        }
    }
}

impl Frames {
    fn new() -> Self {
        Self { frames: VecDeque::new(), bytes: 0, buffers: Buffers::keeping(KEPT) }
    }

    fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.bytes += frame.len();
            self.frames.push_back(frame);
        }
    }

    /// The next message, if all of it came.
    fn message(&mut self) -> Result<Option<StreamResponse>, Status> {
        let mut prefix = self.frames.iter().flatten().copied();
        let [Some(compressed), Some(a), Some(b), Some(c), Some(d)] = std::array::from_fn(|_| prefix.next()) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if compressed != 0 {
            return Err(Status::internal("expected messages that aren't compressed, found a compressed one"));
        }
        if length > limits::MAX_MESSAGE_BYTES {
            let most = limits::MAX_MESSAGE_BYTES;
            return Err(Status::out_of_range(format!("expected messages of at most {most} bytes, found {length}")));
        }
        if self.bytes < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.advance(PREFIX_BYTES);
        let after = self.bytes - length;
        let message = StreamResponse::decode((&mut *self).take(length))
            .map_err(|error| Status::internal(format!("expected a message of the contract, found another: {error}")))?;
        debug_assert_eq!(self.bytes, after, "a message is decoded to its end");
        Ok(Some(message))
    }
}

impl Buf for Frames {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.frames.front().map_or(&[], |frame| frame)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "advanced beyond the end: this is a bug");
        self.bytes -= count;
        while let Some(frame) = self.frames.front_mut() {
            if frame.len() > count {
                frame.advance(count);
                return;
            }
            count -= frame.len();
            self.frames.pop_front();
        }
    }

    /// Without a copy where they lie in one frame.
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        match self.frames.front_mut() {
            Some(frame) if frame.len() > count => {
                self.bytes -= count;
                frame.split_to(count)
            }
            Some(frame) if frame.len() == count => {
                self.bytes -= count;
                self.frames.pop_front().unwrap_or_default()
            }
            _ if count >= LARGE => {
                let mut copied = self.buffers.take(count);
                self.copy_to_slice(&mut copied);
                copied.freeze()
            }
            _ => {
                let mut copied = BytesMut::with_capacity(count);
                copied.put(self.take(count));
                copied.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::v1::{self, stream_response};
    use std::convert::Infallible;
    use std::task::{Context, Poll};
    use tonic::codegen::http::HeaderMap;

    /// A body of given frames and a status.
    struct Given(VecDeque<Bytes>, Option<Status>);

    impl http_body::Body for Given {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            let frame = self.0.pop_front().map(http_body::Frame::data).or_else(|| {
                let mut trailers = HeaderMap::new();
                self.1.take()?.add_header(&mut trailers).ok()?;
                Some(http_body::Frame::trailers(trailers))
            });
            Poll::Ready(frame.map(Ok))
        }
    }

    fn batch(index: u64, pixels: usize) -> StreamResponse {
        let pixels = (0..pixels).map(|at| (at as u64 * 7 + index) as u8).collect::<Vec<_>>();
        let batch = v1::Batch { index, labels: vec![1, 2, 3], pixels: pixels.into(), ..v1::Batch::default() };
        StreamResponse { message: Some(stream_response::Message::Batch(batch)) }
    }

    fn encoded(message: &StreamResponse) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(0);
        bytes.put_u32(message.encoded_len() as u32);
        message.encode(&mut bytes).unwrap();
        bytes.freeze()
    }

    /// All messages of a body, and how it ends.
    fn read(frames: Vec<Bytes>, status: Option<Status>) -> (Vec<StreamResponse>, Result<(), Status>) {
        let mut messages = Messages { body: Given(frames.into(), status), came: Frames::new(), over: false };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut all = Vec::new();
            let end = loop {
                match messages.message().await {
                    Ok(Some(message)) => all.push(message),
                    Ok(None) => break Ok(()),
                    Err(status) => break Err(status),
                }
            };
            assert_eq!(messages.message().await.unwrap(), None, "what is over stays so");
            (all, end)
        })
    }

    proptest! {
        #[test]
        fn messages_are_those_sent_however_they_are_cut(
            sizes in prop::collection::vec(0usize..3000, 1..6),
            cuts in prop::collection::vec(0usize..12_000, 0..40),
        ) {
            let sent: Vec<StreamResponse> = (0..).zip(&sizes).map(|(index, &size)| batch(index, size)).collect();
            let mut whole: Bytes = sent.iter().map(encoded).fold(BytesMut::new(), |mut all, one| {
                all.extend_from_slice(&one);
                all
            }).freeze();
            let mut cuts: Vec<usize> = cuts.iter().map(|&cut| cut.min(whole.len())).collect();
            cuts.sort();
            let mut frames = Vec::new();
            let mut begin = 0;
            for cut in cuts {
                frames.push(whole.split_to(cut - begin));
                begin = cut;
            }
            frames.push(whole);
            let (came, end) = read(frames, Some(Status::ok("")));
            prop_assert_eq!(came, sent);
            prop_assert!(end.is_ok());
        }
    }

    #[test]
    fn pixels_of_one_frame_stay_where_they_are() {
        let whole = encoded(&batch(3, 5000));
        let (head, pixels) = (whole.slice(..whole.len() - 5000), whole.slice(whole.len() - 5000..));
        let place = pixels.as_ptr();
        for frames in [vec![head, pixels], vec![whole]] {
            let (came, _) = read(frames, Some(Status::ok("")));
            let Some(stream_response::Message::Batch(batch)) = &came[0].message else { panic!("no batch") };
            assert_eq!(batch.pixels.as_ptr(), place);
        }
    }

    #[test]
    fn what_is_no_message_or_none_any_more_ends_the_stream_with_a_sentence() {
        let one = encoded(&batch(0, 10));
        let refused = |frames: &[&[u8]], status| {
            let frames = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
            read(frames, status).1.map_err(|status| status.message().to_owned()).err().unwrap_or_default()
        };
        assert_eq!(refused(&[&one], None), "");
        assert_eq!(refused(&[&one, &one[..9]], None), "the stream ended within a message");
        assert_eq!(refused(&[&one[..3]], Some(Status::ok(""))), "the stream ended within a message");
        assert_eq!(refused(&[&one], Some(Status::unavailable("gone"))), "gone");
        let sentence = refused(&[&[1, 0, 0, 0, 0]], None);
        assert_eq!(sentence, "expected messages that aren't compressed, found a compressed one");
        let sentence = refused(&[&[0, 255, 255, 255, 255]], None);
        assert_eq!(
            sentence,
            format!("expected messages of at most {} bytes, found 4294967295", limits::MAX_MESSAGE_BYTES)
        );
        let sentence = refused(&[&[0, 0, 0, 0, 2, 18, 200]], None);
        assert!(sentence.starts_with("expected a message of the contract, found another: "), "{sentence}");
    }
}
