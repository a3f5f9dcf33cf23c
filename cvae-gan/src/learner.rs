//! Everything that a step of training changes, and the step.
//!
//! The state is a function of the settings and the batches seen; threads and clocks have no part
//! in it. A loss or gradient that is no number ends a step before it moves the weights that the
//! loss is of; other parts may have moved already, as the critics have before E and G.

use crate::balance::Pulls;
use crate::blend::Blend;
use crate::class_means::ClassMeans;
use crate::critics::Critics;
use crate::draws::StepDraws;
use crate::figures::Figures;
use crate::frozen::frozen;
use crate::identity_network::IdentityNetwork;
use crate::label_code::{LabelCode, one_hots};
use crate::measured::Measured;
use crate::settings::{LabelCode as CodeChoice, Settings};
use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nets::device::Numbers;
use nets::optim::{Adam, AdamConfig, MovingAverage, gradient_norm, guarded};
use nets::{Encoder, EncoderConfig, Generator, GeneratorConfig, Parameters, Posterior, even, is_deconvolution, pixels};
use recognizer::Batch;

/// E, G and D in training.
pub struct Learner {
    pub(crate) settings: Settings,
    pub(crate) classes: usize,
    pub(crate) dtype: DType,
    /// What the networks compute in; weights, losses, penalty and updates are of `dtype`.
    compute: DType,
    pub(crate) device: Device,
    /// Of E and G, under `encoder` and `generator`.
    pub(crate) parameters: Parameters,
    live: Networks,
    /// The same weights without gradients, for critic steps between those of E and G; where there are none, they are
    /// not kept in what the networks compute in.
    frozen: Networks,
    pub(crate) critics: Option<Critics>,
    pub(crate) identity: Option<IdentityNetwork>,
    pub(crate) code: LabelCode,
    pub(crate) adam: Adam,
    pub(crate) critic_adam: Option<Adam>,
    pub(crate) average: MovingAverage,
    pub(crate) pulls: Pulls,
    pub(crate) class_means: ClassMeans,
    pub(crate) steps: u64,
    pub(crate) images_seen: u64,
}

/// E and G.
pub(crate) struct Networks {
    pub(crate) encoder: Option<Encoder>,
    pub(crate) generator: Generator,
}

/// A batch of real images as tensors.
pub(crate) struct Faces {
    /// `(B,128,128,channels)` in `[-1, 1]`.
    pub(crate) images: Tensor,
    /// `(B)`, u32.
    pub(crate) labels: Tensor,
    /// The same as rows of zeros with a 1, `(B, classes)`.
    pub(crate) one_hots: Tensor,
}

/// Images of one step, made from the latents of real ones and from random latents.
pub(crate) struct Made {
    /// Encoded branch first: `(branches * B,128,128,channels)`.
    pub(crate) images: Tensor,
    /// What E said, where there is an encoded branch.
    pub(crate) posterior: Option<Posterior>,
    /// In the order of `images`.
    pub(crate) branches: Vec<Branch>,
    /// Shares of whom each image is asked to show: `(branches * B, classes)`.
    pub(crate) shares: Tensor,
    /// Of the random branch, where they are mixtures.
    blend: Option<Blend>,
    /// B.
    pub(crate) rows: usize,
}

/// Where a latent came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    Encoded,
    Prior,
}

impl Learner {
    /// Networks of fresh weights.
    ///
    /// # Errors
    /// A missing identity network.
    pub fn new(
        settings: &Settings,
        classes: usize,
        identity: Option<IdentityNetwork>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        if settings.needs_identity() && identity.is_none() {
            return Err(Error::NoIdentity(
                "expected an identity network for the identity term, found none; give --identity-weights FILE (train \
                 one with `recognizer train --arch lightcnn-9`), or do without by --lambda-id 0",
            ));
        }
        let code = match (&identity, settings.label_code) {
            (Some(identity), CodeChoice::IdentityFeatures) => {
                LabelCode::with_features(&identity.centres, settings.label_length)?
            }
            _ => LabelCode::new(None, classes, settings.label_length, dtype, device),
        };
        let parameters = Parameters::new(settings.seed, dtype, device);
        let live = Networks::new(settings, code.length(), parameters.var_builder())?;
        let frozen = Networks::new(settings, code.length(), frozen(&parameters, dtype))?;
        if settings.even_deconvolutions {
            even_out(&parameters)?;
        }
        let critics = settings.has_critics().then(|| Critics::new(settings, classes, dtype, device)).transpose()?;
        let betas = AdamConfig { beta1: settings.beta1, beta2: settings.beta2, ..AdamConfig::default() };
        let mut learner = Self {
            settings: settings.clone(),
            classes,
            dtype,
            compute: dtype,
            device: device.clone(),
            adam: Adam::new(&parameters, betas)?,
            critic_adam: critics.as_ref().map(|critics| Adam::new(&critics.parameters, betas)).transpose()?,
            average: MovingAverage::new(&parameters)?,
            parameters,
            live,
            frozen,
            critics,
            identity,
            code,
            pulls: Pulls::default(),
            class_means: ClassMeans::default(),
            steps: 0,
            images_seen: 0,
        };
        if settings.numbers != Numbers::F32 {
            learner.compute_in(settings.numbers.dtype())?;
        }
        Ok(learner)
    }

    /// From now on, the networks compute in this number type, as in bf16 on a GPU.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn compute_in(&mut self, dtype: DType) -> Result<()> {
        self.compute = dtype;
        self.identity.as_mut().map_or(Ok(()), |identity| identity.compute_in(dtype))
    }

    /// Casts the weights of E and G as they are now, where the networks compute in another type.
    fn cast_generator(&mut self) -> Result<()> {
        if self.compute != self.dtype {
            let length = self.code.length();
            self.live = Networks::new(&self.settings, length, self.parameters.cast(self.compute))?;
            // Between steps of E and G alone, which there aren't where the critics take no more of them.
            if self.settings.critic_steps > 1 {
                self.frozen = Networks::new(&self.settings, length, frozen(&self.parameters, self.compute))?;
            }
        }
        Ok(())
    }

    /// Brings the critics' networks to their weights as they are now.
    pub(crate) fn refresh_critics(&mut self) -> Result<()> {
        match &mut self.critics {
            Some(critics) => critics.refresh(&self.settings, self.classes, self.compute),
            None => Ok(()),
        }
    }

    /// Learns from one batch; gives what it measured on the way.
    ///
    /// # Errors
    /// [`Error::NotFinite`], when a term or gradient is no number. The learner is then good for
    /// nothing more: only a part of the step was made.
    pub fn step(&mut self, batch: &Batch) -> Result<Figures> {
        let mut step = Measured::default();
        let faces = self.faces(batch)?;
        let draws = self.draws(batch)?;

        self.cast_generator()?;
        // Make images, once for both steps. Between steps of E and G no graph is needed.
        let both = (self.steps + 1).is_multiple_of(self.settings.critic_steps) || !self.critics_active();
        let made = self.make(&faces, &draws, if both { &self.live } else { &self.frozen })?;

        if self.critics_active() {
            self.critic_step(&faces, &made, &draws, &mut step)?;
        }
        if both {
            self.generator_step(&faces, &made, &draws, &mut step)?;
        }
        // All of it was only asked for so far; now it is waited for, once.
        let figures = step.fetch(self.images_seen)?;
        self.steps += 1;
        self.images_seen += batch.rows as u64;
        Ok(figures)
    }

    /// Moves the critics. E, G and FR stay as they are.
    fn critic_step(&mut self, faces: &Faces, made: &Made, draws: &StepDraws, step: &mut Measured) -> Result<()> {
        if let Some(critics) = &mut self.critics
            && let Some(norm) = &mut critics.spectral_norm
        {
            norm.turn(&critics.parameters)?;
        }
        self.refresh_critics()?;
        let gradients = self.critic_gradients(faces, made, draws, step)?;
        if let (Some(adam), Some(critics)) = (&mut self.critic_adam, &self.critics) {
            let norm = gradient_norm(&critics.parameters, &gradients)?;
            step.term("critic/gradient_norm", "critic gradient norm", &norm)?;
            let rate = self.settings.critic_learning_rate * self.settings.rate_factor(self.images_seen);
            adam.step(&gradients, &guarded(&norm, &step.terms())?, rate)?;
        }
        Ok(())
    }

    /// Moves E and G, and their average. D and FR stay as they are.
    fn generator_step(&mut self, faces: &Faces, made: &Made, draws: &StepDraws, step: &mut Measured) -> Result<()> {
        if self.critics_active() {
            // They have moved.
            self.refresh_critics()?;
        }
        let gradients = self.generator_gradients(faces, made, draws, step)?;
        let norm = gradient_norm(&self.parameters, &gradients)?;
        step.term("gradient_norm", "gradient norm", &norm)?;
        let rate = self.settings.learning_rate * self.settings.rate_factor(self.images_seen);
        self.adam.step(&gradients, &guarded(&norm, &step.terms())?, rate)?;
        if self.settings.even_deconvolutions {
            even_out(&self.parameters)?;
        }
        self.average.update(&self.parameters, self.settings.average_decay(self.images_seen))?;
        Ok(())
    }

    /// How far it is.
    pub fn images_seen(&self) -> u64 {
        self.images_seen
    }

    /// Batches seen.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What it was made for.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Scalar parameters of E and G, and of the critics.
    pub fn parameter_counts(&self) -> (usize, usize) {
        (self.parameters.count(), self.critics.as_ref().map_or(0, |critics| critics.parameters.count()))
    }

    pub(crate) fn critics_active(&self) -> bool {
        self.settings.critics_active(self.images_seen)
    }

    pub(crate) fn faces(&self, batch: &Batch) -> Result<Faces> {
        let images = pixels::to_signed(&batch.pixels, batch.rows, batch.channels, self.dtype, &self.device)?;
        let labels = Tensor::from_slice(&batch.labels, batch.rows, &self.device)?;
        Ok(Faces { images, labels, one_hots: one_hots(&batch.labels, self.classes, self.dtype, &self.device)? })
    }

    pub(crate) fn draws(&self, batch: &Batch) -> Result<StepDraws> {
        StepDraws::new(&self.settings, self.steps, &batch.labels, self.dtype, &self.device)
    }

    /// `x_e` and `x_r`, those of them that some term looks at.
    pub(crate) fn make(&self, faces: &Faces, draws: &StepDraws, networks: &Networks) -> Result<Made> {
        let (mut latents, mut branches) = (Vec::new(), Vec::new());
        let mut posterior = None;
        if let Some(encoder) = &networks.encoder {
            let said = encoder.forward(&faces.images)?;
            latents.push(said.sample(&draws.encoding)?);
            branches.push(Branch::Encoded);
            posterior = Some(said);
        }
        let for_identity = self.settings.lambda_id > 0.0 && self.settings.prior_identity_factor(self.images_seen) > 0.0;
        if self.critics_active() || for_identity {
            latents.push(match latents.first() {
                Some(encoded) if self.settings.swap > 0.0 => borrow(encoded, draws)?,
                _ => draws.prior.clone(),
            });
            branches.push(Branch::Prior);
        }
        let code = self.code.of_one_hots(&faces.labels, &faces.one_hots)?;
        let (mut codes, mut shares) =
            (vec![code.clone(); branches.len()], vec![faces.one_hots.clone(); branches.len()]);
        let random = branches.iter().position(|&branch| branch == Branch::Prior);
        if let (Some(blend), Some(random)) = (&draws.blend, random) {
            codes[random] = blend.led_away(&code, &self.code.mean()?)?;
            shares[random] = blend.of(&faces.one_hots)?;
        }
        let images = networks.generator.forward(&Tensor::cat(&latents, 0)?, &Tensor::cat(&codes, 0)?)?;
        let (shares, blend) = (Tensor::cat(&shares, 0)?, draws.blend.clone());
        Ok(Made { images, posterior, branches, shares, blend, rows: faces.images.dim(0)? })
    }

    #[cfg(test)]
    pub(crate) fn make_live(&self, faces: &Faces, draws: &StepDraws) -> Result<Made> {
        self.make(faces, draws, &self.live)
    }

    /// The averaged E and G, with the label code still in place.
    pub(crate) fn averaged(&self) -> Result<Networks> {
        let tensors = self.average.tensors()?.into_iter().collect();
        Networks::new(&self.settings, self.code.length(), VarBuilder::from_tensors(tensors, self.dtype, &self.device))
    }
}

/// Brings the filters of G's deconvolutions back to those by which an even map stays even.
fn even_out(parameters: &Parameters) -> Result<()> {
    for (name, filters) in parameters.vars() {
        if name.strip_prefix("generator.").is_some_and(is_deconvolution) {
            filters.set(&even(filters.as_tensor())?)?;
        }
    }
    Ok(())
}

/// Latents of the prior, some of them replaced by that of the next image of the batch. Its image
/// must show whom the row is asked for all the same.
fn borrow(encoded: &Tensor, draws: &StepDraws) -> Result<Tensor> {
    let rows = encoded.dim(0)?;
    let next = Tensor::cat(&[encoded.narrow(0, 1, rows - 1)?, encoded.narrow(0, 0, 1)?], 0)?;
    let own = draws.prior.broadcast_mul(&draws.borrowed.affine(-1.0, 1.0)?)?;
    Ok((own + next.broadcast_mul(&draws.borrowed)?)?)
}

impl Networks {
    /// `code_length`: numbers that G is fed for a label.
    pub(crate) fn new(settings: &Settings, code_length: usize, vb: VarBuilder) -> Result<Self> {
        let encoder = match settings.has_encoder() {
            true => Some(Encoder::new(&settings.encoder_config(), vb.pp("encoder"))?),
            false => None,
        };
        Ok(Self { encoder, generator: Generator::new(&settings.generator_config(code_length), vb.pp("generator"))? })
    }
}

impl Settings {
    /// Shape of E.
    pub fn encoder_config(&self) -> EncoderConfig {
        EncoderConfig {
            channels: self.channels,
            width: self.width,
            downsampling: self.downsampling,
            initialization: self.initialization,
        }
    }

    /// Shape of G for labels of `classes` numbers.
    pub fn generator_config(&self, classes: usize) -> GeneratorConfig {
        let Self { channels, width, initialization, conditioning, .. } = *self;
        GeneratorConfig { channels, width, classes, initialization, conditioning }
    }
}

impl Made {
    /// The part of `stacked` (images, or anything computed of them row by row) that belongs to a
    /// branch.
    pub(crate) fn part(&self, stacked: &Tensor, branch: Branch) -> Option<Result<Tensor>> {
        let nth = self.branches.iter().position(|&other| other == branch)?;
        Some(stacked.narrow(0, nth * self.rows, self.rows).map_err(Error::from))
    }

    /// Whom a branch's images are asked to show, where they are mixtures.
    pub(crate) fn blend_of(&self, branch: Branch) -> Option<&Blend> {
        match branch {
            Branch::Encoded => None,
            Branch::Prior => self.blend.as_ref(),
        }
    }

    /// Each branch with its part of `stacked`.
    pub(crate) fn parts(&self, stacked: &Tensor) -> Result<Vec<(Branch, Tensor)>> {
        let part = |(nth, &branch): (usize, &Branch)| Ok((branch, stacked.narrow(0, nth * self.rows, self.rows)?));
        self.branches.iter().enumerate().map(part).collect()
    }
}

pub(crate) fn scalar(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

/// Gradients of a loss; an alias that says what a step hands to its optimizer.
pub(crate) type Gradients = GradStore;

#[cfg(test)]
mod tests;
