//! The settings of all experiments: one set, so that they share what they train.

use crate::error::Result;
use crate::jobs::Variant;
use clap::Args;
use command::WrongSetting;
use cvae_gan::{Overrides, Preset};
use nets::device::Numbers;
use nets::{LightCnnKind, Width};
use recognizer::flags::LossName;
use recognizer::{Labels, Loss, TrainConfig};
use std::path::PathBuf;

/// Flattened into every subcommand. A settings file holds them at its top.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Faces to train on: a folder per identity, a tar of one, or demo
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pub data: PathBuf,
    /// Pairs of other people, for `verification`, `ratio` and `usage`: a folder or tar with pairs.txt, that file in its folder, or demo:held-out
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pub pairs: Option<PathBuf>,
    /// Faces of other people yet, on which the network of the inception score is trained [default: it is the judge's]
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pub inception_data: Option<PathBuf>,
    /// Share of each person's images that nothing trains on, to judge by
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, help_heading = "Input")]
    pub held_out_share: f64,
    /// Channels of images: 1 (grey) or 3 (RGB); recognizers see grey
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Input")]
    pub channels: usize,

    /// Where everything goes: plan, trainings, reports; the same command goes on where it stopped
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: PathBuf,

    /// Network that is compared: lightcnn-9, lightcnn-29 or lightcnn-29v2
    #[arg(long, value_name = "NETWORK", default_value_t = LightCnnKind::TwentyNine, help_heading = "Recognizers")]
    pub arch: LightCnnKind,
    /// Its channels: paper, small (a quarter of them) or tiny (an eighth)
    #[arg(long, value_name = "WIDTH", default_value_t = Width::Small, help_heading = "Recognizers")]
    pub width: Width,
    /// Losses: softmax (judged by cosine) and centre (stand-in for Concentrate Loss, judged by Euclidean distance); `verification` takes all, the others the first
    #[arg(long, value_name = "LOSS,...", value_delimiter = ',', default_values = ["softmax", "centre"], value_enum, hide_possible_values = true, help_heading = "Recognizers")]
    pub losses: Vec<LossName>,
    /// Weight of the centre loss, 0.003 to 0.01 in the literature
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.008, help_heading = "Recognizers")]
    pub centre_weight: f64,
    /// Length of each training, the same in all arms [unit: images seen]
    #[arg(long, value_name = "N", default_value_t = 150_000, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Recognizers")]
    pub recognizer_images: u64,
    /// Images in a step
    #[arg(long, value_name = "ROWS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Recognizers")]
    pub batch: u32,
    /// Peak learning rate [default: 0.01 x batch / 128, at most 0.01; three fifths of it for 29 layers]
    #[arg(long, value_name = "RATE", help_heading = "Recognizers")]
    pub learning_rate: Option<f64>,
    /// Trainings of each arm, with seeds 1, 2, ...
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Recognizers")]
    pub seeds: u32,
    /// Most that an image is brightened or darkened by, beside flip and shift, in all arms
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, help_heading = "Recognizers")]
    pub brightness: f64,

    /// Channels: paper, small or tiny
    #[arg(long, value_name = "WIDTH", default_value_t = Width::Small, help_heading = "Generators")]
    pub generator_width: Width,
    /// Recipe: paper, small-budget or modern [default: paper for the paper's widths, small-budget otherwise]
    #[arg(long, value_name = "PRESET", help_heading = "Generators")]
    pub generator_preset: Option<Preset>,
    /// Settings of `cvae-gan train` in place of the recipe's, as lambda-kl=0.01; a model takes those that concern it, and `ablation` none, which has recipes of its own
    #[arg(long, value_name = "NAME=VALUE,...", value_delimiter = ',', value_parser = of_generators, help_heading = "Generators")]
    pub generator_set: Vec<String>,
    /// Length of each training [unit: images seen]
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Generators")]
    pub generator_images: u64,
    /// Models that `generation` and `figures` compare with ours: without-l-id, cgan, cvae
    #[arg(long, value_name = "MODEL,...", value_delimiter = ',', default_values = ["without-l-id", "cgan", "cvae"], value_enum, hide_possible_values = true, help_heading = "Generators")]
    pub models: Vec<Variant>,
    /// Channels of the identity network, a LightCNN-9
    #[arg(long, value_name = "WIDTH", default_value_t = Width::Small, help_heading = "Generators")]
    pub identity_width: Width,
    /// Length of the identity network's training [unit: images seen]
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Generators")]
    pub identity_images: u64,

    /// Network that judges generated faces and takes no part in making them
    #[arg(long, value_name = "NETWORK", default_value_t = LightCnnKind::TwentyNine, help_heading = "Judge")]
    pub judge_arch: LightCnnKind,
    /// Its channels: paper, small or tiny
    #[arg(long, value_name = "WIDTH", default_value_t = Width::Small, help_heading = "Judge")]
    pub judge_width: Width,
    /// Length of its training [unit: images seen]
    #[arg(long, value_name = "N", default_value_t = 150_000, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Judge")]
    pub judge_images: u64,
    /// Generated images of each person that are judged
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=10_000), help_heading = "Judge")]
    pub per_identity: u32,

    /// Share of generated rows in the batches of augmented arms
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, help_heading = "Arms")]
    pub synthetic_share: f64,
    /// Blended people [default: as many as there are people in the data]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Arms")]
    pub blended_people: Option<u32>,
    /// What their rows are learned as in `verification`: hard, people with a class of their own, or soft, the people they are blended from, each by its weight
    #[arg(long, value_name = "LABELS", value_enum, default_value_t = Labels::Hard, hide_possible_values = true, help_heading = "Arms")]
    pub blended_labels: Labels,
    /// How far they are led away from the average person, in `verification` and `figures`: 0 not at all, 1 to the variance of one person
    #[arg(long, value_name = "POWER", default_value_t = 0.0, value_parser = dataset::blended::label::parse_spread, help_heading = "Arms")]
    pub blended_spread: f64,
    /// Images of each person in the fixed sets of the offline arms
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Arms")]
    pub offline_images: u32,
    /// Shares of generated rows that `ratio` compares; 0 is added
    #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_values_t = [0.25, 0.5, 0.75], help_heading = "Arms")]
    pub shares: Vec<f64>,
    /// Real images of each person that `ratio` compares, beside all; the generator sees no others. A number that nobody has more than is left out
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [5, 10], value_parser = clap::value_parser!(u32).range(2..), help_heading = "Arms")]
    pub real_images: Vec<u32>,
    /// How much a generated row counts where `usage` weighs them; a real one counts 1
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.4, help_heading = "Arms")]
    pub generated_weight: f64,
    /// Last share of a training without generated rows, where `usage` ends with real ones
    #[arg(long, value_name = "SHARE", default_value_t = 0.15, help_heading = "Arms")]
    pub real_last: f64,

    /// What computes: cpu or cuda:N, or either with /bf16 behind it, for arms, generators and identity networks in
    /// bfloat16; judges compute in f32, or with cuda:N/tf32/bf16 in TF32
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named_with_numbers, help_heading = "Training")]
    pub device: String,
}

impl Settings {
    /// Refuses what can't work.
    ///
    /// # Errors
    /// The first setting that can't.
    pub fn check(&self) -> Result<()> {
        let refuse = |setting, expected: &str, found: String| {
            Err(WrongSetting { setting, expected: expected.to_owned(), found }.into())
        };
        let inner = |share: f64| share > 0.0 && share < 1.0;
        if !matches!(self.channels, 1 | 3) {
            return refuse("channels", "1 (grey) or 3 (RGB)", self.channels.to_string());
        }
        for (name, share) in [
            ("held-out-share", self.held_out_share),
            ("synthetic-share", self.synthetic_share),
            ("real-last", self.real_last),
        ] {
            if !inner(share) {
                return refuse(name, "a share between 0 and 1", share.to_string());
            }
        }
        if !(0.0..1.0).contains(&self.brightness) {
            return refuse("brightness", "a share from 0 up to, not including, 1", self.brightness.to_string());
        }
        if let Some(share) = self.shares.iter().find(|&&share| !(0.0..=1.0).contains(&share)) {
            return refuse("shares", "shares from 0 to 1", share.to_string());
        }
        let least = 1.0 / self.recognizer_images as f64;
        let shares = self.shares.iter().filter(|&&share| share != 0.0);
        let too_few = std::iter::once(&self.synthetic_share).chain(shares).find(|&&share| share < least);
        if let Some(share) = too_few {
            let expected = format!("a share of at least one row in the {} of a training", self.recognizer_images);
            return refuse("share of generated rows", &expected, share.to_string());
        }
        if self.shares.iter().all(|&share| share == 0.0) {
            return refuse("shares", "a share above 0", "none".to_owned());
        }
        for loss in &self.losses {
            TrainConfig { generated_weight: self.generated_weight, ..self.config(*loss, 1) }.check()?;
        }
        Ok(())
    }

    /// A recognizer's training in all arms.
    pub fn config(&self, loss: LossName, seed: u64) -> TrainConfig {
        let usual = TrainConfig::new(self.arch, self.width, self.recognizer_images, self.batch as usize);
        let learning_rate = self.learning_rate.unwrap_or(usual.learning_rate);
        let loss = match loss {
            LossName::Softmax => Loss::Softmax,
            LossName::Centre => Loss::Centre { weight: self.centre_weight, rate: Loss::CENTRE_RATE },
        };
        TrainConfig { loss, seed, learning_rate, numbers: self.numbers(), ..usual }
    }

    /// What arms, generators and identity networks compute in.
    pub fn numbers(&self) -> Numbers {
        // The device was parsed when the flag was.
        nets::device::numbers(&self.device).unwrap_or_default()
    }

    /// The losses, each once, in the order given.
    pub fn distinct_losses(&self) -> Vec<LossName> {
        let mut losses = Vec::new();
        self.losses.iter().for_each(|loss| {
            if !losses.contains(loss) {
                losses.push(*loss)
            }
        });
        losses
    }

    /// The generators' recipe.
    pub fn preset(&self) -> Preset {
        self.generator_preset.unwrap_or(Preset::of_width(self.generator_width))
    }

    /// The recipe in words.
    pub fn recipe(&self) -> String {
        let with = self.generator_set.join(", ");
        if with.is_empty() { self.preset().to_string() } else { format!("{} with {with}", self.preset()) }
    }

    /// Our model, and those that it is compared with, each once, in the order of the table.
    pub fn variants(&self) -> impl Iterator<Item = Variant> {
        let compared = self.models.clone();
        Variant::ALL.into_iter().filter(move |variant| *variant == Variant::Ours || compared.contains(variant))
    }

    /// The loss of experiments that take one.
    pub fn first_loss(&self) -> LossName {
        self.losses.first().copied().unwrap_or(LossName::Softmax)
    }

    /// The shares of `ratio`, ascending, from 0.
    pub fn ratio_shares(&self) -> Vec<f64> {
        let mut shares: Vec<f64> =
            std::iter::once(0.0).chain(self.shares.iter().copied().filter(|&share| share != 0.0)).collect();
        shares.sort_by(f64::total_cmp);
        shares.dedup();
        shares
    }

    /// Seeds of the repetitions.
    pub fn seeds(&self) -> impl Iterator<Item = u64> {
        1..=u64::from(self.seeds)
    }
}

/// A setting that experiments leave to whoever asks.
fn of_generators(text: &str) -> Result<String, String> {
    const DECIDED: [&str; 7] = ["model", "channels", "seed", "width", "images", "preset", "device"];
    let own = DECIDED.iter().find(|own| text.split('=').next() == Some(own));
    match own {
        Some(own) => {
            Err(format!("expected a setting that neither an experiment nor another flag decides, found {own}"))
        }
        None => Overrides::named([text]).map(|_| text.to_owned()).map_err(|error| error.to_string()),
    }
}
