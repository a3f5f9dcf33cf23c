//! Specs as the messages that servers read and echo.

use super::{
    Augmentation, Before, Blending, ByLoss, Channels, Filter, Latent, Mix, MixPoint, Sampling, Schedule, Shape, Spec,
};
use proto::v1::{self, identity_sampling::Rule, latent::Kind};

impl From<&Spec> for v1::StreamSpec {
    fn from(spec: &Spec) -> Self {
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
        let augmentation = match spec.augmentation {
            Augmentation::Standard => v1::Augmentation::Standard,
            Augmentation::Off => v1::Augmentation::Off,
        };
        let format = match spec.channels {
            None => v1::PixelFormat::Unspecified,
            Some(Channels::Grey) => v1::PixelFormat::Grey,
            Some(Channels::Rgb) => v1::PixelFormat::Rgb,
        };
        let Mix { real, existing, blended } = spec.mix;
        let schedule = (!spec.schedule.is_empty()).then(|| (&spec.schedule).into());
        Self {
            seed: spec.seed,
            batch_size: spec.batch_size,
            mix: Some(v1::Mix { real, existing, blended, schedule }),
            identities: Some(v1::IdentitySampling { rule: Some(rule) }),
            blending: Some(v1::Blending {
                count: spec.blending.count.unwrap_or(0),
                parents: spec.blending.parents,
                alpha: spec.blending.alpha,
                max_weight: spec.blending.max_weight,
                seed: spec.blending.seed,
                max_similarity: spec.blending.max_similarity,
                spread: spec.blending.spread,
            }),
            latent: Some(v1::Latent { kind: Some(kind) }),
            augmentation: augmentation.into(),
            pixel_format: format.into(),
            centres_digest: spec.centres.clone().unwrap_or_default(),
            filter: spec.filter.map(|Filter { min_similarity, max_retries }| v1::IdentityFilter {
                min_similarity,
                max_retries: Some(max_retries),
            }),
        }
    }
}

impl From<&Schedule> for v1::MixSchedule {
    fn from(schedule: &Schedule) -> Self {
        let point = |point: &MixPoint| {
            let Mix { real, existing, blended } = point.mix;
            v1::MixPoint { index: point.index, real, existing, blended }
        };
        let shape = match schedule.shape() {
            Shape::Steps => v1::mix_schedule::Shape::Steps,
            Shape::Linear => v1::mix_schedule::Shape::Linear,
        };
        Self { points: schedule.points().iter().map(point).collect(), shape: shape.into() }
    }
}

impl TryFrom<v1::MixSchedule> for Schedule {
    type Error = String;

    fn try_from(schedule: v1::MixSchedule) -> Result<Self, String> {
        let point = |point: v1::MixPoint| {
            let v1::MixPoint { index, real, existing, blended } = point;
            MixPoint { index, mix: Mix { real, existing, blended } }
        };
        let shape = match v1::mix_schedule::Shape::try_from(schedule.shape) {
            Ok(v1::mix_schedule::Shape::Linear) => Shape::Linear,
            Ok(v1::mix_schedule::Shape::Steps) => Shape::Steps,
            _ if schedule.points.is_empty() => Shape::default(),
            _ => return Err("expected a shape of the mix's schedule, found none".to_owned()),
        };
        Self::new(schedule.points.into_iter().map(point).collect(), shape)
    }
}

impl TryFrom<v1::StreamSpec> for Spec {
    type Error = String;

    /// Of a spec with every default written out, as a header holds it.
    fn try_from(spec: v1::StreamSpec) -> Result<Self, String> {
        let missing = |what: &str| format!("expected a spec with every default written out, found none for {what}");
        let mix = spec.mix.ok_or_else(|| missing("the mix"))?;
        let blending = spec.blending.ok_or_else(|| missing("blending"))?;
        let rule = spec.identities.and_then(|identities| identities.rule);
        let kind = spec.latent.and_then(|latent| latent.kind);
        Ok(Self {
            seed: spec.seed,
            batch_size: spec.batch_size,
            mix: Mix { real: mix.real, existing: mix.existing, blended: mix.blended },
            schedule: mix.schedule.unwrap_or_default().try_into()?,
            sampling: match rule.ok_or_else(|| missing("identity sampling"))? {
                Rule::ByImage(_) => Sampling::ByImage,
                Rule::ByIdentity(_) => Sampling::ByIdentity,
                Rule::PerBatch(v1::PerBatch { identities, images }) => Sampling::PerBatch { identities, images },
                Rule::Weighted(weighted) => Sampling::Weighted(weighted.weights),
                Rule::Neighbours(v1::Neighbours { identities, images, neighbours, group }) => {
                    Sampling::Neighbours { identities, images, neighbours, group }
                }
                Rule::ByLoss(v1::ByLoss { power, floor, cap, interval, before }) => Sampling::ByLoss(ByLoss {
                    power,
                    floor,
                    cap,
                    interval,
                    before: match before.ok_or_else(|| missing("sampling before the first table"))? {
                        v1::by_loss::Before::ByIdentity(_) => Before::ByIdentity,
                        v1::by_loss::Before::ByImage(_) => Before::ByImage,
                    },
                }),
            },
            blending: Blending {
                count: Some(blending.count),
                parents: blending.parents,
                alpha: blending.alpha,
                max_weight: blending.max_weight,
                seed: blending.seed,
                max_similarity: blending.max_similarity,
                spread: blending.spread,
            },
            latent: match kind.ok_or_else(|| missing("the latent"))? {
                Kind::Prior(prior) => Latent::Prior { truncation: prior.truncation },
                Kind::Jitter(jitter) => Latent::Jitter { scale: jitter.scale },
            },
            augmentation: match v1::Augmentation::try_from(spec.augmentation) {
                Ok(v1::Augmentation::Standard) => Augmentation::Standard,
                Ok(v1::Augmentation::Off) => Augmentation::Off,
                _ => return Err(missing("augmentation")),
            },
            channels: match v1::PixelFormat::try_from(spec.pixel_format) {
                Ok(v1::PixelFormat::Grey) => Some(Channels::Grey),
                Ok(v1::PixelFormat::Rgb) => Some(Channels::Rgb),
                _ => return Err(missing("the pixel format")),
            },
            centres: Some(spec.centres_digest).filter(|digest| !digest.is_empty()),
            filter: match spec.filter {
                None => None,
                Some(v1::IdentityFilter { min_similarity, max_retries: Some(max_retries) }) => {
                    Some(Filter { min_similarity, max_retries })
                }
                Some(_) => return Err(missing("the filter's retries")),
            },
        })
    }
}
