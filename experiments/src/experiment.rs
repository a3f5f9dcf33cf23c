//! The experiments, by name, and what each trains.

use crate::error::Result;
use crate::jobs::{Job, in_order};
use crate::report::{Bench, Report};
use crate::settings::Settings;
use crate::world::World;
use crate::{ablation, figures, gan_train, generation, ratio, usage, verification};

/// One of the paper's questions, or of those that it leaves: which parts of a better recipe are worth having.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experiment {
    /// Do generated faces help to tell strangers apart? (Table 2.)
    Verification,
    /// How many of them, and how few real ones?
    Ratio,
    /// How good are the faces themselves? (Table 1.)
    Generation,
    /// What do they look like? (Figures 1, 5 and 6.)
    Figures,
    /// What does a classifier learn from them alone, and does identity hide in the latent?
    GanTrain,
    /// Which parts of the modern recipe earn their place?
    Ablation,
    /// How should a trainer take generated rows?
    Usage,
}

impl Experiment {
    /// Those that `all` runs, in its order.
    pub const OF_THE_PAPER: [Self; 5] =
        [Self::Verification, Self::Ratio, Self::Generation, Self::Figures, Self::GanTrain];

    /// Those five, and the two that look for a better recipe.
    pub const ALL: [Self; 7] =
        [Self::Verification, Self::Ratio, Self::Generation, Self::Figures, Self::GanTrain, Self::Ablation, Self::Usage];

    /// Of its subcommand and folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verification => "verification",
            Self::Ratio => "ratio",
            Self::Generation => "generation",
            Self::Figures => "figures",
            Self::GanTrain => "gan-train",
            Self::Ablation => "ablation",
            Self::Usage => "usage",
        }
    }

    /// Whether it judges on pairs of strangers.
    pub fn needs_pairs(self) -> bool {
        matches!(self, Self::Verification | Self::Ratio | Self::Usage)
    }

    /// Its trainings, each after those that it needs.
    ///
    /// # Errors
    /// Settings that can't train.
    pub fn jobs(self, settings: &Settings, world: &World) -> Result<Vec<Job>> {
        Ok(in_order(match self {
            Self::Verification => verification::jobs(settings, world)?,
            Self::Ratio => ratio::jobs(settings, world)?,
            Self::Generation => generation::jobs(settings, world)?,
            Self::Figures => figures::jobs(settings)?,
            Self::GanTrain => gan_train::jobs(settings)?,
            Self::Ablation => ablation::jobs(settings)?,
            Self::Usage => usage::jobs(settings)?,
        }))
    }

    /// Runs it, trainings and all, and says what it found.
    ///
    /// # Errors
    /// Whatever ends a training, Ctrl-C, figures that can't be measured.
    pub fn run(self, bench: &Bench<'_>) -> Result<Report> {
        match self {
            Self::Verification => verification::run(bench),
            Self::Ratio => ratio::run(bench),
            Self::Generation => generation::run(bench),
            Self::Figures => figures::run(bench),
            Self::GanTrain => gan_train::run(bench),
            Self::Ablation => ablation::run(bench),
            Self::Usage => usage::run(bench),
        }
    }
}
