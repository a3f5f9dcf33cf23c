//! What the environment and the settings file say, as flags to add to the command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::file::Table;
use super::value::{self, Kind};
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
    pub(super) kind: Kind,
    pub(super) source: Source,
    /// Whether the flag belongs to the root command alone, so that it stands before the subcommand.
    pub(super) root: bool,
    /// `--batch=64`; several for a list.
    pub(super) flags: Vec<OsString>,
}

/// Where a setting came from.
#[derive(Clone, Debug)]
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

/// The variable that sets a flag: `batch-size` is set by `LOOKALIKE_BATCH_SIZE`.
pub(super) fn variable(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.replace('-', "_").to_uppercase())
}

/// Everything that isn't on the command line but in the environment, or else in the file.
pub(super) fn collect(
    command: &Command,
    path: &[String],
    matches: &ArgMatches,
    environment: &BTreeMap<OsString, OsString>,
    file: Option<&Path>,
) -> Result<Vec<Given>> {
    let table = file.map(|file| Table::read(file, command, path)).transpose()?;
    let leaf = chosen(command, path);
    let of_leaf = leaf.get_arguments().map(|arg| (arg, leaf));
    let of_root = command.get_arguments().filter(|arg| !path.is_empty() && !arg.is_global_set());
    let mut all = Vec::new();
    for (arg, owner) in of_leaf.chain(of_root.map(|arg| (arg, command))) {
        let Some(name) = setting_name(arg) else { continue };
        if is_overruled(arg, owner, matches) {
            continue;
        }
        let variable = variable(name);
        let from_environment = environment.get(OsStr::new(&variable)).filter(|text| !text.is_empty());
        let from_file = table.as_ref().and_then(|table| table.get(name).map(|found| (table.file(), found)));
        let (key, source, flags) = match (from_environment, from_file) {
            (Some(text), _) => (variable, Source::Environment, value::flags_from_text(arg, name, text)),
            (None, Some((file, (key, value)))) => {
                (key.clone(), Source::File(file.to_path_buf()), value::flags_from_toml(arg, name, value))
            }
            (None, None) => continue,
        };
        let mut flags =
            flags.map_err(|problem| Error::Setting { key: key.clone(), place: source.to_string(), problem })?;
        // `--quiet=false` would contradict `--verbose`, though it says nothing.
        let is_off = Kind::of(arg) == Kind::Switch && arg.get_default_values() == ["false"];
        if is_off && flags == [OsString::from(format!("--{name}=false"))] {
            flags.clear();
        }
        let (id, root) = (arg.get_id().to_string(), !std::ptr::eq(owner, leaf));
        all.push(Given { id, key, shown: arg.to_string(), kind: Kind::of(arg), source, root, flags });
    }
    Ok(all)
}

/// Whether the command line gives this flag or one that contradicts it: flags win also over those.
fn is_overruled(arg: &Arg, owner: &Command, matches: &ArgMatches) -> bool {
    let contradict =
        |one: &Arg, other: &Arg| owner.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id());
    let mut given = owner.get_arguments().filter(|given| is_on_command_line(matches, given));
    given.any(|given| given.get_id() == arg.get_id() || contradict(given, arg) || contradict(arg, given))
}

fn is_on_command_line(matches: &ArgMatches, arg: &Arg) -> bool {
    let id = arg.get_id().as_str();
    matches.try_contains_id(id).unwrap_or(false) && matches.value_source(id) == Some(ValueSource::CommandLine)
}
