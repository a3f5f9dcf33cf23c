//! `lookalike-client probe`: what a server sends, and how fast.

use clap::Args;
use client::flags::StreamFlags;
use client::probe::{self, Album};
use client::{Error, StreamSettings, StreamSource};
use command::Context;
use recognizer::BatchSource;
use std::path::{Path, PathBuf};

/// Measure a stream, and show what is in it
#[derive(Args)]
pub(crate) struct Probe {
    #[command(flatten)]
    stream: StreamFlags,
    /// Seed of the stream
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Stream")]
    seed: u64,
    /// Batches to read
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1 << 40), help_heading = "Stream")]
    batches: u64,
    /// Index of the first batch
    #[arg(long, value_name = "INDEX", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1 << 62), help_heading = "Stream")]
    first: u64,
    /// Picture of some people as they came: real, existing and blended
    #[arg(long, value_name = "PNG", help_heading = "Output")]
    save: Option<PathBuf>,
}

pub(crate) fn run(args: &Probe, json: bool, context: &Context) -> Result<(), Error> {
    let settings =
        StreamSettings { first: args.first, end: Some(args.first + args.batches), ..args.stream.settings(args.seed)? };
    if let Some(path) = &args.save {
        check_folder(path)?;
    }
    let mut source = StreamSource::connect(settings, &context.interrupt)?;
    command::say(format!("{} batches of {}", command::human::count(args.batches), source.describe()));
    let mut album = Album::new(source.class_names(), source.channels());
    let figures = probe::run(&mut source, args.batches, &context.interrupt, |received| {
        if args.save.is_some() {
            album.add(received);
        }
    })?;
    // First, because saving may fail where measuring has not.
    if json {
        println!("{}", serde_json::to_string(&figures).unwrap_or_default());
    } else {
        println!("{figures}");
    }
    if let Some(path) = &args.save {
        let bundle: String = figures.bundle.chars().take(12).collect();
        album.picture(&format!("{}, seed {}, bundle {bundle}", args.stream.mix, args.seed))?.save(path)?;
        command::say(format!("saved {}", path.display()));
    }
    Ok(())
}

/// Refuses a picture that has no folder to be saved in before anything is measured in vain.
fn check_folder(picture: &Path) -> Result<(), Error> {
    let folder = picture.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if picture.is_dir() || !folder.is_dir() {
        let found = picture.display();
        return Err(Error::Settings(format!("expected a file in a folder that is there for --save, found {found}")));
    }
    Ok(())
}
