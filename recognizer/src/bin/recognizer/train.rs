//! `recognizer train`: a recognizer from the real images of a data set.

use clap::Args;
use command::Context;
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
    /// Leave images as they are: no flip, no shift
    #[arg(long, help_heading = "Training")]
    no_augmentation: bool,
    #[command(flatten)]
    flags: TrainFlags,
}

pub(crate) fn run(train: &Train, json: bool, context: &Context) -> Result<(), Error> {
    let flags = &train.flags;
    let batch_size = train.batch as usize;
    let config = flags.config(batch_size)?;
    let device = nets::device::parse(&flags.device)?;
    let data = Dataset::open(&train.data, &OpenOptions { decode_all: true, ..OpenOptions::default() })?;
    for line in data.report().lines() {
        command::say(format!("{}: {line}", train.data.display()));
    }
    let pairs = flags.pair_set()?;
    let augmentation = if train.no_augmentation { NONE } else { STANDARD };
    let settings = FolderSettings { batch_size, seed: flags.seed, augmentation };
    let mut source = FolderSource::new(Arc::new(data), settings)?;
    command::say(format!("{} {}, {} loss, from {}", config.kind, config.width, config.loss, source.describe()));

    let run = flags.run_directory("recognizer", &context.settings)?;
    let session = Session {
        run: &run,
        device: &device,
        interrupt: &context.interrupt,
        resume: flags.resume.is_some(),
        pairs: pairs.as_ref(),
        rhythm: flags.rhythm(),
    };
    let outcome = recognizer::train(&config, &mut source, &session)?;
    recognizer::flags::report(&outcome, &run, json);
    Ok(())
}
