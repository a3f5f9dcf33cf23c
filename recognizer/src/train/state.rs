//! A training on disk, and back.

use super::config::TrainConfig;
use super::gathered::Gathered;
use super::trainer::Trainer;
use crate::batch::BatchSource;
use crate::card::{CARD, Card, KIND};
use crate::error::{Error, Result};
use command::RunDirectory;
use nets::checkpoint::Checkpoint;
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;

/// What stays the same over a training.
pub(super) struct About {
    pub(super) config: TrainConfig,
    source: String,
    class_names: Vec<String>,
    dataset: Option<String>,
}

impl About {
    pub(super) fn of(config: &TrainConfig, source: &dyn BatchSource) -> Self {
        Self {
            config: config.clone(),
            source: source.describe(),
            class_names: source.class_names(),
            dataset: source.dataset_digest(),
        }
    }
}

/// Fields that only a training reads: its settings, its source in words, where the source goes on.
const CONFIG: &str = "config";
const SOURCE: &str = "source";
const PLACE: &str = "place";
/// Group and tensor of the figures since the last line.
const GATHERED: &str = "gathered";

/// Writes a checkpoint, then gives up the oldest ones.
pub(super) fn save(
    trainer: &Trainer,
    gathered: &Gathered,
    place: &Value,
    about: &About,
    run: &RunDirectory,
    keep: usize,
) -> Result<PathBuf> {
    let images_seen = trainer.images_seen();
    let mut checkpoint = Checkpoint::new(KIND);
    checkpoint.set(
        CARD,
        Card {
            config: trainer.shape().clone(),
            class_names: about.class_names.clone(),
            dataset: about.dataset.clone(),
            images_seen,
        },
    );
    checkpoint.set(CONFIG, &about.config);
    checkpoint.set(SOURCE, &about.source);
    checkpoint.set(PLACE, place);
    checkpoint.put(GATHERED, [(GATHERED.to_owned(), gathered.to_tensor()?)].into());
    trainer.save_to(&mut checkpoint)?;
    let bytes = checkpoint.to_bytes()?;
    let path = run.checkpoints().write(images_seen, |file| file.write_all(&bytes))?;
    // Older checkpoints go only when this one is known to be good.
    if std::fs::read(&path).map_err(command::Error::reading(&path))? != bytes {
        return Err(Error::Checkpoint(
            checkpoint.content(format!(
                "{} does not read back as it was written; older checkpoints are kept",
                path.display()
            )),
        ));
    }
    run.checkpoints().prune(keep, 0)?;
    Ok(path)
}

/// Brings trainer and source to the run's newest good checkpoint; leaves them at the start where
/// there is none yet.
pub(super) fn resume(
    config: &TrainConfig,
    source: &mut dyn BatchSource,
    run: &RunDirectory,
    trainer: &mut Trainer,
    gathered: &mut Gathered,
) -> Result<()> {
    if run.checkpoints().list()?.is_empty() {
        command::say("no checkpoint yet; starting from the beginning");
        return Ok(run.resume_at(0)?);
    }
    let read = |found: &command::run_directory::Checkpoint| Checkpoint::read(&found.path, KIND, trainer.device());
    let (_, mut checkpoint) = run.checkpoints().newest(read)?;
    let card: Card = checkpoint.get(CARD)?;
    if card.config.classes != source.classes() {
        return Err(Error::OtherTraining {
            expected: format!("a checkpoint of {} classes, as the source has", source.classes()),
            found: format!("one of {}", card.config.classes),
        });
    }
    if let Some((setting, asked, found)) = difference(config, &checkpoint.get(CONFIG)?) {
        return Err(Error::OtherTraining {
            expected: format!("{setting} {found} as the checkpoint has"),
            found: format!("{asked}; leave the setting as it was"),
        });
    }
    if let Some(sums) = checkpoint.take(GATHERED).remove(GATHERED) {
        *gathered = Gathered::from_tensor(&sums)?;
    }
    source.resume(&checkpoint.get(PLACE)?)?;
    trainer.restore_from(&mut checkpoint)?;
    Ok(run.resume_at(trainer.images_seen())?)
}

/// The first setting in which two configurations differ, and both values.
fn difference(asked: &TrainConfig, found: &TrainConfig) -> Option<(String, Value, Value)> {
    let object = |config| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let mut other = object(found);
    let mut settings = object(asked).into_iter().map(|(name, value)| {
        let found = other.remove(&name).unwrap_or_default();
        (name.replace('_', " "), value, found)
    });
    settings.find(|(_, asked, found)| asked != found)
}
