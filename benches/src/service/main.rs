//! `bench-service`: what a trainer meets beside throughput: how long the first batch takes, and the next one
//! after a crash; what it waits while it trains; what another reader of the same stream costs the
//! generator; what memory a stream holds that nobody reads; how fast real images are there ([`gallery`]).
//!
//! Each other part has a server of its own, a real one in a process of its own ([`parts`]).

mod gallery;
mod parts;

use clap::{Parser, ValueEnum};
use command::{CommonArgs, Context, Progress};
use parts::Part;
use std::{path::PathBuf, process::ExitCode};

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Measure what a trainer meets beside throughput
#[derive(Parser)]
#[command(name = "bench-service", version)]
struct Cli {
    /// What to measure, one after the other
    #[arg(long, value_name = "PART,...", value_delimiter = ',', value_enum, default_values_t = Part::value_variants().to_vec())]
    parts: Vec<Part>,
    /// How often what is quick is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Streams that nobody reads, for `idle`
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    streams: u16,
    /// The server's program [default: lookalike-server beside this one]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<(), Box<dyn std::error::Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        let progress = Progress::new("measuring", cli.parts.len() as u64, "parts");
        let mut figures = serde_json::Map::new();
        for part in &cli.parts {
            for (what, unit, value) in part.measure(&cli)? {
                match cli.common.json {
                    true => drop(figures.insert(format!("{what}, {unit}"), value.into())),
                    false => println!("{value:>10.3} {unit:<14} {what}"),
                }
            }
            progress.advance(1);
            if context.interrupt.requested() {
                return Err("interrupted; what was measured until then stands above".into());
            }
        }
        progress.finish();
        if cli.common.json {
            println!("{}", serde_json::Value::from(figures));
        }
        Ok(())
    })
}
