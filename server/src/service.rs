//! The gRPC service: the only room that names wire types.
//!
//! A request is checked and made a domain value in [`request`], answered, and the answer made a
//! wire message in [`reply`]; errors become statuses in [`status`].

pub(crate) mod admin;
mod reply;
mod request;
mod status;

use crate::{
    assemble::convert,
    bundles::{Loaded, declared::Declared, followers::GroupKey},
    error::{Error, Result},
    plan::latent,
    scheduler::{Face, Turn},
    served::{MAX_SYNTHESES, Served},
    session::{self, Content, Policy, Sent},
};
use nets::{chance::Chance, pixels::IMAGE_SIZE};
use proto::v1::{self, augment_server::Augment};
use request::{LatentOf, Wanted};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

pub(crate) use status::code_name;

/// Answers for what is served.
pub struct Service {
    served: Arc<Served>,
    /// Numbers the streams of unnamed trainers, so that each takes its own turn.
    next_stream: AtomicU64,
}

impl Service {
    /// A service over shared state.
    pub fn new(served: Arc<Served>) -> Self {
        Self { served, next_stream: AtomicU64::new(0) }
    }

    fn turn(&self, trainer: &str) -> Turn {
        match trainer {
            "" => Turn::Stream(self.next_stream.fetch_add(1, Ordering::Relaxed)),
            name => Turn::Trainer(name.to_owned()),
        }
    }

    async fn stream(&self, request: v1::StreamRequest, content: Content) -> Result<Messages, Status> {
        let method = match content {
            Content::Whole => "lookalike.v1.Augment/StreamBatches",
            Content::PlanOnly => "lookalike.v1.Augment/Plan",
            Content::Digests => "lookalike.v1.Augment/Verify",
        };
        let call = Call::begin(self.served.clone(), method);
        let asked = call.begun;
        let begin = async {
            self.available()?;
            let trainer = request::trainer(&request.trainer)?.to_owned();
            // Before the request is looked into, so that no more are being looked into at once.
            let turn = self.turn(&trainer);
            let admission = self.served.streams.admit(turn.clone())?;
            let served = self.served.clone();
            let request::Asked { planner, spec_digest, place, wanted } =
                self.served.makers.run(move || request::stream(&served, request)).await?;
            let policy = self.policy(wanted, content, GroupKey { turn: turn.clone(), spec: spec_digest }, &place);
            let header = reply::header(&self.served, &planner, &place, policy.table());
            let stream = session::Stream {
                planner,
                spec_digest,
                indices: place.indices,
                rows: place.rows,
                content,
                turn,
                trainer: self.served.telemetry.trainer(&trainer),
                asked,
            };
            Ok((header, session::start(self.served.clone(), stream, policy, admission)))
        };
        match begin.await {
            Ok((header, sent)) => Ok(Messages { header: Some(header), sent, content, call: Some(call) }),
            Err(error) => Err(call.refuse(&error)),
        }
    }

    /// Which bundle makes which of a stream's batches. Plans and digests are of what is declared; only
    /// those who are sent batches take part in declaring more.
    fn policy(&self, wanted: Wanted, content: Content, key: GroupKey, place: &request::Place) -> Policy {
        let (first, newest) = (place.indices.start, self.served.bundles.newest());
        match wanted {
            Wanted::Closed(table) => Policy::Closed(table),
            Wanted::Follow(table) if content == Content::Whole => {
                Policy::Following(self.served.followers.join(key, first, table, newest))
            }
            Wanted::Follow(table) => Policy::Closed(table.unwrap_or_else(|| Declared::new(first, newest))),
        }
    }

    /// Refuses what needs a future when there is none.
    fn available(&self) -> Result<()> {
        match self.served.scheduler.failure() {
            Some(reason) => Err(Error::Engine(reason)),
            None if self.served.closing.is_cancelled() => Err(Error::ShuttingDown),
            None => Ok(()),
        }
    }

    async fn synthesize_faces(&self, request: v1::SynthesizeRequest) -> Result<v1::SynthesizeResponse> {
        self.available()?;
        let turn = self.turn(request::trainer(&request.trainer)?);
        let busy = || Error::Busy { what: "syntheses at once", limit: MAX_SYNTHESES };
        let _permit = self.served.syntheses.try_acquire().map_err(|_| busy())?;
        let served = self.served.clone();
        let read = move || -> Result<(Vec<Face>, usize, Arc<Loaded>)> {
            let (faces, channels, bundle) = request::faces(&served, request)?;
            let face = |(parents, latent)| Face { parents, latent: vector(latent) };
            Ok((faces.into_iter().map(face).collect(), channels, bundle))
        };
        let (faces, channels, bundle) = self.served.makers.run(read).await?;
        let count = faces.len();
        let pixels = bundle.weights.generate(turn, faces).await?;
        let (area, from) = (IMAGE_SIZE * IMAGE_SIZE, self.served.channels);
        let convert_all = move || {
            let mut converted = vec![0; count * area * channels];
            for (target, image) in converted.chunks_exact_mut(area * channels).zip(pixels.chunks_exact(area * from)) {
                convert(image, from, target, channels)?;
            }
            Ok(converted)
        };
        let converted = self.served.makers.run(convert_all).await?;
        Ok(reply::synthesized(&self.served, bundle.digest(), count, channels, converted))
    }

    async fn encode_images(&self, request: v1::EncodeRequest) -> Result<v1::EncodeResponse> {
        self.available()?;
        let turn = self.turn(request::trainer(&request.trainer)?);
        let busy = || Error::Busy { what: "syntheses at once", limit: MAX_SYNTHESES };
        let _permit = self.served.syntheses.try_acquire().map_err(|_| busy())?;
        let served = self.served.clone();
        let (images, bundle) = self.served.makers.run(move || request::images(&served, request)).await?;
        let encodings = bundle.weights.encode(turn.clone(), images.clone()).await?;
        let features = bundle.weights.embed(turn, images).await?;
        Ok(reply::encoded(&self.served, bundle.digest(), &encodings, features))
    }
}

#[tonic::async_trait]
impl Augment for Service {
    type StreamBatchesStream = Messages;
    type PlanStream = Messages;
    type VerifyStream = Messages;

    async fn get_info(&self, request: Request<v1::GetInfoRequest>) -> Result<Response<v1::GetInfoResponse>, Status> {
        let request = request.into_inner();
        answer(&self.served, "lookalike.v1.Augment/GetInfo", async { reply::info(&self.served, &request) }).await
    }

    async fn stream_batches(&self, request: Request<v1::StreamRequest>) -> Result<Response<Messages>, Status> {
        Ok(Response::new(self.stream(request.into_inner(), Content::Whole).await?))
    }

    async fn plan(&self, request: Request<v1::StreamRequest>) -> Result<Response<Messages>, Status> {
        Ok(Response::new(self.stream(request.into_inner(), Content::PlanOnly).await?))
    }

    async fn verify(&self, request: Request<v1::StreamRequest>) -> Result<Response<Messages>, Status> {
        Ok(Response::new(self.stream(request.into_inner(), Content::Digests).await?))
    }

    async fn synthesize(
        &self,
        request: Request<v1::SynthesizeRequest>,
    ) -> Result<Response<v1::SynthesizeResponse>, Status> {
        answer(&self.served, "lookalike.v1.Augment/Synthesize", self.synthesize_faces(request.into_inner())).await
    }

    async fn encode(&self, request: Request<v1::EncodeRequest>) -> Result<Response<v1::EncodeResponse>, Status> {
        answer(&self.served, "lookalike.v1.Augment/Encode", self.encode_images(request.into_inner())).await
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        let request = request.into_inner();
        let taken = async {
            let (trainer, waits) = request::report(&request)?;
            let trainer = self.served.telemetry.trainer(trainer);
            waits.iter().for_each(|&wait| trainer.waited(wait.into()));
            Ok(v1::ReportResponse {})
        };
        answer(&self.served, "lookalike.v1.Augment/Report", taken).await
    }
}

/// The vector that a face's latent means.
fn vector(latent: LatentOf) -> Vec<f32> {
    match latent {
        LatentOf::Vector(values) => values,
        LatentOf::Counter { seed, index, row, truncation } => {
            latent::prior(&mut Chance::new(seed, latent::PURPOSE).at(index, row.into()), truncation)
        }
    }
}

/// The messages of one stream: its header, then what the session yields.
pub struct Messages {
    header: Option<v1::StreamHeader>,
    sent: mpsc::Receiver<Result<Sent>>,
    content: Content,
    /// Until the stream has ended.
    call: Option<Call>,
}

impl Stream for Messages {
    type Item = Result<v1::StreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        use v1::stream_response::Message;
        let message = |message| v1::StreamResponse { message: Some(message) };
        if let Some(header) = self.header.take() {
            return Poll::Ready(Some(Ok(message(Message::Header(header)))));
        }
        let Poll::Ready(next) = self.sent.poll_recv(context) else { return Poll::Pending };
        Poll::Ready(match next {
            Some(Ok(Sent::Batch(batch))) => Some(Ok(message(Message::Batch(match self.content {
                Content::Digests => reply::digests(&batch),
                Content::Whole | Content::PlanOnly => reply::batch(&batch),
            })))),
            Some(Ok(Sent::Takeover(first, digest))) => {
                Some(Ok(message(Message::Takeover(reply::takeover(first, &digest)))))
            }
            Some(Err(error)) => self.call.take().map(|call| Err(call.refuse(&error))),
            None => {
                if let Some(call) = self.call.take() {
                    call.end("OK");
                }
                None
            }
        })
    }
}

/// Counts a call and its outcome, and turns its error into a status.
async fn answer<T>(
    served: &Arc<Served>,
    method: &'static str,
    answer: impl Future<Output = Result<T>>,
) -> Result<Response<T>, Status> {
    let call = Call::begin(served.clone(), method);
    match answer.await {
        Ok(answer) => {
            call.end("OK");
            Ok(Response::new(answer))
        }
        Err(error) => Err(call.refuse(&error)),
    }
}

/// A call under way, counted when it begins and however it ends.
struct Call {
    served: Arc<Served>,
    method: &'static str,
    begun: Instant,
    ended: bool,
}

impl Call {
    fn begin(served: Arc<Served>, method: &'static str) -> Self {
        served.telemetry.call_started(method);
        Self { served, method, begun: Instant::now(), ended: false }
    }

    fn end(mut self, status: &'static str) {
        self.ended = true;
        self.served.telemetry.call_ended(self.method, status, self.begun.elapsed());
    }

    fn refuse(self, error: &Error) -> Status {
        let status = status::status(error);
        self.served.telemetry.rejected(status::reason(error));
        tracing::info!(method = self.method, code = code_name(status.code()), "{}", status.message());
        self.end(code_name(status.code()));
        status
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            // The trainer left in the middle of a stream.
            self.served.telemetry.call_ended(self.method, "CANCELLED", self.begun.elapsed());
        }
    }
}
