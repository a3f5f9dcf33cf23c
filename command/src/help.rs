//! How `--help` looks, in every command alike.
//!
//! [`crate::main`] applies all of it; a root struct needs no attribute for it.

use clap::Command;
use clap::builder::styling::{AnsiColor, Effects, Style, Styles};

/// Headings bold, flags in cyan, placeholders dim; no colour where the output is no terminal.
const STYLES: Styles = Styles::styled()
    .header(Style::new().effects(Effects::BOLD))
    .usage(Style::new().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(Style::new().effects(Effects::DIMMED));

/// What the command is for comes first, then how it's called, then every option by group.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}\n";

/// Closes the help of every command: how to set an option without a flag.
const AFTER: &str = "Every option can also stand in the environment (--some-option as \
    LOOKALIKE_SOME_OPTION) or in the file of --config (some-option = ...). Flags win over the \
    environment, the environment over the file, the file over the defaults.";

/// Gives a command and its subcommands this look, where they have none of their own.
pub(crate) fn dress(command: Command) -> Command {
    let command = match command.get_after_help() {
        None => command.after_help(AFTER),
        Some(_) => command,
    };
    command.styles(STYLES).help_template(TEMPLATE).mut_subcommands(dress)
}
