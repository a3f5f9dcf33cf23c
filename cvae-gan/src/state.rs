//! A training on disk, and back.
//!
//! A checkpoint needs no other file: it holds the identity network and its centres too, so that a
//! run is resumed, sampled and exported wherever it lies.

use crate::balance::Pulls;
use crate::class_means::ClassMeans;
use crate::figures::Figures;
use crate::identity_network::IdentityNetwork;
use crate::label_code::LabelCode;
use crate::learner::Learner;
use crate::settings::{LabelCode as CodeChoice, Settings};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use command::RunDirectory;
use command::run_directory::Checkpoints;
use dataset::Dataset;
use nets::checkpoint::Checkpoint;
use nets::{FEATURE, LightCnnConfig, sentence, shards};
use recognizer::{BatchSource, FolderSource};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The kind of a training's checkpoints.
pub const KIND: &str = "cvae-gan run";
const TRAINING: &str = "training";
const PLACE: &str = "place";

/// Groups of tensors.
pub(crate) const AVERAGE: &str = "average";
const PARAMETERS: &str = "parameters";
const ADAM: &str = "adam";
const CRITICS: &str = "critics";
const CRITIC_ADAM: &str = "critic_adam";
const SPECTRAL_NORM: &str = "spectral_norm";
const PULLS: &str = "pulls";
const CLASS_MEANS: &str = "class_means";
const GATHERED: &str = "gathered";
const IDENTITY: &str = "identity";
const TABLES: &str = "tables";
const CODE: &str = "code";
const CENTRES: &str = "centres";

/// What a checkpoint says of its training, readable in the file's header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// How it was set.
    pub settings: Settings,
    /// Names of the identities; the position is the class.
    pub names: Vec<String>,
    /// Digest of its data.
    pub dataset_digest: String,
    /// Batches seen.
    pub steps: u64,
    /// Images seen.
    pub images_seen: u64,
    /// The identity network, if it has one: its shape and the names of its classes.
    pub identity: Option<(LightCnnConfig, Vec<String>)>,
}

/// Writes a checkpoint, reads it back, then gives up all but the newest `keep`. It is in several files where
/// one would have more than `shard_bytes`.
///
/// # Errors
/// A full disk, most of all; older checkpoints are untouched then.
pub fn save(
    learner: &Learner,
    gathered: &Figures,
    source: &FolderSource,
    run: &RunDirectory,
    keep: usize,
    shard_bytes: Option<NonZeroUsize>,
) -> Result<PathBuf> {
    let checkpoint = to_checkpoint(learner, gathered, source)?;
    let bytes = checkpoint.to_bytes()?;
    let (checkpoints, seen) = (run.checkpoints(), learner.images_seen);
    let path = match shard_bytes.map(NonZeroUsize::get) {
        Some(most) if bytes.len() > most => {
            let count = bytes.len().div_ceil(most);
            let name = |(nth, part)| (Checkpoints::shard_name(seen, nth, count), part);
            let parts: Vec<(String, &[u8])> = bytes.chunks(most).enumerate().map(name).collect();
            checkpoints.write_in_shards(seen, &parts, &shards::index(&parts))?
        }
        _ => checkpoints.write_verified(seen, &bytes)?,
    };
    checkpoints.prune(seen, keep)?;
    Ok(path)
}

/// The whole state: equal states give equal bytes.
pub(crate) fn to_checkpoint(learner: &Learner, gathered: &Figures, source: &FolderSource) -> Result<Checkpoint> {
    let dataset = source.dataset();
    let mut checkpoint = Checkpoint::new(KIND);
    checkpoint.set(
        TRAINING,
        Training {
            settings: learner.settings.clone(),
            names: names(dataset),
            dataset_digest: dataset.digest().to_owned(),
            steps: learner.steps,
            images_seen: learner.images_seen,
            identity: learner.identity.as_ref().map(|identity| (identity.config.clone(), identity.class_names.clone())),
        },
    );
    checkpoint.set(PLACE, source.place());
    checkpoint.put(PARAMETERS, learner.parameters.tensors()?);
    checkpoint.put(AVERAGE, learner.average.tensors()?);
    checkpoint.put(ADAM, learner.adam.state()?);
    if let (Some(critics), Some(adam)) = (&learner.critics, &learner.critic_adam) {
        checkpoint.put(CRITICS, critics.parameters.tensors()?);
        checkpoint.put(CRITIC_ADAM, adam.state()?);
        if let Some(norm) = &critics.spectral_norm {
            checkpoint.put(SPECTRAL_NORM, norm.tensors());
        }
    }
    checkpoint.put(PULLS, learner.pulls.to_tensors()?);
    checkpoint.put(CLASS_MEANS, learner.class_means.tensors());
    checkpoint.put(GATHERED, gathered.to_tensors()?);
    let mut tables = BTreeMap::new();
    if let Some(features) = learner.code.features() {
        tables.insert(CODE.to_owned(), features.clone());
    }
    if let Some(identity) = &learner.identity {
        checkpoint.put(IDENTITY, identity.weights.clone());
        tables.insert(CENTRES.to_owned(), identity.centres.clone());
    }
    checkpoint.put(TABLES, tables);
    Ok(checkpoint)
}

/// A checkpoint and what it says of itself.
///
/// # Errors
/// A file that is cut short or of another kind.
pub fn read(path: &Path, device: &Device) -> Result<(Training, Checkpoint)> {
    let checkpoint = Checkpoint::read(path, KIND, device)?;
    let training: Training = checkpoint.get(TRAINING)?;
    training.settings.check().map_err(|error| checkpoint.content(error))?;
    if training.names.is_empty() {
        return Err(checkpoint.content("expected names of identities, found none").into());
    }
    Ok((training, checkpoint))
}

/// Brings a new learner, the source and the figures to where a checkpoint stands.
///
/// # Errors
/// A checkpoint of another training: other data, or settings that differ in more than rates.
pub fn restore(
    settings: &Settings,
    (training, mut checkpoint): (Training, Checkpoint),
    source: &mut FolderSource,
    device: &Device,
) -> Result<(Learner, Figures)> {
    check_same(settings, &training, source.dataset())?;
    let gathered = Figures::from_tensors(&checkpoint.take(GATHERED))?;
    source.resume(&checkpoint.get(PLACE)?)?;
    let (identity, code) = frozen_parts(&training, &mut checkpoint, device)?;
    let mut learner = Learner::new(settings, training.names.len(), identity, DType::F32, device)?;
    let mut restore = || -> candle_core::Result<()> {
        learner.parameters.load(&checkpoint.take(PARAMETERS))?;
        learner.average.load(&checkpoint.take(AVERAGE))?;
        learner.adam.load_state(&checkpoint.take(ADAM))?;
        if let (Some(critics), Some(adam)) = (&mut learner.critics, &mut learner.critic_adam) {
            critics.parameters.load(&checkpoint.take(CRITICS))?;
            adam.load_state(&checkpoint.take(CRITIC_ADAM))?;
            if let Some(norm) = &mut critics.spectral_norm {
                norm.load(&checkpoint.take(SPECTRAL_NORM))?;
            }
        }
        Ok(())
    };
    restore().map_err(|error| checkpoint.content(sentence(&error)))?;
    learner.pulls = Pulls::from_tensors(&checkpoint.take(PULLS))?;
    learner.class_means = ClassMeans::from_tensors(&checkpoint.take(CLASS_MEANS), DType::F32, device)?;
    learner.code = code;
    (learner.steps, learner.images_seen) = (training.steps, training.images_seen);
    Ok((learner, gathered))
}

/// What a training never changes: its identity network and its label code.
pub(crate) fn frozen_parts(
    training: &Training,
    checkpoint: &mut Checkpoint,
    device: &Device,
) -> Result<(Option<IdentityNetwork>, LabelCode)> {
    let (mut tables, weights) = (checkpoint.take(TABLES), checkpoint.take(IDENTITY));
    let mut table = |name: &str, rows: usize| match tables.remove(name) {
        Some(table) if table.dims().len() == 2 && table.dims()[0] == rows => Ok(table),
        found => {
            let found = found.map_or("none".to_owned(), |table| format!("{:?}", table.dims()));
            Err(checkpoint.content(format!("expected a table `{name}` of {rows} rows, found {found}")))
        }
    };
    let classes = training.names.len();
    let Settings { label_code, label_length, .. } = training.settings;
    let features = match label_code {
        // In older checkpoints the one-hots stand behind the features.
        CodeChoice::IdentityFeatures => {
            let rows =
                table(CODE, classes)?.narrow(1, 0, FEATURE).map_err(|error| checkpoint.content(sentence(&error)))?;
            Some(rows.contiguous()?)
        }
        CodeChoice::OneHot => None,
    };
    let code = LabelCode::new(features, classes, label_length, DType::F32, device);
    let identity = match &training.identity {
        Some((config, names)) => {
            let centres: Tensor = table(CENTRES, classes)?;
            let network = IdentityNetwork::new(config.clone(), names.clone(), weights, centres, DType::F32, device);
            Some(network.map_err(|error| checkpoint.content(error))?)
        }
        None => None,
    };
    Ok((identity, code))
}

/// Names of a data set's identities, in class order.
pub(crate) fn names(dataset: &Dataset) -> Vec<String> {
    dataset.identities().iter().map(|identity| identity.name.clone()).collect()
}

fn check_same(settings: &Settings, training: &Training, dataset: &Dataset) -> Result<()> {
    let other = |expected: String, found: String| Err(Error::OtherTraining { expected, found });
    if training.dataset_digest != dataset.digest() {
        return other(
            format!("the data set with digest {}", training.dataset_digest),
            format!("{} with {}", dataset.path().display(), dataset.digest()),
        );
    }
    // A training that ran away is steadied by lower rates; nothing else may change on its way.
    let Settings { learning_rate, critic_learning_rate, .. } = training.settings;
    let at_its_rates = Settings { learning_rate, critic_learning_rate, ..settings.clone() };
    if let Some((setting, asked, found)) = difference(&at_its_rates, &training.settings) {
        return other(
            format!("{setting} {found} as the checkpoint has"),
            format!("{asked}; leave the setting as it was"),
        );
    }
    Ok(())
}

/// The first setting in which two trainings differ, and both values.
fn difference(asked: &Settings, found: &Settings) -> Option<(String, Value, Value)> {
    let fields = |settings| match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (asked, found) = (fields(asked), fields(found));
    asked.into_iter().find_map(|(name, value)| {
        let other = found.get(&name)?.clone();
        (other != value).then_some((name, value, other))
    })
}
