//! The flags that every command has.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flattened into the root struct of each command:
/// `#[command(flatten)] common: CommonArgs`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Everywhere")]
pub struct CommonArgs {
    /// Read settings from a TOML file, as --dry-run prints them
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Print the resolved settings as TOML and do nothing else
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Print results as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N", global = true, value_parser = thread_count)]
    pub threads: Option<usize>,
    /// Show more of what happens; twice for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Show errors only: no progress, no warnings
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How log lines are written to standard error: text or json
    #[arg(long, value_name = "FORMAT", global = true, default_value_t, value_enum, hide_possible_values = true)]
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// More than any machine has use for.
const MOST_THREADS: usize = 1024;

fn thread_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=MOST_THREADS) => Ok(threads),
        Ok(threads) => Err(format!("expected 1 to {MOST_THREADS} threads, found {threads}")),
        Err(_) => Err(format!("expected a number of threads, found {text:?}")),
    }
}
