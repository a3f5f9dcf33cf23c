//! G: a latent and an identity to an image.
//!
//! A 2x2 start, then six deconvolutions that double it to 128 pixels (paper, section 3.2). The
//! identity enters as a soft one-hot beside the latent: through a linear layer a one-hot is a
//! learned embedding, and a mixture of labels becomes the same mixture of embeddings.
//!
//! An instance norm takes away what a map has in common over its positions, and with it what the start
//! said of the whole image. So norms may be conditional, their scales and shifts affine in latent and
//! label: identity, light and pose reach every layer, and mixtures of labels stay mixtures.

mod even;

pub use even::even;

use crate::blocks::{ConditionalNorm, Initialization, Linear, Width, filters, zeros};
use crate::ops::{self, Activation, conv_transpose2d};
use crate::{LATENT, names::kebab_case_names, parameters::expect_dims};
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

/// Where the generator's norms take their scales and shifts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conditioning {
    /// Learned, the same for all images.
    #[default]
    Start,
    /// Also affine in latent and label (adaptive instance norm, Huang and Belongie, 2017).
    EveryLayer,
}

kebab_case_names!(Conditioning { Start => "start", EveryLayer => "every-layer" });

/// The generator's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorConfig {
    /// Image channels: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Share of the paper's channels.
    pub width: Width,
    /// Identities in the label.
    pub classes: usize,
    /// How weights start; without effect on loaded ones.
    pub initialization: Initialization,
    /// Where latent and label enter. Older descriptions don't say: at the start alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditioning: Conditioning,
}

fn is_default(conditioning: &Conditioning) -> bool {
    *conditioning == Conditioning::default()
}

/// Whether a tensor of G is multiplied with latents and labels: `(outputs, 256 + classes)`, the label's part
/// behind the latent's.
pub fn reads_the_label(tensor: &str) -> bool {
    tensor == "start.weight" || tensor.ends_with(".norm.weight")
}

/// Whether a tensor of G is the filters of a deconvolution, `(inputs,4,4,outputs)`.
pub fn is_deconvolution(tensor: &str) -> bool {
    tensor.starts_with("deconv") && !tensor.contains("norm") && tensor.ends_with(".weight")
}

/// G.
pub struct Generator {
    start: Linear,
    start_channels: usize,
    hidden: Vec<(Tensor, ConditionalNorm)>,
    last: Tensor,
    last_bias: Tensor,
    classes: usize,
}

impl Generator {
    /// Side of the map that the deconvolutions start from.
    const START: usize = 2;

    /// Makes or loads the weights below `vb`.
    pub fn new(config: &GeneratorConfig, vb: VarBuilder) -> Result<Self> {
        let widths = [512, 512, 512, 256, 128, 64].map(|channels| config.width.channels(channels));
        let (inputs, outputs) = (LATENT + config.classes, Self::START * Self::START * widths[0]);
        // A label is one value of one, not a sum over many: the latent alone is the fan-in.
        let start = Linear::new(inputs, outputs, config.initialization.weights(LATENT + 1, 2.0), vb.pp("start"))?;
        // Each output of a 4x4 deconvolution at stride 2 sums 2x2 taps.
        let weights = |inputs: usize, gain| config.initialization.weights(4 * inputs, gain);
        let hidden = (0..5).map(|nth| {
            let vb = vb.pp(format!("deconv{}", nth + 1));
            let (inputs, outputs) = (widths[nth], widths[nth + 1]);
            let weight = filters(&vb, [inputs, 4, 4, outputs], weights(inputs, 2.0))?;
            // At the start, a latent moves scales and shifts by a third of a deviation.
            let condition = match config.conditioning {
                Conditioning::Start => None,
                Conditioning::EveryLayer => {
                    Some((LATENT + config.classes, config.initialization.weights(LATENT + 1, 0.1)))
                }
            };
            Ok((weight, ConditionalNorm::new(outputs, condition, vb.pp("norm"))?))
        });
        let hidden = hidden.collect::<Result<Vec<_>>>()?;
        let vb = vb.pp("deconv6");
        Ok(Self {
            start,
            start_channels: widths[0],
            hidden,
            // Starts near grey. Where many taps overlap, in the middle, a full signal would saturate
            // tanh, which then lets no gradient through: speckle on every nose, for thousands of steps.
            last: filters(&vb, [widths[5], 4, 4, config.channels], weights(widths[5], 0.01))?,
            last_bias: zeros(&vb, config.channels, "bias")?,
            classes: config.classes,
        })
    }

    /// Latents `z (B,256)` and labels `c (B,classes)` with sum 1, some of whose numbers may be negative, to images
    /// `(B,128,128,channels)` in `[-1, 1]`.
    pub fn forward(&self, z: &Tensor, c: &Tensor) -> Result<Tensor> {
        let image = conv_transpose2d(&self.hidden_maps(z, c)?, &self.last, 2, 1)?; // 128 pixels
        ops::bias(&image, &self.last_bias)?.tanh()?.to_dtype(z.dtype())
    }

    /// The same images as bytes, as [`pixels::quantize`](crate::pixels::quantize) gives them, without those of
    /// floating point numbers in between. It has no gradient.
    pub fn bytes(&self, z: &Tensor, c: &Tensor) -> Result<Tensor> {
        ops::last_layer(&self.hidden_maps(z, c)?, &self.last, &self.last_bias)
    }

    /// What the last layer reads: `(B, 64, 64, channels of the fifth deconvolution)`.
    fn hidden_maps(&self, z: &Tensor, c: &Tensor) -> Result<Tensor> {
        let batch = z.dim(0)?;
        expect_dims("latents", z, &[batch, LATENT])?;
        expect_dims("labels", c, &[batch, self.classes])?;
        // The weights say what is computed in.
        let numbers = self.last.dtype();
        let condition = Tensor::cat(&[z.to_dtype(numbers)?, c.to_dtype(numbers)?], 1)?; // (B, 256 + classes)
        let start = self.start.forward(&condition)?.relu()?;
        let mut h = start.reshape((batch, Self::START, Self::START, self.start_channels))?;
        for (weight, norm) in &self.hidden {
            h = norm.forward(&conv_transpose2d(&h, weight, 2, 1)?, &condition, Activation::Relu)?; // 4 ... 64 pixels
        }
        Ok(h)
    }

    /// The first layer before its ReLU, `(B, 4 start channels)`: linear in the label.
    pub fn condition(&self, z: &Tensor, c: &Tensor) -> Result<Tensor> {
        self.start.forward(&Tensor::cat(&[z, c], 1)?)
    }

    /// Scale and shift, each `(B, channels)`, of the norm behind each deconvolution but the last; none where
    /// they are the same for all images. Affine in the label.
    pub fn modulations(&self, z: &Tensor, c: &Tensor) -> Result<Vec<[Tensor; 2]>> {
        let condition = Tensor::cat(&[z, c], 1)?;
        self.hidden.iter().filter_map(|(_, norm)| norm.modulation(&condition).transpose()).collect()
    }
}
