//! `OUT/plan.toml`: what a folder's experiments are, written before anything runs.
//!
//! Seeds, budgets and arms are decided before results are seen, and a folder holds the results of one
//! plan alone: another one is refused. All experiments of the settings are in it, whichever were asked
//! for, because they share trainings.

use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::settings::Settings;
use crate::world::World;
use command::WrongUse;
use command::atomic_file::write_new_atomically;
use std::io::Write;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Its place in the output folder.
pub const FILE: &str = "plan.toml";
const HEADER: &str = "# The plan of this folder, from before anything ran. Another one takes another folder.\n\n";
/// Where data lie is not what they are: they are held to their digests.
const PLACES: [&str; 3] = ["data", "pairs", "inception-data"];

/// What is decided before anything runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    table: Table,
}

impl Plan {
    /// Of settings, as the command line gives them, and what they name.
    ///
    /// # Errors
    /// Settings that can't train.
    pub fn new(settings: &Settings, resolved: &command::Settings, world: &World) -> Result<Self> {
        let mut given: Table = resolved.to_toml().parse().map_err(|error: toml::de::Error| Error::Plan {
            path: PathBuf::from("settings"),
            reason: error.message().to_owned(),
        })?;
        given.remove("out");
        let mut digests = Table::new();
        for (name, digest) in [
            ("training", Some(world.training.digest())),
            ("held-out", Some(world.held_out.digest())),
            ("pairs", world.pairs.as_ref().map(|pairs| pairs.dataset().digest())),
            ("inception-data", world.others.as_ref().map(|others| others.digest())),
        ] {
            if let Some(digest) = digest {
                digests.insert(name.to_owned(), digest.into());
            }
        }
        let mut trainings = Table::new();
        for experiment in Experiment::ALL {
            if experiment.needs_pairs() && world.pairs.is_none() {
                continue;
            }
            let lines = experiment
                .jobs(settings, world)?
                .iter()
                .map(|job| Value::String(format!("{} ({})", job.line(), job.fingerprint())))
                .collect();
            trainings.insert(experiment.name().to_owned(), Value::Array(lines));
        }
        let table = [("settings", given), ("digests", digests), ("trainings", trainings)];
        Ok(Self { table: table.into_iter().map(|(name, table)| (name.to_owned(), Value::Table(table))).collect() })
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        // Tables of strings, numbers and lists always have a TOML form.
        format!("{HEADER}{}", toml::to_string_pretty(&self.table).unwrap_or_default())
    }

    /// Begins a folder with this plan, or finds that it has it.
    ///
    /// # Errors
    /// A folder of another plan, or with files and no plan.
    pub fn claim(&self, out: &Path) -> Result<()> {
        self.check(out)?;
        let path = out.join(FILE);
        if path.is_file() {
            return Ok(());
        }
        std::fs::create_dir_all(out).map_err(command::Error::writing(out))?;
        let text = self.to_toml();
        // Another process may have begun the folder in between.
        if write_new_atomically(&path, |file| file.write_all(text.as_bytes()))? {
            return Ok(());
        }
        self.agree_with(out, &Self::read(&path)?)
    }

    /// Whether a folder can have this plan: it isn't there yet, is empty, or has it already. Writes nothing.
    ///
    /// # Errors
    /// A folder of another plan, or with files and no plan.
    pub fn check(&self, out: &Path) -> Result<()> {
        let path = out.join(FILE);
        if path.is_file() {
            return self.agree_with(out, &Self::read(&path)?);
        }
        let refuse = |found| Err(Error::NoPlan { path: out.to_owned(), found });
        if !out.exists() {
            return Ok(());
        }
        if !out.is_dir() {
            return refuse("a file");
        }
        for entry in std::fs::read_dir(out).map_err(command::Error::reading(out))? {
            let name = entry.map_err(command::Error::reading(out))?.file_name();
            // Half a plan, of a process that was killed while it wrote it, counts for nothing; a whole one has come in
            // between, of another process.
            if name == FILE {
                return self.agree_with(out, &Self::read(&path)?);
            }
            if !name.to_string_lossy().starts_with(&format!(".{FILE}")) {
                return refuse("other files");
            }
        }
        Ok(())
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(command::Error::reading(path))?;
        let refuse = |reason| Error::Plan { path: path.to_owned(), reason };
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            refuse(format!("in line {line}: {}", error.message()))
        })?;
        if !table.contains_key("settings") {
            return Err(refuse("no settings".to_owned()));
        }
        Ok(Self { table })
    }

    fn agree_with(&self, out: &Path, found: &Self) -> Result<()> {
        let Some((name, asked, planned)) = difference(&self.table, &found.table) else { return Ok(()) };
        let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), short);
        if planned.is_none() && name.starts_with("settings.") {
            return Err(WrongUse(format!(
                "{} was begun with another plan: expected none of {name}, found {}; leave it out or, where it has to be and \
                 the plan is of an older version, take another --out",
                out.display(),
                shown(asked),
            ))
            .into());
        }
        Err(WrongUse(format!(
            "{} was begun with another plan: expected {name} = {}, found {}; leave it as it was or take another --out",
            out.display(),
            shown(planned),
            shown(asked),
        ))
        .into())
    }
}

/// The first value in which two plans differ.
fn difference<'a>(asked: &'a Table, planned: &'a Table) -> Option<(String, Option<&'a Value>, Option<&'a Value>)> {
    // Settings say best what is different, then digests: the trainings follow from them.
    let tables = ["settings", "digests", "trainings"];
    let inner = |table: &'a Table, name: &str| table.get(name).and_then(Value::as_table);
    tables.into_iter().find_map(|name| match (inner(asked, name), inner(planned, name)) {
        (Some(asked), Some(planned)) => {
            let keys =
                asked.keys().chain(planned.keys()).filter(|key| !PLACES.contains(&key.as_str()) || name != "settings");
            let mut differing = keys.filter(|key| asked.get(*key) != planned.get(*key));
            differing.next().map(|key| within(format!("{name}.{key}"), asked.get(key), planned.get(key)))
        }
        (asked_inner, planned_inner) => (asked_inner.is_some() != planned_inner.is_some())
            .then(|| (name.to_owned(), asked.get(name), planned.get(name))),
    })
}

/// Of two lists, the first entries that differ.
fn within<'a>(
    name: String,
    asked: Option<&'a Value>,
    planned: Option<&'a Value>,
) -> (String, Option<&'a Value>, Option<&'a Value>) {
    if let (Some(Value::Array(asked)), Some(Value::Array(planned))) = (asked, planned) {
        let nth = (0..asked.len().max(planned.len())).find(|&nth| asked.get(nth) != planned.get(nth));
        let nth = nth.unwrap_or_default();
        return (format!("{name}[{nth}]"), asked.get(nth), planned.get(nth));
    }
    (name, asked, planned)
}

/// A value in a sentence.
fn short(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Table(values) => format!("a table of {}", values.len()),
        value => value.to_string(),
    }
}
