//! `faces`: draw faces, look into data sets, make verification pairs.

mod draw;
mod inspect;
mod pairs;
mod sheet;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use command::{CommonArgs, Context};

/// Draw faces, look into data sets of faces, and make verification pairs for them
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
    /// Draw people who don't exist, as a folder per identity or a tar of one, with pairs and circumstances
    Draw(draw::DrawArgs),
    /// Say what a data set holds: identities, images, digest, and files set aside with reasons
    Inspect(inspect::InspectArgs),
    /// Make identity-disjoint verification pairs in the form of Labeled Faces in the Wild
    Pairs(pairs::PairsArgs),
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<(), Failure> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        match cli.verb {
            Verb::Draw(args) => draw::run(&args, cli.common.json, &context.interrupt),
            Verb::Inspect(args) => inspect::run(&args, cli.common.json, &context.interrupt),
            Verb::Pairs(args) => pairs::run(&args, cli.common.json),
        }
    })
}

/// Whatever ends a command early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("interrupted; nothing was written")]
    Interrupted,
    #[error("nothing to do; give --out, --sheet or both")]
    NothingToDo,
}
