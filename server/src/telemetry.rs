//! Every metric of the server: its name, unit, when it is measured, and why its buckets.
//!
//! Names follow Prometheus: prefix `lookalike_`, base units as suffix, counters ending in
//! `_total`. No label is unbounded: a trainer's name is one of the first [`MAX_TRAINERS`] seen,
//! further ones are "other", unnamed ones "unnamed".

mod process;

use crate::plan::Source;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Trainers that have a label of their own.
pub const MAX_TRAINERS: usize = 64;

/// The metrics of one server.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    trainers: Mutex<BTreeSet<String>>,
    batches: Family<BatchLabels, Counter>,
    images: Family<ImageLabels, Counter>,
    sent_bytes: Family<Trainer, Counter>,
    queue: Histogram,
    generate: Histogram,
    device_copy: Histogram,
    compose: Histogram,
    encode: Histogram,
    decode: Histogram,
    plan: Histogram,
    send_blocked: Family<Trainer, Histogram, fn() -> Histogram>,
    first_batch: Histogram,
    trainer_wait: Family<Trainer, Histogram, fn() -> Histogram>,
    device_batch: Histogram,
    pending: Family<Trainer, Gauge>,
    active: Family<Trainer, Gauge>,
    rejections: Family<Reason, Counter>,
    replaced: Counter,
    gallery: Family<Outcome, Counter>,
    gallery_bytes: Gauge,
    calls_started: Family<Method, Counter>,
    calls: Family<MethodStatus, Histogram, fn() -> Histogram>,
}

/// A bounded trainer name, ready to be a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Trainer {
    trainer: String,
}

/// How a batch came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For this stream.
    Made,
    /// For another stream with the same spec.
    Shared,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BatchLabels {
    trainer: String,
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ImageLabels {
    trainer: String,
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    grpc_method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodStatus {
    grpc_method: &'static str,
    grpc_status: &'static str,
}

/// From 0.1 ms, a plan of a few rows, to 13 s, a stall; each bucket twice the last.
fn seconds() -> Histogram {
    Histogram::new((0..18).map(|power| 1e-4 * f64::from(1 << power)))
}

/// Rows of a tile: powers of two, as tiles mostly are.
fn rows() -> Histogram {
    Histogram::new((0..11).map(|power| f64::from(1 << power)))
}

/// From 1 ms, a refusal, to a day, a long stream; each bucket four times the last.
fn call_seconds() -> Histogram {
    Histogram::new((0..14).map(|power| 1e-3 * 4f64.powi(power)))
}

/// What a server tells of itself once, at its start.
pub struct Identity<'a> {
    /// Digest of the bundle.
    pub bundle_digest: &'a str,
    /// Its architecture.
    pub architecture: &'a str,
    /// Number type of its weights.
    pub precision: &'a str,
    /// Numerics class.
    pub numerics: &'a str,
    /// Digest of the dataset.
    pub dataset_digest: &'a str,
}

impl Telemetry {
    /// All metrics at zero.
    pub fn new(identity: &Identity<'_>) -> Self {
        let mut registry = Registry::default();
        let r = registry.sub_registry_with_prefix("lookalike");
        let s = Unit::Seconds;
        // `register_with_unit` appends the unit, the text format appends `_total` to counters.
        let this = Self {
            trainers: Mutex::default(),
            batches: with(r, "batches", "Batches handed to the transport", Family::default()),
            images: with(r, "images", "Rows handed to the transport", Family::default()),
            sent_bytes: with(r, "sent_bytes", "Pixel bytes handed to the transport", Family::default()),
            queue: timed(r, "queue", "Wait of a batch's rows for their first place in a tile", seconds(), &s),
            generate: timed(r, "generate", "Computation of one tile", seconds(), &s),
            device_copy: timed(r, "device_copy", "Fetching one tile's pixels from the device as bytes", seconds(), &s),
            compose: timed(r, "compose", "Augmenting and ordering the rows of one batch", seconds(), &s),
            encode: timed(r, "encode", "Content digest and wire message of one batch", seconds(), &s),
            decode: timed(r, "decode", "Reading and decoding one real image", seconds(), &s),
            plan: timed(r, "plan", "Planning the rows of one batch", seconds(), &s),
            send_blocked: timed_family(r, "send_blocked", "Wait of a finished batch for a slow trainer", seconds, &s),
            first_batch: timed(r, "first_batch", "From a stream's request to its first batch", seconds(), &s),
            trainer_wait: timed_family(r, "trainer_wait", "Wait of a trainer for a batch, as it reports", seconds, &s),
            device_batch: with(r, "device_batch_images", "Rows in one tile, padding not counted", rows()),
            pending: with(r, "pending_batches", "Batches in the making or waiting to be sent", Family::default()),
            active: with(r, "active_streams", "Streams being sent", Family::default()),
            rejections: with(r, "rejections", "Requests refused", Family::default()),
            replaced: with(r, "replaced_images", "Rows whose image could not be decoded", Counter::default()),
            gallery: with(r, "gallery_lookups", "Real images asked of the cache", Family::default()),
            gallery_bytes: with(r, "gallery_bytes", "Decoded images in the cache", Gauge::default()),
            calls_started: Family::default(),
            calls: Family::new_with_constructor(call_seconds),
            registry: Registry::default(),
        };
        for outcome in ["hit", "miss"] {
            this.gallery.get_or_create(&Outcome { outcome }).inc_by(0);
        }
        register_identity(r, identity);
        // Names that every gRPC server and every process shares carry no prefix of ours.
        registry.register("grpc_server_call_started", "Calls begun", this.calls_started.clone());
        registry.register_with_unit("grpc_server_call_duration", "Calls ended", s, this.calls.clone());
        registry.register_collector(Box::new(process::Process));
        Self { registry, ..this }
    }

    /// The metrics in Prometheus's text format.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing into a string can't fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    /// The label of a trainer's name.
    pub fn trainer(&self, name: &str) -> Trainer {
        if name.is_empty() {
            return Trainer { trainer: "unnamed".into() };
        }
        let mut known = self.trainers.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(name) {
            if known.len() >= MAX_TRAINERS {
                return Trainer { trainer: "other".into() };
            }
            known.insert(name.into());
        }
        Trainer { trainer: name.into() }
    }

    /// A batch was handed to the transport.
    pub(crate) fn sent(&self, trainer: &Trainer, mode: Mode, sources: &[Source], bytes: usize) {
        let name = &trainer.trainer;
        let mode = match mode {
            Mode::Made => "made",
            Mode::Shared => "shared",
        };
        self.batches.get_or_create(&BatchLabels { trainer: name.clone(), mode }).inc();
        self.sent_bytes.get_or_create(trainer).inc_by(bytes as u64);
        for (source, label) in [(Source::Real, "real"), (Source::Existing, "existing"), (Source::Blended, "blended")] {
            let rows = sources.iter().filter(|&&row| row == source).count() as u64;
            if rows > 0 {
                self.images.get_or_create(&ImageLabels { trainer: name.clone(), source: label }).inc_by(rows);
            }
        }
    }

    /// A finished batch waited so long for its trainer.
    pub(crate) fn send_blocked(&self, trainer: &Trainer, wait: Duration) {
        self.send_blocked.get_or_create(trainer).observe(wait.as_secs_f64());
    }

    /// A trainer reports that it waited so long for a batch.
    pub(crate) fn trainer_waited(&self, trainer: &Trainer, seconds: f64) {
        self.trainer_wait.get_or_create(trainer).observe(seconds);
    }

    /// The first rows of a batch got into a tile after so long.
    pub(crate) fn queued(&self, wait: Duration) {
        self.queue.observe(wait.as_secs_f64());
    }

    /// A tile with so many rows was computed.
    pub(crate) fn tile_computed(&self, compute: Duration, rows: usize) {
        self.generate.observe(compute.as_secs_f64());
        self.device_batch.observe(rows as f64);
    }

    /// A tile's pixels became bytes.
    pub(crate) fn device_copied(&self, copy: Duration) {
        self.device_copy.observe(copy.as_secs_f64());
    }

    /// A batch was planned.
    pub(crate) fn planned(&self, plan: Duration) {
        self.plan.observe(plan.as_secs_f64());
    }

    /// A batch's rows were put in order.
    pub(crate) fn composed(&self, compose: Duration) {
        self.compose.observe(compose.as_secs_f64());
    }

    /// A batch became a message.
    pub(crate) fn encoded(&self, encode: Duration) {
        self.encode.observe(encode.as_secs_f64());
    }

    /// A stream's first batch was ready so long after the request.
    pub(crate) fn first_batch(&self, wait: Duration) {
        self.first_batch.observe(wait.as_secs_f64());
    }

    /// A real image was decoded.
    pub(crate) fn decoded(&self, decode: Duration) {
        self.decode.observe(decode.as_secs_f64());
    }

    /// Rows got another image than planned.
    pub(crate) fn replaced(&self, rows: usize) {
        self.replaced.inc_by(rows as u64);
    }

    /// The gallery was asked for images.
    pub(crate) fn gallery(&self, hits: usize, misses: usize) {
        self.gallery.get_or_create(&Outcome { outcome: "hit" }).inc_by(hits as u64);
        self.gallery.get_or_create(&Outcome { outcome: "miss" }).inc_by(misses as u64);
    }

    /// The gallery now holds so much.
    pub(crate) fn gallery_holds(&self, bytes: usize) {
        self.gallery_bytes.set(bytes as i64);
    }

    /// A request was refused.
    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejections.get_or_create(&Reason { reason }).inc();
    }

    /// A gauge of batches in the making, for one trainer.
    pub(crate) fn pending(&self, trainer: &Trainer) -> Gauge {
        self.pending.get_or_create_owned(trainer)
    }

    /// A gauge of streams, for one trainer.
    pub(crate) fn active(&self, trainer: &Trainer) -> Gauge {
        self.active.get_or_create_owned(trainer)
    }

    /// A call began.
    pub(crate) fn call_started(&self, grpc_method: &'static str) {
        self.calls_started.get_or_create(&Method { grpc_method }).inc();
    }

    /// A call ended.
    pub(crate) fn call_ended(&self, grpc_method: &'static str, grpc_status: &'static str, duration: Duration) {
        self.calls.get_or_create(&MethodStatus { grpc_method, grpc_status }).observe(duration.as_secs_f64());
    }
}

/// A gauge raised by one for as long as this lives, however it ends.
#[derive(Debug)]
pub(crate) struct Raised(Gauge);

impl Raised {
    pub(crate) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn register_identity(registry: &mut Registry, identity: &Identity<'_>) {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    registry.register(
        "bundle",
        "The weights served",
        Info::new(vec![
            label("digest", identity.bundle_digest),
            label("name", identity.architecture),
            label("precision", identity.precision),
        ]),
    );
    registry.register("dataset", "The dataset served", Info::new(vec![label("digest", identity.dataset_digest)]));
    registry.register(
        "build",
        "The server",
        Info::new(vec![label("version", env!("CARGO_PKG_VERSION")), label("numerics", identity.numerics)]),
    );
    let loaded = Gauge::<f64, AtomicU64>::default();
    loaded.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));
    registry.register_with_unit(
        "bundle_loaded_timestamp",
        "When the weights were loaded, since 1970",
        Unit::Seconds,
        loaded,
    );
}

fn with<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}

fn timed(registry: &mut Registry, name: &str, help: &str, metric: Histogram, unit: &Unit) -> Histogram {
    registry.register_with_unit(name, help, unit.clone(), metric.clone());
    metric
}

fn timed_family(
    registry: &mut Registry,
    name: &str,
    help: &str,
    constructor: fn() -> Histogram,
    unit: &Unit,
) -> Family<Trainer, Histogram, fn() -> Histogram> {
    let family = Family::new_with_constructor(constructor);
    registry.register_with_unit(name, help, unit.clone(), family.clone());
    family
}
