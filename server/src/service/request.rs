//! Requests, checked and made domain values. Nothing that comes from outside is trusted.

use crate::{
    assemble::convert,
    bundles::{
        Loaded,
        declared::{Declared, Entry, Wanted},
        followers::{Joining, Steered},
    },
    error::{Error, Result, quoted},
    losses::Reported,
    plan::{
        self, Planner,
        blending::{Blending, Parent},
        centres::Centres,
        spec::{
            Before, BlendingSpec, ByLoss, Filter, Latent, Mix, Point, Sampling, Schedule, Shape, Spec, check_truncation,
        },
        table::Table,
    },
    served::Served,
};
use bytes::Bytes;
use nets::{LATENT, pixels::IMAGE_SIZE};
use proto::{limits, v1};
use std::{collections::BTreeSet, ops::Range, sync::Arc};

/// Indices are kept below half of what 64 bits hold, so that sums of them never overflow.
const MAX_INDEX: u64 = 1 << 63;

/// A checked place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) indices: Range<u64>,
    pub(super) rows: Range<u32>,
    pub(super) rank: u32,
    pub(super) world_size: u32,
    /// Batches, 0 for no end, as asked.
    pub(super) count: u64,
}

/// A latent as a request names it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LatentOf {
    Counter { seed: u64, index: u64, row: u32, truncation: f64 },
    Vector(Vec<f32>),
}

/// A checked request.
pub(super) struct Asked {
    pub(super) planner: Planner,
    pub(super) spec_digest: [u8; 32],
    pub(super) place: Place,
    pub(super) wanted: Joining,
}

/// A stream's planner and place, and what it wants to be made by.
pub(super) fn stream(served: &Served, request: v1::StreamRequest) -> Result<Asked> {
    let expected = request.expected.unwrap_or_default();
    expect("a dataset with digest", &expected.dataset_digest, &served.dataset_digest, DATASET_REMEDY)?;
    expect("numerics class", &expected.numerics, &served.numerics, NUMERICS_REMEDY)?;
    if ![0, plan::VERSION].contains(&expected.plan_version) {
        let (expected, found) = (expected.plan_version.to_string(), plan::VERSION.to_string());
        let remedy = "run the server's version that the stream was begun with";
        return Err(Error::Expectation { what: "plan version", expected, found, remedy });
    }
    let mut spec = spec(served, request.spec)?;
    // Before the place, which is within a batch.
    spec.check_batch()?;
    let place = place(request.place.unwrap_or_default(), spec.batch_size)?;
    let bundles = bundles(served, request.bundle, place.indices.start)?;
    let centres = centres(served, &spec, &bundles, place.indices.start)?;
    spec.centres = centres.as_ref().map(|centres| centres.digest().to_owned());
    spec.check(&served.catalogue, centres.as_ref(), served.channels, bundles.can_encode(served))?;
    let (tables, steered) = tables(served, &spec, request.tables, place.indices.start)?;
    let wanted = Joining { bundles, tables, steered };
    let spec_digest = spec.digest();
    let planner = Planner::new(Arc::new(spec), served.catalogue.clone(), centres);
    Ok(Asked { planner, spec_digest, place, wanted })
}

/// The class centres that a spec asks for: those it names, or else those of the bundle of batch `first`.
fn centres(served: &Served, spec: &Spec, bundles: &Wanted<Arc<Loaded>>, first: u64) -> Result<Option<Arc<Centres>>> {
    if !spec.asks_who_is_near() {
        return Ok(None);
    }
    let begun_with = bundles.at(first, served);
    let digest = spec.centres.as_deref().unwrap_or(begun_with.centres.digest());
    served.bundles.centres(digest).map(Some)
}

/// What the classes of a stream are asked for.
pub(super) struct Classes {
    pub(super) spec: Spec,
    pub(super) blending: Blending,
    /// Classes of the page, all of which there are.
    pub(super) page: Range<u32>,
    /// Makes the first batch.
    pub(super) bundle: Arc<Loaded>,
}

/// The largest page of a stream with a guard, which takes a millisecond for each person.
const GUARDED_PAGE: u32 = 256;

/// A page of classes.
pub(super) fn classes(served: &Served, request: v1::ManifestRequest) -> Result<Classes> {
    let mut spec = spec(served, request.spec)?;
    let bundles = bundles(served, request.bundle, 0)?;
    let centres = centres(served, &spec, &bundles, 0)?;
    spec.centres = centres.as_ref().map(|centres| centres.digest().to_owned());
    spec.check(&served.catalogue, centres.as_ref(), served.channels, bundles.can_encode(served))?;
    let (first, all) = (request.first_class, spec.classes(served.catalogue.identities()));
    if first > all {
        return Err(Error::OutOfRange(format!("expected a first class of at most {all}, found {first}")));
    }
    let is_guarded = spec.has_blended() && spec.blending.max_similarity > 0.0;
    let most = if is_guarded { GUARDED_PAGE } else { limits::MAX_MANIFEST };
    let count = request.count.min(most).min(all - first);
    let blending = Blending::new(&spec, served.catalogue.clone(), centres);
    Ok(Classes { spec, blending, page: first..first + count, bundle: bundles.at(0, served) })
}

impl Wanted<Arc<Loaded>> {
    /// Those that make batch `first`.
    fn at(&self, first: u64, served: &Served) -> Arc<Loaded> {
        match self {
            Self::Closed(table) | Self::Follow(Some(table)) => table.at(first).clone(),
            Self::Follow(None) => served.bundles.newest(),
        }
    }

    /// Whether all of these weights can encode.
    fn can_encode(&self, served: &Served) -> bool {
        match self {
            Self::Closed(table) | Self::Follow(Some(table)) => {
                table.entries().iter().all(|entry| entry.what.facts.encoder)
            }
            Self::Follow(None) => served.bundles.newest().facts.encoder,
        }
    }
}

/// A spec with its defaults written out, not yet checked.
fn spec(served: &Served, wire: Option<v1::StreamSpec>) -> Result<Spec> {
    let wire = wire.ok_or_else(|| Error::Request("expected a spec, found none".into()))?;
    let mix = wire.mix.unwrap_or(v1::Mix { real: 1.0, ..v1::Mix::default() });
    let blending = wire.blending.unwrap_or_default();
    Ok(Spec {
        seed: wire.seed,
        batch_size: wire.batch_size,
        mix: Mix { real: mix.real, existing: mix.existing, blended: mix.blended },
        schedule: schedule(mix.schedule.unwrap_or_default())?,
        sampling: sampling(wire.identities),
        blending: BlendingSpec {
            count: if blending.count == 0 { served.catalogue.identities() } else { blending.count },
            parents: if blending.parents == 0 { limits::MIN_PARENTS } else { blending.parents },
            alpha: or(blending.alpha, 1.0),
            max_weight: or(blending.max_weight, 0.8),
            seed: blending.seed.unwrap_or(wire.seed),
            max_similarity: blending.max_similarity,
        },
        latent: latent(wire.latent),
        augmented: match v1::Augmentation::try_from(wire.augmentation) {
            Ok(v1::Augmentation::Unspecified | v1::Augmentation::Standard) => true,
            Ok(v1::Augmentation::Off) => false,
            Err(_) => return Err(unknown("an augmentation", wire.augmentation)),
        },
        channels: channels(served, wire.pixel_format)?,
        filter: wire.filter.map(|filter| Filter {
            min_similarity: filter.min_similarity,
            max_retries: filter.max_retries.unwrap_or(limits::MAX_RETRIES),
        }),
        centres: Some(wire.centres_digest).filter(|digest| !digest.is_empty()),
    })
}

fn schedule(wire: v1::MixSchedule) -> Result<Schedule> {
    let point = |point: v1::MixPoint| {
        let v1::MixPoint { index, real, existing, blended } = point;
        Point { index, mix: Mix { real, existing, blended } }
    };
    Ok(Schedule {
        points: wire.points.into_iter().map(point).collect(),
        shape: match v1::mix_schedule::Shape::try_from(wire.shape) {
            Ok(v1::mix_schedule::Shape::Unspecified | v1::mix_schedule::Shape::Steps) => Shape::Steps,
            Ok(v1::mix_schedule::Shape::Linear) => Shape::Linear,
            Err(_) => return Err(unknown("a shape of schedules", wire.shape)),
        },
    })
}

fn sampling(wire: Option<v1::IdentitySampling>) -> Sampling {
    use v1::identity_sampling::Rule;
    match wire.and_then(|sampling| sampling.rule) {
        None | Some(Rule::ByImage(_)) => Sampling::ByImage,
        Some(Rule::ByIdentity(_)) => Sampling::ByIdentity,
        Some(Rule::PerBatch(per_batch)) => {
            Sampling::PerBatch { identities: per_batch.identities, images: per_batch.images }
        }
        Some(Rule::Weighted(weighted)) => Sampling::Weighted(weighted.weights),
        Some(Rule::Neighbours(v1::Neighbours { identities, images, neighbours, group })) => Sampling::Neighbours {
            identities,
            images,
            neighbours,
            group: if group == 0 { 4.min(identities).min(neighbours.saturating_add(1)) } else { group },
        },
        Some(Rule::ByLoss(v1::ByLoss { power, floor, cap, interval, before })) => Sampling::ByLoss(ByLoss {
            power: or(power, 1.0),
            floor: or(floor, 0.25),
            cap: or(cap, 4.0),
            interval: if interval == 0 { 100 } else { interval },
            before: match before {
                None | Some(v1::by_loss::Before::ByIdentity(_)) => Before::ByIdentity,
                Some(v1::by_loss::Before::ByImage(_)) => Before::ByImage,
            },
        }),
    }
}

/// A number, or its default where it is absent.
fn or(value: f64, default: f64) -> f64 {
    if value == 0.0 { default } else { value }
}

fn latent(wire: Option<v1::Latent>) -> Latent {
    use v1::latent::Kind;
    match wire.and_then(|latent| latent.kind) {
        None => Latent::Prior { truncation: 0.0 },
        Some(Kind::Prior(prior)) => Latent::Prior { truncation: prior.truncation },
        Some(Kind::Jitter(jitter)) => Latent::Jitter { scale: jitter.scale },
    }
}

fn channels(served: &Served, format: i32) -> Result<usize> {
    match v1::PixelFormat::try_from(format) {
        Ok(v1::PixelFormat::Unspecified) => Ok(served.channels),
        Ok(v1::PixelFormat::Grey) => Ok(1),
        Ok(v1::PixelFormat::Rgb) => Ok(3),
        Err(_) => Err(unknown("a pixel format", format)),
    }
}

fn place(wire: v1::Place, batch_size: u32) -> Result<Place> {
    let (rank, world_size) = (wire.rank, wire.world_size.max(1));
    if world_size > batch_size {
        return Err(Error::Request(format!(
            "expected a world size of at most the batch size {batch_size}, found {world_size}"
        )));
    }
    if rank >= world_size {
        return Err(Error::Request(format!("expected a rank below the world size {world_size}, found {rank}")));
    }
    let end = match wire.count {
        0 => Some(MAX_INDEX),
        count => wire.first_index.checked_add(count),
    };
    let Some(end) = end.filter(|&end| end <= MAX_INDEX && wire.first_index < MAX_INDEX) else {
        return Err(Error::Request(format!(
            "expected indices below 2^63, found {} batches from index {}",
            wire.count, wire.first_index
        )));
    };
    Ok(Place {
        indices: wire.first_index..end,
        rows: proto::rank_rows(batch_size, rank, world_size),
        rank,
        world_size,
        count: wire.count,
    })
}

/// A face to generate: whose, and from what.
pub(super) type FaceOf = (Vec<Parent>, LatentOf);

/// Faces to generate, and the channels asked for.
pub(super) fn faces(served: &Served, request: v1::SynthesizeRequest) -> Result<(Vec<FaceOf>, usize, Arc<Loaded>)> {
    // A request is over before a newer bundle could take over.
    let bundle = match bundles(served, request.bundle, 0)?.declared() {
        Some(bundles) => bundles.last().what.clone(),
        None => served.bundles.newest(),
    };
    let channels = channels(served, request.pixel_format)?;
    if channels > served.channels {
        let sentence = "colour pixels are asked for, but the bundle served makes grey images";
        return Err(plan::spec::SpecError::Unsuited(sentence.into()).into());
    }
    let (found, max) = (request.faces.len(), limits::MAX_FACES);
    if found == 0 || found > max as usize {
        return Err(Error::Request(format!("expected 1 to {max} faces, found {found}")));
    }
    let face = |(nth, face): (usize, v1::Face)| -> Result<FaceOf> {
        let parents = parents(served, nth, &face.parents)?;
        let latent = face.latent.ok_or_else(|| Error::Request(format!("face {nth}: expected a latent, found none")))?;
        Ok((parents, latent_of(nth, latent)?))
    };
    Ok((request.faces.into_iter().enumerate().map(face).collect::<Result<_>>()?, channels, bundle))
}

/// Pixels of images.
type Images = Vec<Bytes>;

/// Images to encode, as the bundle reads them.
pub(super) fn images(served: &Served, request: v1::EncodeRequest) -> Result<(Images, Arc<Loaded>)> {
    // A request is over before a newer bundle could take over.
    let bundle = match bundles(served, request.bundle, 0)?.declared() {
        Some(bundles) => bundles.last().what.clone(),
        None => served.bundles.newest(),
    };
    let unsuited = |sentence: &str| Err(plan::spec::SpecError::Unsuited(sentence.into()).into());
    if !bundle.facts.encoder {
        return unsuited("images can't be encoded, as the bundle served has no encoder; export it with one");
    }
    let (from, to) = (channels(served, request.pixel_format)?, served.channels);
    if from < to {
        return unsuited("grey images are to be encoded, but the bundle served looks at colour");
    }
    let (image, found, max) = (IMAGE_SIZE * IMAGE_SIZE * from, request.pixels.len(), limits::MAX_ENCODED as usize);
    if found == 0 || found % image != 0 || found / image > max {
        return Err(Error::Request(format!("expected 1 to {max} images of {image} bytes each, found {found} bytes")));
    }
    let converted = |pixels: &[u8]| {
        let mut converted = vec![0; IMAGE_SIZE * IMAGE_SIZE * to];
        convert(pixels, from, &mut converted, to)?;
        Ok(converted.into())
    };
    Ok((request.pixels.chunks_exact(image).map(converted).collect::<Result<_>>()?, bundle))
}

fn parents(served: &Served, nth: usize, wire: &[v1::Parent]) -> Result<Vec<Parent>> {
    let (found, max) = (wire.len(), limits::MAX_PARENTS);
    if found == 0 || found > max as usize {
        return Err(Error::Request(format!("face {nth}: expected 1 to {max} parents, found {found}")));
    }
    let identities = served.catalogue.identities();
    let mut seen = BTreeSet::new();
    for parent in wire {
        if parent.identity >= identities {
            let found = parent.identity;
            return Err(Error::OutOfRange(format!(
                "face {nth}: expected an identity below {identities}, found {found}"
            )));
        }
        if served.catalogue.images_of(parent.identity).is_empty() {
            let sentence = format!("face {nth}: identity {} is withheld or has no images here", parent.identity);
            return Err(plan::spec::SpecError::Unsuited(sentence).into());
        }
        if !seen.insert(parent.identity) {
            return Err(Error::Request(format!(
                "face {nth}: expected different parents, found {} twice",
                parent.identity
            )));
        }
        if !(parent.weight.is_finite() && parent.weight > 0.0) {
            let found = parent.weight;
            return Err(Error::Request(format!("face {nth}: expected finite weights above zero, found {found}")));
        }
    }
    Ok(normalized(wire))
}

/// Parents with weights that sum to 1. A stream's own weights, which do but for their rounding to
/// 32 bits, are left as they are: only then is the row made again to the last bit.
fn normalized(wire: &[v1::Parent]) -> Vec<Parent> {
    let sum: f64 = wire.iter().map(|parent| f64::from(parent.weight)).sum();
    let divisor = if (sum - 1.0).abs() < 1e-6 { 1.0 } else { sum };
    let weight = |wire: &v1::Parent| (f64::from(wire.weight) / divisor) as f32;
    wire.iter().map(|wire| Parent { identity: wire.identity, weight: weight(wire) }).collect()
}

fn latent_of(nth: usize, wire: v1::face::Latent) -> Result<LatentOf> {
    match wire {
        v1::face::Latent::Counter(v1::LatentCounter { seed, index, row, truncation }) => {
            check_truncation(truncation)?;
            Ok(LatentOf::Counter { seed, index, row, truncation })
        }
        v1::face::Latent::Vector(v1::LatentVector { values }) => {
            if values.len() != LATENT {
                let found = values.len();
                return Err(Error::Request(format!("face {nth}: expected {LATENT} latent values, found {found}")));
            }
            if let Some(found) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::Request(format!("face {nth}: expected finite latent values, found {found}")));
            }
            Ok(LatentOf::Vector(values))
        }
    }
}

/// Which of the bundles held a request wants for the batches from `first` on.
fn bundles(served: &Served, policy: Option<v1::BundlePolicy>, first: u64) -> Result<Wanted<Arc<Loaded>>> {
    use v1::bundle_policy::Policy;
    match policy.and_then(|policy| policy.policy) {
        None => Ok(Wanted::Closed(Declared::new(first, served.bundles.newest()))),
        Some(Policy::Pin(digest)) => Ok(Wanted::Closed(Declared::new(first, served.bundles.find(&digest)?))),
        Some(Policy::Follow(follow)) => {
            let entry = |wire: &v1::Takeover| Ok((wire.first_index, served.bundles.find(&wire.bundle_digest)?));
            let table = declared("bundles", &follow.declared, |wire| wire.first_index, entry, first, None)?;
            match (table, follow.closed) {
                (Some(table), true) => Ok(Wanted::Closed(table)),
                (None, true) => Err(Error::Request("expected a table of bundles that is closed, found none".into())),
                (table, false) => Ok(Wanted::Follow(table)),
            }
        }
    }
}

/// Which sampling tables a stream wants, and how it follows them.
#[allow(clippy::type_complexity, reason = "named nowhere else")]
fn tables(
    served: &Served,
    spec: &Spec,
    wire: Option<v1::Tables>,
    first: u64,
) -> Result<(Wanted<Option<Arc<Table>>>, Option<Steered>)> {
    let Sampling::ByLoss(rule) = &spec.sampling else {
        return match wire {
            None => Ok((Wanted::Closed(Declared::new(first, None)), None)),
            Some(_) => Err(Error::Request(
                "expected no sampling tables where identities aren't chosen by loss, found some".into(),
            )),
        };
    };
    let wire = wire.unwrap_or_default();
    let (most, had) = (limits::max_tables(served.catalogue.identities()), wire.past as usize + wire.declared.len());
    if had > most {
        return Err(Error::Request(format!(
            "expected at most {most} sampling tables over so many identities, found {had}"
        )));
    }
    let entry = |wire: &v1::TableTakeover| {
        let table = Table::read(&wire.weights, rule, &served.catalogue)?;
        if table.digest() != wire.table_digest {
            let (expected, found) = (quoted(&wire.table_digest), table.digest());
            return Err(Error::Request(format!("expected a sampling table with digest {expected}, found {found}")));
        }
        Ok((wire.first_index, Some(Arc::new(table))))
    };
    // Before the first table there is none.
    let declared = declared("sampling tables", &wire.declared, |wire| wire.first_index, entry, first, Some(None))?;
    let wanted = match wire.closed {
        true => Wanted::Closed(declared.unwrap_or_else(|| Declared::new(first, None))),
        false => Wanted::Follow(declared),
    };
    Ok((wanted, Some(Steered { rule: *rule, catalogue: served.catalogue.clone(), had })))
}

/// What is declared, from the entry on that makes batch `first`. `before` makes the batches before the
/// first entry, where anything may.
fn declared<W, T>(
    what: &str,
    wire: &[W],
    index: impl Fn(&W) -> u64,
    read: impl Fn(&W) -> Result<(u64, T)>,
    first: u64,
    before: Option<T>,
) -> Result<Option<Declared<T>>> {
    let (found, max) = (wire.len(), limits::MAX_TAKEOVERS);
    if found > max {
        return Err(Error::Request(format!(
            "expected at most {max} entries in the table of {what}, found {found}; leave out those that are past"
        )));
    }
    if let Some(pair) = wire.windows(2).find(|pair| index(&pair[0]) >= index(&pair[1])) {
        let (one, next) = (index(&pair[0]), index(&pair[1]));
        return Err(Error::Request(format!("expected ascending indices in the table of {what}, found {one}, {next}")));
    }
    let Some(begin) = wire.first() else { return Ok(None) };
    let past = wire.partition_point(|entry| index(entry) <= first);
    let mut declared = match (past.checked_sub(1).map(|nth| &wire[nth]), before) {
        (Some(last_past), _) => {
            let (first, what) = read(last_past)?;
            Declared::new(first, what)
        }
        (None, Some(before)) => Declared::new(first, before),
        (None, None) => {
            let found = index(begin);
            return Err(Error::Request(format!(
                "expected a table of {what} that begins at batch {first} or before, found {found}"
            )));
        }
    };
    for wire in &wire[past..] {
        let (first, what) = read(wire)?;
        declared = declared.then(Entry { first, what });
    }
    Ok(Some(declared))
}

/// A trainer's name, which may be empty.
pub(super) fn trainer(name: &str) -> Result<&str> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.len() > limits::MAX_TRAINER_NAME || !name.chars().all(allowed) {
        let max = limits::MAX_TRAINER_NAME;
        return Err(Error::Request(format!(
            "expected a trainer name of at most {max} letters, digits, `-`, `_` and `.`, found {:?}",
            quoted(name)
        )));
    }
    Ok(name)
}

/// A checked report.
pub(super) struct Report {
    pub(super) trainer: String,
    /// In seconds.
    pub(super) waits: Vec<f32>,
    /// Digest of a spec, and losses by identity.
    pub(super) losses: Option<([u8; 32], Vec<Reported>)>,
}

/// What a trainer saw.
pub(super) fn report(served: &Served, request: v1::ReportRequest) -> Result<Report> {
    let (waits, max) = (&request.wait_seconds, limits::MAX_REPORTED_WAITS);
    if waits.len() > max {
        return Err(Error::Request(format!("expected at most {max} wait times, found {}", waits.len())));
    }
    if let Some(wait) = waits.iter().find(|wait| !(wait.is_finite() && **wait >= 0.0)) {
        return Err(Error::Request(format!("expected wait times that are finite and not negative, found {wait}")));
    }
    trainer(&request.trainer)?;
    let losses = losses(served, &request)?;
    Ok(Report { trainer: request.trainer, waits: request.wait_seconds, losses })
}

/// The spec and the losses of a report, if it has any.
fn losses(served: &Served, request: &v1::ReportRequest) -> Result<Option<([u8; 32], Vec<Reported>)>> {
    let v1::ReportRequest { spec_digest, identities, losses, rows, .. } = request;
    let (found, max) = (identities.len(), limits::MAX_BY_LOSS as usize);
    if (losses.len(), rows.len()) != (found, found) {
        let (losses, rows) = (losses.len(), rows.len());
        return Err(Error::Request(format!(
            "expected a loss and a number of rows for each of {found} identities, found {losses} and {rows}"
        )));
    }
    if spec_digest.is_empty() && found == 0 {
        return Ok(None);
    }
    let Ok(spec) = <[u8; 32]>::try_from(&spec_digest[..]) else {
        let found = spec_digest.len();
        return Err(Error::Request(format!("expected the 32 bytes of a spec's digest with losses, found {found}")));
    };
    if request.trainer.is_empty() {
        return Err(Error::Request("expected a trainer's name with losses, found none".into()));
    }
    if found > max {
        return Err(Error::Request(format!("expected losses of at most {max} identities, found {found}")));
    }
    let count = served.catalogue.identities();
    let reported = |nth: usize| {
        let Reported { identity, loss, rows } =
            Reported { identity: identities[nth], loss: losses[nth], rows: rows[nth] };
        if identity >= count {
            return Err(Error::OutOfRange(format!("expected losses of identities below {count}, found {identity}")));
        }
        if !(loss.is_finite() && loss >= 0.0) || rows == 0 {
            return Err(Error::Request(format!(
                "expected losses that are finite and not negative, over at least one row each, found {loss} over {rows}"
            )));
        }
        Ok(Reported { identity, loss, rows })
    };
    Ok(Some((spec, (0..found).map(reported).collect::<Result<_>>()?)))
}

const DATASET_REMEDY: &str = "serve the dataset that the stream was begun with";
const NUMERICS_REMEDY: &str =
    "generated pixels may differ in the last bit; ask a server of that class, or ask without naming one to accept it";

/// Whether what the trainer names, if anything, is what is served.
fn expect(what: &'static str, expected: &str, found: &str, remedy: &'static str) -> Result<()> {
    if expected.is_empty() || expected == found {
        return Ok(());
    }
    Err(Error::Expectation { what, expected: quoted(expected), found: found.into(), remedy })
}

fn unknown(what: &str, found: i32) -> Error {
    Error::Request(format!("expected {what} that this server knows, found number {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_stream_stay_as_they_are_and_others_come_to_sum_to_one() {
        let read = |weights: &[f32]| -> Vec<f32> {
            let parents = weights.iter().map(|&weight| v1::Parent { identity: 0, weight }).collect::<Vec<_>>();
            normalized(&parents).iter().map(|parent| parent.weight).collect()
        };
        // Sums to 1 + 2^-25: divided, the last bits of some change.
        let sent = [0.4, 0.3, 0.2, 0.1 + f32::EPSILON / 4.0];
        assert_eq!(read(&sent), sent);
        let third = 1.0f32 / 3.0;
        assert_eq!(read(&[third, third, third]), [third; 3]);
        assert_eq!(read(&[3.0, 1.0]), [0.75, 0.25]);
    }
}
