//! `bench-stream`: what a stream carries, and what it costs both ends.
//!
//! A server and its consumers are processes of their own, all of this program. The server makes nothing:
//! its faces lie in memory ([`server`]), so what is measured is planning, assembling, digests and the wire.
//! Each consumer takes a first batch, waits until all are ready, warms up for a second and then counts
//! ([`consumer`]); [`cell`] starts them and puts their figures together.

mod cell;
mod consumer;
mod server;

use cell::Cell;
use clap::{Parser, ValueEnum};
use command::{CommonArgs, Context, Progress, human::Table};
use std::{error::Error, process::ExitCode};

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Measure what a stream carries
#[derive(Parser)]
#[command(name = "bench-stream", version)]
struct Cli {
    /// Rows of a batch
    #[arg(long, value_name = "ROWS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Consumers at once, each number in turn
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 3])]
    consumers: Vec<usize>,
    /// Channels of the images, each number in turn
    #[arg(long, value_name = "C,...", value_delimiter = ',', default_values_t = [1, 3], value_parser = clap::value_parser!(u8).range(1..=3))]
    channels: Vec<u8>,
    /// How bytes travel, each way in turn
    #[arg(long, value_name = "WAY,...", value_delimiter = ',', default_values = ["tcp", "unix"])]
    ways: Vec<Way>,
    /// Where rows come from, each in turn
    #[arg(long, value_name = "ROWS,...", value_delimiter = ',', default_values = ["real", "made", "shared"])]
    rows: Vec<Rows>,
    /// Whether images are sent as they lie there, without flips and shifts
    #[arg(long)]
    plain: bool,
    /// Counted in each cell [unit: seconds]
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    seconds: f64,
    /// How often all cells are measured, in turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// What this process is; for itself only
    #[arg(long, hide = true)]
    role: Option<Role>,
    /// Where the server of a consumer is; for itself only
    #[arg(long, hide = true, default_value = "")]
    url: String,
    /// Which of the consumers this is; for itself only
    #[arg(long, hide = true, default_value_t = 0)]
    number: u64,
    #[command(flatten)]
    common: CommonArgs,
}

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// TCP over loopback
    Tcp,
    /// A Unix socket
    Unix,
}

/// Where rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rows {
    /// All are real, decoded before
    Real,
    /// All are generated, by a generator that takes no time
    Made,
    /// As `made`, and all consumers read the same stream
    Shared,
}

/// A value as the flag has it.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Server,
    Consumer,
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<(), Box<dyn Error>> {
        match cli.role {
            _ if cli.common.dry_run => Ok(context.settings.print()?),
            Some(Role::Server) => server::serve(cli.channels[0].into(), cli.ways[0]),
            Some(Role::Consumer) => consumer::consume(&cli),
            None => measure(&cli),
        }
    })
}

fn measure(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let mut cells = Vec::new();
    for &rows in &cli.rows {
        for &way in &cli.ways {
            for &channels in &cli.channels {
                let of = |&consumers| Cell { rows, way, channels, consumers };
                cells.extend(cli.consumers.iter().filter(|&&count| rows != Rows::Shared || count > 1).map(of));
            }
        }
    }
    let progress = Progress::new("streaming", (cells.len() * cli.rounds) as u64, "cells");
    let mut rounds = vec![Vec::new(); cells.len()];
    for _ in 0..cli.rounds {
        for (cell, figures) in cells.iter().zip(&mut rounds) {
            figures.push(cell.measure(cli)?);
            progress.advance(1);
        }
    }
    progress.finish();
    let mut table =
        Table::new(["rows", "way", "channels", "consumers", "images/s", "MB/s", "server, cores"].into_iter().chain([
            "consumers, cores",
            "MB per core-second",
            "p50, ms",
            "p99, ms",
            "slowest by fastest",
        ]));
    for (cell, figures) in cells.iter().zip(&rounds) {
        let figures = cell::Figures::median(figures);
        if cli.common.json {
            println!("{}", serde_json::to_string(&cell.described(&figures))?);
        }
        table.row(cell.row(&figures));
    }
    if !cli.common.json {
        println!("{table}");
    }
    Ok(())
}
