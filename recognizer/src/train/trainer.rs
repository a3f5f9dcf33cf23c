//! One step of training, and the state it moves.

use super::centre_loss::Centres;
use super::config::{Loss, TrainConfig};
use super::dropout;
use super::row_losses::row_losses;
use super::targets::Targets;
use crate::batch::{Batch, LossRecorder};
use crate::card::NETWORK;
use crate::error::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nets::chance::Chance;
use nets::checkpoint::Checkpoint;
use nets::optim::{Multipliers, Sgd, SgdConfig, gradient_norm, guarded};
use nets::sentence;
use nets::{FEATURE, LightCnn, LightCnnConfig, Parameters, fetch, measured, pixels};

/// A recognizer in training: everything that a step changes.
///
/// The state is a function of the configuration and the batches seen; thread counts and clocks have
/// no part in it.
pub struct Trainer {
    config: TrainConfig,
    shape: LightCnnConfig,
    device: Device,
    parameters: Parameters,
    network: LightCnn,
    /// What the network computes in; the weights are f32.
    compute: DType,
    optimizer: Sgd,
    centres: Option<Centres>,
    dropout: Chance,
    steps: u64,
    images_seen: u64,
    /// Told the class and the loss of each row of a step.
    record_losses: Option<LossRecorder>,
    /// Whether the last update was left unfinished, so that the state is of no step at all.
    torn: bool,
}

/// What one step measured, before its update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Mean cross-entropy.
    pub softmax: f64,
    /// Mean centre loss before its weight; 0 without it.
    pub centre: f64,
    /// Share of rows classified rightly, with dropout; a mixture's as far as it is of the class found.
    pub accuracy: f64,
    /// Norm of the whole gradient before clipping.
    pub gradient_norm: f64,
    /// Of weights.
    pub learning_rate: f64,
    /// Rows.
    pub rows: usize,
}

impl Trainer {
    /// A network of fresh weights.
    ///
    /// # Errors
    /// A setting that can't train.
    pub fn new(config: &TrainConfig, classes: usize, device: &Device) -> Result<Self> {
        config.check()?;
        let shape = LightCnnConfig { kind: config.kind, width: config.width, classes };
        let parameters = Parameters::new(config.seed, DType::F32, device);
        let network = LightCnn::new(&shape, parameters.var_builder())?;
        let sgd = SgdConfig { momentum: config.momentum, weight_decay: config.weight_decay };
        let optimizer = Sgd::new(&parameters, sgd, |name| multipliers(name, config.classifier_rate))?;
        let centres = matches!(config.loss, Loss::Centre { .. }).then(|| Centres::new(classes, FEATURE));
        Ok(Self {
            config: config.clone(),
            shape,
            device: device.clone(),
            parameters,
            network,
            compute: config.numbers.dtype(),
            optimizer,
            centres,
            dropout: Chance::new(config.seed, "recognizer/dropout"),
            steps: 0,
            images_seen: 0,
            record_losses: None,
            torn: false,
        })
    }

    /// From now on, tells `record` the class and the cross-entropy of each row of a step.
    pub fn record_losses(&mut self, record: LossRecorder) {
        self.record_losses = Some(record);
    }

    /// From now on, the network computes in this number type, as in bf16 on a GPU; weights, loss and
    /// update stay in f32.
    pub fn compute_in(&mut self, dtype: DType) {
        self.compute = dtype;
    }

    /// Learns from one batch.
    ///
    /// # Errors
    /// [`Error::NotFinite`]; nothing has changed then.
    pub fn step(&mut self, batch: &Batch) -> Result<Step> {
        // Forward.
        if self.compute != DType::F32 {
            self.network = LightCnn::new(&self.shape, self.parameters.cast(self.compute))?;
        }
        let images = pixels::to_grey(&batch.pixels, batch.rows, batch.channels, DType::F32, &self.device)?;
        let features = self.network.features(&images)?;
        let dropped = match self.config.dropout {
            0.0 => features.clone(),
            rate => (&features * dropout::mask(&self.dropout, self.steps, batch.rows, FEATURE, rate, &self.device)?)?,
        };
        let logits = self.network.classify(&dropped)?;

        // Loss.
        let targets = Targets::of(batch).weighted(&batch.sources, self.config.generated_weight);
        let mut total = targets.cross_entropy(&logits)?;
        let mut terms = vec![("softmax loss", measured(&total)?)];
        if let (Some(centres), Loss::Centre { weight, .. }) = (&self.centres, self.config.loss) {
            let centre = centres.loss(&features, &targets)?;
            terms.push(("centre loss", measured(&centre)?));
            total = (total + centre.affine(weight, 0.0)?)?;
        }

        // Update. It leaves the weights where one of the terms, or the norm, is no number.
        let gradients: GradStore = total.backward()?;
        let norm = gradient_norm(&self.parameters, &gradients)?;
        terms.push(("gradient norm", norm.clone()));
        let (names, values): (Vec<_>, Vec<_>) = terms.into_iter().unzip();
        let learning_rate = self.config.learning_rate_at(self.images_seen);
        self.torn = true;
        self.optimizer.step(&gradients, &guarded(&norm, &values)?, self.config.clip, learning_rate)?;

        // All of it was only asked for so far; now it is waited for, once.
        let values = fetch(&values)?;
        for (&term, &value) in names.iter().zip(&values) {
            if let Err(error) = self.finite(term, value) {
                self.torn = false;
                return Err(error);
            }
        }
        let (softmax, centre, norm) = match values[..] {
            [softmax, centre, norm] => (softmax, centre, norm),
            _ => (values[0], 0.0, values[1]),
        };
        if let (Some(centres), Loss::Centre { rate, .. }) = (&mut self.centres, self.config.loss) {
            centres.update(&features.detach(), &targets, rate)?;
        }
        self.steps += 1;
        self.images_seen += batch.rows as u64;
        self.torn = false;
        if let Some(record) = &self.record_losses {
            let (classes, losses) = row_losses(&logits.detach(), batch)?;
            record(&classes, &losses);
        }
        let accuracy = targets.accuracy(&logits)?;
        Ok(Step { softmax, centre, accuracy, gradient_norm: norm, learning_rate, rows: batch.rows })
    }

    /// A copy of the network as it is now, that later steps don't change and that keeps no
    /// gradients.
    pub fn frozen(&self) -> Result<LightCnn> {
        let weights = self.parameters.tensors()?.into_iter().collect();
        Ok(LightCnn::new(&self.shape, VarBuilder::from_tensors(weights, DType::F32, &self.device))?)
    }

    /// Kind, width and classes.
    pub fn shape(&self) -> &LightCnnConfig {
        &self.shape
    }

    /// The device it learns on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How far it is.
    pub fn images_seen(&self) -> u64 {
        self.images_seen
    }

    /// Batches seen.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether the state is that after a whole number of steps; not so after a step whose update
    /// failed on the device.
    pub fn is_whole(&self) -> bool {
        !self.torn
    }

    /// Puts the state into a checkpoint.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for weights that the last update ruined: they would replace good ones.
    pub fn save_to(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        let weights = self.parameters.tensors()?;
        for weight in weights.values() {
            self.finite("sum of weights", scalar(&weight.sum_all()?)?)?;
        }
        checkpoint.put(NETWORK, weights);
        checkpoint.put(OPTIMIZER, self.optimizer.state()?);
        if let Some(centres) = &self.centres {
            checkpoint.put(CENTRES, [(CENTRES.to_owned(), centres.to_tensor()?)].into());
        }
        checkpoint.set(STEPS, self.steps);
        checkpoint.set(IMAGES_SEEN, self.images_seen);
        Ok(())
    }

    /// Takes up a state that [`Trainer::save_to`] put there.
    ///
    /// # Errors
    /// Tensors that are missing, left over or of another shape.
    pub fn restore_from(&mut self, checkpoint: &mut Checkpoint) -> Result<()> {
        let (steps, images_seen) = (checkpoint.get(STEPS)?, checkpoint.get(IMAGES_SEEN)?);
        let centres = match (self.centres.is_some(), checkpoint.take(CENTRES).remove(CENTRES)) {
            (true, Some(centres)) if centres.dims() == [self.shape.classes, FEATURE] => {
                Some(Centres::from_tensor(&centres)?)
            }
            (false, None) => None,
            _ => return Err(checkpoint.content("expected the centres that its loss has").into()),
        };
        self.parameters.load(&checkpoint.take(NETWORK)).map_err(|error| checkpoint.content(sentence(&error)))?;
        self.optimizer.load_state(&checkpoint.take(OPTIMIZER)).map_err(|error| checkpoint.content(sentence(&error)))?;
        (self.centres, self.steps, self.images_seen) = (centres, steps, images_seen);
        Ok(())
    }

    fn finite(&self, term: &'static str, value: f64) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        Err(Error::NotFinite { term, value, images_seen: self.images_seen, kept: None })
    }
}

/// Groups and fields of the state in a checkpoint.
const OPTIMIZER: &str = "optimizer";
const CENTRES: &str = "centres";
const STEPS: &str = "steps";
const IMAGES_SEEN: &str = "images_seen";

/// As in the published training: biases learn twice as fast and don't decay, the classifier
/// (`fc2`) `classifier_rate` times as fast.
fn multipliers(name: &str, classifier_rate: f64) -> Multipliers {
    let bias = name.ends_with("bias");
    let classifier = if name.starts_with("fc2") { classifier_rate } else { 1.0 };
    Multipliers { rate: classifier * if bias { 2.0 } else { 1.0 }, decay: if bias { 0.0 } else { 1.0 } }
}

fn scalar(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::{LightCnnKind, Width};

    /// Rates and decays of all parameters whose names end so.
    fn of(kind: LightCnnKind, ending: &str) -> Vec<(f64, f64)> {
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        LightCnn::new(&LightCnnConfig { kind, width: Width::Tiny, classes: 3 }, parameters.var_builder()).unwrap();
        let tensors = parameters.tensors().unwrap();
        let named = tensors.keys().filter(|name| name.ends_with(ending));
        named.map(|name| multipliers(name, 10.0)).map(|of| (of.rate, of.decay)).collect()
    }

    #[test]
    fn biases_learn_twice_as_fast_without_decay_and_the_classifier_ten_times_as_fast() {
        for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2] {
            let bare = kind == LightCnnKind::TwentyNineV2;
            assert_eq!(of(kind, "fc2.weight"), [(10.0, 1.0)]);
            assert_eq!(of(kind, "fc2.bias"), if bare { vec![] } else { vec![(20.0, 0.0)] });
            let (weights, biases) = (of(kind, "filter.weight"), of(kind, "filter.bias"));
            assert!(!weights.is_empty() && weights.iter().all(|&of| of == (1.0, 1.0)));
            assert!(!biases.is_empty() && biases.iter().all(|&of| of == (2.0, 0.0)));
        }
    }
}
