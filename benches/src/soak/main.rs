//! `bench-soak`: many trainers at one server for minutes, as a platform team would run it: whether its
//! memory stays flat, whether equals are served equally, and what a trainer that stopped reading costs
//! the others.
//!
//! A real server in a process of its own and readers that take batches as fast as they
//! come ([`trainers`]). Two parts ([`figures`] says what of each):
//!
//! 1. everybody reads for `--seconds`;
//! 2. `--pairs` times, a window in which one of them is gone and one in which it is there and doesn't
//!    read, in changing order; the others' images in the second by those in the first, pair by pair.

mod figures;
mod trainers;

use benches::program::Server;
use clap::Parser;
use command::{CommonArgs, Context, Interrupt, Progress};
use figures::{Figures, Memory};
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};
use trainers::{Pace, Trainers};

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Serve many trainers at once: memory, fairness, and the cost of one that stopped reading
#[derive(Parser)]
#[command(name = "bench-soak", version)]
struct Cli {
    /// Trainers at once, at least 2
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=1024))]
    trainers: u16,
    /// Rows of a batch
    #[arg(long, value_name = "ROWS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// How long all of them read [unit: seconds]
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    seconds: u64,
    /// Before that, unmeasured, while connections open and caches fill [unit: seconds]
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    warm_up: u64,
    /// Pairs of windows with one trainer gone and stalled
    #[arg(long, value_name = "N", default_value_t = 10)]
    pairs: u32,
    /// Before each window, until a stalled trainer's connection has taken in all it can hold [unit: seconds]
    // At 64 trainers on two cores it takes some 20 seconds to be sent the 8 MiB of its window.
    #[arg(long, value_name = "SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(0..=3600))]
    settle: u64,
    /// Length of each window [unit: seconds]
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    window: u64,
    /// The server's program [default: lookalike-server beside this one]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<(), Box<dyn std::error::Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        let figures = soak(&cli, &context.interrupt)?;
        match cli.common.json {
            true => println!("{}", serde_json::to_string(&figures)?),
            false => println!("{figures}"),
        }
        Ok(())
    })
}

fn soak(cli: &Cli, interrupt: &Interrupt) -> Result<Figures, Box<dyn std::error::Error>> {
    let room = cli.trainers.to_string();
    let server = Server::start(cli.server.as_deref(), "127.0.0.1:0", &["--max-streams", &room])?;
    let trainers = Trainers::start(&server.url(), cli.trainers.into(), cli.batch)?;
    let windows = u64::from(cli.pairs) * 2 * (cli.window + cli.settle);
    let progress = Progress::new("soaking", cli.warm_up + cli.seconds + windows, "seconds");
    let wait = |length: Duration, memory: Option<&mut Memory>| -> Result<(), Box<dyn std::error::Error>> {
        let (began, mut memory) = (Instant::now(), memory);
        while began.elapsed() < length {
            if interrupt.requested() {
                return Err("interrupted before anything could be said".into());
            }
            std::thread::sleep(LOOK.min(length.saturating_sub(began.elapsed())));
            trainers.check()?;
            progress.advance(1);
            if let Some(memory) = &mut memory {
                memory.look(server.resident_bytes()?);
            }
        }
        Ok(())
    };

    wait(Duration::from_secs(cli.warm_up), None)?;
    let (before, began) = (trainers.images(), Instant::now());
    let mut memory = Memory::default();
    wait(Duration::from_secs(cli.seconds), Some(&mut memory))?;
    let seconds = began.elapsed().as_secs_f64();
    let served: Vec<u64> = trainers.images().iter().zip(&before).map(|(after, before)| after - before).collect();

    let mut ratios = Vec::new();
    for pair in 0..cli.pairs {
        let rate = |pace: Pace| -> Result<f64, Box<dyn std::error::Error>> {
            trainers.pace_of_first(pace);
            wait(Duration::from_secs(cli.settle), None)?;
            let (before, began) = (trainers.images_of_others(), Instant::now());
            wait(Duration::from_secs(cli.window), None)?;
            Ok((trainers.images_of_others() - before) as f64 / began.elapsed().as_secs_f64())
        };
        // Whatever drifts meanwhile favours either as often.
        let (gone, stalled) = match pair % 2 {
            0 => (rate(Pace::Gone)?, rate(Pace::Stalled)?),
            _ => {
                let stalled = rate(Pace::Stalled)?;
                (rate(Pace::Gone)?, stalled)
            }
        };
        ratios.push(stalled / gone);
    }
    progress.finish();
    let ended_well = trainers.stop();
    server.stop()?;
    ended_well?;
    Ok(Figures::new(seconds, served, memory, ratios))
}
