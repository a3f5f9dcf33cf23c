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
//!    [`tensorboard`] and checkpoints written by [`atomic_file`]; [`training`]: how often, and how
//!    it is told at the end.
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
//! `Training`, `Serving`, `Access`, `Stream`, and [`CommonArgs`] brings its own `Everywhere`. A root struct
//! that has subcommands holds nothing but them and [`CommonArgs`], flattened; every other flag
//! belongs to a subcommand. It is named after its binary (`#[command(name = "cvae-gan", version)]`).
//! A default is written with `default_value_t`; one that follows from other settings stands in
//! prose, `[default: a tenth of --images]`, and [`Settings::fill`] gives it its value. A flag says
//! what it turns on: no `--no-x`.

pub mod atomic_file;
mod entry;
pub mod error;
mod help;
pub mod human;
mod interrupt;
pub mod picture;
pub mod progress;
pub mod run_directory;
pub mod settings;
pub mod tensorboard;
mod terminal;
mod text;
pub mod training;

/// What a command allocates with, named as its `#[global_allocator]`. Tensors of many megabytes come and go with
/// every layer; the system's allocator gives each back at once, and a quarter of a network's time goes to pages
/// that are cleared and mapped again.
pub use mimalloc::MiMalloc as Allocator;

pub use entry::{Context, Ending, main, report};
pub use error::{Error, Result, WrongSetting, WrongUse};
pub use interrupt::Interrupt;
pub use progress::Progress;
pub use run_directory::RunDirectory;
pub use settings::{CommonArgs, Settings, parse_from};
pub use terminal::say;
pub use text::{open_file, read_text};
