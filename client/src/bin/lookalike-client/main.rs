//! `lookalike-client train|probe|export|manifest`.

mod export;
mod manifest;
mod probe;
mod range;
mod train;

use clap::{Parser, Subcommand};
use client::Error;
use command::{CommonArgs, Context, Ending};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Read streams of training batches from Lookalike's servers
#[derive(Parser)]
#[command(name = "lookalike-client", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Verb {
    Train(Box<train::Train>),
    Probe(Box<probe::Probe>),
    Export(Box<export::Export>),
    #[command(name = "manifest")]
    ListClasses(Box<manifest::ListClasses>),
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<Ending, Error> {
        match &cli.verb {
            _ if cli.common.dry_run => context.settings.print()?,
            Verb::Train(train) => return train::run(train, cli.common.json, &context),
            Verb::Probe(probe) => return probe::run(probe, cli.common.json, &context),
            Verb::Export(export) => return export::run(export, cli.common.json, &context),
            Verb::ListClasses(classes) => manifest::run(classes, cli.common.json, &context)?,
        }
        Ok(Ending::Done)
    })
}
