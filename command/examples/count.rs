//! The smallest whole command: counts to a number with progress, stops politely, writes a result.
//!
//! `cargo run --release -p command --example count -- up --steps 300`

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use command::{CommonArgs, Context, Ending, Error, Progress, WrongSetting};

/// Count up, to show the manners of every command
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Count from 0 upwards
    Up(Up),
    /// Print many lines, for a reader who may not want them all
    List,
}

#[derive(clap::Args)]
struct Up {
    /// How far to count
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Training")]
    steps: u64,
    /// Milliseconds for each step
    #[arg(long, value_name = "MS", default_value_t = 10, help_heading = "Training")]
    pause: u64,
    /// Count until asked to stop, as a server serves
    #[arg(long, help_heading = "Training")]
    serve: bool,
    /// Leave nothing usable when interrupted
    #[arg(long, help_heading = "Training")]
    wasteful: bool,
    /// Find out late that --steps is wrong
    #[arg(long, help_heading = "Training")]
    fussy: bool,
}

/// A library's error, through which the cause is still seen.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Command(#[from] Error),
    #[error("{0}")]
    Setting(#[from] WrongSetting),
}

fn main() -> ExitCode {
    command::main(run)
}

fn run(cli: Cli, context: Context) -> Result<Ending, Failure> {
    if cli.common.dry_run {
        context.settings.print()?;
        return Ok(Ending::Done);
    }
    match cli.verb {
        Verb::Up(up) => count(&up, &context),
        Verb::List => {
            for line in 0..1_000_000 {
                println!("{line}");
            }
            Ok(Ending::Done)
        }
    }
}

fn count(up: &Up, context: &Context) -> Result<Ending, Failure> {
    if up.fussy {
        let found = up.steps.to_string();
        return Err(WrongSetting { setting: "steps", expected: "another number".to_owned(), found }.into());
    }
    let progress = Progress::new("counting", up.steps, "steps");
    progress.say(format!("counting up to {}", up.steps));
    for step in 0..up.steps {
        if context.interrupt.requested() {
            return match up {
                Up { wasteful: true, .. } => Err(Error::Interrupted.into()),
                Up { serve: true, .. } => Ok(Ending::Done),
                _ => Ok(Ending::Interrupted),
            };
        }
        std::thread::sleep(Duration::from_millis(up.pause));
        progress.note(format!("at {step}"));
        progress.advance(1);
    }
    progress.finish();
    println!("counted");
    Ok(Ending::Done)
}
