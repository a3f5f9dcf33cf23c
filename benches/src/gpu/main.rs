//! `bench-gpu`: what a GPU computes rightly, and how fast, beside PyTorch, in one table and one file.
//!
//! It computes nothing itself: each part is a run of `bench-networks`, which lies beside it, or of
//! `peers/networks.py`, and ends with its time. So what fails or hangs costs its own part alone, and what
//! was found until then is still told. The most important comes first.

mod parts;
mod report;

use clap::Parser;
use command::{CommonArgs, Context};
use parts::{Machine, PARTS};
use report::Report;
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Check a GPU against the CPU, and measure it beside PyTorch
#[derive(Parser)]
#[command(name = "bench-gpu", version)]
struct Cli {
    /// The GPU: cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cuda:0")]
    device: String,
    /// Channels: paper, small or tiny
    #[arg(long, value_name = "WIDTH", default_value = "paper")]
    width: String,
    /// Images of a batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: u16,
    /// Time that all parts may take together [unit: minutes]
    #[arg(long, value_name = "MINUTES", default_value_t = 9.0)]
    minutes: f64,
    /// A python that has torch; without one nothing is compared
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// PyTorch's side of the comparison
    #[arg(long, value_name = "FILE", default_value = "benches/peers/networks.py")]
    peers: PathBuf,
    /// Where every line goes
    #[arg(long, value_name = "FILE", default_value = "gpu.json")]
    out: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<(), Box<dyn std::error::Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        let deadline = Instant::now() + Duration::from_secs_f64(cli.minutes.clamp(0.0, 600.0) * 60.0);
        let program = std::env::current_exe()?.with_file_name("bench-networks");
        let machine = Machine {
            program,
            python: cli.python,
            peers: cli.peers,
            device: cli.device,
            width: cli.width,
            batch: cli.batch.to_string(),
        };
        let mut report = Report::default();
        for part in PARTS {
            let left = deadline.saturating_duration_since(Instant::now());
            report.add(machine.run(part, left));
            // After each part, so that whoever is interrupted has what there is.
            report.write(&cli.out)?;
        }
        println!("{report}");
        match report.wrong() {
            0 => Ok(()),
            wrong => Err(format!("{wrong} findings are wrong or missing; see {}", cli.out.display()).into()),
        }
    })
}
