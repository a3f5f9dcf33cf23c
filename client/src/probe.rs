//! Reads a stream for its own sake: how fast it comes, how evenly, which bytes, and what it shows.

mod album;

use crate::{Error, Received, Result, StreamSource};
use command::human::{self, Table};
use command::{Interrupt, Progress};
use recognizer::{BatchSource, Source};
use serde::Serialize;
use std::time::Instant;

pub use album::Album;

/// What a probe measured. `--json` prints it as it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Batches received.
    pub batches: u64,
    /// Index of the first.
    pub first: u64,
    /// Images received.
    pub images: u64,
    /// Of them, images of the dataset.
    pub real: u64,
    /// New images of its identities.
    pub existing: u64,
    /// Images of blended identities.
    pub blended: u64,
    /// Mean cosine of the generated images with the people they should show, where a filter measures it.
    pub similarity: Option<f64>,
    /// Share of the generated images that were made again by the filter.
    pub retried: Option<f64>,
    /// Share of those that remained below its bound.
    pub doubtful: Option<f64>,
    /// 1 or 3.
    pub channels: usize,
    /// Length of all batch messages.
    pub bytes: u64,
    /// From asking for the stream to its last batch.
    pub seconds: f64,
    /// Images by `seconds`.
    pub images_per_second: f64,
    /// Bytes by `seconds`.
    pub bytes_per_second: f64,
    /// From asking for the stream to its first batch.
    pub first_batch_seconds: f64,
    /// Median time that a batch was waited for.
    pub wait_seconds_p50: f64,
    /// Time that 99 of 100 batches were not waited for longer than.
    pub wait_seconds_p99: f64,
    /// Over all batches received, in order.
    pub digest: String,
    /// Classes of the stream.
    pub classes: usize,
    /// Of them, identities of the dataset.
    pub identities: usize,
    /// Digest of the dataset.
    pub dataset: String,
    /// Digest of the bundle.
    pub bundle: String,
    /// Numerics class of the generator.
    pub numerics: String,
    /// Version of the planning rules.
    pub plan_version: u32,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Reads `batches` batches, each shown to `look`.
///
/// # Errors
/// As [`StreamSource::next_received`]; [`Error::Stopped`] when `interrupt` comes before the first.
pub fn run(
    source: &mut StreamSource,
    batches: u64,
    interrupt: &Interrupt,
    mut look: impl FnMut(&Received),
) -> Result<Figures> {
    // A server may hang; then nobody looks at the interrupt but the stream's own stopper.
    if let Some(stop) = source.stopper() {
        interrupt.on_request(stop);
    }
    let progress = Progress::new("probing", batches, "batches");
    let first = source.current_place().next;
    let (mut images, mut bytes, mut of_source) = (0, 0, [0u64; 3]);
    let mut filtered = Filtered::default();
    let mut sequence = proto::digest::Sequence::new();
    let mut received_batches = 0;
    let began = Instant::now();
    let (mut seconds, mut first_batch_seconds) = (0.0, 0.0);
    while received_batches < batches && !interrupt.requested() {
        let received = match source.next_received() {
            Err(Error::Stopped) => break,
            received => received?,
        };
        seconds = began.elapsed().as_secs_f64();
        if received_batches == 0 {
            first_batch_seconds = seconds;
        }
        received_batches += 1;
        images += received.batch.rows as u64;
        bytes += received.message_bytes as u64;
        for source in &received.batch.sources {
            of_source[*source as usize] += 1;
        }
        filtered.add(&received);
        sequence.push(received.batch.index, &received.digest);
        look(&received);
        progress.advance(1);
    }
    progress.finish();
    if received_batches == 0 {
        return Err(Error::Stopped);
    }
    let place = source.current_place();
    let waits = source.waits();
    // A clock too coarse for a loopback's speed must not make the rates infinite.
    let per_second = |amount: u64| amount as f64 / seconds.max(1e-9);
    Ok(Figures {
        batches: received_batches,
        first,
        images,
        real: of_source[Source::Real as usize],
        existing: of_source[Source::Existing as usize],
        blended: of_source[Source::Blended as usize],
        similarity: filtered.of_each(filtered.similarity),
        retried: filtered.of_each(filtered.retried as f64),
        doubtful: filtered.of_each(filtered.doubtful as f64),
        channels: source.channels(),
        bytes,
        seconds,
        images_per_second: per_second(images),
        bytes_per_second: per_second(bytes),
        first_batch_seconds,
        wait_seconds_p50: waits.quantile(0.5),
        wait_seconds_p99: waits.quantile(0.99),
        digest: sequence.hex(),
        classes: source.classes(),
        identities: source.identities(),
        dataset: place.origin.dataset,
        bundle: place.origin.bundle,
        numerics: place.origin.numerics,
        plan_version: place.origin.plan_version,
        interrupted: received_batches < batches,
    })
}

/// What an identity filter found.
#[derive(Default)]
struct Filtered {
    /// Generated images that it looked at.
    images: u64,
    /// The sum of theirs.
    similarity: f64,
    retried: u64,
    doubtful: u64,
}

impl Filtered {
    fn add(&mut self, received: &Received) {
        let provenance = &received.provenance;
        let rows = received.batch.sources.iter().zip(&provenance.similarities).zip(&provenance.latent_rows);
        for ((_, similarity), latent_row) in rows.filter(|((source, _), _)| **source != Source::Real) {
            self.images += 1;
            self.similarity += f64::from(*similarity);
            self.retried += u64::from(*latent_row >= proto::latent_row(0, 1));
        }
        self.doubtful += provenance.doubtful_rows.len() as u64;
    }

    fn of_each(&self, amount: f64) -> Option<f64> {
        (self.images > 0).then(|| amount / self.images as f64)
    }
}

/// The form for people.
impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { batches, first, images, real, existing, blended, .. } = self;
        let colour = if self.channels == 3 { "RGB" } else { "grey" };
        let count = human::count;
        let rate = human::rate(self.images_per_second);
        let last = (first + batches).saturating_sub(1);
        let speed = format!("{rate} images/s, {}/s", human::bytes(self.bytes_per_second as u64));
        // What a probe is asked for comes first.
        let mut table = Table::new(["rate", &speed]);
        table
            .row(["batches", &format!("{}, number {first} to {last}", count(*batches))])
            .row(["images", &format!("{} {colour}", count(*images))])
            .row([
                "sources",
                &format!("{} real, {} existing, {} blended", count(*real), count(*existing), count(*blended)),
            ])
            .row([
                "classes",
                &format!(
                    "{}: {} identities, {} blended",
                    count(self.classes as u64),
                    count(self.identities as u64),
                    count((self.classes - self.identities) as u64)
                ),
            ])
            .row(["first batch", &format!("after {}", milliseconds(self.first_batch_seconds))])
            .row([
                "waits",
                &format!(
                    "{} median, {} for 99 of 100",
                    milliseconds(self.wait_seconds_p50),
                    milliseconds(self.wait_seconds_p99)
                ),
            ])
            .row(["digest", &self.digest])
            .row(["dataset", &self.dataset])
            .row(["bundle", &self.bundle])
            .row(["numerics", &format!("{}, plan version {}", self.numerics, self.plan_version)]);
        if let (Some(similarity), Some(retried), Some(doubtful)) = (self.similarity, self.retried, self.doubtful) {
            let [retried, doubtful] = [retried, doubtful].map(|share| 100.0 * share);
            let found = format!("{similarity:.3} mean, {retried:.1} % from further tries, {doubtful:.1} % doubtful");
            table.row(["similarity", &found]);
        }
        table.fmt(f)
    }
}

/// `0.12 ms`, `14.2 s`: waits of a good stream are far below a millisecond.
fn milliseconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.2} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") }
}
