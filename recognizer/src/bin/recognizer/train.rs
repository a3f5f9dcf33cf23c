//! `recognizer train`: a recognizer from the real images of a data set.

use clap::{Args, ValueEnum};
use command::{Context, Ending, Settings};
use dataset::augment::{NONE, STANDARD};
use dataset::{Dataset, OpenOptions};
use recognizer::flags::TrainFlags;
use recognizer::{BatchSource, Error, FolderSettings, FolderSource, Session};
use std::path::PathBuf;
use std::sync::Arc;

/// Train a recognizer on the images of a data set
#[derive(Args)]
pub(crate) struct Train {
    /// Images: a folder per identity, a tar of one, or demo
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    data: PathBuf,
    /// Images in a step, 1 to 4096
    #[arg(long, value_name = "ROWS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Training")]
    batch: u32,
    /// Change of each row: standard (mirrored half the time, shifted by up to 8 pixels) or off
    #[arg(
        long,
        value_name = "KIND",
        default_value = "standard",
        value_enum,
        hide_possible_values = true,
        help_heading = "Training"
    )]
    augmentation: Augmentation,
    #[command(flatten)]
    flags: TrainFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Augmentation {
    Standard,
    Off,
}

/// All settings, with those that follow from others.
pub(crate) fn settings(train: &Train, context: &Context) -> Result<Settings, Error> {
    let config = train.flags.config(train.batch as usize)?;
    Ok(train.flags.resolved(&context.settings, &config))
}

pub(crate) fn run(train: &Train, json: bool, context: &Context) -> Result<Ending, Error> {
    let flags = &train.flags;
    let batch_size = train.batch as usize;
    let config = flags.config(batch_size)?;
    let device = nets::device::parse_with_numbers(&flags.device)?.device;
    // An image that can't be decoded is set aside now, not met in the middle of the training.
    let data = Dataset::open(&train.data, &OpenOptions { decode_all: true, ..OpenOptions::default() })?;
    for line in data.report().lines() {
        command::say(format!("{}: {line}", train.data.display()));
    }
    let pairs = flags.pair_set(&context.interrupt)?;
    let augmentation = match train.augmentation {
        Augmentation::Standard => STANDARD,
        Augmentation::Off => NONE,
    };
    let settings = FolderSettings { batch_size, seed: flags.seed, augmentation };
    let mut source = FolderSource::new(Arc::new(data), settings)?;
    command::say(format!("{} {}, {} loss, from {}", config.kind, config.width, config.loss, source.describe()));

    let run = flags.run.directory("recognizer", &flags.resolved(&context.settings, &config))?;
    let session = Session {
        run: &run,
        device: &device,
        interrupt: &context.interrupt,
        resume: flags.run.resume.is_some(),
        pairs: pairs.as_ref(),
        rhythm: flags.rhythm(),
    };
    let outcome = recognizer::train(&config, &mut source, &session)?;
    Ok(outcome.report(&run, json))
}
