//! `demo`: everything that Lookalike is for, on drawn faces, on a fresh machine.
//!
//! A real server on a real socket streams the drawn identities and what the built-in generator
//! makes of them ([`serving`]). Recognizers of equal size train from its stream for equally many
//! steps, on real rows alone, with new images of the same people, and with blended people
//! ([`arms`]). All are judged on people that neither they nor the generator ever saw ([`verdict`]).

mod arms;
mod serving;
mod verdict;

use arms::{Arm, Rehearsal};
use clap::Parser;
use command::{CommonArgs, Context, human, say};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Serve drawn faces, train recognizers from the stream, and see whether generated faces helped
///
/// Needs no data and no GPU: under five minutes on two cores. So short a training shows the
/// mechanism; it can't settle the question. `--full` takes three seeds and four times as many images, some 20 to 40 minutes.
#[derive(Parser)]
#[command(name = "demo", version)]
struct Cli {
    /// Three seeds and longer trainings: 20 to 40 minutes on two cores
    #[arg(long, help_heading = "Training")]
    full: bool,
    /// Length of each training [unit: images seen] [default: 10,000; 40,000 with --full]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    images: Option<u64>,
    /// Seeds, each of which trains all recognizers anew [default: 1; 3 with --full]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100), help_heading = "Training")]
    seeds: Option<u64>,
    /// Bundle to serve in place of the built-in one
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    weights: Option<PathBuf>,
    /// Where pictures, runs and figures go [default: the next number in runs/]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error(transparent)]
    Recognizer(#[from] recognizer::Error),
    #[error("expected a server address: {0}: this is a bug")]
    Address(String),
    #[error("the server's thread could not start")]
    Runtime(#[source] std::io::Error),
    #[error("the server's metrics could not be read")]
    Metrics(#[source] std::io::Error),
    #[error("interrupted after {0}; what is finished stays in its directory")]
    Interrupted(String),
}

fn main() -> ExitCode {
    command::main(run)
}

fn run(cli: Cli, context: Context) -> Result<(), Error> {
    if cli.common.dry_run {
        return Ok(context.settings.print()?);
    }
    let began = Instant::now();
    let rehearsal = Rehearsal {
        images: cli.images.unwrap_or(if cli.full { 40_000 } else { 10_000 }),
        seeds: cli.seeds.unwrap_or(if cli.full { 3 } else { 1 }),
    };
    // The weights first: a wrong path shall leave no directory behind.
    let server = serving::start(cli.weights)?;
    let directory = match &cli.out {
        Some(path) => command::RunDirectory::create_at(path, &context.settings.to_toml())?,
        None => command::RunDirectory::create("runs", "demo", &context.settings.to_toml())?,
    };

    say(format!("a server streams drawn faces at {}; its metrics are at {}", server.url(), server.metrics_url()));
    let picture = arms::show_stream(&server, &directory, &context.interrupt)?;
    say(format!("what it streams: {}", picture.display()));

    let mut judge = verdict::Judge::open()?;
    for seed in 1..=rehearsal.seeds {
        for arm in Arm::ALL {
            say(format!("{arm}, seed {seed} of {}: {} images", rehearsal.seeds, human::count(rehearsal.images)));
            let recognizer = arms::train(arm, seed, &rehearsal, &server, &directory, &context.interrupt)?;
            judge.hear(arm, seed, &recognizer)?;
        }
    }
    let verdict = judge.decide()?;
    verdict.save(&directory)?;
    // The verdict first: nothing that fails from here on takes it away.
    if cli.common.json {
        println!("{}", verdict.report(directory.path(), &server.metrics_url()));
    } else {
        println!("\n{verdict}");
    }
    let page = server.metrics()?;
    let kept = serving::save_metrics(&page, &directory)?;
    if !cli.common.json {
        println!("{}", serving::summary(&page));
        println!("metrics were served at {}; as they were at the end: {}", server.metrics_url(), kept.display());
        println!("pictures and figures: {}   ({})", directory.path().display(), human::duration(began.elapsed()));
    }
    server.stop()
}
