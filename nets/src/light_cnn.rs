//! LightCNN-9, -29 and -29 v2 (Wu et al., "A Light CNN for Deep Face Representation with Noisy
//! Labels", 2018): grey faces to 256 features, by max-feature-map layers alone.
//!
//! Variables carry the names of the published state dictionaries.

use crate::blocks::{Linear, Width, filters, zeros};
use crate::names::kebab_case_names;
use crate::ops::{self, conv_max_feature_map, max_average_pool2, max_feature_map};
use crate::{FEATURE, parameters::expect_dims};
use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};
use serde::{Deserialize, Serialize};

/// Which LightCNN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LightCnnKind {
    /// Nine convolutions.
    #[serde(rename = "lightcnn-9")]
    Nine,
    /// Twenty-nine, with residual blocks.
    #[serde(rename = "lightcnn-29")]
    TwentyNine,
    /// Twenty-nine with maximum-plus-average pooling, a plain feature layer and a classifier
    /// without bias.
    #[serde(rename = "lightcnn-29v2")]
    TwentyNineV2,
}

kebab_case_names!(LightCnnKind {
    Nine => "lightcnn-9",
    TwentyNine => "lightcnn-29",
    TwentyNineV2 => "lightcnn-29v2",
});

/// A recognizer's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LightCnnConfig {
    /// Which network.
    pub kind: LightCnnKind,
    /// Share of the published channels.
    pub width: Width,
    /// Identities of the classifier.
    pub classes: usize,
}

/// A recognizer.
pub struct LightCnn {
    stages: Vec<Stage>,
    feature: FeatureLayer,
    classifier: Tensor,
    classifier_bias: Option<Tensor>,
}

impl LightCnn {
    /// Makes or loads the weights below `vb`.
    pub fn new(config: &LightCnnConfig, vb: VarBuilder) -> Result<Self> {
        let net = Builder { config, vb: &vb };
        let (pool, feature_stem) = match config.kind {
            LightCnnKind::Nine => (After::MaxPool, "fc1"),
            LightCnnKind::TwentyNine => (After::MaxPool, "fc"),
            LightCnnKind::TwentyNineV2 => (After::MaxAveragePool, "fc"),
        };
        let stages = match config.kind {
            LightCnnKind::Nine => vec![
                net.first("features.0", pool)?,                     // 48 x 64 x 64
                net.group("features.2", 48, 96, pool)?,             // 96 x 32 x 32
                net.group("features.4", 96, 192, pool)?,            // 192 x 16 x 16
                net.group("features.6", 192, 128, After::Nothing)?, // 128 x 16 x 16
                net.group("features.7", 128, 128, pool)?,           // 128 x 8 x 8
            ],
            LightCnnKind::TwentyNine | LightCnnKind::TwentyNineV2 => {
                let mut stages = vec![net.first("conv1", pool)?]; // 48 x 64 x 64
                net.residuals(&mut stages, "block1", 1, 48)?;
                stages.push(net.group("group1", 48, 96, pool)?); // 96 x 32 x 32
                net.residuals(&mut stages, "block2", 2, 96)?;
                stages.push(net.group("group2", 96, 192, pool)?); // 192 x 16 x 16
                net.residuals(&mut stages, "block3", 3, 192)?;
                stages.push(net.group("group3", 192, 128, After::Nothing)?); // 128 x 16 x 16
                net.residuals(&mut stages, "block4", 4, 128)?;
                stages.push(net.group("group4", 128, 128, pool)?); // 128 x 8 x 8
                stages
            }
        };
        let flat = 8 * 8 * config.width.channels(128);
        let feature = match config.kind {
            LightCnnKind::TwentyNineV2 => {
                FeatureLayer::Plain(Linear::new(flat, FEATURE, fan_in_uniform(flat, 1.0), vb.pp(feature_stem))?)
            }
            _ => {
                let vb = vb.pp(feature_stem).pp("filter");
                let weight = vb.get_with_hints((2 * FEATURE, flat), "weight", fan_in_uniform(flat, 1.0))?;
                FeatureLayer::MaxFeatureMap { weight, bias: zeros(&vb, 2 * FEATURE, "bias")? }
            }
        };
        let vb = vb.pp("fc2");
        let classifier = vb.get_with_hints((config.classes, FEATURE), "weight", fan_in_uniform(FEATURE, 1.0))?;
        let classifier_bias = match config.kind {
            LightCnnKind::TwentyNineV2 => None,
            _ => Some(zeros(&vb, config.classes, "bias")?),
        };
        Ok(Self { stages, feature, classifier, classifier_bias })
    }

    /// Grey images `x (B,128,128,1)` in `[0, 1]` to features `(B,256)`.
    pub fn features(&self, x: &Tensor) -> Result<Tensor> {
        self.features_and_maps(x).map(|(feature, _)| feature)
    }

    /// [`features`](Self::features), and the map behind every stage, shallow to deep.
    pub fn features_and_maps(&self, x: &Tensor) -> Result<(Tensor, Vec<Tensor>)> {
        expect_dims("grey images", x, &[x.dim(0)?, crate::pixels::IMAGE_SIZE, crate::pixels::IMAGE_SIZE, 1])?;
        // The weights say what is computed in.
        let dtype = x.dtype();
        let x = &x.to_dtype(self.classifier.dtype())?;
        let mut maps: Vec<Tensor> = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            maps.push(stage.forward(maps.last().unwrap_or(x))?);
        }
        let flat = maps.last().unwrap_or(x).flatten_from(1)?;
        Ok((self.feature.forward(&flat)?.to_dtype(dtype)?, maps))
    }

    /// Features `(B,256)` to logits `(B,classes)`. In training, dropout comes between
    /// [`features`](Self::features) and this.
    pub fn classify(&self, feature: &Tensor) -> Result<Tensor> {
        let logits = ops::linear(&feature.to_dtype(self.classifier.dtype())?, &self.classifier)?;
        let logits = match &self.classifier_bias {
            Some(bias) => ops::bias(&logits, bias)?,
            None => logits,
        };
        logits.to_dtype(feature.dtype())
    }
}

/// Uniform with variance `scale^2 / fan_in`: max-feature-map preserves the second moment, so this
/// and not a ReLU's twofold variance keeps the signal; the usual defaults leave the network at the
/// loss of guessing for tens of epochs.
fn fan_in_uniform(fan_in: usize, scale: f64) -> Init {
    let bound = scale * (3.0 / fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

struct Builder<'a> {
    config: &'a LightCnnConfig,
    vb: &'a VarBuilder<'a>,
}

impl Builder<'_> {
    /// The 5x5 layer on the image.
    fn first(&self, stem: &str, after: After) -> Result<Stage> {
        Ok(Stage::Layer(self.layer(&format!("{stem}.filter"), 1, self.width(48), 5, 1.0, after)?))
    }

    /// 1x1 `inputs` to `inputs`, then 3x3 `inputs` to `outputs`.
    fn group(&self, stem: &str, inputs: usize, outputs: usize, after: After) -> Result<Stage> {
        let (inputs, outputs) = (self.width(inputs), self.width(outputs));
        Ok(Stage::Group(
            self.layer(&format!("{stem}.conv_a.filter"), inputs, inputs, 1, 1.0, After::Nothing)?,
            self.layer(&format!("{stem}.conv.filter"), inputs, outputs, 3, 1.0, after)?,
        ))
    }

    /// `count` residual blocks. Their second layers start small: the sum of many unit signals
    /// would otherwise grow with depth.
    fn residuals(&self, stages: &mut Vec<Stage>, stem: &str, count: usize, channels: usize) -> Result<()> {
        let channels = self.width(channels);
        for nth in 0..count {
            stages.push(Stage::Residual(
                self.layer(&format!("{stem}.{nth}.conv1.filter"), channels, channels, 3, 1.0, After::Nothing)?,
                self.layer(&format!("{stem}.{nth}.conv2.filter"), channels, channels, 3, 0.2, After::Nothing)?,
            ));
        }
        Ok(())
    }

    fn layer(&self, name: &str, inputs: usize, outputs: usize, size: usize, scale: f64, after: After) -> Result<Layer> {
        let vb = self.vb.pp(name);
        // A maximum and an average together are nearly twice the signal, and four of them sixteen times.
        let scale = if matches!(after, After::MaxAveragePool) { 0.5 * scale } else { scale };
        let weight = filters(&vb, [2 * outputs, size, size, inputs], fan_in_uniform(size * size * inputs, scale))?;
        Ok(Layer { weight, bias: zeros(&vb, 2 * outputs, "bias")?, padding: size / 2, after })
    }

    fn width(&self, channels: usize) -> usize {
        self.config.width.channels(channels)
    }
}

enum Stage {
    Layer(Layer),
    Group(Layer, Layer),
    Residual(Layer, Layer),
}

impl Stage {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Layer(layer) => layer.forward(x),
            Self::Group(first, second) => second.forward(&first.forward(x)?),
            Self::Residual(first, second) => second.forward(&first.forward(x)?)? + x,
        }
    }
}

/// A convolution and its max-feature-map.
struct Layer {
    weight: Tensor,
    bias: Tensor,
    padding: usize,
    after: After,
}

/// What follows a max-feature-map.
#[derive(Clone, Copy)]
enum After {
    Nothing,
    MaxPool,
    MaxAveragePool,
}

impl Layer {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let pool = matches!(self.after, After::MaxPool);
        let y = conv_max_feature_map(x, &self.weight, &self.bias, self.padding, pool)?;
        match self.after {
            After::Nothing | After::MaxPool => Ok(y),
            After::MaxAveragePool => max_average_pool2(&y),
        }
    }
}

enum FeatureLayer {
    MaxFeatureMap { weight: Tensor, bias: Tensor },
    Plain(Linear),
}

impl FeatureLayer {
    fn forward(&self, flat: &Tensor) -> Result<Tensor> {
        match self {
            Self::MaxFeatureMap { weight, bias } => max_feature_map(&ops::linear(flat, weight)?, bias),
            Self::Plain(linear) => linear.forward(flat),
        }
    }
}
