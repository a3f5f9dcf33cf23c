//! `recognizer train|evaluate|embed`.

mod embed;
mod evaluate;
mod train;

use clap::{Parser, Subcommand};
use command::{CommonArgs, Context};
use std::process::ExitCode;

/// Train LightCNN face recognizers, and judge them on pairs of faces
#[derive(Parser)]
#[command(version, styles = command::help::STYLES, help_template = command::help::TEMPLATE)]
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
    command::main(|cli: Cli, context: Context| {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        match &cli.verb {
            Verb::Train(train) => train::run(train, cli.common.json, &context),
            Verb::Evaluate(evaluate) => evaluate::run(evaluate, cli.common.json, &context),
            Verb::Embed(embed) => embed::run(embed, cli.common.json, &context),
        }
    })
}
