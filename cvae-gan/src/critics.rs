//! D^1 and D^2 together.

use crate::Result;
use crate::frozen::frozen;
use crate::settings::Settings;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nets::discriminator::makes_the_value;
use nets::{Discriminator, DiscriminatorConfig, Parameters, Scale, SpectralNorm, ops};
use std::collections::BTreeMap;

/// Both critics, with their weights.
pub(crate) struct Critics {
    pub(crate) parameters: Parameters,
    /// Where the weights that make values are divided by their spectral norm.
    pub(crate) spectral_norm: Option<SpectralNorm>,
    /// Largest scale first.
    pub(crate) scales: [Critic; 2],
}

/// One critic, three times over the same weights.
pub(crate) struct Critic {
    scale: Scale,
    /// Learns.
    pub(crate) live: Discriminator,
    /// Learns too, and always in the weights' own numbers: a slope bears no rounding.
    pub(crate) sloped: Discriminator,
    /// Lets gradients through to images only.
    pub(crate) frozen: Discriminator,
}

impl Critics {
    pub(crate) fn new(settings: &Settings, classes: usize, dtype: DType, device: &Device) -> Result<Self> {
        let parameters = Parameters::new(settings.seed, dtype, device);
        let build = |scale: Scale| -> Result<_> {
            let config = config(settings, classes, scale);
            let live = Discriminator::new(&config, parameters.var_builder().pp(name(scale)))?;
            let sloped = Discriminator::new(&config, parameters.var_builder().pp(name(scale)))?;
            let frozen = Discriminator::new(&config, frozen(&parameters, dtype).pp(name(scale)))?;
            Ok(Critic { scale, live, sloped, frozen })
        };
        let scales = [build(Scale::Full128)?, build(Scale::Half64)?];
        let spectral_norm = || SpectralNorm::new(&parameters, settings.seed, makes_the_value);
        let spectral_norm = settings.spectral_norm.then(spectral_norm).transpose()?;
        Ok(Self { parameters, spectral_norm, scales })
    }

    /// Builds the networks of the weights as they are now, where they are more than the weights themselves:
    /// divided by their spectral norm, or cast for networks that `compute` in another number type.
    pub(crate) fn refresh(&mut self, settings: &Settings, classes: usize, compute: DType) -> Result<()> {
        let Some((_, any)) = self.parameters.vars().into_iter().next() else { return Ok(()) };
        let (dtype, device) = (any.dtype(), any.device().clone());
        if self.spectral_norm.is_none() && compute == dtype {
            return Ok(());
        }
        let weights: BTreeMap<String, Tensor> = match &self.spectral_norm {
            Some(norm) => norm.divided(&self.parameters)?,
            None => self.parameters.vars().into_iter().map(|(name, var)| (name, var.as_tensor().clone())).collect(),
        };
        // Cast once for both networks that compute in another type.
        let cast = weights.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_dtype(compute)?)));
        let cast = cast.collect::<Result<BTreeMap<String, Tensor>>>()?;
        let builder = |tensors: &BTreeMap<String, Tensor>, of: fn(&Tensor) -> Tensor, dtype| {
            let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), of(tensor))).collect();
            VarBuilder::from_tensors(tensors, dtype, &device)
        };
        for critic in &mut self.scales {
            let (config, name) = (config(settings, classes, critic.scale), name(critic.scale));
            critic.live = Discriminator::new(&config, builder(&cast, Tensor::clone, compute).pp(name))?;
            critic.sloped = Discriminator::new(&config, builder(&weights, Tensor::clone, dtype).pp(name))?;
            critic.frozen = Discriminator::new(&config, builder(&cast, Tensor::detach, compute).pp(name))?;
        }
        Ok(())
    }
}

fn config(settings: &Settings, classes: usize, scale: Scale) -> DiscriminatorConfig {
    DiscriminatorConfig {
        channels: settings.channels,
        width: settings.width,
        classes,
        capacity: settings.capacity,
        scale,
        initialization: settings.initialization,
        projection: settings.projection,
    }
}

/// Where a critic's weights lie.
fn name(scale: Scale) -> &'static str {
    match scale {
        Scale::Full128 => "d1",
        Scale::Half64 => "d2",
    }
}

impl Critic {
    /// Images as this critic sees them. Averages, so that halving a mixture is mixing halves.
    pub(crate) fn view(&self, images: &Tensor) -> Result<Tensor> {
        Ok(match self.scale {
            Scale::Full128 => images.clone(),
            Scale::Half64 => ops::pyramid_down(images)?,
        })
    }
}
