//! What the batches of a stream are made of, as a trainer writes it and its checkpoint keeps it.

mod mix;
mod wire;

pub use mix::{Mix, MixPoint, Schedule, Shape};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A stream's spec. Two streams with equal specs over the same dataset and bundle are equal
/// batch by batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Key of every random choice.
    pub seed: u64,
    /// Rows of a batch, over all ranks: 1 to 1024.
    pub batch_size: u32,
    /// Shares of the sources: of all batches, or of the first one.
    pub mix: Mix,
    /// Other shares from later batches on.
    #[serde(default, skip_serializing_if = "Schedule::is_empty")]
    pub schedule: Schedule,
    /// How identities are chosen for real and existing rows.
    pub sampling: Sampling,
    /// The invented identities.
    pub blending: Blending,
    /// Where generated rows take their latent vector from.
    pub latent: Latent,
    /// The same for every row.
    pub augmentation: Augmentation,
    /// Of the pixels sent; `None` for those of the bundle, until a server has named them.
    pub channels: Option<Channels>,
    /// Digest of the class centres that tell who is near whom; `None` for those of the first bundle,
    /// until a server has named them, and where nobody asks.
    #[serde(default)]
    pub centres: Option<String>,
    /// How much generated rows must look like whom they should show; `None` for no matter.
    #[serde(default)]
    pub filter: Option<Filter>,
}

/// How identities are chosen for real and existing rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Every image equally often.
    ByImage,
    /// Every identity equally often.
    ByIdentity,
    /// So many identities with so many rows each in every batch; their product is the batch size.
    PerBatch {
        /// P.
        identities: u32,
        /// K.
        images: u32,
    },
    /// Each identity with its own probability: one weight for each, in class order.
    Weighted(Vec<f64>),
    /// As `PerBatch`, in groups of people who look alike.
    Neighbours {
        /// P.
        identities: u32,
        /// K.
        images: u32,
        /// Nearest of each group's first, among whom the others are drawn: 1 to 1024.
        neighbours: u32,
        /// People of a group: 2 to P, at most `neighbours` + 1.
        group: u32,
    },
    /// Those with which the training loop does badly more often, by sampling tables that a server makes
    /// of what it reports.
    ByLoss(ByLoss),
}

/// How losses become shares; a share of 1 is that of everybody where nobody differs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByLoss {
    /// How steeply: above 0 to 4; with 1, twice the loss is twice the rows.
    pub power: f64,
    /// The least share: 0.01 to 1.
    pub floor: f64,
    /// The largest share: 1 to 32.
    pub cap: f64,
    /// Least number of batches from one table to the next, and before the first.
    pub interval: u32,
    /// How identities are chosen before the first table.
    pub before: Before,
}

/// How identities are chosen before the first sampling table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// Every identity equally often.
    ByIdentity,
    /// Every image equally often.
    ByImage,
}

/// The invented identities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blending {
    /// How many there are; `None` for as many as the dataset has, until a server has counted them.
    pub count: Option<u32>,
    /// Identities mixed into each: 2 to 5.
    pub parents: u32,
    /// Concentration of the Dirichlet distribution of their weights, 0.01 to 1000.
    pub alpha: f64,
    /// The largest weight of one parent: above 1 / parents, at most 1.
    pub max_weight: f64,
    /// Key of parents and weights; `None` for the spec's seed.
    pub seed: Option<u64>,
    /// The largest cosine of a blended person's centre with anybody real's; those beyond it are never
    /// shown. Above 0, at most 1; 0 for any.
    #[serde(default)]
    pub max_similarity: f64,
    /// How far they are led away from the average person: 0 not at all, 1 to the variance of one person; at
    /// most 2.
    #[serde(default)]
    pub spread: f64,
}

/// Where generated rows take their latent vector from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Latent {
    /// A standard normal vector; components beyond +-truncation are drawn again, 0 for none.
    Prior {
        /// In standard deviations: 0, or at least 0.1.
        truncation: f64,
    },
    /// Around the encoding of a real image, `mu + scale * sigma * e`.
    Jitter {
        /// 0 reconstructs the image, 1 samples its posterior; at most 10.
        scale: f64,
    },
}

/// Which generated rows are made again, from other latents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// The least cosine of a row with the person it should show, -1 to 1; -1 only measures.
    pub min_similarity: f64,
    /// Further tries of a row, 0 to 4. The best is sent where none is good enough.
    pub max_retries: u32,
}

/// What is done to each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Mirrored with probability 1/2, shifted by up to 8 pixels
    Standard,
    /// Nothing
    Off,
}

/// Channels of the pixels sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// One
    Grey,
    /// Three
    Rgb,
}

impl Spec {
    /// Real, existing and blended rows in the shares of `mix`; everything else as the contract has
    /// it by default.
    pub fn new(seed: u64, batch_size: u32, mix: Mix) -> Self {
        Self {
            seed,
            batch_size,
            mix,
            schedule: Schedule::default(),
            sampling: Sampling::ByImage,
            blending: Blending::default(),
            latent: Latent::Prior { truncation: 0.0 },
            augmentation: Augmentation::Standard,
            channels: None,
            centres: None,
            filter: None,
        }
    }

    /// Whether any batch has blended rows.
    pub fn has_blended(&self) -> bool {
        self.mix.blended > 0.0 || self.schedule.points().iter().any(|point| point.mix.blended > 0.0)
    }

    /// Whether `echo`, the spec with defaults written out, is this one: the first setting in which
    /// it isn't, with this spec's value and the echo's.
    pub fn difference(&self, echo: &Self) -> Option<Difference> {
        if self.seed != echo.seed {
            // First, because other settings take their default from it.
            let (left, right) = (self.seed.into(), echo.seed.into());
            return Some(Difference { setting: "seed".to_owned(), left, right });
        }
        let blending = Blending {
            count: self.blending.count.or(echo.blending.count),
            seed: self.blending.seed.or(echo.blending.seed),
            ..self.blending.clone()
        };
        let centres = self.centres.clone().or(echo.centres.clone());
        let filled = Self { blending, channels: self.channels.or(echo.channels), centres, ..self.clone() };
        first_difference("", &to_value(&filled), &to_value(echo))
    }
}

impl Default for ByLoss {
    fn default() -> Self {
        Self { power: 1.0, floor: 0.25, cap: 4.0, interval: 100, before: Before::ByIdentity }
    }
}

impl Default for Blending {
    fn default() -> Self {
        Self { count: None, parents: 2, alpha: 1.0, max_weight: 0.8, seed: None, max_similarity: 0.0, spread: 0.0 }
    }
}

impl Channels {
    /// 1 or 3.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// One setting in which two specs differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// In words: "blending max weight".
    pub setting: String,
    /// The first one's value.
    pub left: Value,
    /// The second one's value.
    pub right: Value,
}

fn to_value(spec: &Spec) -> Value {
    // Plain structs of numbers and names always have a JSON form.
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    // Compared even where there is none.
    value["schedule"] = serde_json::to_value(&spec.schedule).unwrap_or_default();
    value
}

/// Goes down to the innermost setting, so that the sentence about it is short.
fn first_difference(path: &str, left: &Value, right: &Value) -> Option<Difference> {
    if left == right {
        return None;
    }
    if let (Value::Object(left), Value::Object(right)) = (left, right)
        && left.keys().eq(right.keys())
    {
        return left.iter().zip(right.values()).find_map(|((name, left), right)| {
            let path = format!("{path} {}", name.replace('_', " "));
            first_difference(path.trim_start(), left, right)
        });
    }
    Some(Difference { setting: path.to_owned(), left: left.clone(), right: right.clone() })
}
