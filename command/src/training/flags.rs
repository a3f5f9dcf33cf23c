use std::path::PathBuf;

use clap::Args;

use super::Rhythm;
use crate::{Result, RunDirectory, Settings};

/// Flattened into a subcommand that trains.
#[derive(Args, Clone, Debug)]
pub struct RunFlags {
    /// New run directory [default: the next number in runs/]
    #[arg(long, value_name = "RUN", conflicts_with = "resume", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Go on with this run directory, with the settings it was started with
    #[arg(long, value_name = "RUN", help_heading = "Output")]
    pub resume: Option<PathBuf>,
    /// Length between lines of figures [unit: images seen] [default: a hundredth of --images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub log_every: Option<u64>,
    /// Length between checkpoints [unit: images seen] [default: a tenth of --images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub checkpoint_every: Option<u64>,
    /// Newest checkpoints that are kept
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Output")]
    pub keep: u32,
}

impl RunFlags {
    /// How often a training of this length reports. [`Rhythm::evaluate`] is the usual one: what is
    /// due then, and the flag for it, are the training's own.
    pub fn rhythm(&self, images: u64) -> Rhythm {
        let usual = Rhythm::over(images);
        Rhythm {
            log: self.log_every.unwrap_or(usual.log),
            checkpoint: self.checkpoint_every.unwrap_or(usual.checkpoint),
            keep: self.keep as usize,
            ..usual
        }
    }

    /// Gives the flags that were left open the values of `rhythm`.
    pub fn fill(&self, settings: &mut Settings, rhythm: &Rhythm) {
        settings.fill("log-every", rhythm.log, "of --images");
        settings.fill("checkpoint-every", rhythm.checkpoint, "of --images");
    }

    /// The run directory: the one of `--resume`, that of `--out`, or `runs/00012-name`. A new one
    /// keeps `settings`.
    ///
    /// # Errors
    /// A place that is taken, in use or can't be written.
    pub fn directory(&self, name: &str, settings: &Settings) -> Result<RunDirectory> {
        match (&self.resume, &self.out) {
            (Some(run), _) => RunDirectory::open(run),
            (None, Some(out)) => RunDirectory::create_at(out, &settings.to_toml()),
            (None, None) => RunDirectory::create("runs", name, &settings.to_toml()),
        }
    }
}
