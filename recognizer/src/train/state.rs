//! A training on disk, and back.

use super::config::TrainConfig;
use super::gathered::Gathered;
use super::trainer::Trainer;
use crate::batch::BatchSource;
use crate::card::{CARD, Card, KIND, NETWORK, Recognizer};
use crate::error::{Error, Result};
use candle_core::Device;
use command::RunDirectory;
use command::run_directory::Checkpoints;
use nets::checkpoint::Checkpoint;
use nets::sentence;
use serde_json::Value;
use std::path::{Path, PathBuf};

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
    let path = run.checkpoints().write_verified(images_seen, &checkpoint.to_bytes()?)?;
    run.checkpoints().prune(images_seen, keep)?;
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
    let changes = differences(config, &checkpoint.get(CONFIG)?);
    if let Some((setting, asked, found)) = changes.iter().find(|(setting, ..)| !MAY_CHANGE.contains(&&**setting)) {
        return Err(Error::OtherTraining {
            expected: format!("{setting} {found} as the checkpoint has"),
            found: format!("{asked}; leave the setting as it was"),
        });
    }
    if let Some(sums) = checkpoint.take(GATHERED).remove(GATHERED) {
        *gathered = Gathered::from_tensor(&sums)?;
    }
    // First, because a source knows better what makes it another.
    source.resume(&checkpoint.get(PLACE)?)?;
    if card.config.classes != source.classes() {
        return Err(Error::OtherTraining {
            expected: format!("a checkpoint of {} classes, as the source has", source.classes()),
            found: format!("one of {}", card.config.classes),
        });
    }
    trainer.restore_from(&mut checkpoint)?;
    let seen = trainer.images_seen();
    run.resume_at(seen)?;
    for (setting, asked, found) in changes {
        command::say(format!("from {} images on with {setting} {asked}, {found} before", command::human::count(seen)));
        let remark = format!("{found} up to {seen} images seen");
        run.change_setting(&setting.replace(' ', "-"), &asked.to_string(), &remark)?;
    }
    Ok(())
}

/// The recognizer of a run that came to its end, and its place in its source; `None` where it didn't yet, or there is
/// no such run.
///
/// # Errors
/// Checkpoints that are damaged, or of a training that was set otherwise.
pub fn finished(run: &Path, config: &TrainConfig, device: &Device) -> Result<Option<(Recognizer, Value)>> {
    if Checkpoints::in_run(run).is_empty()? {
        return Ok(None);
    }
    let (_, mut checkpoint) = Checkpoints::in_run(run).newest(|found| Checkpoint::read(&found.path, KIND, device))?;
    let card: Card = checkpoint.get(CARD)?;
    if card.images_seen < config.images {
        return Ok(None);
    }
    if let Some((setting, asked, found)) = differences(config, &checkpoint.get(CONFIG)?).into_iter().next() {
        return Err(Error::OtherTraining {
            expected: format!("a training with {setting} {asked}"),
            found: format!("one with {found}"),
        });
    }
    let (place, weights) = (checkpoint.get(PLACE)?, checkpoint.take(NETWORK));
    let recognizer = Recognizer::new(card, weights, device);
    Ok(Some((recognizer.map_err(|error| Error::Checkpoint(checkpoint.content(sentence(&error))))?, place)))
}

/// What may be another on the way, so that a training whose loss is no longer a number can go on.
const MAY_CHANGE: [&str; 2] = ["learning rate", "clip"];

/// The settings in which two configurations differ, and both values.
fn differences(asked: &TrainConfig, found: &TrainConfig) -> Vec<(String, Value, Value)> {
    let object = |config| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let mut other = object(found);
    let settings = object(asked).into_iter().map(|(name, value)| {
        let found = other.remove(&name).unwrap_or_default();
        (name.replace('_', " "), value, found)
    });
    settings.filter(|(_, asked, found)| asked != found).collect()
}
