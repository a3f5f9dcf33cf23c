//! The flags of a training, the same in every command that trains a recognizer.

use crate::error::Result;
use crate::evaluate::PairSet;
use crate::train::{Loss, Rhythm, Schedule, TrainConfig};
use clap::{Args, ValueEnum};
use command::training::RunFlags;
use command::{Interrupt, Settings};
use nets::{LightCnnKind, Width};
use std::path::PathBuf;

/// Flattened into a subcommand beside the flags of its source.
#[derive(Args, Clone, Debug)]
pub struct TrainFlags {
    /// Network: lightcnn-9, lightcnn-29 or lightcnn-29v2
    #[arg(long, value_name = "NETWORK", default_value_t = LightCnnKind::Nine, help_heading = "Network")]
    pub arch: LightCnnKind,
    /// Channels: paper, small (a quarter of them) or tiny (an eighth)
    #[arg(long, value_name = "WIDTH", default_value_t = Width::Small, help_heading = "Network")]
    pub width: Width,
    /// Loss: softmax, or softmax with centre loss (stand-in for Concentrate Loss)
    #[arg(long, value_name = "LOSS", default_value = "softmax", value_enum, help_heading = "Network")]
    pub loss: LossName,
    /// Weight of the centre loss, 0.003 to 0.01 in the literature
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.008, help_heading = "Network")]
    pub centre_weight: f64,

    /// Length of the training [unit: images seen]
    #[arg(long, value_name = "N", default_value_t = 150_000, help_heading = "Training")]
    pub images: u64,
    /// Peak learning rate [default: 0.01 x batch / 128, at most 0.01; three fifths of it for 29 layers]
    #[arg(long, value_name = "RATE", help_heading = "Training")]
    pub learning_rate: Option<f64>,
    /// How long the learning rate rises [unit: images seen] [default: a twentieth of --images, at most 20,000]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub warm_up: Option<u64>,
    /// How the learning rate falls
    #[arg(long, value_name = "SCHEDULE", default_value_t = Schedule::Drops, value_enum, help_heading = "Training")]
    pub schedule: Schedule,
    /// Share of the last step that is kept, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, help_heading = "Training")]
    pub momentum: f64,
    /// Decay of weights; biases don't decay
    #[arg(long, value_name = "DECAY", default_value_t = 1e-4, help_heading = "Training")]
    pub weight_decay: f64,
    /// How much faster the classifier learns than the body
    #[arg(long, value_name = "FACTOR", default_value_t = 10.0, help_heading = "Training")]
    pub classifier_rate: f64,
    /// Largest norm of the gradient; 0 for none
    #[arg(long, value_name = "NORM", default_value_t = 5.0, help_heading = "Training")]
    pub clip: f64,
    /// Share of the feature that is dropped, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, help_heading = "Training")]
    pub dropout: f64,
    /// How much a generated row of a stream counts in the losses, 0.001 to 1; a real one counts 1
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0, help_heading = "Training")]
    pub generated_weight: f64,
    /// Seed of weights, order, augmentation and dropout
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Training")]
    pub seed: u64,
    /// What computes: cpu or cuda:N, or either with /bf16 behind it for a network in bfloat16; its weights stay in f32
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named_with_numbers, help_heading = "Training")]
    pub device: String,

    /// Judge on pairs now and then: a folder or tar with pairs.txt, that file in its folder, or demo:held-out
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pub pairs: Option<PathBuf>,

    /// Length between evaluations on --pairs [unit: images seen] [default: a tenth of --images, at least 5,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub evaluate_every: Option<u64>,
    /// Where the run is and how often it reports.
    #[command(flatten)]
    pub run: RunFlags,
}

/// A loss by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LossName {
    /// Cross-entropy of the classifier
    Softmax,
    /// Softmax with centre loss (stand-in for Concentrate Loss)
    Centre,
}

impl TrainFlags {
    /// What the flags say for batches of this size.
    ///
    /// # Errors
    /// A setting that can't train.
    pub fn config(&self, batch_size: usize) -> Result<TrainConfig> {
        let usual = TrainConfig::new(self.arch, self.width, self.images, batch_size);
        let config = TrainConfig {
            seed: self.seed,
            loss: match self.loss {
                LossName::Softmax => Loss::Softmax,
                LossName::Centre => Loss::Centre { weight: self.centre_weight, rate: Loss::CENTRE_RATE },
            },
            learning_rate: self.learning_rate.unwrap_or(usual.learning_rate),
            warm_up: self.warm_up.unwrap_or(usual.warm_up),
            schedule: self.schedule,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            classifier_rate: self.classifier_rate,
            clip: self.clip,
            dropout: self.dropout,
            generated_weight: self.generated_weight,
            numbers: nets::device::numbers(&self.device)?,
            ..usual
        };
        config.check()?;
        Ok(config)
    }

    /// How often the training reports.
    pub fn rhythm(&self) -> Rhythm {
        let usual = self.run.rhythm(self.images);
        Rhythm { evaluate: self.evaluate_every.unwrap_or(usual.evaluate), ..usual }
    }

    /// The command's settings with values for those that follow from others: what a run keeps.
    pub fn resolved(&self, settings: &Settings, config: &TrainConfig) -> Settings {
        let mut settings = settings.clone();
        settings.fill("learning-rate", config.learning_rate, "of --batch and --arch");
        settings.fill("warm-up", config.warm_up, "of --images");
        let rhythm = self.rhythm();
        settings.fill("evaluate-every", rhythm.evaluate, "of --images");
        self.run.fill(&mut settings, &rhythm);
        settings
    }

    /// The pairs to judge on, if any, and sure to be judged: that one is missing or damaged should
    /// not come out after hours.
    ///
    /// # Errors
    /// As [`PairSet::open`] and [`PairSet::check`].
    pub fn pair_set(&self, interrupt: &Interrupt) -> Result<Option<PairSet>> {
        let pairs = self.pairs.as_ref().map(PairSet::open).transpose()?;
        pairs.as_ref().map_or(Ok(()), |pairs| pairs.check(interrupt))?;
        Ok(pairs)
    }
}
