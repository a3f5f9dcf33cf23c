//! Layers that the networks share, and how their weights start.

use crate::ops;
use candle_core::{DType, Result, Tensor};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

/// How many channels a network has, relative to the paper's. Topology, image size, latent and
/// feature sizes stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Width {
    /// The published channel counts.
    #[default]
    Paper,
    /// A quarter of the channels: trains on a few CPU cores.
    Small,
    /// An eighth: for demonstrations and tests.
    Tiny,
}

impl Width {
    /// Every width, widest first.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Small, Self::Tiny];

    /// A paper channel count at this width.
    pub fn channels(self, paper: usize) -> usize {
        match self {
            Self::Paper => paper,
            Self::Small => paper / 4,
            Self::Tiny => paper / 8,
        }
    }
}

/// How E, G and D start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// Normal with standard deviation 0.02, as in pix2pix and its successors. It suits the paper's
    /// widths only: with fewer channels each layer shrinks the signal.
    Paper,
    /// Normal with variance `gain / fan-in`, which keeps the signal's scale at every width.
    #[default]
    FanIn,
}

impl Initialization {
    /// Weights into a layer that sums `fan_in` terms: `gain` is the variance of what it gives over
    /// that of what it gets. 2 before a ReLU, which halves it, and 1 else keep the signal's scale; a
    /// layer that should start nearly silent takes less.
    pub(crate) fn weights(self, fan_in: usize, gain: f64) -> Init {
        let stdev = match self {
            Self::Paper => 0.02,
            Self::FanIn => (gain / fan_in as f64).sqrt(),
        };
        Init::Randn { mean: 0.0, stdev }
    }
}

crate::names::kebab_case_names!(Width { Paper => "paper", Small => "small", Tiny => "tiny" });
crate::names::kebab_case_names!(Initialization { Paper => "paper", FanIn => "fan-in" });

/// Convolution filters `(filters, size, size, channels)`, or a deconvolution's
/// `(channels in, size, size, channels out)`.
pub(crate) fn filters(vb: &VarBuilder, dims: [usize; 4], init: Init) -> Result<Tensor> {
    vb.get_with_hints(&dims[..], "weight", init)
}

pub(crate) fn zeros(vb: &VarBuilder, len: usize, name: &str) -> Result<Tensor> {
    vb.get_with_hints(len, name, Init::Const(0.0))
}

/// Instance norm's scale and shift.
pub(crate) struct InstanceNorm {
    scale: Tensor,
    shift: Tensor,
}

impl InstanceNorm {
    pub(crate) fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        let scale = vb.get_with_hints(channels, "scale", Init::Const(1.0))?;
        Ok(Self { scale, shift: zeros(&vb, channels, "shift")? })
    }

    pub(crate) fn forward(&self, x: &Tensor, activation: ops::Activation) -> Result<Tensor> {
        ops::instance_norm(x, &self.scale, &self.shift, activation)
    }
}

/// An instance norm whose scale and shift may also follow a condition: `scale + W_1 condition` and
/// `shift + W_2 condition`.
pub(crate) struct ConditionalNorm {
    norm: InstanceNorm,
    /// `W_1` above `W_2`, `(2 channels, inputs)`.
    weight: Option<Tensor>,
}

impl ConditionalNorm {
    /// `condition`: values in one, and how the weights that read them start.
    pub(crate) fn new(channels: usize, condition: Option<(usize, Init)>, vb: VarBuilder) -> Result<Self> {
        let weight = |(inputs, init): (usize, Init)| vb.get_with_hints((2 * channels, inputs), "weight", init);
        Ok(Self { weight: condition.map(weight).transpose()?, norm: InstanceNorm::new(channels, vb)? })
    }

    /// `x (B,H,W,C)` and conditions `(B, inputs)` to `(B,H,W,C)`.
    pub(crate) fn forward(&self, x: &Tensor, condition: &Tensor, activation: ops::Activation) -> Result<Tensor> {
        match self.modulation(condition)? {
            Some([scale, shift]) => ops::instance_norm(x, &scale, &shift, activation),
            None => self.norm.forward(x, activation),
        }
    }

    /// Scale and shift of each image, `(B,C)`, where they follow the condition.
    pub(crate) fn modulation(&self, condition: &Tensor) -> Result<Option<[Tensor; 2]>> {
        let Some(weight) = &self.weight else { return Ok(None) };
        let both = ops::linear(condition, weight)?; // (B, 2 C)
        let channels = both.dim(1)? / 2;
        let part = |nth: usize, base: &Tensor| ops::bias(&both.narrow(1, nth * channels, channels)?, base);
        Ok(Some([part(0, &self.norm.scale)?, part(1, &self.norm.shift)?]))
    }
}

/// A fully connected layer with bias: `(B, inputs)` to `(B, outputs)`.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(inputs: usize, outputs: usize, init: Init, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get_with_hints((outputs, inputs), "weight", init)?;
        Ok(Self { weight, bias: zeros(&vb, outputs, "bias")? })
    }

    /// What its weights are of.
    pub(crate) fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::bias(&ops::linear(x, &self.weight)?, &self.bias)
    }
}
