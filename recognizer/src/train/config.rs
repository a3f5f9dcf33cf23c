//! What decides a training, and the learning rate it implies.

use command::WrongSetting;
use nets::device::Numbers;
use nets::{LightCnnKind, Width};
use serde::{Deserialize, Serialize};

/// Everything that decides a training's outcome beside its source of batches.
///
/// Multipliers are those of the published LightCNN training (Wu et al. 2018): biases learn twice as
/// fast as weights and don't decay, the classifier `classifier_rate` times as fast as the body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Which LightCNN.
    pub kind: LightCnnKind,
    /// How wide.
    pub width: Width,
    /// Length of the training, in images seen. The last batch may run past it.
    pub images: u64,
    /// Of the initial weights and the dropout masks.
    pub seed: u64,
    /// What is minimised.
    pub loss: Loss,
    /// Of weights, after the warm-up.
    pub learning_rate: f64,
    /// Images over which the rate rises from 0.
    pub warm_up: u64,
    /// How the rate falls.
    pub schedule: Schedule,
    /// Of SGD.
    pub momentum: f64,
    /// On weights; biases never decay.
    pub weight_decay: f64,
    /// Factor on the classifier's learning rate.
    pub classifier_rate: f64,
    /// Largest norm of the whole gradient; a longer one is scaled down. 0 leaves it alone.
    pub clip: f64,
    /// Share of the feature dropped in training.
    pub dropout: f64,
    /// How much a generated row counts in the losses, where a real one counts 1.
    #[serde(default = "as_much")]
    pub generated_weight: f64,
    /// What the network computes in; weights, losses and updates are f32.
    #[serde(default)]
    pub numbers: Numbers,
}

/// As real rows: what older trainings did.
fn as_much() -> f64 {
    1.0
}

impl TrainConfig {
    /// Settings that learn at this size, each with its reason.
    pub fn new(kind: LightCnnKind, width: Width, images: u64, batch_size: usize) -> Self {
        Self {
            kind,
            width,
            images,
            seed: 1,
            loss: Loss::Softmax,
            learning_rate: Self::default_learning_rate(kind, batch_size),
            // Without one, the classifier's fast rate makes the first steps diverge.
            warm_up: (images / 20).min(20_000),
            schedule: Schedule::Drops,
            momentum: 0.9,
            weight_decay: 1e-4,
            // Features start nearly equal for all images; a fast classifier finds what differs.
            classifier_rate: 10.0,
            // Rarely reached after the warm-up; before, it keeps one odd batch from ruining all.
            clip: 5.0,
            dropout: 0.5,
            generated_weight: 1.0,
            numbers: Numbers::F32,
        }
    }

    /// 0.01 for batches of 128 as published, in proportion for smaller ones; three fifths of it for
    /// the deeper networks, whose residual sums start larger.
    pub fn default_learning_rate(kind: LightCnnKind, batch_size: usize) -> f64 {
        let deep = if kind == LightCnnKind::Nine { 1.0 } else { 0.6 };
        deep * 0.01 * (batch_size as f64 / 128.0).min(1.0)
    }

    /// The learning rate of weights for the batch that starts after `images_seen` images.
    pub fn learning_rate_at(&self, images_seen: u64) -> f64 {
        let warm = match self.warm_up {
            0 => 1.0,
            // The very first batch must move too.
            warm_up => ((images_seen + 1) as f64 / warm_up as f64).min(1.0),
        };
        let part = images_seen as f64 / self.images.max(1) as f64;
        self.learning_rate * warm * self.schedule.factor(part)
    }

    /// Refuses settings that can't train, in one sentence.
    pub fn check(&self) -> Result<(), WrongSetting> {
        let refuse = |setting, expected: &str, found: f64| {
            Err(WrongSetting { setting, expected: expected.to_owned(), found: found.to_string() })
        };
        match self {
            Self { images: 0, .. } => refuse("images", "at least 1", 0.0),
            Self { learning_rate: found, .. } if !(*found > 0.0 && found.is_finite()) => {
                refuse("learning rate", "a number above 0", *found)
            }
            Self { momentum: found, .. } if !(0.0..1.0).contains(found) => {
                refuse("momentum", "a number from 0 up to, not including, 1", *found)
            }
            Self { dropout: found, .. } if !(0.0..1.0).contains(found) => {
                refuse("dropout", "a number from 0 up to, not including, 1", *found)
            }
            Self { weight_decay: found, .. } if !(*found >= 0.0 && found.is_finite()) => {
                refuse("weight decay", "0 or more", *found)
            }
            Self { classifier_rate: found, .. } if !(*found > 0.0 && found.is_finite()) => {
                refuse("classifier rate", "a number above 0", *found)
            }
            Self { clip: found, .. } if !(*found >= 0.0 && found.is_finite()) => refuse("clip", "0 or more", *found),
            Self { generated_weight: found, .. } if !(0.001..=1.0).contains(found) => {
                refuse("generated weight", "a number from 0.001 to 1", *found)
            }
            Self { loss: Loss::Centre { weight: found, .. }, .. } if !(*found >= 0.0 && found.is_finite()) => {
                refuse("centre weight", "0 or more", *found)
            }
            Self { loss: Loss::Centre { rate: found, .. }, .. } if !(0.0..=1.0).contains(found) => {
                refuse("centre rate", "a number from 0 to 1", *found)
            }
            _ => Ok(()),
        }
    }
}

/// What a training minimises.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Loss {
    /// Cross-entropy of the classifier.
    Softmax,
    /// Softmax plus `weight` times the centre loss ([`super::centre_loss`]).
    Centre {
        /// 0.003 to 0.01 in the literature.
        weight: f64,
        /// Part of the way that centres move to their features in a step.
        rate: f64,
    },
}

impl Loss {
    /// Softmax with centre loss as its authors set it.
    pub const CENTRE: Self = Self::Centre { weight: 0.008, rate: Self::CENTRE_RATE };

    /// Part of the way that centres move, as their authors set it.
    pub const CENTRE_RATE: f64 = 0.5;
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Softmax => f.write_str("softmax"),
            Self::Centre { .. } => f.write_str(super::centre_loss::LABEL),
        }
    }
}

/// How the learning rate falls over a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// To a tenth after 70 % of the images, and again after 90 %
    Drops,
    /// Times 0.457305051927326 after every eighth, as published (every 10 of 80 epochs)
    Published,
    /// Stays as it is
    Constant,
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Drops => "drops",
            Self::Published => "published",
            Self::Constant => "constant",
        })
    }
}

impl Schedule {
    /// The factor after `part` of the training, in [0, 1].
    pub fn factor(self, part: f64) -> f64 {
        match self {
            Self::Drops => [0.7, 0.9].iter().filter(|&&drop| part >= drop).fold(1.0, |rate, _| rate * 0.1),
            Self::Published => 0.457305051927326f64.powi((part * 8.0).floor() as i32),
            Self::Constant => 1.0,
        }
    }
}
