//! `lookalike-client export`: a part of a stream as files.

use crate::range::Range;
use clap::Args;
use client::Error;
use client::export::{self, ExportPlace, Exported};
use command::human::{bytes, count};
use command::{Context, Ending};
use std::path::PathBuf;

/// Write a part of a stream as a folder of images, or as tars in WebDataset's form
#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    range: Range,
    /// A new folder, with one for each class in it, or NAME.tar; an export that was begun there goes on
    #[arg(long, value_name = "DIR|NAME.tar", required_unless_present = "check", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Images after which another tar begins, NAME-000000.tar and so on [default: one tar]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    shard_images: Option<u64>,
    /// Take the digests of a finished export again, from its files alone
    #[arg(long, value_name = "DIR|NAME.tar", conflicts_with_all = ["out", "shard_images"], help_heading = "Input")]
    check: Option<PathBuf>,
}

pub(crate) fn run(args: &Export, json: bool, context: &Context) -> Result<Ending, Error> {
    let Some(out) = &args.out else { return check(args, json, context) };
    let place = ExportPlace::new(out, args.shard_images)?;
    let (settings, recipe) = args.range.settings(context)?;
    let exported = export::run(&place, settings, recipe.as_ref(), &context.interrupt)?;
    let Exported { batches, images, digest, interrupted, .. } = &exported;
    if json {
        println!("{}", serde_json::to_string(&exported).unwrap_or_default());
    } else if *interrupted {
        println!("stopped after {} batches; the same command goes on", count(*batches));
    } else {
        let (images, batches, size) = (count(*images), count(*batches), bytes(exported.bytes));
        let digest = digest.as_deref().unwrap_or_default();
        println!("{images} images of {batches} batches in {}, {size} written, digest {digest}", out.display());
    }
    Ok(if *interrupted { Ending::Interrupted } else { Ending::Done })
}

fn check(args: &Export, json: bool, context: &Context) -> Result<Ending, Error> {
    let Some(path) = &args.check else { return Ok(Ending::Done) };
    let (recipe, images) = export::check(&ExportPlace::new(path, None)?, &context.interrupt)?;
    let (batches, digest) = (recipe.range.count, &recipe.range.digest);
    if json {
        println!("{}", serde_json::json!({ "batches": batches, "images": images, "digest": digest }));
    } else {
        let (images, batches) = (count(images), count(batches));
        println!("{images} images of {batches} batches are what the recipe says, digest {digest}");
    }
    Ok(Ending::Done)
}
