//! The flags of a stream, the same in every command that reads one.

use crate::place::Change;
use crate::spec::{
    Augmentation, Before, Blending, ByLoss, Channels, Filter, Latent, Mix, MixPoint, Sampling, Schedule, Shape,
};
use crate::{Access, BundleChoice, Error, Patience, Recipe, Result, ServerUrl, Spec, StreamSettings};
use clap::Args;
use command::Settings;
use proto::limits;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Flattened into a subcommand beside its own flags. The seed is the subcommand's.
#[derive(Args, Clone, Debug)]
pub struct StreamFlags {
    /// Servers of the same dataset and bundle; when one fails, the next is asked. dns:///NAME:PORT, or any name, stands for all of its addresses, in turn
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:50051",
        help_heading = "Input"
    )]
    pub server: Vec<ServerUrl>,
    /// How this end shows who it is.
    #[command(flatten)]
    pub access: Access,
    /// Take the stream from a recipe, in place of the flags under Stream
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "follow"], help_heading = "Input")]
    pub recipe: Option<PathBuf>,
    /// How long to wait for a server that doesn't answer [unit: seconds] [default: 10 for the first answer, 300 once batches came]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Input")]
    pub patience: Option<f64>,
    /// Batches after which the next of several servers, or of a name's addresses, goes on, so that their load evens out; 0 for never
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Input")]
    pub lease: u64,
    /// Batches read ahead
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Input")]
    pub prefetch: u32,
    /// Name for fair shares and the server's metrics, of letters, digits, ., - and _
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, help_heading = "Input")]
    pub trainer: String,
    /// Digest of the bundle to insist on, the same for all ranks that share batches; with --follow, only to begin with [default: the newest when the stream begins]
    #[arg(long, value_name = "DIGEST", help_heading = "Input")]
    pub bundle: Option<String>,
    /// Change to newer bundles as servers get them, each from a batch on that checkpoints remember
    #[arg(long, help_heading = "Input")]
    pub follow: bool,
    /// What may differ from what the stream began with: dataset, bundle, numerics, plan, world
    #[arg(
        long,
        value_name = "WHAT",
        value_delimiter = ',',
        value_enum,
        hide_possible_values = true,
        help_heading = "Input"
    )]
    pub accept: Vec<Change>,

    /// Rows of a batch, over all ranks, 1 to 1024
    #[arg(long, value_name = "ROWS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::MAX_BATCH_SIZE)), help_heading = "Stream")]
    pub batch: u32,
    /// Shares of real images, new images of existing people, and images of blended people
    #[arg(long, value_name = "SHARES", default_value = "real=0.5,existing=0.3,blended=0.2", help_heading = "Stream")]
    pub mix: Mix,
    /// Other shares from a batch on, as in 1000:real=0.5,blended=0.5; given again, or behind a semicolon, for each change
    #[arg(long, value_name = "INDEX:SHARES", value_delimiter = ';', help_heading = "Stream")]
    pub mix_at: Vec<MixPoint>,
    /// How the shares get there: in steps, each at its batch, or linear, in a straight line from one to the next
    #[arg(
        long,
        value_name = "SHAPE",
        default_value = "steps",
        value_enum,
        hide_possible_values = true,
        help_heading = "Stream"
    )]
    pub mix_shape: Shape,
    /// Who is shown: by-image, by-identity, 16x4 (16 people with 4 rows each), 16x4~9 (likewise, in groups of 4 who look alike: one and three of its 9 nearest; 16x4~9:8 for groups of 8), weights:FILE (a number a line) or by-loss (those more often whom training tells badly; needs --trainer). by-loss:power=1,floor=0.25,cap=4,every=100,before=by-identity are its defaults: how steeply, the least and the largest share of an equal part, batches between changes, who is shown before the first
    #[arg(long, value_name = "RULE", default_value_t = SamplingRule::ByImage, help_heading = "Stream")]
    pub sampling: SamplingRule,
    /// How many blended people there are [default: as many as the dataset has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::MAX_BLENDED)), help_heading = "Stream")]
    pub blended_identities: Option<u32>,
    /// People mixed into each blended one, 2 to 5
    #[arg(long, value_name = "N", default_value_t = limits::MIN_PARENTS, value_parser = clap::value_parser!(u32).range(i64::from(limits::MIN_PARENTS)..=i64::from(limits::MAX_PARENTS)), help_heading = "Stream")]
    pub parents: u32,
    /// How evenly they are mixed: concentration of the Dirichlet distribution, 0.01 to 1000
    #[arg(long, value_name = "ALPHA", default_value_t = 1.0, value_parser = alpha, help_heading = "Stream")]
    pub alpha: f64,
    /// Largest weight of one parent, so that nobody's near-copy is labelled as somebody new; above 1 / parents
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.8, value_parser = weight, help_heading = "Stream")]
    pub max_weight: f64,
    /// Leave out blended people who look more like anybody real than this: largest cosine of their centre with any person's, above 0, at most 1 [default: leave out nobody]
    #[arg(long, value_name = "COSINE", value_parser = leakage, help_heading = "Stream")]
    pub max_leakage: Option<f64>,
    /// How far blended people are led away from the average person, 0 to 2. 0: plain mixtures, which look alike; 1: as different from one another as real people
    #[arg(long, value_name = "POWER", default_value_t = 0.0, value_parser = spread, help_heading = "Stream")]
    pub blended_spread: f64,
    /// Seed of the blended people alone, to meet the same ones in another stream [default: the stream's]
    #[arg(long, value_name = "SEED", help_heading = "Stream")]
    pub blending_seed: Option<u64>,
    /// Draw latents again beyond so many standard deviations, 0.1 and more; 0 for never
    #[arg(long, value_name = "LIMIT", default_value_t = 0.0, value_parser = truncation, help_heading = "Stream")]
    pub truncation: f64,
    /// Take latents from real images instead, so many standard deviations around them, 0 to 10
    #[arg(long, value_name = "SCALE", value_parser = jitter, help_heading = "Stream")]
    pub jitter: Option<f64>,
    /// Make generated images again that look less like the person they should show than this: least cosine, -1 to 1, in the server's identity network; -1 only measures [default: no filter]
    #[arg(long, value_name = "COSINE", value_parser = similarity, allow_negative_numbers = true, help_heading = "Stream")]
    pub min_similarity: Option<f64>,
    /// How often one image is made again for --min-similarity, 0 to 4; then the best try is sent, and named as doubtful
    #[arg(long, value_name = "N", default_value_t = limits::MAX_RETRIES, value_parser = clap::value_parser!(u32).range(0..=i64::from(limits::MAX_RETRIES)), help_heading = "Stream")]
    pub max_retries: u32,
    /// Change of each row: standard (mirrored half the time, shifted by up to 8 pixels) or off
    #[arg(
        long,
        value_name = "KIND",
        default_value = "standard",
        value_enum,
        hide_possible_values = true,
        help_heading = "Stream"
    )]
    pub augmentation: Augmentation,
    /// Channels sent: grey or rgb [default: grey to train, those of the bundle to probe]
    #[arg(long, value_name = "CHANNELS", value_enum, hide_possible_values = true, help_heading = "Stream")]
    pub pixels: Option<Channels>,
    /// This trainer's part of each batch, below --world-size
    #[arg(long, value_name = "RANK", default_value_t = 0, help_heading = "Stream")]
    pub rank: u32,
    /// Trainers that share each batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::MAX_BATCH_SIZE)), help_heading = "Stream")]
    pub world_size: u32,
}

/// [`Sampling`] as a flag names it.
#[derive(Clone, Debug, PartialEq)]
pub enum SamplingRule {
    /// Every image equally often.
    ByImage,
    /// Every identity equally often.
    ByIdentity,
    /// `PxK`.
    PerBatch {
        /// P.
        identities: u32,
        /// K.
        images: u32,
    },
    /// `PxK~N`, or `PxK~N:G`.
    Neighbours {
        /// P.
        identities: u32,
        /// K.
        images: u32,
        /// N.
        neighbours: u32,
        /// G.
        group: u32,
    },
    /// A file with a weight for each identity, in class order.
    Weights(PathBuf),
    /// By what training reports.
    ByLoss(ByLoss),
}

impl StreamFlags {
    /// The recipe of `--recipe`, which leaves flags under Stream nothing to say; `settings` know which
    /// were given.
    ///
    /// # Errors
    /// A recipe that can't be read; a flag beside it.
    pub fn recipe(&self, settings: &Settings) -> Result<Option<Recipe>> {
        let Some(path) = &self.recipe else { return Ok(None) };
        match settings.flags_under("Stream").next() {
            Some(flag) => Err(Error::settings(format!(
                "expected --recipe without --{flag}, found both; the recipe {} says what the stream is",
                path.display()
            ))),
            None => Recipe::read(path).map(Some),
        }
    }

    /// What the flags say, for a stream with this seed.
    ///
    /// # Errors
    /// A file of weights that can't be read; a rank that is not below the world size; a token that
    /// others could read on its way.
    pub fn settings(&self, seed: u64) -> Result<StreamSettings> {
        if self.world_size > self.batch {
            return Err(Error::settings(format!(
                "expected a world size of at most the batch size {}, found {}",
                self.batch, self.world_size
            )));
        }
        if self.rank >= self.world_size {
            return Err(Error::settings(format!(
                "expected a rank below the world size {}, found {}",
                self.world_size, self.rank
            )));
        }
        self.access.check(&self.server)?;
        let spec = Spec {
            schedule: Schedule::new(self.mix_at.clone(), self.mix_shape).map_err(Error::settings)?,
            sampling: self.sampling.read()?,
            blending: Blending {
                count: self.blended_identities,
                parents: self.parents,
                alpha: self.alpha,
                max_weight: self.max_weight,
                seed: self.blending_seed,
                max_similarity: self.max_leakage.unwrap_or(0.0),
                spread: self.blended_spread,
            },
            latent: match self.jitter {
                Some(scale) => Latent::Jitter { scale },
                None => Latent::Prior { truncation: self.truncation },
            },
            filter: self.min_similarity.map(|min_similarity| Filter { min_similarity, max_retries: self.max_retries }),
            augmentation: self.augmentation,
            channels: self.pixels,
            ..Spec::new(seed, self.batch, self.mix)
        };
        Ok(StreamSettings {
            access: self.access.clone(),
            rank: self.rank,
            world_size: self.world_size,
            bundle: match &self.bundle {
                from if self.follow => BundleChoice::Follow { from: from.clone() },
                Some(digest) => BundleChoice::Pin(digest.clone()),
                None => BundleChoice::Stay,
            },
            // One server alone needs no turns.
            lease: NonZeroU64::new(self.lease).filter(|_| self.server.len() > 1),
            trainer: self.trainer.clone(),
            accepted: self.accept.clone(),
            prefetch: self.prefetch as usize,
            patience: self
                .patience
                .map_or_else(Patience::default, |seconds| Patience::always(Duration::from_secs_f64(seconds))),
            ..StreamSettings::new(self.server.clone(), spec)
        })
    }
}

/// The longest file of weights: one for each of a million identities, in full.
const MOST_BYTES: u64 = 32 << 20;

impl SamplingRule {
    fn read(&self) -> Result<Sampling> {
        Ok(match self {
            Self::ByImage => Sampling::ByImage,
            Self::ByIdentity => Sampling::ByIdentity,
            &Self::PerBatch { identities, images } => Sampling::PerBatch { identities, images },
            &Self::Neighbours { identities, images, neighbours, group } => {
                Sampling::Neighbours { identities, images, neighbours, group }
            }
            &Self::ByLoss(rule) => Sampling::ByLoss(rule),
            Self::Weights(path) => {
                let text = command::read_text(path, MOST_BYTES).map_err(|error| Error::settings(error.to_string()))?;
                let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
                let weight = |(line, text): (usize, &str)| match text.trim().parse::<f64>() {
                    Ok(weight) if weight.is_finite() && weight >= 0.0 => Ok(weight),
                    _ => Err(Error::settings(format!(
                        "{} line {}: expected a weight of at least 0, found {text:?}",
                        path.display(),
                        line + 1
                    ))),
                };
                Sampling::Weighted(lines.map(weight).collect::<Result<_>>()?)
            }
        })
    }
}

impl SamplingRule {
    /// `16x4`, `16x4~9` or `16x4~9:8`, all numbers above 0.
    fn product(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0);
        let (product, near) = text.split_once('~').map_or((text, None), |(product, near)| (product, Some(near)));
        let (identities, images) = product.split_once('x')?;
        let (identities, images) = (number(identities)?, number(images)?);
        let Some(near) = near else { return Some(Self::PerBatch { identities, images }) };
        let (neighbours, group) = near.split_once(':').map_or((near, None), |(near, group)| (near, Some(group)));
        let neighbours = number(neighbours)?;
        // As the contract has it.
        let usual = 4.min(identities).min(neighbours.saturating_add(1));
        Some(Self::Neighbours { identities, images, neighbours, group: group.map_or(Some(usual), number)? })
    }
}

impl FromStr for SamplingRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("weights:").filter(|path| !path.is_empty()) {
            return Ok(Self::Weights(path.into()));
        }
        if let Some(settings) = text.strip_prefix("by-loss") {
            return by_loss(settings).map(Self::ByLoss);
        }
        match text {
            "by-image" => Ok(Self::ByImage),
            "by-identity" => Ok(Self::ByIdentity),
            _ => Self::product(text).ok_or_else(|| {
                format!(
                    "expected by-image, by-identity, a product such as 16x4 or 16x4~9, weights:FILE or by-loss, found \
                     {text:?}"
                )
            }),
        }
    }
}

impl std::fmt::Display for SamplingRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByImage => f.write_str("by-image"),
            Self::ByIdentity => f.write_str("by-identity"),
            Self::PerBatch { identities, images } => write!(f, "{identities}x{images}"),
            Self::Neighbours { identities, images, neighbours, group } => {
                write!(f, "{identities}x{images}~{neighbours}:{group}")
            }
            Self::Weights(path) => write!(f, "weights:{}", path.display()),
            Self::ByLoss(ByLoss { power, floor, cap, interval, before }) => {
                let before = match before {
                    Before::ByIdentity => "by-identity",
                    Before::ByImage => "by-image",
                };
                write!(f, "by-loss:power={power},floor={floor},cap={cap},every={interval},before={before}")
            }
        }
    }
}

/// Reads what follows `by-loss`: nothing, or a colon and settings.
fn by_loss(text: &str) -> Result<ByLoss, String> {
    let mut rule = ByLoss::default();
    let settings = match text.strip_prefix(':') {
        Some(settings) => settings,
        None if text.is_empty() => return Ok(rule),
        None => return Err(format!("expected by-loss or by-loss:SETTING=VALUE, found by-loss{text}")),
    };
    for setting in settings.split(',') {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        match name {
            "power" => rule.power = number(value, "a power above 0 to 4", |power| power > 0.0 && power <= 4.0)?,
            "floor" => rule.floor = number(value, "a floor from 0.01 to 1", |floor| (0.01..=1.0).contains(&floor))?,
            "cap" => rule.cap = number(value, "a cap from 1 to 32", |cap| (1.0..=32.0).contains(&cap))?,
            "every" => {
                let expected = || format!("expected a number of batches of at least 1, found {value:?}");
                rule.interval = value.parse().ok().filter(|&batches| batches >= 1).ok_or_else(expected)?;
            }
            "before" => {
                rule.before = match value {
                    "by-identity" => Before::ByIdentity,
                    "by-image" => Before::ByImage,
                    _ => return Err(format!("expected before=by-identity or before=by-image, found {value:?}")),
                }
            }
            _ => return Err(format!("expected power, floor, cap, every or before, found {name:?}")),
        }
    }
    Ok(rule)
}

fn number(text: &str, what: &str, fits: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && fits(number) => Ok(number),
        _ => Err(format!("expected {what}, found {text:?}")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, "0 to 1000000 seconds", |seconds| (0.0..=1e6).contains(&seconds))
}

fn alpha(text: &str) -> Result<f64, String> {
    number(text, "a number from 0.01 to 1000", |alpha| (0.01..=1000.0).contains(&alpha))
}

fn weight(text: &str) -> Result<f64, String> {
    number(text, "a weight above 0, at most 1", |weight| weight > 0.0 && weight <= 1.0)
}

fn similarity(text: &str) -> Result<f64, String> {
    number(text, "a cosine from -1 to 1", |cosine| (-1.0..=1.0).contains(&cosine))
}

fn leakage(text: &str) -> Result<f64, String> {
    number(text, "a cosine above 0, at most 1", |cosine| cosine > 0.0 && cosine <= 1.0)
}

fn spread(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 2", |power| (0.0..=limits::MAX_SPREAD).contains(&power))
}

fn truncation(text: &str) -> Result<f64, String> {
    number(text, "0 or at least 0.1", |limit| limit == 0.0 || limit >= 0.1)
}

fn jitter(text: &str) -> Result<f64, String> {
    number(text, "a scale from 0 to 10", |scale| (0.0..=10.0).contains(&scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_by_loss_is_read_as_it_is_printed() {
        let read = |text: &str| text.parse::<SamplingRule>();
        let plain = read("by-loss").unwrap();
        assert_eq!(plain.to_string(), "by-loss:power=1,floor=0.25,cap=4,every=100,before=by-identity");
        assert_eq!(read(&plain.to_string()).unwrap(), plain);
        let rule = read("by-loss:every=7,before=by-image,floor=0.5").unwrap();
        let expected = ByLoss { interval: 7, before: Before::ByImage, floor: 0.5, ..ByLoss::default() };
        assert_eq!(rule, SamplingRule::ByLoss(expected));
        for wrong in ["by-loss:", "by-loss:power", "by-loss:cap=0.5", "by-loss:floor=nan", "by-loss:before=4x2"] {
            assert!(read(wrong).unwrap_err().starts_with("expected "), "{wrong}");
        }
    }
}
