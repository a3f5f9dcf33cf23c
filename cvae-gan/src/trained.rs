//! A CVAE-GAN that is no longer trained: of a run, a checkpoint or a bundle.

use crate::identity_network::IdentityNetwork;
use crate::pictures::{images_of, random_latents};
use crate::state::{self, AVERAGE, Training};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use command::WrongSetting;
use command::run_directory::load;
use dataset::blended::Parent;
use dataset::blended::label::{fill, reach};
use nets::bundle::{Bundle, BundleInfo, BundleTensors, Precision};
use nets::checkpoint::{CheckpointError, digest_of};
use nets::{Encoder, Generator, pixels};
use std::collections::BTreeMap;
use std::path::Path;

/// What samples faces.
pub struct Trained {
    /// Averaged, on plain labels.
    pub generator: Generator,
    /// Averaged, where there is one.
    pub encoder: Option<Encoder>,
    /// Image channels.
    pub channels: usize,
    /// Names of the identities; the position is the class.
    pub names: Vec<String>,
    /// Images that training had seen.
    pub images_seen: u64,
    /// Digest of the weights of the identity network it was trained against, where it had one.
    pub identity_digest: Option<String>,
    device: Device,
}

/// The parts of a bundle, from a checkpoint.
pub struct Exportable {
    training: Training,
    generator: BTreeMap<String, Tensor>,
    encoder: BTreeMap<String, Tensor>,
    identity: Option<IdentityNetwork>,
}

impl Trained {
    /// Reads a run directory (its newest checkpoint), a checkpoint or a bundle.
    ///
    /// # Errors
    /// Nothing there, or a file of another kind.
    pub fn open(run_or_file: &Path, device: &Device) -> Result<Self> {
        load(run_or_file, |path| match Exportable::read(path, device) {
            Ok(parts) => parts.build(device),
            Err(Error::Checkpoint(CheckpointError::Kind { found, .. })) if found == "bundle" => {
                let bundle = Bundle::open(path, device)?;
                let BundleInfo { generator, names, images_seen, identity_digest, .. } = bundle.info;
                Ok(Self {
                    generator: bundle.generator,
                    encoder: bundle.encoder,
                    channels: generator.channels,
                    names,
                    images_seen,
                    identity_digest: Some(identity_digest),
                    device: device.clone(),
                })
            }
            Err(error) => Err(error),
        })
    }

    /// Images of identity `class` from `count` latents of the prior, as NHWC bytes. The latents are
    /// a function of the seed, the index and their position.
    ///
    /// # Errors
    /// A class that isn't there.
    pub fn sample(&self, class: usize, count: usize, seed: u64, index: u64) -> Result<Vec<u8>> {
        self.sample_of(&self.person(class)?, count, seed, index)
    }

    /// The same of anybody with a `label (1, identities)`.
    ///
    /// # Errors
    /// A label of other identities.
    pub fn sample_of(&self, label: &Tensor, count: usize, seed: u64, index: u64) -> Result<Vec<u8>> {
        let z = random_latents(count, seed, index, &self.device)?;
        self.draw(&z, &label.repeat((count, 1))?)
    }

    /// Images of latents `z (N,256)` and labels `(N, identities)`, as NHWC bytes. A row's image
    /// depends on no other row.
    ///
    /// # Errors
    /// Another number of labels, or of identities.
    pub fn draw(&self, z: &Tensor, labels: &Tensor) -> Result<Vec<u8>> {
        images_of(&self.generator, z, labels)
    }

    /// The label `(1, identities)` of one person.
    ///
    /// # Errors
    /// A class that isn't there.
    pub fn person(&self, class: usize) -> Result<Tensor> {
        // A class beyond numbers of 32 bits isn't there either.
        self.labels([&[Parent::alone(u32::try_from(class).unwrap_or(u32::MAX))][..]], 0.0)
    }

    /// The label `(1, identities)` of a mixture of different people, as far from the average person as [`reach`] has it for a spread.
    ///
    /// # Errors
    /// A class that isn't there.
    pub fn mixture(&self, parents: &[Parent], spread: f64) -> Result<Tensor> {
        self.labels([parents], spread)
    }

    /// The label of each row's [`mixture`](Self::mixture), `(N, identities)`: one upload, however many they are.
    ///
    /// # Errors
    /// A class that isn't there.
    pub fn labels<'a>(&self, rows: impl IntoIterator<Item = &'a [Parent]>, spread: f64) -> Result<Tensor> {
        let classes = self.names.len();
        let everybody: Vec<u32> = (0..classes as u32).collect();
        let mut labels = Vec::new();
        for parents in rows {
            if let Some(parent) = parents.iter().find(|parent| parent.identity as usize >= classes) {
                let (expected, found) = (format!("an identity below {classes}"), parent.identity.to_string());
                return Err(WrongSetting { setting: "identity", expected, found }.into());
            }
            let begin = labels.len();
            labels.resize(begin + classes, 0f32);
            fill(&mut labels[begin..], parents, reach(parents, spread), &everybody);
        }
        let rows = labels.len() / classes.max(1);
        Ok(Tensor::from_vec(labels, (rows, classes), &self.device)?)
    }

    /// The mean latent `(1,256)` of an image of NHWC bytes; `None` where there is no encoder.
    ///
    /// # Errors
    /// Bytes that are no image.
    pub fn encode(&self, image: &[u8]) -> Result<Option<Tensor>> {
        let Some(encoder) = &self.encoder else { return Ok(None) };
        let x = pixels::to_signed(image, 1, self.channels, DType::F32, &self.device)?;
        Ok(Some(encoder.forward(&x)?.mu))
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Exportable {
    /// Reads a run directory or a checkpoint.
    ///
    /// # Errors
    /// Nothing there, or a file of another kind.
    pub fn read(run_or_file: &Path, device: &Device) -> Result<Self> {
        let (training, mut checkpoint) = load(run_or_file, |path| state::read(path, device))?;
        let (identity, code) = state::frozen_parts(&training, &mut checkpoint, device)?;
        let below = |prefix: &str, tensors: &BTreeMap<String, Tensor>| -> BTreeMap<String, Tensor> {
            let named = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
            named.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
        };
        let average = checkpoint.take(AVERAGE);
        let generator = code.fold(below("generator.", &average)).map_err(|error| checkpoint.content(error))?;
        Ok(Self { training, generator, encoder: below("encoder.", &average), identity })
    }

    /// The networks, ready to compute.
    ///
    /// # Errors
    /// Weights of other shapes than the settings say.
    pub fn build(self, device: &Device) -> Result<Trained> {
        let Training { settings, names, images_seen, .. } = self.training;
        let builder = |tensors: BTreeMap<String, Tensor>| {
            VarBuilder::from_tensors(tensors.into_iter().collect(), DType::F32, device)
        };
        let encoder = match settings.has_encoder() {
            true => Some(Encoder::new(&settings.encoder_config(), builder(self.encoder))?),
            false => None,
        };
        Ok(Trained {
            generator: Generator::new(&settings.generator_config(names.len()), builder(self.generator))?,
            encoder,
            channels: settings.channels,
            names,
            images_seen,
            identity_digest: self.identity.map(|identity| digest_of(&identity.weights)).transpose()?,
            device: device.clone(),
        })
    }

    /// Names of the identities, and how far training had come.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// Gives an identity network to a training that had none.
    pub fn set_identity(&mut self, identity: IdentityNetwork) {
        self.identity = Some(identity);
    }

    /// Whether there is an identity network.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The bytes of a bundle.
    ///
    /// # Errors
    /// No identity network; weights that are not finite.
    pub fn to_bundle(&self, with_encoder: bool, precision: Precision) -> Result<Vec<u8>> {
        let Some(identity) = &self.identity else {
            return Err(Error::NoIdentity(
                "expected an identity network in the run, found none; give --identity-weights FILE and --data PATH",
            ));
        };
        let Training { settings, names, dataset_digest, images_seen, .. } = &self.training;
        let with_encoder = with_encoder && settings.has_encoder();
        let info = BundleInfo {
            image_size: nets::pixels::IMAGE_SIZE,
            generator: settings.generator_config(names.len()),
            encoder: with_encoder.then(|| settings.encoder_config()),
            identity: identity.config.clone(),
            identity_digest: digest_of(&identity.weights)?,
            names: names.clone(),
            images_seen: *images_seen,
            dataset_digest: dataset_digest.clone(),
        };
        let tensors = BundleTensors {
            generator: self.generator.clone(),
            encoder: if with_encoder { self.encoder.clone() } else { BTreeMap::new() },
            identity: identity.weights.clone(),
            centres: Some(identity.centres.clone()),
        };
        Ok(Bundle::to_bytes(&info, tensors, precision)?)
    }
}
