//! The spec of a request as the planner knows it.

use super::{channels, unknown};
use crate::{
    error::{Error, Result},
    plan::spec::{Before, BlendingSpec, ByLoss, Filter, Latent, Mix, Point, Sampling, Schedule, Shape, Spec},
    served::Served,
};
use proto::{limits, v1};

/// A spec with its defaults written out, not yet checked.
pub(super) fn spec(served: &Served, wire: Option<v1::StreamSpec>) -> Result<Spec> {
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
            max_similarity: unsigned(blending.max_similarity),
            spread: unsigned(blending.spread),
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

/// A number whose zero has no sign: two zeros are one spec, and have one digest.
fn unsigned(value: f64) -> f64 {
    value + 0.0
}

fn latent(wire: Option<v1::Latent>) -> Latent {
    use v1::latent::Kind;
    match wire.and_then(|latent| latent.kind) {
        None => Latent::Prior { truncation: 0.0 },
        Some(Kind::Prior(prior)) => Latent::Prior { truncation: unsigned(prior.truncation) },
        Some(Kind::Jitter(jitter)) => Latent::Jitter { scale: unsigned(jitter.scale) },
    }
}
