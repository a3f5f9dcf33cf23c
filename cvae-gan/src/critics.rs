//! D^1 and D^2 together.

use crate::Result;
use crate::frozen::frozen;
use crate::settings::Settings;
use candle_core::{DType, Device, Tensor};
use nets::{Discriminator, DiscriminatorConfig, Parameters, Scale, ops};

/// Both critics, with their weights.
pub(crate) struct Critics {
    pub(crate) parameters: Parameters,
    /// Largest scale first.
    pub(crate) scales: [Critic; 2],
}

/// One critic, twice over the same weights.
pub(crate) struct Critic {
    scale: Scale,
    /// Learns.
    pub(crate) live: Discriminator,
    /// Lets gradients through to images only.
    pub(crate) frozen: Discriminator,
}

impl Critics {
    pub(crate) fn new(settings: &Settings, classes: usize, dtype: DType, device: &Device) -> Result<Self> {
        let parameters = Parameters::new(settings.seed, dtype, device);
        let config = |scale| DiscriminatorConfig {
            channels: settings.channels,
            width: settings.width,
            classes,
            capacity: settings.capacity,
            scale,
            initialization: settings.initialization,
        };
        let build = |scale, name| -> Result<_> {
            let config = config(scale);
            let live = Discriminator::new(&config, parameters.var_builder().pp(name))?;
            let frozen = Discriminator::new(&config, frozen(&parameters, dtype).pp(name))?;
            Ok(Critic { scale, live, frozen })
        };
        let scales = [build(Scale::Full128, "d1")?, build(Scale::Half64, "d2")?];
        Ok(Self { parameters, scales })
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
