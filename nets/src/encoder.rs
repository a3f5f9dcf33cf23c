//! E: an image to the mean and log-variance of its latent, without its identity label.
//!
//! Four residual blocks in the manner of BicycleGAN's encoder, 128 to 8 pixels, then one linear
//! layer on the flattened map. The map is not averaged: behind an instance norm an average is a
//! constant, and the encoder would be blind.

use crate::blocks::{Initialization, InstanceNorm, Linear, Width, filters, zeros};
use crate::ops::{self, Activation, average_pool2, conv2d};
use crate::{LATENT, names::kebab_case_names, parameters::expect_dims, pixels::IMAGE_SIZE};
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

/// Where a residual block halves its main path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Downsampling {
    /// In its first convolution: a quarter of the work.
    #[default]
    Strided,
    /// By average pooling at its end, as BicycleGAN does.
    Pooled,
}

kebab_case_names!(Downsampling { Strided => "strided", Pooled => "pooled" });

/// The encoder's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Image channels: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Share of the paper's channels.
    pub width: Width,
    /// Where blocks halve.
    pub downsampling: Downsampling,
    /// How weights start; without effect on loaded ones.
    pub initialization: Initialization,
}

/// E.
pub struct Encoder {
    channels: usize,
    blocks: Vec<ResidualBlock>,
    head: Linear,
}

/// What E says of a batch: a normal distribution per image.
pub struct Posterior {
    /// Means, `(B, 256)`.
    pub mu: Tensor,
    /// Logarithms of the variances, `(B, 256)`.
    pub logvar: Tensor,
}

impl Encoder {
    /// Makes or loads the weights below `vb`.
    pub fn new(config: &EncoderConfig, vb: VarBuilder) -> Result<Self> {
        let widths = [64, 128, 256, 512].map(|channels| config.width.channels(channels));
        let mut blocks = Vec::with_capacity(widths.len());
        let mut inputs = config.channels;
        for (nth, outputs) in widths.into_iter().enumerate() {
            blocks.push(ResidualBlock::new(config, inputs, outputs, vb.pp("blocks").pp(nth))?);
            inputs = outputs;
        }
        let flat = 8 * 8 * inputs;
        let head = Linear::new(flat, 2 * LATENT, config.initialization.weights(flat, 1.0), vb.pp("head"))?;
        Ok(Self { channels: config.channels, blocks, head })
    }

    /// `x (B,128,128,channels)` in `[-1, 1]`.
    pub fn forward(&self, x: &Tensor) -> Result<Posterior> {
        expect_dims("images to encode", x, &[x.dim(0)?, IMAGE_SIZE, IMAGE_SIZE, self.channels])?;
        // The weights say what is computed in.
        let mut h = x.to_dtype(self.head.dtype())?;
        for block in &self.blocks {
            h = block.forward(&h)?; // 64, 32, 16, 8 pixels
        }
        let moments = self.head.forward(&h.flatten_from(1)?)?.to_dtype(x.dtype())?; // (B, 512)
        Ok(Posterior { mu: moments.narrow(1, 0, LATENT)?, logvar: moments.narrow(1, LATENT, LATENT)? })
    }
}

impl Posterior {
    /// `mu + exp(logvar / 2) * noise`, for standard normal `noise (B, 256)`.
    pub fn sample(&self, noise: &Tensor) -> Result<Tensor> {
        &self.mu + (self.logvar.affine(0.5, 0.0)?.exp()? * noise)?
    }

    /// Divergence from the standard normal distribution in nats, summed over the latent and
    /// averaged over the batch (eq. 5): `1/2 sum(mu^2 + e^l - l - 1)`.
    pub fn kl(&self) -> Result<Tensor> {
        let terms = (self.mu.sqr()? + self.logvar.exp()?)?.sub(&self.logvar)?.affine(1.0, -1.0)?;
        terms.sum(1)?.mean_all()?.affine(0.5, 0.0)
    }
}

/// conv3x3 - IN - ReLU - conv3x3 - IN, beside a mean and a 1x1 convolution; sum, ReLU. The
/// shortcut has no norm: by it E sees brightness, which the norms remove.
struct ResidualBlock {
    first: Tensor,
    first_norm: InstanceNorm,
    second: Tensor,
    second_norm: InstanceNorm,
    shortcut: Tensor,
    shortcut_bias: Tensor,
    downsampling: Downsampling,
}

impl ResidualBlock {
    fn new(config: &EncoderConfig, inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Self> {
        let weights = |fan_in, gain| config.initialization.weights(fan_in, gain);
        Ok(Self {
            first: filters(&vb.pp("conv1"), [outputs, 3, 3, inputs], weights(9 * inputs, 2.0))?,
            first_norm: InstanceNorm::new(outputs, vb.pp("norm1"))?,
            second: filters(&vb.pp("conv2"), [outputs, 3, 3, outputs], weights(9 * outputs, 2.0))?,
            second_norm: InstanceNorm::new(outputs, vb.pp("norm2"))?,
            shortcut: filters(&vb.pp("shortcut"), [outputs, 1, 1, inputs], weights(inputs, 1.0))?,
            shortcut_bias: zeros(&vb.pp("shortcut"), outputs, "bias")?,
            downsampling: config.downsampling,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let stride = match self.downsampling {
            Downsampling::Strided => 2,
            Downsampling::Pooled => 1,
        };
        let main = self.first_norm.forward(&conv2d(x, &self.first, stride, 1)?, Activation::Relu)?;
        let main = self.second_norm.forward(&conv2d(&main, &self.second, 1, 1)?, Activation::Identity)?;
        let main = match self.downsampling {
            Downsampling::Strided => main,
            Downsampling::Pooled => average_pool2(&main)?,
        };
        let shortcut = conv2d(&average_pool2(x)?, &self.shortcut, 1, 0)?;
        // The shortcut's bias joins the sum in the pass that applies the ReLU.
        ops::leaky_relu(&(main + shortcut)?, &self.shortcut_bias, 0.0)
    }
}
