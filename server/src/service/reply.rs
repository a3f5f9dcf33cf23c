//! Answers as wire messages.

use super::request::{Classes, Place};
use crate::{
    assemble::Batch,
    bundles::{BundleFacts, declared::Course},
    error::{Error, Result},
    plan::{
        self, Planner,
        spec::{Before, ByLoss, Latent, Sampling, Schedule, Shape, Spec},
        table::Table,
    },
    served::Served,
    session::Parting,
};
use bytes::Bytes;
use nets::{FEATURE, LATENT, pixels::IMAGE_SIZE};
use proto::{limits, v1};

/// What a stream is, every default written out.
pub(super) fn header(
    served: &Served,
    planner: &Planner,
    spec_digest: &[u8; 32],
    place: &Place,
    course: &Course,
) -> v1::StreamHeader {
    let Course { bundles, tables } = course;
    v1::StreamHeader {
        spec: Some(spec(planner.spec())),
        place: Some(v1::Place {
            first_index: place.indices.start,
            count: place.count,
            rank: place.rank,
            world_size: place.world_size,
        }),
        dataset_digest: served.dataset_digest.clone(),
        bundle_digest: bundles.at(place.indices.start).digest().to_owned(),
        declared: bundles.entries().iter().map(|entry| takeover(entry.first, entry.what.digest())).collect(),
        tables: tables.entries().iter().filter_map(|entry| Some(table(entry.first, entry.what.as_ref()?))).collect(),
        spec_digest: Bytes::copy_from_slice(spec_digest),
        numerics: served.numerics.clone(),
        plan_version: plan::VERSION,
        identities: served.catalogue.identities(),
        classes: planner.classes(),
        image: Some(shape(planner.spec().channels)),
        server_version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// That a bundle takes over.
pub(super) fn takeover(first_index: u64, bundle_digest: &str) -> v1::Takeover {
    v1::Takeover { first_index, bundle_digest: bundle_digest.to_owned() }
}

/// That a stream ends before its time, and where it goes on.
pub(super) fn farewell(next_index: u64, parting: Parting) -> v1::Farewell {
    use v1::farewell::Why;
    let why = match parting {
        Parting::Shutdown => Why::Shutdown,
        Parting::Lease => Why::Lease,
    };
    v1::Farewell { next_index, why: why.into() }
}

/// That a sampling table takes effect.
pub(super) fn table(first_index: u64, table: &Table) -> v1::TableTakeover {
    v1::TableTakeover { first_index, table_digest: table.digest().to_owned(), weights: table.to_bytes().into() }
}

fn spec(spec: &Spec) -> v1::StreamSpec {
    use v1::{identity_sampling::Rule, latent::Kind};
    let rule = match &spec.sampling {
        Sampling::ByImage => Rule::ByImage(v1::ByImage {}),
        Sampling::ByIdentity => Rule::ByIdentity(v1::ByIdentity {}),
        &Sampling::PerBatch { identities, images } => Rule::PerBatch(v1::PerBatch { identities, images }),
        Sampling::Weighted(weights) => Rule::Weighted(v1::Weighted { weights: weights.clone() }),
        &Sampling::Neighbours { identities, images, neighbours, group } => {
            Rule::Neighbours(v1::Neighbours { identities, images, neighbours, group })
        }
        &Sampling::ByLoss(ByLoss { power, floor, cap, interval, before }) => {
            let before = Some(match before {
                Before::ByIdentity => v1::by_loss::Before::ByIdentity(v1::ByIdentity {}),
                Before::ByImage => v1::by_loss::Before::ByImage(v1::ByImage {}),
            });
            Rule::ByLoss(v1::ByLoss { power, floor, cap, interval, before })
        }
    };
    let kind = match spec.latent {
        Latent::Prior { truncation } => Kind::Prior(v1::Prior { truncation }),
        Latent::Jitter { scale } => Kind::Jitter(v1::Jitter { scale }),
    };
    let augmentation = if spec.augmented { v1::Augmentation::Standard } else { v1::Augmentation::Off };
    let format = if spec.channels == 3 { v1::PixelFormat::Rgb } else { v1::PixelFormat::Grey };
    v1::StreamSpec {
        seed: spec.seed,
        batch_size: spec.batch_size,
        mix: Some(v1::Mix {
            real: spec.mix.real,
            existing: spec.mix.existing,
            blended: spec.mix.blended,
            schedule: schedule(&spec.schedule),
        }),
        identities: Some(v1::IdentitySampling { rule: Some(rule) }),
        blending: Some(v1::Blending {
            count: spec.blending.count,
            parents: spec.blending.parents,
            alpha: spec.blending.alpha,
            max_weight: spec.blending.max_weight,
            seed: Some(spec.blending.seed),
            max_similarity: spec.blending.max_similarity,
            spread: spec.blending.spread,
        }),
        latent: Some(v1::Latent { kind: Some(kind) }),
        augmentation: augmentation.into(),
        pixel_format: format.into(),
        centres_digest: spec.centres.clone().unwrap_or_default(),
        filter: spec.filter.map(|filter| v1::IdentityFilter {
            min_similarity: filter.min_similarity,
            max_retries: Some(filter.max_retries),
        }),
    }
}

fn schedule(schedule: &Schedule) -> Option<v1::MixSchedule> {
    let shape = match schedule.shape {
        Shape::Steps => v1::mix_schedule::Shape::Steps,
        Shape::Linear => v1::mix_schedule::Shape::Linear,
    };
    let point = |point: &plan::spec::Point| v1::MixPoint {
        index: point.index,
        real: point.mix.real,
        existing: point.mix.existing,
        blended: point.mix.blended,
    };
    let points: Vec<_> = schedule.points.iter().map(point).collect();
    (!points.is_empty()).then(|| v1::MixSchedule { points, shape: shape.into() })
}

/// A page of classes.
pub(super) fn manifest(served: &Served, asked: &Classes) -> v1::ManifestResponse {
    let Classes { spec, blending, page, bundle } = asked;
    let identities = served.catalogue.identities();
    let classes = spec.classes(identities);
    let entry = |class: u32| match class.checked_sub(identities) {
        None => v1::ManifestEntry {
            class,
            shown: spec.shows(class, &served.catalogue),
            name: served.names.get(class as usize).cloned().unwrap_or_default(),
            images: served.catalogue.images_of(class).len() as u32,
            ..v1::ManifestEntry::default()
        },
        Some(j) => {
            let parents = blending.parents(j);
            v1::ManifestEntry {
                class,
                shown: blending.can_show(j),
                parents: parents.iter().map(|parent| parent.identity).collect(),
                weights: parents.iter().map(|parent| parent.weight).collect(),
                ..v1::ManifestEntry::default()
            }
        }
    };
    v1::ManifestResponse {
        identities,
        blended: classes - identities,
        classes,
        entries: page.clone().map(entry).collect(),
        dataset_digest: served.dataset_digest.clone(),
        bundle_digest: bundle.digest().to_owned(),
        plan_version: plan::VERSION,
        spec: Some(self::spec(spec)),
    }
}

/// A batch; its pixels are shared, not copied.
pub(super) fn batch(batch: &Batch) -> v1::Batch {
    v1::Batch {
        labels: batch.labels.clone(),
        sources: batch.sources.iter().map(|source| source.number()).collect(),
        provenance: Some(v1::Provenance {
            images: batch.images.clone(),
            parents: batch.parents.clone(),
            parent_weights: batch.parent_weights.clone(),
            latent_rows: batch.latent_rows.clone(),
            replaced_rows: batch.replaced.clone(),
            similarities: batch.similarities.clone(),
            doubtful_rows: batch.doubtful.clone(),
        }),
        pixels: batch.pixels.clone(),
        ..digests(batch)
    }
}

/// What names a batch, without what is in it.
pub(super) fn digests(batch: &Batch) -> v1::Batch {
    v1::Batch {
        index: batch.index,
        rows: batch.labels.len() as u32,
        first_row: batch.first_row,
        bundle_digest: batch.bundle.clone(),
        table_digest: batch.table.clone(),
        digest: batch.digest.clone(),
        ..v1::Batch::default()
    }
}

/// What is served, with a page of names.
pub(super) fn info(served: &Served, request: &v1::GetInfoRequest) -> Result<v1::GetInfoResponse> {
    let identities = served.catalogue.identities();
    let first = request.first_identity;
    if first > identities {
        return Err(Error::OutOfRange(format!("expected a first identity of at most {identities}, found {first}")));
    }
    let names = served.names.iter().skip(first as usize).take(request.names.min(limits::MAX_NAMES) as usize);
    let bundles: Vec<v1::BundleInfo> = served.bundles.all().iter().map(|held| bundle(&held.facts)).collect();
    Ok(v1::GetInfoResponse {
        image: Some(shape(served.channels)),
        identities,
        names: names.cloned().collect(),
        images: served.catalogue.images().into(),
        dataset_digest: served.dataset_digest.clone(),
        bundle: bundles.first().cloned(),
        bundles,
        max_bundles: u32::try_from(served.bundles.most()).unwrap_or(u32::MAX),
        numerics: served.numerics.clone(),
        limits: Some(v1::Limits {
            max_batch_size: limits::MAX_BATCH_SIZE,
            min_parents: limits::MIN_PARENTS,
            max_parents: limits::MAX_PARENTS,
            max_blended: limits::MAX_BLENDED,
            max_message_bytes: limits::MAX_MESSAGE_BYTES as u64,
            max_faces: limits::MAX_FACES,
            max_names: limits::MAX_NAMES,
            max_streams: u32::try_from(served.config.max_streams).unwrap_or(u32::MAX),
            max_request_bytes: limits::MAX_REQUEST_BYTES as u64,
            max_takeovers: limits::MAX_TAKEOVERS as u32,
            max_mix_points: limits::MAX_MIX_POINTS as u32,
            max_mix_index: limits::MAX_MIX_INDEX,
            max_manifest: limits::MAX_MANIFEST,
            max_neighbours: limits::MAX_NEIGHBOURS,
            max_by_loss: limits::MAX_BY_LOSS,
            max_tables: limits::MAX_TABLES as u32,
            max_table_bytes: limits::MAX_TABLE_BYTES as u64,
            max_spread: limits::MAX_SPREAD,
        }),
        plan_version: plan::VERSION,
        server_version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// Facts about weights.
pub(super) fn bundle(facts: &BundleFacts) -> v1::BundleInfo {
    v1::BundleInfo {
        digest: facts.digest.clone(),
        architecture: facts.architecture.clone(),
        images_seen: facts.images_seen,
        dataset_digest: facts.dataset_digest.clone(),
        encoder: facts.encoder,
    }
}

/// Generated images.
pub(super) fn synthesized(
    served: &Served,
    bundle_digest: &str,
    rows: usize,
    channels: usize,
    pixels: Vec<u8>,
) -> v1::SynthesizeResponse {
    v1::SynthesizeResponse {
        image: Some(shape(channels)),
        rows: rows as u32,
        bundle_digest: bundle_digest.to_owned(),
        numerics: served.numerics.clone(),
        pixels: pixels.into(),
    }
}

/// What was seen in images: encodings of 512 numbers and features of 256 for each.
pub(super) fn encoded(
    served: &Served,
    bundle_digest: &str,
    encodings: &[f32],
    features: Vec<f32>,
) -> v1::EncodeResponse {
    let half = |begin: usize| -> Vec<f32> {
        encodings.chunks_exact(2 * LATENT).flat_map(|encoding| &encoding[begin..][..LATENT]).copied().collect()
    };
    v1::EncodeResponse {
        rows: (features.len() / FEATURE) as u32,
        bundle_digest: bundle_digest.to_owned(),
        numerics: served.numerics.clone(),
        mu: half(0),
        logvar: half(LATENT),
        features,
    }
}

fn shape(channels: usize) -> v1::ImageShape {
    v1::ImageShape { height: IMAGE_SIZE as u32, width: IMAGE_SIZE as u32, channels: channels as u32 }
}
