//! The flags of a training, the same in every command that trains a recognizer.

use crate::error::Result;
use crate::evaluate::PairSet;
use crate::train::{Loss, Outcome, Rhythm, Schedule, TrainConfig};
use clap::{Args, ValueEnum};
use command::{RunDirectory, Settings};
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
    /// Seed of weights, order, augmentation and dropout
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Training")]
    pub seed: u64,
    /// What computes: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "Training")]
    pub device: String,

    /// Judge on pairs now and then: a folder or tar with pairs.txt, or demo:held-out
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pub pairs: Option<PathBuf>,

    /// New run directory [default: the next number in runs/]
    #[arg(long, value_name = "RUN", conflicts_with = "resume", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Go on with this run directory, with the settings it was started with
    #[arg(long, value_name = "RUN", help_heading = "Output")]
    pub resume: Option<PathBuf>,
    /// Length between lines of figures [unit: images seen] [default: a hundredth of --images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub log_every: Option<u64>,
    /// Length between evaluations on --pairs [unit: images seen] [default: a tenth of --images, at least 5,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub evaluate_every: Option<u64>,
    /// Length between checkpoints [unit: images seen] [default: a tenth of --images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub checkpoint_every: Option<u64>,
    /// Newest checkpoints that are kept
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Output")]
    pub keep: u32,
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
            ..usual
        };
        config.check()?;
        Ok(config)
    }

    /// How often the training reports.
    pub fn rhythm(&self) -> Rhythm {
        let usual = Rhythm::over(self.images);
        Rhythm {
            log: self.log_every.unwrap_or(usual.log),
            evaluate: self.evaluate_every.unwrap_or(usual.evaluate),
            checkpoint: self.checkpoint_every.unwrap_or(usual.checkpoint),
            keep: self.keep as usize,
        }
    }

    /// The pairs to judge on, if any.
    ///
    /// # Errors
    /// As [`PairSet::open`].
    pub fn pair_set(&self) -> Result<Option<PairSet>> {
        self.pairs.as_ref().map(PairSet::open).transpose()
    }

    /// The run directory: the one of `--resume`, that of `--out`, or `runs/00012-name`.
    ///
    /// # Errors
    /// A place that is taken, in use or can't be written.
    pub fn run_directory(&self, name: &str, settings: &Settings) -> Result<RunDirectory> {
        Ok(match (&self.resume, &self.out) {
            (Some(run), _) => RunDirectory::open(run)?,
            (None, Some(out)) => RunDirectory::create_at(out, &settings.to_toml())?,
            (None, None) => RunDirectory::create("runs", name, &settings.to_toml())?,
        })
    }
}

/// Says how a training ended: one line, or with `json` one object on standard output.
pub fn report(outcome: &Outcome, run: &RunDirectory, json: bool) {
    if json {
        let object = serde_json::json!({
            "run": run.path(),
            "checkpoint": outcome.checkpoint,
            "images_seen": outcome.images_seen,
            "interrupted": outcome.interrupted,
            "evaluation": outcome.evaluation,
        });
        println!("{object}");
        return;
    }
    let seen = command::human::count(outcome.images_seen);
    let run = run.path().display();
    if outcome.interrupted {
        println!("stopped after {seen} images; go on with --resume {run}");
    } else {
        println!("trained for {seen} images: {}", outcome.checkpoint.display());
    }
}
