//! FR: the frozen recognizer by which identities are judged while training.

use crate::features::{features_of, first_images};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use command::{Interrupt, Progress};
use dataset::Dataset;
use nets::{FEATURE, LightCnn, LightCnnConfig, LightCnnKind};
use recognizer::Recognizer;
use recognizer::metrics::Features;
use std::collections::BTreeMap;
use std::path::Path;

/// A frozen LightCNN-9 and where each identity lies in its features.
pub struct IdentityNetwork {
    /// Without gradients of its own; always as in evaluation, without dropout.
    pub network: LightCnn,
    /// Its shape.
    pub config: LightCnnConfig,
    /// Names of its classes, in class order.
    pub class_names: Vec<String>,
    /// Its weights by name.
    pub weights: BTreeMap<String, Tensor>,
    /// Normalised mean feature of each identity of the data, `(identities, 256)`.
    pub centres: Tensor,
}

impl IdentityNetwork {
    /// Builds the network from its parts.
    ///
    /// # Errors
    /// Weights or centres of another shape.
    pub fn new(
        config: LightCnnConfig,
        class_names: Vec<String>,
        weights: BTreeMap<String, Tensor>,
        centres: Tensor,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let tensors = weights.clone().into_iter().collect();
        let network = LightCnn::new(&config, VarBuilder::from_tensors(tensors, dtype, device))?;
        let centres = centres.to_device(device)?.to_dtype(dtype)?;
        Ok(Self { network, config, class_names, weights, centres })
    }

    /// The network casts its weights, and computes in another number type from now on.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn compute_in(&mut self, dtype: DType) -> Result<()> {
        let tensors = self.weights.clone().into_iter().collect();
        self.network = LightCnn::new(&self.config, VarBuilder::from_tensors(tensors, dtype, self.centres.device()))?;
        Ok(())
    }

    /// Takes a recognizer as the identity network of a data set. Its features of each identity's
    /// first hundred images give the centres.
    ///
    /// # Errors
    /// An image that can't be read, or Ctrl-C.
    pub fn of_dataset(recognizer: Recognizer, dataset: &Dataset, interrupt: &Interrupt) -> Result<Self> {
        let progress = Progress::new("finding identities", first_images(dataset).len() as u64, "images");
        let seen = features_of(&recognizer, dataset, &progress, interrupt)?;
        progress.finish();
        let centres = seen.features().class_centres(seen.labels(), dataset.identities().len())?;
        let device = recognizer.device().clone();
        let centres = to_tensor(&centres, &device)?;
        let Recognizer { card, weights, .. } = recognizer;
        Self::new(card.config, card.class_names, weights, centres, DType::F32, &device)
    }
}

/// Reads a recognizer and checks that it can serve as identity network of a training on `dataset`.
/// `verdict`: whether its classifier is to be asked, not only its features.
///
/// # Errors
/// Another network than LightCNN-9; where the classifier is needed, one of other identities.
pub fn load(path: &Path, dataset: &Dataset, verdict: bool, device: &Device) -> Result<Recognizer> {
    let recognizer = recognizer::load(path, device)?;
    let refuse = |reason: String| Err(Error::Identity { path: path.to_owned(), reason });
    let card = &recognizer.card;
    if card.config.kind != LightCnnKind::Nine {
        return refuse(format!("expected a {}, found a {}", LightCnnKind::Nine, card.config.kind));
    }
    if verdict && !is_trained_on(&card.class_names, card.config.classes, dataset) {
        return refuse(format!(
            "expected the classes of {} ({} identities), found {} others; train it with `recognizer train \
             --data {0}`, or use its features alone with --identity-verdict 0",
            dataset.path().display(),
            dataset.identities().len(),
            card.config.classes,
        ));
    }
    Ok(recognizer)
}

fn is_trained_on(names: &[String], classes: usize, dataset: &Dataset) -> bool {
    let identities = dataset.identities();
    classes == identities.len()
        && names.len() == classes
        && names.iter().zip(identities).all(|(name, identity)| *name == identity.name)
}

fn to_tensor(features: &Features, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_slice(features.values(), (features.len(), FEATURE), device)?)
}
