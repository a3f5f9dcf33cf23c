//! A settings file, with every key checked against the command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Command;
use toml::Value;

use super::{chosen, setting_name};
use crate::{Error, Result};

/// The longest settings file.
const MOST_BYTES: u64 = 1 << 20;

/// The keys of a settings file that concern the chosen subcommand.
pub(super) struct Table {
    file: PathBuf,
    /// By kebab-case name: the key as written, and its value.
    settings: BTreeMap<String, (String, Value)>,
}

impl Table {
    /// Refuses what isn't TOML and keys that the subcommand at `path` doesn't know.
    pub(super) fn read(file: &Path, command: &Command, path: &[String]) -> Result<Self> {
        let text = crate::read_text(file, MOST_BYTES)?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| Error::Toml {
            file: file.display().to_string(),
            line: error
                .span()
                .map_or(1, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1),
            reason: error.message().to_owned(),
        })?;
        let mut read = Self { file: file.to_path_buf(), settings: BTreeMap::new() };
        read.gather(&table, command, path)?;
        Ok(read)
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The key as it was written, and its value.
    pub(super) fn get(&self, name: &str) -> Option<&(String, Value)> {
        self.settings.get(name)
    }

    /// Settings of an inner table win over those around it.
    fn gather(&mut self, table: &toml::Table, command: &Command, path: &[String]) -> Result<()> {
        let leaf = chosen(command, path);
        let known: Vec<&str> = leaf.get_arguments().chain(command.get_arguments()).filter_map(setting_name).collect();
        let mut inner = None;
        for (key, value) in table {
            let name = key.replace('_', "-");
            match (value, command.find_subcommand(key)) {
                (Value::Table(table), Some(subcommand)) if path.first() == Some(key) => {
                    inner = Some((table, subcommand))
                }
                // Settings for another subcommand; that one will check them.
                (Value::Table(_), Some(_)) => {}
                _ if name == "config" || !known.contains(&name.as_str()) => {
                    let file = self.file.display().to_string();
                    return Err(Error::UnknownSetting { key: key.clone(), file, hint: hint(&name, &known) });
                }
                _ => {
                    self.settings.insert(name, (key.clone(), value.clone()));
                }
            }
        }
        match (inner, path) {
            (Some((table, subcommand)), [_, rest @ ..]) => self.gather(table, subcommand, rest),
            _ => Ok(()),
        }
    }
}

/// "; did you mean `batch`?", or all there is.
fn hint(name: &str, known: &[&str]) -> String {
    if name == "config" {
        return "; a settings file cannot name another".to_owned();
    }
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    match known.iter().map(|known| (distance(known), *known)).min() {
        Some((distance, nearest)) if distance <= 1 + name.len() / 3 => format!("; did you mean `{nearest}`?"),
        _ => {
            let mut names: Vec<&str> = known.iter().copied().filter(|name| *name != "config").collect();
            names.sort_unstable();
            names.dedup();
            format!("; this command knows {}", names.join(", "))
        }
    }
}
