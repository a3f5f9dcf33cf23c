//! A learner at the beginning of its training, or where its run stands.

use crate::figures::Figures;
use crate::identity_network::IdentityNetwork;
use crate::learner::Learner;
use crate::settings::Settings;
use crate::{Result, state};
use candle_core::{DType, Device};
use command::human::count;
use command::{Interrupt, RunDirectory};
use dataset::Dataset;
use dataset::augment::Augmentation;
use recognizer::{FolderSettings, FolderSource, Recognizer};
use std::sync::Arc;

/// The batches that a training with these settings eats.
///
/// # Errors
/// A batch of no rows.
pub fn source(settings: &Settings, data: Arc<Dataset>) -> Result<FolderSource> {
    let augmentation = Augmentation { flip: settings.flip, shift: 0 };
    let folder = FolderSettings { batch_size: settings.batch, seed: settings.seed, augmentation };
    Ok(FolderSource::new(data, folder)?)
}

/// A learner that has seen nothing, with a recognizer as its identity network if it needs one.
///
/// # Errors
/// An image that can't be read, no recognizer where one is needed, Ctrl-C.
pub fn begin(
    settings: &Settings,
    recognizer: Option<Recognizer>,
    source: &FolderSource,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<Learner> {
    let dataset = source.dataset();
    let identity = match recognizer {
        Some(recognizer) => Some(IdentityNetwork::of_dataset(recognizer, dataset, interrupt)?),
        None => None,
    };
    Learner::new(settings, dataset.identities().len(), identity, DType::F32, device)
}

/// The learner of a run's newest good checkpoint and the figures since its last line; brings the
/// source there too. `None` where there is no checkpoint yet. Rates may have changed; the run notes
/// it then.
///
/// # Errors
/// A checkpoint of another training.
pub fn go_on(
    run: &RunDirectory,
    settings: &Settings,
    source: &mut FolderSource,
    device: &Device,
) -> Result<Option<(Learner, Figures)>> {
    if run.checkpoints().list()?.is_empty() {
        run.resume_at(0)?;
        return Ok(None);
    }
    let (_, checkpoint) = run.checkpoints().newest(|found| state::read(&found.path, device))?;
    let before = checkpoint.0.settings.clone();
    let (learner, gathered) = state::restore(settings, checkpoint, source, device)?;
    let seen = learner.images_seen();
    run.resume_at(seen)?;
    let rates = [
        ("learning-rate", before.learning_rate, settings.learning_rate),
        ("critic-learning-rate", before.critic_learning_rate, settings.critic_learning_rate),
    ];
    for (name, before, asked) in rates.into_iter().filter(|(_, before, asked)| before != asked) {
        command::say(format!("from {} images on with {name} {asked}, {before} before", count(seen)));
        run.change_setting(name, &asked.to_string(), &format!("{before} up to {seen} images seen"))?;
    }
    Ok(Some((learner, gathered)))
}
