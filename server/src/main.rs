//! `lookalike-server`: streams training batches of faces.

mod inspect;
mod start;
mod token;

use clap::{Parser, Subcommand};
use command::{CommonArgs, Context};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Stream training batches of faces to recognizer trainers
#[derive(Debug, Parser)]
#[command(name = "lookalike-server", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve streams until Ctrl-C
    Serve(Box<start::ServeArgs>),
    /// Say what a bundle and a dataset hold, and whether they belong together
    Inspect(inspect::InspectArgs),
    /// Make a token for a trainer or an administrator
    Token(token::TokenArgs),
}

fn main() -> ExitCode {
    outlive_hangups();
    command::main(|cli: Cli, context: Context| -> Result<(), Box<dyn std::error::Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        match cli.verb {
            Verb::Serve(args) => start::run(*args, &cli.common, &context.interrupt),
            Verb::Inspect(args) => inspect::run(&args, &cli.common),
            Verb::Token(args) => token::run(&args),
        }
    })
}

/// SIGHUP asks a server to read its files again, and mustn't end one that hasn't opened them yet.
fn outlive_hangups() {
    #[cfg(unix)]
    {
        let nobody_looks = std::sync::Arc::default();
        // Where it fails, a server that was opened still takes it.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGHUP, nobody_looks);
    }
}
