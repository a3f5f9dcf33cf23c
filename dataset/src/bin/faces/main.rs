//! `faces`: align photographs, draw faces, look into data sets, make verification pairs.

mod align;
mod draw;
mod inspect;
mod overlay;
mod pairs;
mod sheet;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use command::{CommonArgs, Context, Ending};

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Align photographs, draw faces, look into data sets of faces, and make verification pairs for them
#[derive(Parser)]
#[command(name = "faces", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Verb {
    Align(align::AlignArgs),
    /// Draw people who don't exist, as a folder per identity or a tar of one, with pairs and circumstances
    Draw(draw::DrawArgs),
    /// Say what a data set holds: identities, images, digest, and files set aside with reasons
    Inspect(inspect::InspectArgs),
    /// Make identity-disjoint verification pairs in the form of Labeled Faces in the Wild
    Pairs(pairs::PairsArgs),
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<Ending, Failure> {
        let (json, dry_run) = (cli.common.json, cli.common.dry_run);
        match cli.verb {
            Verb::Align(args) => return align::run(&args, dry_run, json, &context),
            _ if dry_run => context.settings.print()?,
            Verb::Draw(args) => draw::run(&args, json, &context.interrupt)?,
            Verb::Inspect(args) => inspect::run(&args, json, &context.interrupt)?,
            Verb::Pairs(args) => pairs::run(&args, json)?,
        }
        Ok(Ending::Done)
    })
}

/// Whatever ends a command early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("{0}")]
    Setting(#[from] command::WrongSetting),
    #[error("interrupted; nothing was written")]
    Interrupted,
    #[error("nothing to do; give --out, --sheet or both")]
    NothingToDo,
}
