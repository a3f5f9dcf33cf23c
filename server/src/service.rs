//! The gRPC service: the only room that names wire types.
//!
//! A request is checked and made a domain value in [`request`], answered, and the answer made a
//! wire message in [`reply`]; errors become statuses in [`status`]. Streams of batches are written by
//! [`frames`], everything else as tonic does.

pub(crate) mod admin;
pub(crate) mod frames;
mod reply;
mod request;
mod status;

use crate::{
    access::Caller,
    assemble::convert,
    bundles::{
        Loaded,
        declared::{Course, Declared, Wanted},
        followers::{GroupKey, Joining},
    },
    error::{Error, Result},
    listeners::connection::Peer,
    makers::Makers,
    plan::latent,
    scheduler::{Face, Turn},
    served::{MAX_QUESTIONS, MAX_SYNTHESES, Served},
    session::{self, Content, Policy, Sent},
};
use dataset::blended::label::reach;
use nets::{chance::Chance, pixels::IMAGE_SIZE};
use proto::v1::{self, augment_server::Augment};
use request::{FaceOf, LatentOf};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

pub(crate) use status::{REASONS, code_name};

/// Every call of the contract, by its name in logs and metrics.
pub(crate) const METHODS: [&str; 9] = [
    "lookalike.v1.Augment/GetInfo",
    "lookalike.v1.Augment/StreamBatches",
    "lookalike.v1.Augment/Plan",
    "lookalike.v1.Augment/Verify",
    "lookalike.v1.Augment/Synthesize",
    "lookalike.v1.Augment/Encode",
    "lookalike.v1.Augment/GetManifest",
    "lookalike.v1.Augment/Report",
    "lookalike.v1.Admin/Reload",
];

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

    async fn stream(&self, request: Request<v1::StreamRequest>, content: Content) -> Result<Messages, Status> {
        let (_, extensions, request) = request.into_parts();
        let (caller, peer) = (Caller::of(&extensions), extensions.get::<Peer>().cloned());
        let method = match content {
            Content::Whole => "lookalike.v1.Augment/StreamBatches",
            Content::PlanOnly => "lookalike.v1.Augment/Plan",
            Content::Digests => "lookalike.v1.Augment/Verify",
        };
        let call = Call::begin(self.served.clone(), method);
        let asked = call.begun;
        let begin = async {
            self.available()?;
            let trainer = caller.trainer(request::trainer(&request.trainer)?)?.to_owned();
            if caller.name().is_none() && !trainer.is_empty() {
                tracing::Span::current().record("trainer", trainer.as_str());
            }
            // Before the request is looked into, so that no more are being looked into at once.
            let turn = self.turn(&trainer);
            let admission = self.served.streams.admit(turn.clone())?;
            let served = self.served.clone();
            let request::Asked { planner, spec_digest, place, wanted } =
                self.served.openings.run(move || request::stream(&served, request)).await?;
            let group = GroupKey { turn: turn.clone(), spec: spec_digest, world_size: place.world_size };
            let policy = self.policy(wanted, content, group, &place);
            let header = reply::header(&self.served, &planner, &spec_digest, &place, policy.course());
            let stream = session::Stream {
                planner,
                spec_digest,
                indices: place.indices,
                rows: place.rows,
                content,
                turn,
                trainer: self.served.telemetry.trainer(&trainer),
                asked,
                withdrawn: caller.withdrawn().unwrap_or_default(),
                peer,
            };
            Ok((header, session::start(self.served.clone(), stream, policy, admission)))
        };
        match begin.await {
            Ok((header, sent)) => Ok(Messages { header: Some(header), sent, content, call: Some(call) }),
            Err(error) => Err(call.refuse(&error)),
        }
    }

    /// What makes which of a stream's batches. Plans and digests are of what is declared; only those who
    /// are sent batches take part in declaring more.
    fn policy(&self, wanted: Joining, content: Content, key: GroupKey, place: &request::Place) -> Policy {
        let (first, newest) = (place.indices.start, self.served.bundles.newest());
        let closed = matches!((&wanted.bundles, &wanted.tables), (Wanted::Closed(_), Wanted::Closed(_)));
        if content == Content::Whole && !closed {
            return Policy::Following(self.served.followers.join(key, place.rank, first, wanted, newest));
        }
        let Joining { bundles, tables, .. } = wanted;
        Policy::Closed(Course {
            bundles: bundles.declared().unwrap_or_else(|| Declared::new(first, newest)),
            tables: tables.declared().unwrap_or_else(|| Declared::new(first, None)),
        })
    }

    /// Refuses what needs a future when there is none.
    fn available(&self) -> Result<()> {
        match self.served.scheduler.failure() {
            Some(reason) => Err(Error::Engine(reason)),
            None if self.served.closing.is_cancelled() => Err(Error::ShuttingDown),
            None => Ok(()),
        }
    }

    /// Whose turn it is to have single images made or encoded, and a place among those who have that now.
    fn admit_images(
        &self,
        extensions: &tonic::Extensions,
        trainer: &str,
    ) -> Result<(Turn, tokio::sync::SemaphorePermit<'_>)> {
        self.available()?;
        let caller = Caller::of(extensions);
        let turn = self.turn(caller.trainer(request::trainer(trainer)?)?);
        let busy = |_| Error::Busy { what: "single images made or encoded at once", limit: MAX_SYNTHESES };
        Ok((turn, self.served.syntheses.try_acquire().map_err(busy)?))
    }

    /// Answers a question, unless too many are being answered.
    async fn ask<T: Send + 'static>(
        &self,
        places: &Makers,
        answer: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let busy = |_| Error::Busy { what: "questions at once", limit: MAX_QUESTIONS };
        let _place = self.served.questions.try_acquire().map_err(busy)?;
        places.run(answer).await
    }

    async fn synthesize_faces(&self, request: Request<v1::SynthesizeRequest>) -> Result<v1::SynthesizeResponse> {
        let (_, extensions, request) = request.into_parts();
        let (turn, _place) = self.admit_images(&extensions, &request.trainer)?;
        let served = self.served.clone();
        let read = move || -> Result<(Vec<Face>, usize, Arc<Loaded>)> {
            let (faces, channels, bundle) = request::faces(&served, request)?;
            let face = |FaceOf { parents, spread, latent }| Face {
                reach: reach(&parents, spread),
                parents,
                latent: vector(latent),
            };
            Ok((faces.into_iter().map(face).collect(), channels, bundle))
        };
        let (faces, channels, bundle) = self.served.makers.run(read).await?;
        let count = faces.len();
        let images = bundle.weights.generate(turn, faces).await?;
        let (area, from) = (IMAGE_SIZE * IMAGE_SIZE, self.served.channels);
        let convert_all = move || {
            let mut converted = vec![0; count * area * channels];
            for (target, image) in converted.chunks_exact_mut(area * channels).zip(&images) {
                convert(image, from, target, channels)?;
            }
            Ok(converted)
        };
        let converted = self.served.makers.run(convert_all).await?;
        Ok(reply::synthesized(&self.served, bundle.digest(), count, channels, converted))
    }

    async fn encode_images(&self, request: Request<v1::EncodeRequest>) -> Result<v1::EncodeResponse> {
        let (_, extensions, request) = request.into_parts();
        let (turn, _place) = self.admit_images(&extensions, &request.trainer)?;
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
        Ok(Response::new(self.stream(request, Content::Whole).await?))
    }

    async fn plan(&self, request: Request<v1::StreamRequest>) -> Result<Response<Messages>, Status> {
        Ok(Response::new(self.stream(request, Content::PlanOnly).await?))
    }

    async fn verify(&self, request: Request<v1::StreamRequest>) -> Result<Response<Messages>, Status> {
        Ok(Response::new(self.stream(request, Content::Digests).await?))
    }

    async fn synthesize(
        &self,
        request: Request<v1::SynthesizeRequest>,
    ) -> Result<Response<v1::SynthesizeResponse>, Status> {
        answer(&self.served, "lookalike.v1.Augment/Synthesize", self.synthesize_faces(request)).await
    }

    async fn encode(&self, request: Request<v1::EncodeRequest>) -> Result<Response<v1::EncodeResponse>, Status> {
        answer(&self.served, "lookalike.v1.Augment/Encode", self.encode_images(request)).await
    }

    async fn get_manifest(
        &self,
        request: Request<v1::ManifestRequest>,
    ) -> Result<Response<v1::ManifestResponse>, Status> {
        let request = request.into_inner();
        let served = self.served.clone();
        // Of a page of blended people, each is worked out.
        let page = self
            .ask(&self.served.manifests, move || Ok(reply::manifest(&served, &request::classes(&served, request)?)));
        answer(&self.served, "lookalike.v1.Augment/GetManifest", page).await
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let taken = async {
            let report = request::report(&self.served, request)?;
            let trainer = Caller::of(&extensions).trainer(&report.trainer)?.to_owned();
            let telemetry = self.served.telemetry.trainer(&trainer);
            report.waits.iter().for_each(|&wait| telemetry.waited(wait.into()));
            let Some((spec, losses)) = report.losses else { return Ok(v1::ReportResponse::default()) };
            let (turn, followers) = (Turn::Trainer(trainer), self.served.followers.clone());
            let identities =
                self.ask(&self.served.openings, move || Ok(followers.report(&turn, spec, &losses))).await?;
            telemetry.reported(identities);
            Ok(v1::ReportResponse { identities: identities as u32 })
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
    sent: session::Yielded,
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
        let Poll::Ready(next) = self.sent.items.poll_recv(context) else { return Poll::Pending };
        Poll::Ready(match next {
            Some(Ok(Sent::Batch(batch))) => Some(Ok(message(Message::Batch(match self.content {
                Content::Digests => reply::digests(&batch),
                Content::Whole | Content::PlanOnly => reply::batch(&batch),
            })))),
            Some(Ok(Sent::Takeover(first, digest))) => {
                Some(Ok(message(Message::Takeover(reply::takeover(first, &digest)))))
            }
            Some(Ok(Sent::Farewell(next, parting))) => {
                Some(Ok(message(Message::Farewell(reply::farewell(next, parting)))))
            }
            Some(Ok(Sent::Table(first, table))) => Some(Ok(message(Message::Table(reply::table(first, &table))))),
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

/// A call under way, counted and told when it begins and however it ends.
pub(crate) struct Call {
    served: Arc<Served>,
    method: &'static str,
    begun: Instant,
    ended: bool,
    /// Its name is in all its log lines.
    span: tracing::Span,
}

impl Call {
    /// The call that the current span names.
    pub(crate) fn begin(served: Arc<Served>, method: &'static str) -> Self {
        served.telemetry.call_started(method);
        Self { served, method, begun: Instant::now(), ended: false, span: tracing::Span::current() }
    }

    fn end(mut self, code: &'static str) {
        self.ended = true;
        self.tell_end(code);
    }

    /// The status that answers an error, which ends the call.
    pub(crate) fn refuse(self, error: &Error) -> Status {
        let status = status::status(error);
        self.served.telemetry.rejected(status::reason(error));
        self.span.in_scope(|| tracing::info!(code = code_name(status.code()), "refused: {}", status.message()));
        self.end(code_name(status.code()));
        status
    }

    fn tell_end(&self, code: &'static str) {
        let duration = self.begun.elapsed();
        self.served.telemetry.call_ended(self.method, code, duration);
        self.span.in_scope(|| tracing::info!(code, seconds = duration.as_secs_f64(), "the call ended"));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            // The trainer left in the middle of a stream.
            self.tell_end("CANCELLED");
        }
    }
}
