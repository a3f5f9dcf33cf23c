//! The manners that every command of the workspace shares, so that a reader who knows one of them
//! knows them all.
//!
//! A command's life passes through these files in order:
//!
//! 1. [`settings`]: flags, `LOOKALIKE_*` variables, a `--config` file and defaults become one typed
//!    struct; `--dry-run` prints it as TOML that `--config` reads back.
//! 2. [`main`]: log lines, threads and Ctrl-C are set up, the body runs, and its outcome becomes
//!    one sentence and an exit code. The body is handed a [`Context`].
//! 3. [`progress`]: a bar on a terminal, plain lines in a file, nothing under `--quiet`.
//! 4. [`run_directory`]: what a training leaves behind, `runs/00012-name/`, with figures for
//!    [`tensorboard`] and checkpoints written by [`atomic_file`].
//! 5. [`picture`]: captioned grids and line plots as PNG. [`human`]: counts, durations, tables.
//!
//! A whole command:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use command::{CommonArgs, Context};
//!
//! /// Count to a number.
//! #[derive(clap::Parser)]
//! struct Cli {
//!     /// How far to count [unit: steps]
//!     #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Training")]
//!     steps: u64,
//!     #[command(flatten)]
//!     common: CommonArgs,
//! }
//!
//! fn main() -> ExitCode {
//!     command::main(|cli: Cli, context: Context| -> Result<(), command::Error> {
//!         if cli.common.dry_run {
//!             return context.settings.print();
//!         }
//!         let progress = command::Progress::new("counting", cli.steps, "steps");
//!         for _ in 0..cli.steps {
//!             if context.interrupt.requested() {
//!                 break;
//!             }
//!             progress.advance(1);
//!         }
//!         progress.finish();
//!         Ok(())
//!     })
//! }
//! ```
//!
//! # Conventions for `--help`
//!
//! The first doc line of a command or flag is one clause that a newcomer understands; units and
//! ranges stand in it. Flags are grouped by `help_heading`: `Input`, `Output`, `Network`,
//! `Training`, `Serving`, and [`CommonArgs`] brings its own `Everywhere`. The root struct holds
//! nothing but the subcommand and [`CommonArgs`], flattened; every other flag belongs to a
//! subcommand. A root struct is named after its binary (`#[command(name = "cvae-gan", version)]`).
//! Defaults are written with `default_value_t`, never in prose.

pub mod atomic_file;
mod entry;
mod error;
pub mod help;
pub mod human;
mod interrupt;
pub mod picture;
pub mod progress;
pub mod run_directory;
pub mod settings;
pub mod tensorboard;
mod terminal;

pub use entry::{Context, main, report};
pub use error::{Error, Result};
pub use interrupt::Interrupt;
pub use progress::Progress;
pub use run_directory::RunDirectory;
pub use settings::{CommonArgs, Settings, parse, parse_from};
pub use terminal::say;
