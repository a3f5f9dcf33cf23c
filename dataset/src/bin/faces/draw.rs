//! `faces draw`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use command::{Interrupt, Progress};
use dataset::drawn::DrawnSet;
use dataset::pairs::{Request, make};
use dataset::write::{self, Encoding};
use dataset::{Dataset, OpenOptions, demo};

use crate::{Failure, sheet};

#[derive(Args)]
pub(crate) struct DrawArgs {
    /// How many people to draw
    #[arg(long, value_name = "N", default_value_t = demo::TRAINING.identities, help_heading = "Input",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    identities: u32,
    /// How many images of each
    #[arg(long, value_name = "N", default_value_t = demo::TRAINING.images, help_heading = "Input",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    images: u32,
    /// Another seed gives other people
    #[arg(long, value_name = "N", default_value_t = demo::SEED, help_heading = "Input")]
    seed: u64,
    /// Number of the first person; sets whose numbers don't overlap share nobody
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Input",
        value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    first: u32,
    /// A new folder, or with --tar a new file
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Write one tar instead of a folder
    #[arg(long, help_heading = "Output", requires = "out")]
    tar: bool,
    /// Format of the images: png or jpeg
    #[arg(
        long,
        value_name = "FORMAT",
        default_value_t,
        value_enum,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    format: Format,
    /// Also draw an overview of some of them into a PNG
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    sheet: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Png,
    Jpeg,
}

impl Format {
    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::Png => Encoding::Png,
            Self::Jpeg => Encoding::Jpeg(JPEG_QUALITY),
        }
    }
}

/// Quality at which JPEG changes the drawn faces less than their own noise does.
const JPEG_QUALITY: u8 = 92;

pub(crate) fn run(args: &DrawArgs, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    if args.out.is_none() && args.sheet.is_none() {
        return Err(Failure::NothingToDo);
    }
    let drawn = DrawnSet { first: args.first, identities: args.identities, images: args.images, seed: args.seed };
    let set = Dataset::of_drawn(&drawn, &OpenOptions { channels: 3, ..OpenOptions::default() })?;
    if let Some(out) = &args.out {
        // Very small sets allow no pairs; they are still good for training.
        let pairs = make(&set, &Request::default(), drawn.seed).ok().map(|pairs| pairs.to_string());
        let encoding = args.format.encoding();
        let progress = Progress::new("drawing", set.len() as u64, "images");
        let advance = || {
            progress.advance(1);
            !interrupt.requested()
        };
        let write = if args.tar { write::tar } else { write::folder };
        if !write(&drawn, out, encoding, pairs.as_deref(), advance)? {
            return Err(Failure::Interrupted);
        }
        progress.finish();
    }
    // Last, so that a command that is interrupted has written nothing.
    if let Some(path) = &args.sheet {
        sheet::save(&set, path)?;
    }
    if json {
        println!(
            "{}",
            serde_json::json!({
                "identities": drawn.identities,
                "images": set.len(),
                "seed": drawn.seed,
                "out": args.out.as_ref().map(|out| out.display().to_string()),
                "sheet": args.sheet.as_ref().map(|sheet| sheet.display().to_string()),
            })
        );
    }
    Ok(())
}
