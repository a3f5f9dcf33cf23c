//! The three networks, from `[-1, 1]` RGB images, NHWC. Variables carry the published names; filters are
//! `(out, h, w, in)` and dense layers run over `(h, w, channel)`.

use super::layers::{bias_prelu, max_pool};
use crate::blocks::{Linear, filters, zeros};
use crate::ops;
use candle_core::{D, Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// The proposal network: whether a face fills each window of 12x12 pixels, at every other place.
pub struct PNet {
    conv1: Convolution,
    conv2: Convolution,
    conv3: Convolution,
    probability: Head,
    regression: Head,
}

impl PNet {
    /// Side of the window that it judges, in pixels.
    pub const WINDOW: usize = 12;
    /// Pixels from window to window.
    pub const STRIDE: usize = 2;

    /// Makes or loads the weights below `vb`.
    pub fn new(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            conv1: Convolution::new(&vb, 1, 3, 10, 3)?,
            conv2: Convolution::new(&vb, 2, 10, 16, 3)?,
            conv3: Convolution::new(&vb, 3, 16, 32, 3)?,
            probability: Head::new(&vb, "conv4_1", 2)?,
            regression: Head::new(&vb, "conv4_2", 4)?,
        })
    }

    /// Windows along a side of `length` pixels.
    pub fn windows(length: usize) -> usize {
        (length.saturating_sub(1) / 2).saturating_sub(4)
    }

    /// `x (B,H,W,3)`, at least 12x12, to the probability of a face `(B,h,w)` and the regression of its
    /// box `(B,h,w,4)`, where `h` is [`windows`](Self::windows) of `H`.
    pub fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = max_pool(&self.conv1.forward(x)?, 2)?; // ceil((H - 2) / 2)
        let x = self.conv3.forward(&self.conv2.forward(&x)?)?; // 4 less
        Ok((face_probability(&self.probability.forward(&x)?)?, self.regression.forward(&x)?))
    }
}

/// The refinement network: candidates of 24x24 pixels.
pub struct RNet {
    conv1: Convolution,
    conv2: Convolution,
    conv3: Convolution,
    dense: Dense,
    probability: Linear,
    regression: Linear,
}

impl RNet {
    /// Side of its input, in pixels.
    pub const SIDE: usize = 24;

    /// Makes or loads the weights below `vb`.
    pub fn new(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            conv1: Convolution::new(&vb, 1, 3, 28, 3)?,
            conv2: Convolution::new(&vb, 2, 28, 48, 3)?,
            conv3: Convolution::new(&vb, 3, 48, 64, 2)?,
            dense: Dense::new(&vb, 4, 3 * 3 * 64, 128)?,
            probability: Linear::new(128, 2, fan_in(128), vb.pp("dense5_1"))?,
            regression: Linear::new(128, 4, fan_in(128), vb.pp("dense5_2"))?,
        })
    }

    /// `x (B,24,24,3)` to the probability of a face `(B)` and the regression of its box `(B,4)`.
    pub fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = max_pool(&self.conv1.forward(x)?, 3)?; // 28 x 11 x 11
        let x = max_pool(&self.conv2.forward(&x)?, 3)?; // 48 x 4 x 4
        let x = self.dense.forward(&self.conv3.forward(&x)?)?; // 64 x 3 x 3 to 128
        Ok((face_probability(&self.probability.forward(&x)?)?, self.regression.forward(&x)?))
    }
}

/// The output network: candidates of 48x48 pixels, and their landmarks.
pub struct ONet {
    conv1: Convolution,
    conv2: Convolution,
    conv3: Convolution,
    conv4: Convolution,
    dense: Dense,
    probability: Linear,
    regression: Linear,
    landmarks: Linear,
}

impl ONet {
    /// Side of its input, in pixels.
    pub const SIDE: usize = 48;

    /// Makes or loads the weights below `vb`.
    pub fn new(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            conv1: Convolution::new(&vb, 1, 3, 32, 3)?,
            conv2: Convolution::new(&vb, 2, 32, 64, 3)?,
            conv3: Convolution::new(&vb, 3, 64, 64, 3)?,
            conv4: Convolution::new(&vb, 4, 64, 128, 2)?,
            dense: Dense::new(&vb, 5, 3 * 3 * 128, 256)?,
            probability: Linear::new(256, 2, fan_in(256), vb.pp("dense6_1"))?,
            regression: Linear::new(256, 4, fan_in(256), vb.pp("dense6_2"))?,
            landmarks: Linear::new(256, 10, fan_in(256), vb.pp("dense6_3"))?,
        })
    }

    /// `x (B,48,48,3)` to the probability of a face `(B)`, the regression of its box `(B,4)` and its
    /// landmarks `(B,10)`: five abscissas, then five ordinates, as shares of the box.
    pub fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let x = max_pool(&self.conv1.forward(x)?, 3)?; // 32 x 23 x 23
        let x = max_pool(&self.conv2.forward(&x)?, 3)?; // 64 x 10 x 10
        let x = max_pool(&self.conv3.forward(&x)?, 2)?; // 64 x 4 x 4
        let x = self.dense.forward(&self.conv4.forward(&x)?)?; // 128 x 3 x 3 to 256
        let probability = face_probability(&self.probability.forward(&x)?)?;
        Ok((probability, self.regression.forward(&x)?, self.landmarks.forward(&x)?))
    }
}

/// Of the two classes of the last dimension, the second is a face.
fn face_probability(logits: &Tensor) -> Result<Tensor> {
    candle_nn::ops::softmax_last_dim(logits)?.narrow(D::Minus1, 1, 1)?.squeeze(D::Minus1)
}

/// What weights start as that are not loaded.
fn fan_in(inputs: usize) -> Init {
    Init::Randn { mean: 0.0, stdev: (inputs as f64).sqrt().recip() }
}

/// The `nth` convolution without padding, and its parametric ReLU.
struct Convolution {
    weight: Tensor,
    bias: Tensor,
    slope: Tensor,
}

impl Convolution {
    fn new(vb: &VarBuilder, nth: usize, inputs: usize, outputs: usize, size: usize) -> Result<Self> {
        let conv = vb.pp(format!("conv{nth}"));
        let weight = filters(&conv, [outputs, size, size, inputs], fan_in(size * size * inputs))?;
        Ok(Self { weight, bias: zeros(&conv, outputs, "bias")?, slope: slope(vb, nth, outputs)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        bias_prelu(&ops::conv2d(x, &self.weight, 1, 0)?, &self.bias, &self.slope)
    }
}

/// The `nth` layer, over a flattened map, and its parametric ReLU.
struct Dense {
    weight: Tensor,
    bias: Tensor,
    slope: Tensor,
}

impl Dense {
    fn new(vb: &VarBuilder, nth: usize, inputs: usize, outputs: usize) -> Result<Self> {
        let dense = vb.pp(format!("dense{nth}"));
        let weight = dense.get_with_hints((outputs, inputs), "weight", fan_in(inputs))?;
        Ok(Self { weight, bias: zeros(&dense, outputs, "bias")?, slope: slope(vb, nth, outputs)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        bias_prelu(&ops::linear(&x.flatten_from(1)?, &self.weight)?, &self.bias, &self.slope)
    }
}

fn slope(vb: &VarBuilder, nth: usize, channels: usize) -> Result<Tensor> {
    vb.pp(format!("prelu{nth}")).get_with_hints(channels, "weight", Init::Const(0.25))
}

/// A 1x1 convolution over P-Net's last 32 channels.
struct Head {
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    fn new(vb: &VarBuilder, name: &str, outputs: usize) -> Result<Self> {
        let vb = vb.pp(name);
        Ok(Self { weight: filters(&vb, [outputs, 1, 1, 32], fan_in(32))?, bias: zeros(&vb, outputs, "bias")? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::bias(&ops::conv2d(x, &self.weight, 1, 0)?, &self.bias)
    }
}
