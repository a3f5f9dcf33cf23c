//! `bench-kills`: trainings whose server or trainer is killed (`kill -9`) at random moments, again and
//! again: they must end as an undisturbed one does, to the last bit.
//!
//! Real processes ([`programs`]). One training is left alone; then trainings are disturbed until the
//! kills are used up. Of each, all that it leaves is compared: the last checkpoint (weights, optimizer,
//! place), the figures, the digest of every batch, the recipe. Moments and victims follow from `--seed`;
//! what a process has come to by then does not, so a run varies, and its outcome must not.

mod programs;

use clap::Parser;
use command::human::{count, duration};
use command::{CommonArgs, Context, Interrupt, Progress};
use nets::chance::{Chance, Draws};
use programs::{Programs, Running};
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Kill servers and trainers at random moments, and compare what the trainings come to
#[derive(Parser)]
#[command(name = "bench-kills", version)]
struct Cli {
    /// How often a process is killed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    kills: u32,
    /// Longest time between two kills [unit: milliseconds]
    #[arg(long, value_name = "MS", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    longest: u64,
    /// Length of a training [unit: images seen]
    #[arg(long, value_name = "N", default_value_t = 2400, value_parser = clap::value_parser!(u64).range(8..))]
    images: u64,
    /// Seed of moments and victims
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// A new folder for the runs
    #[arg(long, value_name = "DIR", default_value = "kills")]
    out: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Figures {
    /// Processes killed.
    kills: u32,
    /// Of them, servers.
    servers: u32,
    /// Of them, trainers.
    trainers: u32,
    /// Trainings that were disturbed.
    trainings: u32,
    /// Batches of each.
    batches: usize,
    /// Files compared, all equal.
    compared: u32,
    /// From the first kill on.
    seconds: f64,
}

/// What a finished training leaves, beside its last checkpoint.
const LEFT: [&str; 3] = ["stats.jsonl", "batches.jsonl", "recipe.toml"];

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> Result<(), Box<dyn std::error::Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        let figures = run(&cli, &context.interrupt)?;
        match cli.common.json {
            true => println!("{}", serde_json::to_string(&figures)?),
            false => println!(
                "{} kills ({} of servers, {} of trainers) in {} trainings of {} batches, {}: every weight, figure and \
                 digest is an undisturbed training's",
                count(figures.kills.into()),
                figures.servers,
                figures.trainers,
                figures.trainings,
                count(figures.batches as u64),
                duration(Duration::from_secs_f64(figures.seconds))
            ),
        }
        Ok(())
    })
}

fn run(cli: &Cli, interrupt: &Interrupt) -> Result<Figures, Box<dyn std::error::Error>> {
    fs::create_dir(&cli.out).map_err(command::Error::writing(&cli.out))?;
    let mut programs = Programs::start(&cli.out, cli.images)?;
    programs.train("undisturbed")?.finish()?;
    let undisturbed = cli.out.join("undisturbed");
    let batches = fs::read_to_string(undisturbed.join("batches.jsonl"))?.lines().count();

    let mut draws = Chance::new(cli.seed, "kills").at(0, 0);
    let progress = Progress::new("killing", cli.kills.into(), "processes");
    let (mut figures, began) = (
        Figures { kills: 0, servers: 0, trainers: 0, trainings: 0, batches, compared: 0, seconds: 0.0 },
        Instant::now(),
    );
    while figures.kills < cli.kills {
        let name = format!("disturbed-{:04}", figures.trainings);
        disturb(cli, &name, &mut programs, &mut draws, &mut figures, &progress, interrupt)?;
        figures.trainings += 1;
        figures.compared += compare(&undisturbed, &cli.out.join(&name))?;
        fs::remove_dir_all(cli.out.join(&name))?;
    }
    progress.finish();
    figures.seconds = began.elapsed().as_secs_f64();
    Ok(figures)
}

/// Runs one training to its end, killing on the way while there are kills left.
fn disturb(
    cli: &Cli,
    name: &str,
    programs: &mut Programs,
    draws: &mut Draws,
    figures: &mut Figures,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut trainer: Running = programs.train(name)?;
    while figures.kills < cli.kills {
        if trainer.ends_within(Duration::from_millis(draws.below(cli.longest + 1)))? {
            return Ok(());
        }
        if interrupt.requested() {
            return Err(command::Error::Interrupted.into());
        }
        if draws.chance(0.5) {
            programs.kill_server()?;
            figures.servers += 1;
        } else {
            trainer.kill()?;
            figures.trainers += 1;
            trainer = programs.train(name)?;
        }
        figures.kills += 1;
        progress.advance(1);
    }
    trainer.finish()
}

/// Refuses what is not equal; gives the number of files.
fn compare(expected: &Path, found: &Path) -> Result<u32, Box<dyn std::error::Error>> {
    let last = |run: &Path| -> Result<PathBuf, Box<dyn std::error::Error>> {
        let last = command::RunDirectory::open(run)?.checkpoints().list()?.pop();
        Ok(last.ok_or("expected a checkpoint, found none")?.path)
    };
    let left = LEFT.iter().map(|name| (expected.join(name), found.join(name)));
    let pairs: Vec<(PathBuf, PathBuf)> = left.chain([(last(expected)?, last(found)?)]).collect();
    for (expected, found) in &pairs {
        if fs::read(expected)? != fs::read(found)? {
            return Err(
                format!("expected {} to equal {}, found other bytes", found.display(), expected.display()).into()
            );
        }
    }
    Ok(pairs.len() as u32)
}
