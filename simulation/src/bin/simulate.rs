//! `simulate`: plays worlds by their seeds, and says which of them breaks a promise.

use clap::Parser;
use command::{CommonArgs, Context, Progress};
use simulation::{Failure, world::World};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Play Lookalike in virtual time, a world for each seed, and hold every promise against what happens
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Cli {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 1000)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Play this one alone, and tell its story
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Worlds played at once [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Failures after which no further world is begun
    #[arg(long, value_name = "N", default_value_t = 1)]
    failures: usize,
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<(), Box<dyn std::error::Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        match cli.seed {
            Some(seed) => tell(seed),
            None => play_all(&cli),
        }
    })
}

/// One world with all that happens in it.
fn tell(seed: u64) -> Result<(), Box<dyn std::error::Error>> {
    let world = World::new(seed);
    println!("{world:#?}");
    let (lines, outcome) = simulation::play::play_world(world);
    lines.iter().for_each(|line| println!("{line}"));
    let story = outcome.map_err(|failure| Failure { lines: Vec::new(), ..failure })?;
    println!("every promise was kept; the story's hash is {}", story.hash);
    Ok(())
}

fn play_all(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    let threads = cli.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let progress = Progress::new("simulating", cli.seeds, "worlds");
    let (next, counts, failures) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= cli.seeds || locked(&failures).len() >= cli.failures {
                        return;
                    }
                    match simulation::play(cli.from + nth) {
                        Ok(story) => {
                            let mut counts = locked(&counts);
                            story
                                .counts
                                .into_iter()
                                .for_each(|(kind, count)| *counts.entry(kind).or_insert(0) += count);
                        }
                        Err(failure) => {
                            progress.say(format!("seed {}: {}", failure.seed, failure.promise));
                            locked(&failures).push(failure);
                        }
                    }
                    progress.advance(1);
                }
            });
        }
    });
    drop(progress);
    let counts = locked(&counts);
    if cli.common.json {
        println!(
            "{}",
            serde_json::json!({ "events": *counts, "failed_seeds": locked(&failures).iter().map(|failure| failure.seed).collect::<Vec<_>>() })
        );
    } else {
        counts.iter().for_each(|(kind, count)| println!("{count:>10}  {kind}"));
    }
    let failures = std::mem::take(&mut *locked(&failures));
    match failures.into_iter().min_by_key(|failure| failure.seed) {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
