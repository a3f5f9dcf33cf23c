//! D: two critics of one structure and separate weights, D^1 on 128 and D^2 on 64 pixels, each
//! with a realness map and identity logits (StarGAN's discriminator at pix2pixHD's two scales). Beside
//! them a critic may judge how real an image is as one of its person (Miyato and Koyama, "cGANs with
//! Projection Discriminator", ICLR 2018).

use crate::blocks::{Initialization, Width, filters, zeros};
use crate::names::kebab_case_names;
use crate::ops::{conv_transpose2d, conv2d, leaky_relu, leaky_relu_mask, linear};
use crate::{parameters::expect_dims, pixels::IMAGE_SIZE};
use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

/// Which of the two critics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// D^1, on images of 128 pixels.
    Full128,
    /// D^2, on images of 64 pixels.
    Half64,
}

/// Channels of the last two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// 1024 and 2048: StarGAN's, 45 million parameters a critic.
    Full,
    /// At most 512: for training sets below some 50,000 images.
    #[default]
    Compact,
}

kebab_case_names!(Capacity { Full => "full", Compact => "compact" });

/// A critic's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscriminatorConfig {
    /// Image channels: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Share of the paper's channels.
    pub width: Width,
    /// Identities to tell apart.
    pub classes: usize,
    /// Width of the last layers.
    pub capacity: Capacity,
    /// Which critic.
    pub scale: Scale,
    /// How weights start; without effect on loaded ones.
    pub initialization: Initialization,
    /// Whether an image's value also depends on whose it should be.
    pub projection: bool,
}

/// Whether a tensor of D is a weight that its value is made by; the others are biases and the classifier.
pub fn makes_the_value(tensor: &str) -> bool {
    tensor.ends_with("weight") && !tensor.ends_with("cls.weight")
}

/// One critic.
pub struct Discriminator {
    /// Side and channels of its images.
    image: [usize; 2],
    layers: Vec<(Tensor, Tensor)>,
    src: Tensor,
    cls: Tensor,
    /// `(classes, channels of the last layer)`.
    projection: Option<Tensor>,
}

/// What a critic says of a batch.
pub struct Critique {
    /// Realness map, `(B,2,2,1)` for D^1 and `(B,1,1,1)` for D^2: raw, not a probability.
    pub src: Tensor,
    /// Identity logits, `(B, classes)`.
    pub cls: Tensor,
    /// Activations of the last three layers, for feature matching.
    pub features: Vec<Tensor>,
    /// What being of each identity adds to an image's value, `(B, classes)`, where the critic judges that.
    pub projections: Option<Tensor>,
}

impl Critique {
    /// The critic's value of each image: the mean of its map, `(B)`.
    pub fn value(&self) -> Result<Tensor> {
        self.src.flatten_from(1)?.mean(D::Minus1)
    }

    /// The critic's value of each image as one of `labels (B, classes)`: without projections the same.
    pub fn value_for(&self, labels: &Tensor) -> Result<Tensor> {
        match &self.projections {
            Some(projections) => self.value()? + (projections * labels)?.sum(D::Minus1)?,
            None => self.value(),
        }
    }
}

impl Discriminator {
    const SLOPE: f64 = 0.01;

    /// Makes or loads the weights below `vb`.
    pub fn new(config: &DiscriminatorConfig, vb: VarBuilder) -> Result<Self> {
        let cap = match config.capacity {
            Capacity::Full => 2048,
            Capacity::Compact => 512,
        };
        let widths = [64, 128, 256, 512, 1024, 2048].map(|channels: usize| config.width.channels(channels.min(cap)));
        let mut layers = Vec::with_capacity(widths.len());
        let mut inputs = config.channels;
        for (nth, outputs) in widths.into_iter().enumerate() {
            let vb = vb.pp(format!("conv{}", nth + 1));
            let weights = config.initialization.weights(16 * inputs, 2.0);
            layers.push((filters(&vb, [outputs, 4, 4, inputs], weights)?, zeros(&vb, outputs, "bias")?));
            inputs = outputs;
        }
        let (side, map) = match config.scale {
            Scale::Full128 => (IMAGE_SIZE, 2),
            Scale::Half64 => (IMAGE_SIZE / 2, 1),
        };
        let weights = |fan_in| config.initialization.weights(fan_in, 1.0);
        // Of the 3x3 window over a map of 2 or 1 pixels, only the map itself is ever summed.
        let src = filters(&vb.pp("src"), [1, 3, 3, inputs], weights(map * map * inputs))?;
        let cls = filters(&vb.pp("cls"), [config.classes, map, map, inputs], weights(map * map * inputs))?;
        let projection = || vb.pp("projection").get_with_hints((config.classes, inputs), "weight", weights(inputs));
        let projection = config.projection.then(projection).transpose()?;
        Ok(Self { image: [side, config.channels], layers, src, cls, projection })
    }

    /// `x (B,S,S,channels)` in `[-1, 1]`, `S` 128 for D^1 and 64 for D^2.
    ///
    /// # Errors
    /// On images of another size: their maps and logits would have other meanings.
    pub fn forward(&self, x: &Tensor) -> Result<Critique> {
        // The weights say what is computed in.
        let activations = self.activations(&x.to_dtype(self.src.dtype())?)?;
        let top = &activations[activations.len() - 1];
        let src = conv2d(top, &self.src, 1, 1)?.to_dtype(x.dtype())?;
        let cls = conv2d(top, &self.cls, 1, 0)?.flatten_from(1)?.to_dtype(x.dtype())?;
        let features = activations[activations.len() - 3..].iter().map(|layer| layer.to_dtype(x.dtype()));
        let features = features.collect::<Result<_>>()?;
        let project = |embeddings: &Tensor| linear(&top.mean((1, 2))?, embeddings)?.to_dtype(x.dtype());
        let projections = self.projection.as_ref().map(project).transpose()?;
        Ok(Critique { src, cls, features, projections })
    }

    /// The gradient of each image's value with respect to that image, `(B,S,S,channels)`, written
    /// as a forward graph so that the gradient penalty (WGAN-GP) trains by one ordinary backward
    /// pass: the chain of transposed convolutions by the same weights, with the activations' signs
    /// as constants. Exact, since the slope's own derivative is zero almost everywhere.
    ///
    /// No gradient reaches `x`.
    pub fn input_gradient(&self, x: &Tensor) -> Result<Tensor> {
        self.gradient(x, None)
    }

    /// The same of each image's value as one of `labels (B, classes)`.
    pub fn input_gradient_for(&self, x: &Tensor, labels: &Tensor) -> Result<Tensor> {
        self.gradient(x, Some(labels))
    }

    fn gradient(&self, x: &Tensor, labels: Option<&Tensor>) -> Result<Tensor> {
        let detached = self.layers.iter().map(|(weight, bias)| (weight.detach(), bias.detach())).collect();
        let [src, cls] = [&self.src, &self.cls].map(Tensor::detach);
        let constant = Self { image: self.image, layers: detached, src, cls, projection: None };
        let signs = constant.activations(&x.detach())?;
        let (batch, height, width, _) = signs[signs.len() - 1].dims4()?;
        let of_mean = 1.0 / (height * width) as f64;
        let map = Tensor::full(of_mean, (batch, height, width, 1), x.device())?.to_dtype(x.dtype())?;
        let mut gradient = conv_transpose2d(&map, &self.src, 1, 1)?;
        if let (Some(labels), Some(embeddings)) = (labels, &self.projection) {
            let own = linear(labels, &embeddings.t()?.contiguous()?)?; // (B, channels)
            gradient = gradient.broadcast_add(&own.affine(of_mean, 0.0)?.unsqueeze(1)?.unsqueeze(1)?)?;
        }
        for ((weight, _), sign) in self.layers.iter().zip(&signs).rev() {
            gradient = conv_transpose2d(&leaky_relu_mask(sign, &gradient, Self::SLOPE)?, weight, 2, 1)?;
        }
        Ok(gradient)
    }

    fn activations(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        let [side, channels] = self.image;
        expect_dims("images for this critic", x, &[x.dim(0)?, side, side, channels])?;
        let mut activations: Vec<Tensor> = Vec::with_capacity(self.layers.len());
        for (weight, bias) in &self.layers {
            let convolved = conv2d(activations.last().unwrap_or(x), weight, 2, 1)?;
            activations.push(leaky_relu(&convolved, bias, Self::SLOPE)?);
        }
        Ok(activations)
    }
}
