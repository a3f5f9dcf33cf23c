//! `cvae-gan train|sample|evaluate|export`.

mod evaluate;
mod export;
mod sample;
mod train;

use clap::{Parser, Subcommand};
use command::{CommonArgs, Context, Ending};
use cvae_gan::Error;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Train a generator of faces for each identity of a data set, look at it, judge it, export it
#[derive(Parser)]
#[command(name = "cvae-gan", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Verb {
    Train(Box<train::Train>),
    Sample(sample::Sample),
    Evaluate(evaluate::Evaluate),
    Export(export::Export),
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<Ending, Error> {
        let json = cli.common.json;
        match &cli.verb {
            // Its dry run measures a step.
            Verb::Train(train) => return train::run(train, cli.common.dry_run, json, &context),
            _ if cli.common.dry_run => context.settings.print()?,
            Verb::Sample(sample) => sample::run(sample, json)?,
            Verb::Evaluate(evaluate) => evaluate::run(evaluate, json, &context.interrupt)?,
            Verb::Export(export) => export::run(export, json, &context.interrupt)?,
        }
        Ok(Ending::Done)
    })
}
