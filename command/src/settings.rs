//! One set of settings from four places: flags > `LOOKALIKE_*` variables > `--config` file >
//! defaults.
//!
//! How: a first, lenient pass over the command line finds the subcommand, the settings file and
//! which flags were given. What the environment and the file say about the *other* flags is then
//! added to the command line as further flags, and clap parses the whole in its ordinary way. So a
//! value is checked by the same parser wherever it came from, and a required flag is satisfied from
//! anywhere.
//!
//! - A variable is named after the long flag: `--batch-size` is `LOOKALIKE_BATCH_SIZE`. An empty one
//!   counts as not set. Variables that fit no flag of this command are left alone, because other
//!   commands share the prefix.
//! - A key of the file is the long flag too, `batch-size` or `batch_size`; a list is a TOML array, a
//!   switch is `true` or `false`. A table named after a subcommand (`[train]`) holds settings for
//!   that subcommand alone, so one file can serve several. A key that fits nothing is refused.
//! - `--resume RUN` without `--config`, both as flags, reads `RUN/config.toml`, so that a run goes on with the
//!   settings it was started with. A run of another command is refused.
//! - A switch can be turned off on the command line too: `--flip=false`.
//! - Positional arguments come from the command line only. Paths are relative to the working
//!   directory, wherever they were written.

mod common_args;
mod file;
mod given;
mod resolved;
mod value;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Parser};

pub use common_args::{CommonArgs, LogFormat};
pub use resolved::Settings;

use crate::{Error, Result, help, run_directory};
use given::Given;
use value::Kind;

/// The prefix of every variable that sets a flag.
pub const ENVIRONMENT_PREFIX: &str = "LOOKALIKE_";

/// What [`parse_from`] finds.
#[derive(Debug)]
pub struct Parsed<Cli> {
    /// The typed command line.
    pub cli: Cli,
    /// The same, as text with its origins.
    pub settings: Settings,
    pub(crate) matches: ArgMatches,
}

/// Reads a command line, environment and settings file; [`crate::main`] does this for its body.
/// `args` starts with the program's name.
///
/// # Errors
/// [`Error::Usage`] for the command line (and for `--help`), [`Error::Setting`],
/// [`Error::UnknownSetting`], [`Error::Toml`] and [`Error::Read`] for the rest.
pub fn parse_from<Cli: Parser>(
    args: impl IntoIterator<Item = impl Into<OsString>>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Parsed<Cli>> {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let environment: BTreeMap<OsString, OsString> = environment.into_iter().collect();
    let plain = plain_command::<Cli>();
    let lenient = switches_take_values(plain.clone());

    let Ok(first) = lenient.clone().ignore_errors(true).try_get_matches_from(&args) else {
        return finish(&plain, &lenient, &args, &[]);
    };
    let path = subcommand_path(&first);
    let file = settings_file(&lenient, &path, &first, &environment)?;
    let given = given::collect(&lenient, &path, leaf(&first), &environment, file.as_deref())?;
    finish(&plain, &lenient, &complete(&args, &given), &given)
}

/// The last pass: clap's own verdict on the completed command line.
fn finish<Cli: Parser>(plain: &Command, lenient: &Command, args: &[OsString], given: &[Given]) -> Result<Parsed<Cli>> {
    let mut matches = match lenient.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return Err(explain(error, plain, args, given)),
    };
    let settings = Settings::new(lenient, &matches, given);
    let kept = matches.clone();
    let cli = Cli::from_arg_matches_mut(&mut matches)
        .map_err(|error| Error::Usage(Box::new(error.format(&mut plain.clone()))))?;
    Ok(Parsed { cli, settings, matches: leaf(&kept).clone() })
}

fn plain_command<Cli: Parser>() -> Command {
    let mut command = numbers_take_signs(help::dress(Cli::command()));
    command.build();
    command
}

/// Has `--grace -1` refused for its value, and not for being an unknown flag.
fn numbers_take_signs(command: Command) -> Command {
    command
        .mut_args(|arg| match Kind::of(&arg) {
            Kind::Integer | Kind::Float if arg.get_long().is_some() => arg.allow_negative_numbers(true),
            _ => arg,
        })
        .mut_subcommands(numbers_take_signs)
}

/// Lets every switch take `=true` or `=false`, so that a flag can overrule a file's `true`.
fn switches_take_values(command: Command) -> Command {
    command
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue if arg.get_long().is_some() => {
                let default = if arg.get_default_values().is_empty() {
                    "false".into()
                } else {
                    arg.get_default_values()[0].clone()
                };
                arg.action(ArgAction::Set)
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .default_value(default)
                    .value_parser(BoolishValueParser::new())
            }
            _ => arg,
        })
        .mut_subcommands(switches_take_values)
}

fn subcommand_path(matches: &ArgMatches) -> Vec<String> {
    let mut path = Vec::new();
    let mut matches = matches;
    while let Some((name, inner)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = inner;
    }
    path
}

fn leaf(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| leaf(inner))
}

/// The chosen subcommand; the root for an empty path.
fn chosen<'a>(command: &'a Command, path: &[String]) -> &'a Command {
    path.iter().fold(command, |command, name| command.find_subcommand(name).unwrap_or(command))
}

fn settings_file(
    command: &Command,
    path: &[String],
    matches: &ArgMatches,
    environment: &BTreeMap<OsString, OsString>,
) -> Result<Option<PathBuf>> {
    let matches = leaf(matches);
    let leaf = chosen(command, path);
    let on_command_line = |name: &str| -> Option<PathBuf> {
        let known = leaf.get_arguments().any(|arg| arg.get_id() == name);
        let mut values = known.then(|| matches.get_raw(name))??;
        (matches.value_source(name) == Some(ValueSource::CommandLine)).then(|| values.next().map(PathBuf::from))?
    };
    if let Some(file) = on_command_line("config") {
        return Ok(Some(file));
    }
    if let Some(run) = on_command_line("resume") {
        let file = run_directory::config(&run)?;
        let text = std::fs::read_to_string(&file).map_err(Error::reading(&file))?;
        let expected = resolved::invocation(command, path);
        return match resolved::whose(&text) {
            Some(found) if found != expected => Err(Error::OtherRun { run, found: found.to_owned(), expected }),
            _ => Ok(Some(file)),
        };
    }
    let variable = environment.get(OsStr::new(&given::variable("config")));
    Ok(variable.filter(|variable| !variable.is_empty()).map(PathBuf::from))
}

/// Adds what was given elsewhere to the command line: settings of the root right behind the
/// program's name, those of the subcommand at the end, but before any `--`.
fn complete(args: &[OsString], given: &[Given]) -> Vec<OsString> {
    let flags = |root: bool| given.iter().filter(move |given| given.root == root).flat_map(|given| given.flags.clone());
    let (head, tail) = args.split_at(args.len().min(1));
    let end = tail.iter().position(|arg| arg == "--").unwrap_or(tail.len());
    let (tail, rest) = tail.split_at(end);
    head.iter()
        .cloned()
        .chain(flags(true))
        .chain(tail.iter().cloned())
        .chain(flags(false))
        .chain(rest.iter().cloned())
        .collect()
}

/// Puts an error where it belongs: on the file or variable that holds the value, or on the command
/// line. Help is shown as the plain command has it, without the switches' `[=<BOOL>]`.
fn explain(error: clap::Error, plain: &Command, args: &[OsString], given: &[Given]) -> Error {
    let wants_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::DisplayVersion
    );
    if wants_help && let Err(help) = plain.clone().try_get_matches_from(args) {
        return Error::Usage(Box::new(help));
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let culprit = text(ContextKind::InvalidArg).and_then(|shown| given.iter().find(|given| given.shown == shown));
    match (culprit, text(ContextKind::InvalidValue)) {
        (Some(given), Some(value)) => Error::Setting {
            key: given.key.clone(),
            place: given.source.to_string(),
            problem: problem(&error, given.kind, &given.shown, value),
        },
        _ => Error::Usage(Box::new(in_our_words(error, plain))),
    }
}

/// The same refusal of a flag's value, where clap would tell it in the words of a library for numbers.
fn in_our_words(error: clap::Error, plain: &Command) -> clap::Error {
    let (Some(ContextValue::String(shown)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return error;
    };
    let kind = match kind_of(plain, shown) {
        Some(kind @ Kind::Integer) if value.parse::<u64>().is_err() => kind,
        Some(kind @ Kind::Float) if value.parse::<f64>().is_err() => kind,
        _ => return error,
    };
    let told = std::error::Error::source(&error).is_some_and(|source| source.to_string().starts_with("expected"));
    if told || error.kind() != ErrorKind::ValueValidation {
        return error;
    }
    let problem = problem(&error, kind, shown, value);
    let sentence = format!("invalid value '{value}' for '{shown}': {problem}\n\nFor more information, try '--help'.\n");
    clap::Error::raw(ErrorKind::ValueValidation, sentence).with_cmd(plain)
}

/// What the flag takes that clap shows so, in whichever subcommand it is.
fn kind_of(command: &Command, shown: &str) -> Option<Kind> {
    let here = command.get_arguments().find(|arg| arg.to_string() == shown).map(Kind::of);
    here.or_else(|| command.get_subcommands().find_map(|command| kind_of(command, shown)))
}

/// What is wrong with a value, in our words where clap's are about digits and strings.
fn problem(error: &clap::Error, kind: Kind, shown: &str, value: &str) -> String {
    let choices = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(choices)) if !choices.is_empty() => Some(choices.join(", ")),
        _ => None,
    };
    let reason = std::error::Error::source(error).map(ToString::to_string);
    match (kind, choices, reason) {
        (_, Some(choices), _) => format!("expected one of {choices}, found {value:?}"),
        (Kind::Switch, ..) => format!("expected true or false, found {value:?}"),
        (Kind::Integer, ..) if value.parse::<i128>().is_err() => format!("expected a whole number, found {value:?}"),
        (Kind::Integer, _, Some(reason)) if reason.contains("invalid digit") => {
            format!("expected a whole number of at least 0, found {value:?}")
        }
        (Kind::Float, ..) if value.parse::<f64>().is_err() => format!("expected a number, found {value:?}"),
        (_, _, Some(reason)) if reason.starts_with("expected") => reason,
        (_, _, Some(reason)) => format!("found {value:?}: {reason}"),
        (_, _, None) => format!("expected what {shown} takes, found {value:?}"),
    }
}

/// The long flag of an argument that settings can come from. `--help` and its like are no settings,
/// nor is a switch that turns something off (`ArgAction::SetFalse`): it would read backwards in a
/// file.
fn setting_name(arg: &Arg) -> Option<&str> {
    let is_setting =
        matches!(arg.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue | ArgAction::Count);
    arg.get_long().filter(|_| is_setting)
}
