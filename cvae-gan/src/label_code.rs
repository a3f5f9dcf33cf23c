//! What G is fed in place of a plain one-hot while it trains, and how that is undone for serving.
//!
//! G's first layer is linear in the label. So it may train on any fixed code of the identities, one
//! row each, and still be served on plain one-hots: the code is multiplied into the layer's weights
//! ([`LabelCode::fold`]). Mixtures of labels stay mixtures.
//!
//! Two things are worth coding. *Length*: a one-hot has length 1 beside a latent of length 16, so
//! at the start identity is a whisper, and its weights move slowest of all. *Features*: the centre
//! of an identity's features says what the person looks like, so that what G learns of one person
//! helps with all; a one-hot of its own stays beside it for what the features miss.

use crate::Result;
use candle_core::{DType, Device, Tensor};
use nets::{LATENT, ops};
use std::collections::BTreeMap;

/// One fixed row of numbers for each identity.
#[derive(Clone, Debug)]
pub struct LabelCode {
    /// `(classes, length)`.
    rows: Tensor,
}

/// Name of G's layer that reads the label.
const LAYER: &str = "start.weight";

impl LabelCode {
    /// One-hots of the given length; 1 is the paper's.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn one_hot(classes: usize, length: f64, dtype: DType, device: &Device) -> Result<Self> {
        let mut rows = vec![0f64; classes * classes];
        rows.iter_mut().step_by(classes + 1).for_each(|one| *one = length);
        Ok(Self { rows: Tensor::from_vec(rows, (classes, classes), device)?.to_dtype(dtype)? })
    }

    /// What tells each class centre of `centres (classes, 256)` from the mean of all, at a latent's
    /// length, beside a one-hot.
    ///
    /// # Errors
    /// Centres of another shape.
    pub fn with_features(centres: &Tensor, one_hot_length: f64) -> Result<Self> {
        let one_hot = Self::one_hot(centres.dim(0)?, one_hot_length, centres.dtype(), centres.device())?;
        // Features of all faces share a large part; only the rest says who it is.
        let own = centres.broadcast_sub(&centres.mean_keepdim(0)?)?;
        let length = own.sqr()?.sum_keepdim(1)?.affine(1.0, 1e-12)?.sqrt()?;
        let own = (own.broadcast_div(&length)? * (LATENT as f64).sqrt())?;
        Ok(Self { rows: Tensor::cat(&[&own, &one_hot.rows], 1)? })
    }

    /// A code read from a checkpoint.
    pub fn from_rows(rows: Tensor) -> Self {
        Self { rows }
    }

    /// `(classes, length)`.
    pub fn rows(&self) -> &Tensor {
        &self.rows
    }

    /// Numbers of a row: the `classes` of the generator in training.
    pub fn length(&self) -> usize {
        self.rows.dims()[1]
    }

    /// Codes `(B, length)` of labels `(B)`, as u32.
    ///
    /// # Errors
    /// A label without a row.
    pub fn of_labels(&self, labels: &Tensor) -> Result<Tensor> {
        Ok(self.rows.index_select(labels, 0)?)
    }

    /// A generator's tensors from training to serving: from codes to plain labels.
    ///
    /// # Errors
    /// Tensors of another generator.
    pub fn fold(&self, mut generator: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        if let Some(weight) = generator.get_mut(LAYER) {
            let latent = weight.narrow(1, 0, LATENT)?;
            let coded = weight.narrow(1, LATENT, self.length())?.contiguous()?;
            *weight = Tensor::cat(&[latent, ops::linear(&coded, &self.rows)?], 1)?;
        }
        Ok(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_nn::VarBuilder;
    use nets::gradient_check::random;
    use nets::{Generator, GeneratorConfig, Initialization, Parameters, Width};

    #[test]
    fn a_folded_generator_draws_the_same_faces() -> Result<()> {
        let code = LabelCode::with_features(&random(&[3, 256], 1)?, 4.0)?;
        assert_eq!(code.length(), 259);
        let config = |classes| GeneratorConfig {
            channels: 1,
            width: Width::Tiny,
            classes,
            initialization: Initialization::FanIn,
        };
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        let coded = Generator::new(&config(code.length()), parameters.var_builder())?;
        let folded = code.fold(parameters.tensors()?)?.into_iter().collect();
        let plain = Generator::new(&config(3), VarBuilder::from_tensors(folded, DType::F64, &Device::Cpu))?;
        let z = random(&[2, LATENT], 2)?;
        let labels = Tensor::new(&[2u32, 0], &Device::Cpu)?;
        let one_hots = Tensor::new(&[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], &Device::Cpu)?;
        let difference = (coded.forward(&z, &code.of_labels(&labels)?)? - plain.forward(&z, &one_hots)?)?;
        assert!(difference.abs()?.max_all()?.to_scalar::<f64>()? < 1e-12);
        Ok(())
    }

    #[test]
    fn features_are_as_long_as_a_latent() -> Result<()> {
        let code = LabelCode::with_features(&random(&[5, 256], 1)?, 0.0)?;
        for row in code.rows().to_vec2::<f64>()? {
            assert!((row.iter().map(|value| value * value).sum::<f64>().sqrt() - 16.0).abs() < 1e-6);
        }
        Ok(())
    }
}
