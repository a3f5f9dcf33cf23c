//! What a trainer asks for, with every default resolved, and what makes it impossible.

use super::{blending::Blending, catalogue::Catalogue, centres::Centres};
use proto::limits;
use std::sync::Arc;

/// What the batches of a stream are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Key of every random choice.
    pub seed: u64,
    /// Rows of a global batch.
    pub batch_size: u32,
    /// Shares of the sources: of all batches, or of the first one.
    pub mix: Mix,
    /// Other shares from later batches on.
    pub schedule: Schedule,
    /// How identities are chosen for real and existing rows.
    pub sampling: Sampling,
    /// The invented identities.
    pub blending: BlendingSpec,
    /// Where generated rows take their latent from.
    pub latent: Latent,
    /// Whether rows are flipped and shifted.
    pub augmented: bool,
    /// Channels of the pixels sent.
    pub channels: usize,
    /// Digest of the centres that tell who is near whom, where the spec [asks](Self::asks_who_is_near).
    pub centres: Option<String>,
    /// How much generated rows must look like whom they should show.
    pub filter: Option<Filter>,
}

/// Weights of the sources; only their ratios count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// Weight of [`super::Source::Real`].
    pub real: f64,
    /// Weight of [`super::Source::Existing`].
    pub existing: f64,
    /// Weight of [`super::Source::Blended`].
    pub blended: f64,
}

/// Shares that change over the index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// By ascending index. None: the mix stays as it is.
    pub points: Vec<Point>,
    /// What the shares are between them.
    pub shape: Shape,
}

/// Shares at an index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Which batch has them.
    pub index: u64,
    /// The shares.
    pub mix: Mix,
}

/// What shares are between the points of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Those of the point before.
    #[default]
    Steps,
    /// On the straight line to the next point.
    Linear,
}

/// How identities are chosen for real and existing rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Sampling {
    /// Every image equally often.
    ByImage,
    /// Every identity equally often.
    ByIdentity,
    /// So many identities with so many images each in a batch.
    PerBatch {
        /// P.
        identities: u32,
        /// K.
        images: u32,
    },
    /// By a weight for each identity.
    Weighted(Vec<f64>),
    /// As `PerBatch`, of people who look alike.
    Neighbours {
        /// P.
        identities: u32,
        /// K.
        images: u32,
        /// Nearest of an anchor, among whom its group is drawn.
        neighbours: u32,
        /// People of a group, its anchor among them.
        group: u32,
    },
    /// By tables of the losses that the trainer reports.
    ByLoss(ByLoss),
}

impl Sampling {
    /// P and K, where a batch has so many identities with so many rows each.
    pub fn per_batch(&self) -> Option<(u32, u32)> {
        match *self {
            Self::PerBatch { identities, images } | Self::Neighbours { identities, images, .. } => {
                Some((identities, images))
            }
            _ => None,
        }
    }
}

/// How sampling tables are made of losses. Shares are in equal parts: 1 is that of everybody where
/// nobody differs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByLoss {
    /// How steeply losses become shares.
    pub power: f64,
    /// The least share.
    pub floor: f64,
    /// The largest share.
    pub cap: f64,
    /// Batches from one table to the next, at least.
    pub interval: u32,
    /// The rule before the first table.
    pub before: Before,
}

/// How identities are chosen before the first sampling table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// As [`Sampling::ByIdentity`].
    ByIdentity,
    /// As [`Sampling::ByImage`].
    ByImage,
}

/// The invented identities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlendingSpec {
    /// How many there are.
    pub count: u32,
    /// Identities mixed into each.
    pub parents: u32,
    /// Concentration of the Dirichlet distribution of their weights.
    pub alpha: f64,
    /// The largest weight allowed.
    pub max_weight: f64,
    /// Key of parents and weights.
    pub seed: u64,
    /// The largest cosine of a blended centre with any identity's; 0 for any.
    pub max_similarity: f64,
    /// How far they are led away from the average person: the power in [`reach`](dataset::blended::label::reach).
    pub spread: f64,
}

/// Where generated rows take their latent from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latent {
    /// A standard normal vector.
    Prior {
        /// Components beyond this are drawn again; 0 for none.
        truncation: f64,
    },
    /// Around the encoding of a real image.
    Jitter {
        /// Multiple of the posterior's standard deviation.
        scale: f64,
    },
}

impl Latent {
    /// Whether real images must be encoded.
    pub fn is_jitter(&self) -> bool {
        matches!(self, Self::Jitter { .. })
    }
}

/// Which generated rows are made again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    /// The least cosine of a row with the person it should show.
    pub min_similarity: f64,
    /// Further tries of a row.
    pub max_retries: u32,
}

impl Filter {
    /// Whether a row with this cosine is good enough.
    pub fn passes(&self, similarity: f32) -> bool {
        f64::from(similarity) >= self.min_similarity
    }

    fn check(&self) -> Result<(), SpecError> {
        let (least, most) = (self.min_similarity, limits::MAX_RETRIES);
        require((-1.0..=1.0).contains(&least), || format!("expected a least similarity of -1 to 1, found {least}"))?;
        require(self.max_retries <= most, || {
            format!("expected at most {most} retries of a row, found {}", self.max_retries)
        })
    }
}

/// Why no stream can be made of a spec. The text names what was expected and what was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// The spec is wrong in itself, or for a dataset of this size.
    #[error("{0}")]
    Invalid(String),
    /// The spec is right, but not for this dataset or bundle.
    #[error("{0}")]
    Unsuited(String),
}

impl Spec {
    /// Classes of the stream over a dataset of so many identities: those, and the blended ones
    /// when the mix has any in some batch.
    pub fn classes(&self, identities: u32) -> u32 {
        identities + if self.has_blended() { self.blending.count } else { 0 }
    }

    /// Whether any batch has blended rows.
    pub fn has_blended(&self) -> bool {
        self.mixes().any(|mix| mix.blended > 0.0)
    }

    /// Whether real or existing rows can be of an identity.
    pub fn shows(&self, identity: u32, catalogue: &Catalogue) -> bool {
        let given = match &self.sampling {
            Sampling::Weighted(weights) => weights.get(identity as usize).is_some_and(|&weight| weight > 0.0),
            _ => true,
        };
        let shown = self.mixes().any(|mix| mix.real > 0.0 || mix.existing > 0.0);
        shown && given && !catalogue.images_of(identity).is_empty()
    }

    /// The mix of batch 0, then those of the schedule's points.
    pub fn mixes(&self) -> impl Iterator<Item = &Mix> {
        std::iter::once(&self.mix).chain(self.schedule.points.iter().map(|point| &point.mix))
    }

    /// Whether it depends on who is near whom, and so on class centres.
    pub fn asks_who_is_near(&self) -> bool {
        let guarded = self.has_blended() && self.blending.max_similarity > 0.0;
        guarded || matches!(self.sampling, Sampling::Neighbours { .. })
    }

    /// Names the spec: equal for equal specs, and for no others.
    pub fn digest(&self) -> [u8; 32] {
        // Debug writes floating-point numbers so that they read back the same.
        *blake3::hash(format!("{self:?}").as_bytes()).as_bytes()
    }

    /// Checks the spec against what is served; `centres` are those that it names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(
        &self,
        catalogue: &Arc<Catalogue>,
        centres: Option<&Arc<Centres>>,
        bundle_channels: usize,
        encoder: bool,
    ) -> Result<(), SpecError> {
        self.check_batch()?;
        self.check_schedule()?;
        for mix in self.mixes() {
            mix.check(catalogue)?;
        }
        self.check_sampling(catalogue)?;
        if self.asks_who_is_near() && centres.is_none() {
            return Err(SpecError::Unsuited("class centres are needed, and the spec names none".into()));
        }
        if self.has_blended() {
            self.blending.check(catalogue)?;
            if let Some((identities, _)) = self.sampling.per_batch() {
                let count = self.blending.count;
                require(identities <= count, || {
                    format!(
                        "expected at most the {count} blended identities in a batch, found {identities}; ask for more of them"
                    )
                })?;
            }
            let is_possible = |centres| Blending::new(self, catalogue.clone(), centres).is_possible();
            if !is_possible(None) {
                return Err(SpecError::Unsuited(
                    "too few blended identities have parents with images only; withhold fewer identities, blend fewer parents or ask for more blended identities".into(),
                ));
            }
            if !is_possible(centres.cloned()) {
                return Err(SpecError::Unsuited(format!(
                    "too few blended identities have a similarity of at most {} to everybody real; allow a larger one, blend more parents or lower their largest weight",
                    self.blending.max_similarity
                )));
            }
        }
        self.check_latent(encoder)?;
        self.filter.as_ref().map_or(Ok(()), Filter::check)?;
        if self.channels > bundle_channels {
            return Err(SpecError::Unsuited(
                "colour pixels are asked for, but the bundle served makes grey images".into(),
            ));
        }
        Ok(())
    }

    /// Checks the batch size alone.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn check_batch(&self) -> Result<(), SpecError> {
        let (size, max) = (self.batch_size, limits::MAX_BATCH_SIZE);
        require((1..=max).contains(&size), || format!("expected a batch size of 1 to {max}, found {size}"))
    }

    fn check_schedule(&self) -> Result<(), SpecError> {
        let (found, most, last) = (self.schedule.points.len(), limits::MAX_MIX_POINTS, limits::MAX_MIX_INDEX);
        require(found <= most, || format!("expected at most {most} points in the schedule of a mix, found {found}"))?;
        let mut least = 1;
        for point in &self.schedule.points {
            let index = point.index;
            require((least..=last).contains(&index), || {
                format!("expected points of a mix at ascending indices from 1 to {last}, found {index}")
            })?;
            least = index + 1;
        }
        Ok(())
    }

    fn check_sampling(&self, catalogue: &Catalogue) -> Result<(), SpecError> {
        match &self.sampling {
            Sampling::ByImage | Sampling::ByIdentity => Ok(()),
            Sampling::ByLoss(rule) => rule.check(catalogue),
            &Sampling::PerBatch { identities, images } => self.check_per_batch(identities, images, catalogue),
            &Sampling::Neighbours { identities, images, neighbours, group } => {
                self.check_per_batch(identities, images, catalogue)?;
                let most = (catalogue.present().len() as u32).saturating_sub(1).min(limits::MAX_NEIGHBOURS);
                require((1..=most).contains(&neighbours), || {
                    format!("expected 1 to {most} neighbours to draw from, found {neighbours}")
                })?;
                let most = identities.min(neighbours + 1);
                require((2..=most).contains(&group), || {
                    format!("expected groups of 2 to {most} people, found {group}")
                })?;
                let (most, found) = (limits::MAX_NEAR_IDENTITIES, catalogue.identities());
                if found > most {
                    return Err(SpecError::Unsuited(format!(
                        "neighbours are looked for among at most {most} identities, and the dataset served has {found}"
                    )));
                }
                Ok(())
            }
            Sampling::Weighted(weights) => {
                let (expected, found) = (catalogue.identities() as usize, weights.len());
                require(found == expected, || {
                    format!("expected one weight for each of the {expected} identities, found {found}")
                })?;
                for (identity, &weight) in weights.iter().enumerate() {
                    require(weight.is_finite() && weight >= 0.0, || {
                        format!(
                            "expected identity weights that are finite and not negative, found {weight} for identity {identity}"
                        )
                    })?;
                    require(weight == 0.0 || !catalogue.images_of(identity as u32).is_empty(), || {
                        format!("expected weight 0 for identity {identity}, which has no images, found {weight}")
                    })?;
                }
                let sum: f64 = weights.iter().sum();
                require(sum > 0.0 && sum.is_finite(), || {
                    format!("expected identity weights with a finite sum above zero, found {sum}")
                })
            }
        }
    }

    fn check_per_batch(&self, identities: u32, images: u32, catalogue: &Catalogue) -> Result<(), SpecError> {
        let rows = u64::from(identities) * u64::from(images);
        require(rows == u64::from(self.batch_size), || {
            let size = self.batch_size;
            format!("expected identities x images to be the batch size {size}, found {identities} x {images}")
        })?;
        let present = catalogue.present().len();
        require(identities as usize <= present, || {
            format!("expected at most the dataset's {present} identities in a batch, found {identities}")
        })
    }

    fn check_latent(&self, encoder: bool) -> Result<(), SpecError> {
        match self.latent {
            Latent::Prior { truncation } => check_truncation(truncation),
            Latent::Jitter { scale } => {
                require((0.0..=10.0).contains(&scale), || {
                    format!("expected a jitter scale of 0 to 10, found {scale}")
                })?;
                if encoder {
                    return Ok(());
                }
                Err(SpecError::Unsuited(
                    "a jittered latent needs an encoder, and the bundle served has none; export it with one, or use the prior".into(),
                ))
            }
        }
    }
}

impl Mix {
    /// Checks the weights by themselves and against what is there.
    fn check(&self, catalogue: &Catalogue) -> Result<(), SpecError> {
        let Self { real, existing, blended } = *self;
        for (name, weight) in [("real", real), ("existing", existing), ("blended", blended)] {
            require(weight.is_finite() && weight >= 0.0, || {
                format!("expected mix weights that are finite and not negative, found {name}={weight}")
            })?;
        }
        let sum = real + existing + blended;
        require(sum > 0.0 && sum.is_finite(), || format!("expected a mix with a finite sum above zero, found {sum}"))?;
        if (real > 0.0 || existing > 0.0) && catalogue.present().is_empty() {
            return Err(SpecError::Unsuited(
                "real or existing rows are asked for, but the dataset served has no images".into(),
            ));
        }
        Ok(())
    }
}

impl ByLoss {
    fn check(&self, catalogue: &Catalogue) -> Result<(), SpecError> {
        let Self { power, floor, cap, interval, before: _ } = *self;
        require(power > 0.0 && power <= 4.0, || format!("expected a power of losses above 0 to 4, found {power}"))?;
        require((0.01..=1.0).contains(&floor), || format!("expected a floor of 0.01 to 1, found {floor}"))?;
        require((1.0..=32.0).contains(&cap), || format!("expected a cap of 1 to 32, found {cap}"))?;
        require(interval >= 1, || "expected at least 1 batch between sampling tables, found 0".into())?;
        let (identities, most) = (catalogue.identities(), limits::MAX_BY_LOSS);
        if identities > most {
            return Err(SpecError::Unsuited(format!(
                "identities can be chosen by loss among at most {most}, and the dataset served has {identities}"
            )));
        }
        Ok(())
    }
}

impl BlendingSpec {
    /// Checks the message by itself and against the number of identities.
    fn check(&self, catalogue: &Catalogue) -> Result<(), SpecError> {
        let Self { count, parents, alpha, max_weight, max_similarity, spread, .. } = *self;
        require((1..=limits::MAX_BLENDED).contains(&count), || {
            format!("expected 1 to {} blended identities, found {count}", limits::MAX_BLENDED)
        })?;
        let (min, max) = (limits::MIN_PARENTS, limits::MAX_PARENTS);
        require((min..=max).contains(&parents), || format!("expected {min} to {max} parents, found {parents}"))?;
        let identities = catalogue.identities();
        require(parents <= identities, || {
            format!("expected at most as many parents as the dataset has identities ({identities}), found {parents}")
        })?;
        require((0.01..=1000.0).contains(&alpha), || format!("expected an alpha of 0.01 to 1000, found {alpha}"))?;
        let least = 1.0 / f64::from(parents);
        require(max_weight > least && max_weight <= 1.0, || {
            format!("expected a largest weight above 1/{parents} and at most 1, found {max_weight}")
        })?;
        require((0.0..=1.0).contains(&max_similarity), || {
            format!("expected a largest similarity above 0 and at most 1, or 0 for any, found {max_similarity}")
        })?;
        check_spread(spread)
    }
}

/// Checks how far people are led away from the average one.
///
/// # Errors
/// When it is not from 0 to 2.
pub fn check_spread(spread: f64) -> Result<(), SpecError> {
    let most = limits::MAX_SPREAD;
    require((0.0..=most).contains(&spread), || format!("expected a spread of 0 to {most}, found {spread}"))
}

/// Checks a truncation of the prior, in standard deviations.
///
/// # Errors
/// When it is neither 0 nor at least 0.1.
pub fn check_truncation(truncation: f64) -> Result<(), SpecError> {
    // A narrower window would be hit so rarely that drawing again becomes slow.
    require(truncation == 0.0 || (truncation >= 0.1 && truncation.is_finite()), || {
        format!("expected a truncation of 0 (none) or at least 0.1, found {truncation}")
    })
}

fn require(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), SpecError> {
    if condition { Ok(()) } else { Err(SpecError::Invalid(otherwise())) }
}
