//! A recognizer's file: what it says of itself, and reading it back as a network.

use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nets::checkpoint::Checkpoint;
use nets::legacy::{self, Classifier};
use nets::sentence;
use nets::{LightCnn, LightCnnConfig, Parameters};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The kind of a recognizer's checkpoints.
pub const KIND: &str = "recognizer";
/// Field of the description that holds the card.
pub(crate) const CARD: &str = "card";
/// Group of the network's tensors.
pub(crate) const NETWORK: &str = "network";

/// What evaluation needs to know beside the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Kind, width and number of classes.
    pub config: LightCnnConfig,
    /// Names of the first classes, in class order; blended identities have none.
    pub class_names: Vec<String>,
    /// Digest of the data set that it was trained on, where it is known.
    pub dataset: Option<String>,
    /// Length of its training so far.
    pub images_seen: u64,
}

/// A recognizer ready to compute, whose weights keep no gradients.
pub struct Recognizer {
    /// The network.
    pub network: LightCnn,
    /// What its file says of it.
    pub card: Card,
    /// The network's weights by name, to put into another file.
    pub weights: BTreeMap<String, Tensor>,
    device: Device,
}

impl Recognizer {
    /// Builds a network from exactly its weights.
    ///
    /// # Errors
    /// A name that is missing or left over, a shape that differs, a weight that is not finite.
    pub fn new(card: Card, weights: BTreeMap<String, Tensor>, device: &Device) -> candle_core::Result<Self> {
        let plain = |weights: &BTreeMap<String, Tensor>| {
            let tensors = weights.clone().into_iter().collect();
            LightCnn::new(&card.config, VarBuilder::from_tensors(tensors, DType::F32, device))
        };
        // Before anything is made by the card alone: it may promise more than memory holds, but the
        // weights were in a file.
        plain(&weights)?;
        // Parameters load strictly; what computes afterwards holds plain tensors.
        let parameters = Parameters::new(0, DType::F32, device);
        LightCnn::new(&card.config, parameters.var_builder())?;
        parameters.load(&weights)?;
        let weights = parameters.tensors()?;
        for (name, tensor) in &weights {
            if !tensor.sum_all()?.to_scalar::<f32>()?.is_finite() {
                candle_core::bail!("weights of `{name}` are not finite; the training that made them had failed")
            }
        }
        let network = plain(&weights)?;
        Ok(Self { network, card, weights, device: device.clone() })
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// Reads a recognizer: a checkpoint, the newest good one of a run directory, or published LightCNN
/// weights as PyTorch wrote them (`.pth.tar`).
///
/// # Errors
/// Nothing there, a file that is cut short or of another kind, weights that don't fit it.
pub fn load(run_or_file: impl AsRef<Path>, device: &Device) -> Result<Recognizer> {
    command::run_directory::load(run_or_file, |path| load_file(path, device))
}

fn load_file(path: &Path, device: &Device) -> Result<Recognizer> {
    if is_of_pytorch(path)? {
        return published(path, device);
    }
    let mut file = Checkpoint::read(path, KIND, device)?;
    let card: Card = file.get(CARD)?;
    let weights = file.take(NETWORK);
    Recognizer::new(card, weights, device).map_err(|error| Error::Checkpoint(file.content(sentence(&error))))
}

/// Whether the file starts as a pickle (of 2017) or a zip archive (later), whatever its name says.
fn is_of_pytorch(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(command::Error::reading(path))?;
    file.take(9).read_to_end(&mut start).map_err(command::Error::reading(path))?;
    // A safetensors file starts with the length of its header, whose first byte may be anything.
    let is_safetensors = start.get(8) == Some(&b'{');
    Ok(!is_safetensors && (start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x80\x02")))
}

/// Published weights name no identities.
fn published(path: &Path, device: &Device) -> Result<Recognizer> {
    let tensors = legacy::read(path)?;
    let refused = |reason: String| Error::Published { path: path.to_owned(), reason };
    let (config, weights) =
        legacy::import_light_cnn(&tensors, Classifier::Keep).map_err(|error| refused(error.to_string()))?;
    let card = Card { config, class_names: Vec::new(), dataset: None, images_seen: 0 };
    Recognizer::new(card, weights, device).map_err(|error| refused(sentence(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::{LightCnnKind, Width};

    #[test]
    fn a_card_that_promises_more_than_its_weights_costs_nothing() {
        let network = |classes| LightCnnConfig { kind: LightCnnKind::Nine, width: Width::Tiny, classes };
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        LightCnn::new(&network(2), parameters.var_builder()).unwrap();
        // Made as it says, its classifier would take a petabyte.
        let card = Card { config: network(1 << 40), class_names: Vec::new(), dataset: None, images_seen: 0 };
        assert!(Recognizer::new(card, parameters.tensors().unwrap(), &Device::Cpu).is_err());
    }
}
