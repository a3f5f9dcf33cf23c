//! The settings as they came out, written so that `--config` reads them back.

use std::any::TypeId;
use std::fmt::Write as _;
use std::io::Write as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::Value;

use super::given::{Given, Source, is_switch};
use super::{ENVIRONMENT_PREFIX, chosen, leaf, setting_name, subcommand_path};
use crate::{Error, Result};

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
    origin: Option<String>,
    positional: bool,
}

impl Settings {
    pub(super) fn new(command: &Command, matches: &ArgMatches, given: &[Given]) -> Self {
        let path = subcommand_path(matches);
        let matches = leaf(matches);
        let mut invocation = command.get_name().to_owned();
        for name in &path {
            invocation.push(' ');
            invocation.push_str(name);
        }
        let entries = chosen(command, &path)
            .get_arguments()
            .filter_map(|arg| Entry::new(arg, matches, given))
            .collect();
        Self {
            invocation,
            entries,
        }
    }

    /// The settings as TOML with comments. Fed back through `--config`, they resolve to the same.
    /// `--config` and `--dry-run` themselves are left out.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "# {}: resolved settings. To use them: {} --config FILE\n",
            self.invocation, self.invocation
        );
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
        std::io::stdout()
            .write_all(self.to_toml().as_bytes())
            .map_err(Error::writing("standard output"))
    }
}

impl Entry {
    fn new(arg: &Arg, matches: &ArgMatches, given: &[Given]) -> Option<Self> {
        let id = arg.get_id().as_str();
        let positional = arg.is_positional();
        let name = if positional { id } else { setting_name(arg)? };
        if matches!(name, "config" | "dry-run") || arg.is_hide_set() {
            return None;
        }
        let from = given.iter().find(|given| given.id == id);
        let origin = match (from.map(|given| &given.source), matches.value_source(id)) {
            (Some(Source::Environment), _) => Some(format!(
                "{ENVIRONMENT_PREFIX}{}",
                name.replace('-', "_").to_uppercase()
            )),
            (Some(Source::File(file)), _) => Some(file.display().to_string()),
            (None, Some(ValueSource::CommandLine)) => Some("flag".to_owned()),
            _ => None,
        };
        let heading = if positional {
            None
        } else {
            arg.get_help_heading().map(str::to_owned)
        };
        Some(Self {
            name: name.to_owned(),
            heading,
            value: value(arg, matches),
            origin,
            positional,
        })
    }
}

fn value(arg: &Arg, matches: &ArgMatches) -> Option<Value> {
    let id = arg.get_id().as_str();
    if matches!(arg.get_action(), ArgAction::Count) {
        return Some(Value::Integer(matches.get_count(id).into()));
    }
    let mut texts = matches
        .get_raw(id)?
        .map(|raw| raw.to_string_lossy().into_owned());
    if matches!(arg.get_action(), ArgAction::Append) {
        return Some(Value::Array(texts.map(|text| typed(arg, text)).collect()));
    }
    texts.next().map(|text| typed(arg, text))
}

/// A number or switch where the flag takes one, text otherwise.
fn typed(arg: &Arg, text: String) -> Value {
    let kind = arg.get_value_parser().type_id();
    let is = |kinds: &[TypeId]| kinds.iter().any(|one| kind == *one);
    let integers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
    ];
    let floats = [TypeId::of::<f32>(), TypeId::of::<f64>()];
    let value = if is_switch(arg) {
        match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "y" | "t" | "on" => Some(Value::Boolean(true)),
            _ => Some(Value::Boolean(false)),
        }
    } else if is(&integers) {
        text.parse().ok().map(Value::Integer)
    } else if is(&floats) {
        text.parse().ok().map(Value::Float)
    } else {
        None
    };
    value.unwrap_or(Value::String(text))
}
