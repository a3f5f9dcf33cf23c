//! `experiments verification|ratio|generation|figures|gan-train|all|ablation|usage`.

use clap::{Parser, Subcommand};
use command::{CommonArgs, Context, Ending};
use experiments::conduct::Conduct;
use experiments::{Error, Experiment, Settings};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Find out whether generated faces help: train what it takes, judge it, write a report
///
/// All take the same settings, so that one settings file and one folder serve all of them and what two
/// experiments need is trained once. The same command goes on where it was stopped or killed; started
/// several times at once it divides the trainings, as among several GPUs by CUDA_VISIBLE_DEVICES.
/// --dry-run shows the plan, and how long it will take.
#[derive(Parser)]
#[command(name = "experiments", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand)]
enum Verb {
    /// Do generated faces help to tell strangers apart? (table 2 of the paper)
    Verification(Box<Settings>),
    /// How many of them, and how few real images?
    Ratio(Box<Settings>),
    /// How good are the faces, beside other models? (table 1)
    Generation(Box<Settings>),
    /// What do they look like? (figures 1, 5 and 6)
    Figures(Box<Settings>),
    /// What do they teach a classifier, and does identity hide in the latent?
    GanTrain(Box<Settings>),
    /// All five of these, with a page that lists them
    All(Box<Settings>),
    /// Which parts of the modern recipe earn their place? From the published one, part by part
    Ablation(Box<Settings>),
    /// How should a trainer take generated rows: all, the likely ones, at less weight, not to the end?
    Usage(Box<Settings>),
}

fn main() -> ExitCode {
    command::main(run)
}

fn run(cli: Cli, context: Context) -> Result<Ending, Error> {
    let (experiments, settings): (&[Experiment], &Settings) = match &cli.verb {
        Verb::Verification(settings) => (&[Experiment::Verification], settings),
        Verb::Ratio(settings) => (&[Experiment::Ratio], settings),
        Verb::Generation(settings) => (&[Experiment::Generation], settings),
        Verb::Figures(settings) => (&[Experiment::Figures], settings),
        Verb::GanTrain(settings) => (&[Experiment::GanTrain], settings),
        Verb::All(settings) => (&Experiment::OF_THE_PAPER, settings),
        Verb::Ablation(settings) => (&[Experiment::Ablation], settings),
        Verb::Usage(settings) => (&[Experiment::Usage], settings),
    };
    let conduct = Conduct { experiments, settings, resolved: &context.settings, interrupt: &context.interrupt };
    let conducted = if cli.common.dry_run { conduct.foretell()? } else { conduct.run()? };
    if cli.common.json {
        println!("{}", conducted.json);
    } else {
        println!("{}", conducted.text);
    }
    Ok(Ending::Done)
}
