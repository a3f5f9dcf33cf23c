//! The settings as they came out, written so that `--config` reads them back.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::Value;

use super::given::{Given, Source, variable};
use super::value::{self, Kind};
use super::{chosen, leaf, setting_name, subcommand_path};
use crate::{Error, Result};

/// What follows a command's name in the first line of its settings.
const HEADER: &str = ": resolved settings";

/// The origin of a setting that stands on the command line.
const ON_COMMAND_LINE: &str = "flag";

/// The command and its subcommand, as one types them.
pub(super) fn invocation(command: &Command, path: &[String]) -> String {
    path.iter().fold(command.get_name().to_owned(), |typed, name| format!("{typed} {name}"))
}

/// Whose settings a text holds, by its first line.
pub(super) fn whose(text: &str) -> Option<&str> {
    text.lines().next()?.strip_prefix("# ")?.split_once(HEADER).map(|(invocation, _)| invocation)
}

/// Every setting of the chosen subcommand with its value and origin.
#[derive(Clone, Debug)]
pub struct Settings {
    invocation: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    heading: Option<String>,
    /// None where the setting has neither a value nor a default.
    value: Option<Value>,
    kind: Kind,
    origin: Option<String>,
    positional: bool,
}

impl Settings {
    pub(super) fn new(command: &Command, matches: &ArgMatches, given: &[Given]) -> Self {
        let path = subcommand_path(matches);
        let matches = leaf(matches);
        let invocation = invocation(command, &path);
        let entries =
            chosen(command, &path).get_arguments().filter_map(|arg| Entry::new(arg, matches, given)).collect();
        Self { invocation, entries }
    }

    /// Gives a setting its value where it was left open, so that a run keeps what it was started
    /// with even when a later version decides otherwise. `why` says where the value comes from. A
    /// setting that has a value, or that this command doesn't know, is left alone.
    pub fn fill(&mut self, name: &str, value: impl ToString, why: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name && entry.value.is_none()) {
            entry.value = Some(value::typed(entry.kind, value.to_string()));
            entry.origin = Some(why.to_owned());
        }
    }

    /// The flags under a heading of the help that stand on the command line itself.
    pub fn flags_under<'a>(&'a self, heading: &'a str) -> impl Iterator<Item = &'a str> {
        let is_flag = move |entry: &&Entry| {
            entry.heading.as_deref() == Some(heading) && entry.origin.as_deref() == Some(ON_COMMAND_LINE)
        };
        self.entries.iter().filter(is_flag).map(|entry| entry.name.as_str())
    }

    /// The settings as TOML with comments. Fed back through `--config`, they resolve to the same.
    /// What every command has (`--config`, `--dry-run`, `--quiet`...) is left out.
    pub fn to_toml(&self) -> String {
        let mut text = format!("# {0}{HEADER}. To use them: {0} --config FILE\n", self.invocation);
        let mut heading = None;
        for entry in &self.entries {
            if entry.heading != heading {
                heading.clone_from(&entry.heading);
                let _ = writeln!(text, "\n# {}", heading.as_deref().unwrap_or("Options"));
            }
            let name = &entry.name;
            let _ = match (&entry.value, &entry.origin) {
                (Some(value), _) if entry.positional => {
                    writeln!(text, "# {name} {value} (argument)")
                }
                (Some(value), Some(origin)) => writeln!(text, "{name} = {value} # {origin}"),
                (Some(value), None) => writeln!(text, "{name} = {value}"),
                (None, _) => writeln!(text, "# {name} is not set"),
            };
        }
        text
    }

    /// [`Self::to_toml`] on standard output: what `--dry-run` does.
    ///
    /// # Errors
    /// [`Error::Write`] when standard output is closed or full.
    pub fn print(&self) -> Result<()> {
        std::io::stdout().write_all(self.to_toml().as_bytes()).map_err(Error::writing("standard output"))
    }
}

impl Entry {
    fn new(arg: &Arg, matches: &ArgMatches, given: &[Given]) -> Option<Self> {
        let id = arg.get_id().as_str();
        let positional = arg.is_positional();
        let name = if positional { id } else { setting_name(arg)? };
        // How a command talks is no part of what it does: a run that was started with --verbose goes
        // on without it.
        if arg.is_global_set() || arg.is_hide_set() {
            return None;
        }
        let from = given.iter().find(|given| given.id == id);
        let origin = match (from.map(|given| &given.source), matches.value_source(id)) {
            (Some(Source::Environment), _) => Some(variable(name)),
            (Some(Source::File(file)), _) => Some(file.display().to_string()),
            (None, Some(ValueSource::CommandLine)) => Some(ON_COMMAND_LINE.to_owned()),
            _ => None,
        };
        let heading = if positional { None } else { arg.get_help_heading().map(str::to_owned) };
        let (kind, value) = (Kind::of(arg), value::resolved(arg, matches));
        Some(Self { name: name.to_owned(), heading, value, kind, origin, positional })
    }
}
