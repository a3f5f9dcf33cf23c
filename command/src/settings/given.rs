//! What the environment and the settings file say, as flags to add to the command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::Value;

use super::{ENVIRONMENT_PREFIX, chosen, setting_name};
use crate::{Error, Result};

/// One setting from the environment or the file.
#[derive(Debug)]
pub(super) struct Given {
    /// The argument's id in clap.
    pub(super) id: String,
    /// The name as the user wrote it.
    pub(super) key: String,
    /// The argument as clap shows it in errors: `--batch <N>`.
    pub(super) shown: String,
    pub(super) source: Source,
    /// Whether the flag belongs to the root command alone, so that it stands before the subcommand.
    pub(super) root: bool,
    /// `--batch=64`; several for a list.
    pub(super) flags: Vec<OsString>,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Environment,
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("the environment"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Everything that isn't on the command line but in the environment, or else in the file.
pub(super) fn collect(
    command: &Command,
    path: &[String],
    matches: &ArgMatches,
    environment: &BTreeMap<OsString, OsString>,
    file: Option<&Path>,
) -> Result<Vec<Given>> {
    let file = file
        .map(|file| Ok((file, Table::read(file, command, path)?)))
        .transpose()?;
    let leaf = chosen(command, path);
    let root_only = command
        .get_arguments()
        .filter(|arg| !path.is_empty() && !arg.is_global_set());
    let candidates = leaf
        .get_arguments()
        .map(|arg| (arg, false))
        .chain(root_only.map(|arg| (arg, true)));
    let mut all = Vec::new();
    for (arg, root) in candidates {
        let Some(name) = setting_name(arg) else {
            continue;
        };
        let owner = if root { command } else { leaf };
        // Flags win also over whatever contradicts them.
        let overruled = std::iter::once(arg).chain(owner.get_arg_conflicts_with(arg));
        if overruled
            .into_iter()
            .any(|arg| is_on_command_line(matches, arg))
        {
            continue;
        }
        let variable = format!(
            "{ENVIRONMENT_PREFIX}{}",
            name.replace('-', "_").to_uppercase()
        );
        let from_environment = environment
            .get(OsStr::new(&variable))
            .filter(|value| !value.is_empty());
        let found = match (from_environment, &file) {
            (Some(value), _) => Some((
                variable,
                Source::Environment,
                flags_from_text(arg, name, value),
            )),
            (None, Some((file, table))) => match table.settings.get(name) {
                Some((key, value)) => {
                    let flags =
                        flags_from_toml(arg, name, value).map_err(|(expected, found)| {
                            Error::Setting {
                                key: key.clone(),
                                place: file.display().to_string(),
                                expected,
                                found,
                            }
                        })?;
                    Some((key.clone(), Source::File(file.to_path_buf()), flags))
                }
                None => None,
            },
            (None, None) => None,
        };
        if let Some((key, source, flags)) = found {
            all.push(Given {
                id: arg.get_id().to_string(),
                key,
                shown: arg.to_string(),
                source,
                root,
                flags,
            });
        }
    }
    Ok(all)
}

fn is_on_command_line(matches: &ArgMatches, arg: &Arg) -> bool {
    let id = arg.get_id().as_str();
    matches.try_contains_id(id).unwrap_or(false)
        && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// The keys of a settings file that concern the chosen subcommand.
struct Table {
    /// By kebab-case name: the key as written, and its value.
    settings: BTreeMap<String, (String, Value)>,
}

impl Table {
    fn read(file: &Path, command: &Command, path: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(Error::reading(file))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| Error::Toml {
            file: file.display().to_string(),
            line: error.span().map_or(0, |span| {
                text.as_bytes()[..span.start.min(text.len())]
                    .iter()
                    .filter(|byte| **byte == b'\n')
                    .count()
                    + 1
            }),
            reason: error.message().to_owned(),
        })?;
        let mut settings = BTreeMap::new();
        Self::gather(&table, command, path, file, &mut settings)?;
        Ok(Self { settings })
    }

    /// Settings of an inner table win over those around it.
    fn gather(
        table: &toml::Table,
        command: &Command,
        path: &[String],
        file: &Path,
        settings: &mut BTreeMap<String, (String, Value)>,
    ) -> Result<()> {
        let leaf = chosen(command, path);
        let known: Vec<&str> = leaf
            .get_arguments()
            .chain(command.get_arguments())
            .filter_map(setting_name)
            .collect();
        let mut inner = None;
        for (key, value) in table {
            let name = key.replace('_', "-");
            let subcommand = command
                .get_subcommands()
                .find(|subcommand| subcommand.get_name() == key);
            match (value, subcommand) {
                (Value::Table(table), Some(_)) if path.first() == Some(key) => inner = Some(table),
                // Settings for another subcommand; that one will check them.
                (Value::Table(_), Some(_)) => {}
                _ if name == "config" || !known.contains(&name.as_str()) => {
                    return Err(Error::UnknownSetting {
                        key: key.clone(),
                        file: file.display().to_string(),
                        hint: hint(&name, &known),
                    });
                }
                _ => {
                    settings.insert(name, (key.clone(), value.clone()));
                }
            }
        }
        match (inner, path) {
            (Some(table), [name, rest @ ..]) => {
                let subcommand = command.find_subcommand(name).unwrap_or(command);
                Self::gather(table, subcommand, rest, file, settings)
            }
            _ => Ok(()),
        }
    }
}

/// "; did you mean `batch`?", or all there is.
fn hint(name: &str, known: &[&str]) -> String {
    if name == "config" {
        return "; a settings file cannot name another".to_owned();
    }
    let nearest = known
        .iter()
        .map(|known| (distance(name, known), *known))
        .min();
    match nearest {
        Some((distance, known)) if distance <= 1 + name.len() / 3 => {
            format!("; did you mean `{known}`?")
        }
        _ => {
            let mut names: Vec<&str> = known
                .iter()
                .copied()
                .filter(|name| *name != "config")
                .collect();
            names.sort_unstable();
            names.dedup();
            format!("; this command knows {}", names.join(", "))
        }
    }
}

/// Levenshtein's edit distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, b) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX - 1);
            let cost = (diagonal + usize::from(a != *b))
                .min(above + 1)
                .min(left + 1);
            diagonal = above;
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            left = cost;
        }
        if let Some(cell) = row.last_mut() {
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A variable's text is one value, as after `--flag=`.
fn flags_from_text(arg: &Arg, name: &str, value: &OsStr) -> Vec<OsString> {
    match (arg.get_action(), value.to_str().and_then(truth)) {
        // A switch that clap gives no value, such as one that turns something off.
        (ArgAction::SetFalse, Some(on)) => {
            if on {
                vec![format!("--{name}").into()]
            } else {
                Vec::new()
            }
        }
        (ArgAction::Count, _)
            if value
                .to_str()
                .is_some_and(|text| text.parse::<u8>().is_ok()) =>
        {
            let count = value
                .to_str()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0u8);
            vec![format!("--{name}").into(); usize::from(count)]
        }
        _ => {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            vec![flag]
        }
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A file's value by its TOML type; the error is what was expected and what was found.
fn flags_from_toml(
    arg: &Arg,
    name: &str,
    value: &Value,
) -> Result<Vec<OsString>, (String, String)> {
    let is_switch = is_switch(arg);
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    match value {
        Value::Boolean(on) if is_switch && !matches!(arg.get_action(), ArgAction::SetFalse) => {
            Ok(vec![format!("--{name}={on}").into()])
        }
        Value::Boolean(on) if is_switch => Ok(flags_from_text(
            arg,
            name,
            OsStr::new(if *on { "true" } else { "false" }),
        )),
        other if is_switch => Err(("true or false".to_owned(), described(other))),
        Value::Integer(count)
            if matches!(arg.get_action(), ArgAction::Count) && u8::try_from(*count).is_ok() =>
        {
            Ok(flags_from_text(arg, name, OsStr::new(&count.to_string())))
        }
        other if matches!(arg.get_action(), ArgAction::Count) => {
            Err(("a number from 0 to 255".to_owned(), described(other)))
        }
        Value::Array(values) if is_list => {
            if values.is_empty() {
                return Err(("at least one value".to_owned(), "an empty list".to_owned()));
            }
            values
                .iter()
                .map(|value| Ok(format!("--{name}={}", scalar(value)?).into()))
                .collect()
        }
        value => Ok(vec![format!("--{name}={}", scalar(value)?).into()]),
    }
}

/// Whether the argument is on or off.
pub(super) fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
        || arg.get_value_parser().type_id() == std::any::TypeId::of::<bool>()
}

fn scalar(value: &Value) -> Result<String, (String, String)> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(on) => Ok(on.to_string()),
        Value::Datetime(time) => Ok(time.to_string()),
        Value::Array(_) | Value::Table(_) => Err(("a single value".to_owned(), described(value))),
    }
}

fn described(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::String(text) => format!("the text {text:?}"),
        other => other.to_string(),
    }
}
