//! Every metric of the server: its name, unit, when it is measured, and why its buckets.
//!
//! Names follow Prometheus: prefix `lookalike_`, base units as suffix, counters ending in
//! `_total`. Names that every gRPC server and every process shares carry no prefix of ours. No
//! label is unbounded: a trainer's name is one of the first [`MAX_TRAINERS`] seen, further ones
//! are "(other)", unnamed ones "(unnamed)": names that no trainer can have.

mod bundles;
mod moment;
mod process;
mod registry;
mod trainer;

pub(crate) use bundles::Swap;
pub(crate) use trainer::Raised;
pub use trainer::Trainer;

use crate::{error::Result, served::Usage, service::REASONS};
use metrics::{Counter, Gauge, Histogram};
use registry::Registry;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Trainers that have a label of their own.
pub const MAX_TRAINERS: usize = 64;

/// The metrics of one server.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    /// By name.
    trainers: Mutex<BTreeMap<String, Trainer>>,
    queue: Histogram,
    generate: Histogram,
    device_copy: Histogram,
    compose: Histogram,
    encode: Histogram,
    digest: Histogram,
    decode: Histogram,
    plan: Histogram,
    first_batch: Histogram,
    device_batch: Histogram,
    replaced: Counter,
    guarded: Counter,
    retried: Counter,
    doubtful: Counter,
    similarity: Histogram,
    gallery_hits: Counter,
    gallery_misses: Counter,
    gallery_bytes: Gauge,
    shelf_hits: Counter,
    shelf_misses: Counter,
    weights: Gauge,
    connections: Gauge,
    moment: moment::Moment,
    bundles: bundles::BundleMetrics,
}

/// How a batch came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For this stream.
    Made,
    /// For another stream with the same spec.
    Shared,
}

const DEVICE_BATCH: &str = "lookalike_device_batch_images";
const SIMILARITY: &str = "lookalike_identity_similarity";
const CALL_DURATION: &str = "grpc_server_call_duration_seconds";
const CALL_SENT: &str = "grpc_server_call_sent_total_compressed_message_size_bytes";
const CALL_RECEIVED: &str = "grpc_server_call_rcvd_total_compressed_message_size_bytes";

impl Telemetry {
    /// All metrics at zero, for a server of a numerics class and a dataset.
    ///
    /// # Errors
    /// None but for a bug.
    pub fn new(numerics: &str, dataset_digest: &str) -> Result<Self> {
        // From 0.1 ms, a plan of a few rows, to 13 s, a stall; each bucket twice the last.
        let seconds: Vec<f64> = (0..18).map(|power| 1e-4 * f64::from(1 << power)).collect();
        // Rows of a tile: powers of two, as tiles mostly are.
        let rows: Vec<f64> = (0..11).map(|power| f64::from(1 << power)).collect();
        // From 1 ms, a refusal, to a day, a long stream; each bucket four times the last.
        let call_seconds: Vec<f64> = (0..14).map(|power| 1e-3 * 4f64.powi(power)).collect();
        // Strangers have about 0, what a filter lets through 0.2 to 0.8: tenths there, and one below.
        let cosines: Vec<f64> = (-2..=10).map(|tenth| f64::from(tenth) / 10.0).collect();
        // From 64 bytes, a question, to 16 GiB, a long stream; each bucket four times the last.
        let call_bytes: Vec<f64> = (0..15).map(|power| 64.0 * 4f64.powi(power)).collect();
        let buckets = [
            (DEVICE_BATCH, &rows[..]),
            (CALL_DURATION, &call_seconds),
            (CALL_SENT, &call_bytes),
            (CALL_RECEIVED, &call_bytes),
            (SIMILARITY, &cosines),
        ];
        let r = Registry::new(&seconds, &buckets)?;
        let info = |name, help, labels: registry::Labels<'_>| r.gauge(name, help, labels).set(1.0);
        info("lookalike_dataset_info", "The dataset served", &[("digest", dataset_digest)]);
        info("lookalike_build_info", "The server", &[("version", env!("CARGO_PKG_VERSION")), ("numerics", numerics)]);
        let timed = |name, help| r.histogram(name, help, &[]);
        for reason in REASONS {
            rejections(&r, reason).increment(0);
        }
        let lookups = |outcome| {
            r.counter("lookalike_gallery_lookups_total", "Real images asked of the cache", &[("outcome", outcome)])
        };
        let shelved = |outcome| {
            let help = "Batches asked of those kept or being made for others";
            r.counter("lookalike_shelf_lookups_total", help, &[("outcome", outcome)])
        };
        let rejected = |reason| {
            let help = "Images that the identity filter had made again or left doubtful, and blended people that the guard passed over";
            r.counter("lookalike_identity_rejections_total", help, &[("reason", reason)])
        };
        Ok(Self {
            trainers: Mutex::default(),
            queue: timed("lookalike_queue_seconds", "Wait of a batch's rows for their first place in a tile"),
            generate: timed("lookalike_generate_seconds", "Generation of one tile of faces"),
            device_copy: timed(
                "lookalike_device_copy_seconds",
                "Fetching one generated tile's pixels from the device as bytes",
            ),
            compose: timed("lookalike_compose_seconds", "Augmenting and ordering the rows of one batch"),
            encode: timed("lookalike_encode_seconds", "Encoding of one tile of real images, for jittered latents"),
            digest: timed("lookalike_digest_seconds", "Content digest of one batch"),
            decode: timed("lookalike_decode_seconds", "Reading and decoding one real image"),
            plan: timed("lookalike_plan_seconds", "Planning the rows of one batch"),
            first_batch: timed("lookalike_first_batch_seconds", "From a stream's request to its first whole batch"),
            device_batch: r.histogram(DEVICE_BATCH, "Rows in one tile, padding not counted", &[]),
            replaced: r.counter("lookalike_replaced_images_total", "Rows whose image could not be decoded", &[]),
            guarded: rejected("guard"),
            retried: rejected("retry"),
            doubtful: rejected("doubtful"),
            similarity: r.histogram(SIMILARITY, "Cosine of a filtered row with the person it should show", &[]),
            gallery_hits: lookups("hit"),
            gallery_misses: lookups("miss"),
            gallery_bytes: r.gauge("lookalike_gallery_bytes", "Decoded images in the cache", &[]),
            shelf_hits: shelved("hit"),
            shelf_misses: shelved("miss"),
            weights: r.gauge("lookalike_device_memory_bytes", "Device memory held", &[("kind", "weights")]),
            moment: moment::Moment::new(&r),
            connections: r.gauge("lookalike_connections", "Connections of trainers and others", &[]),
            bundles: bundles::BundleMetrics::new(&r),
            registry: r,
        })
    }

    /// The metrics in Prometheus's text format.
    pub fn render(&self) -> String {
        self.registry.render(&self.bundles.render()) + &process::render()
    }

    /// Makes room for further observations. To be called every few seconds, as nobody may be
    /// asking for the metrics, which also does it.
    pub(crate) fn upkeep(&self) {
        self.registry.upkeep();
    }

    /// The metrics of a trainer.
    pub fn trainer(&self, name: &str) -> Trainer {
        if name.is_empty() {
            return Trainer::new(&self.registry, "(unnamed)");
        }
        let mut known = self.trainers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trainer) = known.get(name) {
            return trainer.clone();
        }
        if known.len() >= MAX_TRAINERS {
            return Trainer::new(&self.registry, "(other)");
        }
        known.entry(name.to_owned()).or_insert_with(|| Trainer::new(&self.registry, name)).clone()
    }

    /// What is counted of bundles.
    pub(crate) fn bundles(&self) -> &bundles::BundleMetrics {
        &self.bundles
    }

    /// The first rows of a batch got into a tile after so long.
    pub(crate) fn queued(&self, wait: Duration) {
        self.queue.record(wait);
    }

    /// A tile with so many rows was computed.
    pub(crate) fn tile_computed(&self, rows: usize) {
        self.device_batch.record(rows as f64);
    }

    /// A tile of faces was generated, and is still on the device.
    pub(crate) fn generated(&self, generate: Duration) {
        self.generate.record(generate);
    }

    /// A tile of real images was encoded.
    pub(crate) fn encoded(&self, encode: Duration) {
        self.encode.record(encode);
    }

    /// A generated tile's pixels became bytes.
    pub(crate) fn device_copied(&self, copy: Duration) {
        self.device_copy.record(copy);
    }

    /// A batch was planned.
    pub(crate) fn planned(&self, plan: Duration) {
        self.plan.record(plan);
    }

    /// A batch's rows were put in order.
    pub(crate) fn composed(&self, compose: Duration) {
        self.compose.record(compose);
    }

    /// A batch got its digest.
    pub(crate) fn sealed(&self, digest: Duration) {
        self.digest.record(digest);
    }

    /// A stream's first batch was ready so long after the request.
    pub(crate) fn first_batch(&self, wait: Duration) {
        self.first_batch.record(wait);
    }

    /// A real image was decoded.
    pub(crate) fn decoded(&self, decode: Duration) {
        self.decode.record(decode);
    }

    /// Rows got another image than planned.
    pub(crate) fn replaced(&self, rows: usize) {
        self.replaced.increment(rows as u64);
    }

    /// Blended identities were passed over for being too near somebody real.
    pub(crate) fn guarded(&self, people: u64) {
        self.guarded.increment(people);
    }

    /// An identity filter had so many images of a batch made again; the rows' similarities came to these.
    pub(crate) fn filtered(&self, bound: f64, made_again: usize, similarities: impl Iterator<Item = f64>) {
        self.retried.increment(made_again as u64);
        for similarity in similarities {
            self.similarity.record(similarity);
            self.doubtful.increment(u64::from(similarity < bound));
        }
    }

    /// The gallery was asked for images.
    pub(crate) fn gallery(&self, hits: usize, misses: usize) {
        self.gallery_hits.increment(hits as u64);
        self.gallery_misses.increment(misses as u64);
    }

    /// The gallery now holds so much.
    pub(crate) fn gallery_holds(&self, bytes: usize) {
        self.gallery_bytes.set(bytes as f64);
    }

    /// A request was refused.
    pub(crate) fn rejected(&self, reason: &'static str) {
        rejections(&self.registry, reason).increment(1);
    }

    /// Counts a connection for as long as the answer lives.
    pub(crate) fn connected(&self) -> Raised {
        Raised::new(self.connections.clone())
    }

    /// A connection was closed before its first call.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        let help = "Connections closed before their first call";
        self.registry.counter("lookalike_connection_refusals_total", help, &[("reason", reason)]).increment(1);
    }

    /// Certificates or tokens were read again, and are in force or not.
    pub(crate) fn credentials_read(&self, what: &'static str, good: bool) {
        let labels = &[("what", what), ("outcome", if good { "taken" } else { "refused" })];
        let help = "Times that certificates or tokens were read again";
        self.registry.counter("lookalike_credentials_reloads_total", help, labels).increment(1);
    }

    /// A batch came from the shelf, or was made for it.
    pub(crate) fn shelved(&self, mode: Mode) {
        match mode {
            Mode::Shared => self.shelf_hits.increment(1),
            Mode::Made => self.shelf_misses.increment(1),
        }
    }

    /// The weights at all engines take so much of their devices' memory.
    pub(crate) fn weights_on_device(&self, bytes: usize) {
        self.weights.set(bytes as f64);
    }

    /// So much is in use now.
    pub(crate) fn in_use(&self, usage: &Usage) {
        self.moment.is(usage);
    }

    /// A call ended that received and sent so many bytes of messages, each with five of gRPC's own.
    pub(crate) fn call_measured(&self, method: &'static str, status: &'static str, received: u64, sent: u64) {
        let labels = &[("grpc_method", method), ("grpc_status", status)];
        let histogram = |name, help| self.registry.histogram(name, help, labels);
        histogram(CALL_RECEIVED, "Messages received in one call").record(received as f64);
        histogram(CALL_SENT, "Messages sent in one call").record(sent as f64);
    }

    /// A call began.
    pub(crate) fn call_started(&self, method: &'static str) {
        let labels = &[("grpc_method", method)];
        self.registry.counter("grpc_server_call_started_total", "Calls begun", labels).increment(1);
    }

    /// A call ended.
    pub(crate) fn call_ended(&self, method: &'static str, status: &'static str, duration: Duration) {
        let labels = &[("grpc_method", method), ("grpc_status", status)];
        self.registry.histogram(CALL_DURATION, "Calls ended", labels).record(duration);
    }
}

fn rejections(registry: &Registry, reason: &'static str) -> Counter {
    let help = "Requests refused, and streams ended before their time";
    registry.counter("lookalike_rejections_total", help, &[("reason", reason)])
}
