//! `recognizer train|evaluate|embed`.

mod embed;
mod evaluate;
mod train;

use clap::{Parser, Subcommand};
use command::{CommonArgs, Context, Ending};
use recognizer::Error;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Train LightCNN face recognizers, and judge them on pairs of faces
#[derive(Parser)]
#[command(name = "recognizer", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Verb {
    Train(train::Train),
    Evaluate(evaluate::Evaluate),
    Embed(embed::Embed),
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<Ending, Error> {
        let CommonArgs { dry_run, json, .. } = cli.common;
        match &cli.verb {
            Verb::Train(train) if dry_run => train::settings(train, &context)?.print()?,
            _ if dry_run => context.settings.print()?,
            Verb::Train(train) => return train::run(train, json, &context),
            Verb::Evaluate(evaluate) => evaluate::run(evaluate, json, &context)?,
            Verb::Embed(embed) => embed::run(embed, json, &context)?,
        }
        Ok(Ending::Done)
    })
}
