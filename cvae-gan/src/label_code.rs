//! What G is fed in place of a plain one-hot while it trains, and how that is undone for serving.
//!
//! G's first layer is linear in the label, and so are its norms where they read it. So it may train on any
//! fixed code of the identities, one row each, and still be served on plain one-hots: the code is
//! multiplied into the weights ([`LabelCode::fold`]). Mixtures of labels stay mixtures.
//!
//! Two things are worth coding. *Length*: a one-hot has length 1 beside a latent of length 16, so
//! at the start identity is a whisper, and its weights move slowest of all. *Features*: the centre
//! of an identity's features says what the person looks like, so that what G learns of one person
//! helps with all; a one-hot of its own stays beside it for what the features miss.

use crate::Result;
use candle_core::{DType, Device, Tensor};
use nets::generator::reads_the_label;
use nets::{LATENT, ops};
use std::collections::BTreeMap;

/// One fixed row of numbers for each identity. Rows are put together when they are asked for: a
/// table of ten thousand one-hots would be hundreds of megabytes, in every checkpoint too.
#[derive(Clone, Debug)]
pub struct LabelCode {
    /// `(classes, 256)`.
    features: Option<Tensor>,
    classes: usize,
    one_hot_length: f64,
    dtype: DType,
    device: Device,
}

impl LabelCode {
    /// One-hots of the given length (1 is the paper's), behind the features where there are any,
    /// `(classes, 256)`.
    pub fn new(features: Option<Tensor>, classes: usize, one_hot_length: f64, dtype: DType, device: &Device) -> Self {
        Self { features, classes, one_hot_length, dtype, device: device.clone() }
    }

    /// What tells each class centre of `centres (classes, 256)` from the mean of all, at a latent's
    /// length, beside a one-hot.
    ///
    /// # Errors
    /// Centres of another shape.
    pub fn with_features(centres: &Tensor, one_hot_length: f64) -> Result<Self> {
        // Features of all faces share a large part; only the rest says who it is.
        let own = centres.broadcast_sub(&centres.mean_keepdim(0)?)?;
        let length = own.sqr()?.sum_keepdim(1)?.affine(1.0, 1e-12)?.sqrt()?;
        let own = (own.broadcast_div(&length)? * (LATENT as f64).sqrt())?;
        Ok(Self::new(Some(own), centres.dim(0)?, one_hot_length, centres.dtype(), centres.device()))
    }

    /// The part that says what each identity looks like, `(classes, 256)`.
    pub fn features(&self) -> Option<&Tensor> {
        self.features.as_ref()
    }

    /// Numbers of a row: the `classes` of the generator in training.
    pub fn length(&self) -> usize {
        self.features_length() + self.classes
    }

    /// Where codes are made.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Codes `(B, length)` of labels `(B)`, as u32.
    ///
    /// # Errors
    /// A label of no identity.
    pub fn of_labels(&self, labels: &Tensor) -> Result<Tensor> {
        self.of_one_hots(labels, &one_hots(&labels.to_vec1()?, self.classes, self.dtype, &self.device)?)
    }

    /// The same, where the labels' `one_hots (B, classes)` are there already.
    ///
    /// # Errors
    /// A label of no identity.
    pub(crate) fn of_one_hots(&self, labels: &Tensor, one_hots: &Tensor) -> Result<Tensor> {
        let one_hots = one_hots.affine(self.one_hot_length, 0.0)?;
        match &self.features {
            Some(features) => Ok(Tensor::cat(&[&features.index_select(labels, 0)?, &one_hots], 1)?),
            None => Ok(one_hots),
        }
    }

    /// The mean code of all identities, `(1, length)`.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub(crate) fn mean(&self) -> Result<Tensor> {
        let each = self.one_hot_length / self.classes as f64;
        let one_hots = Tensor::full(each, (1, self.classes), &self.device)?.to_dtype(self.dtype)?;
        match &self.features {
            Some(features) => Ok(Tensor::cat(&[features.mean_keepdim(0)?, one_hots], 1)?),
            None => Ok(one_hots),
        }
    }

    /// A generator's tensors from training to serving: from codes to plain labels.
    ///
    /// # Errors
    /// Tensors of another generator.
    pub fn fold(&self, mut generator: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        for (_, weight) in generator.iter_mut().filter(|(name, _)| reads_the_label(name)) {
            let latent = weight.narrow(1, 0, LATENT)?;
            let own = weight.narrow(1, LATENT + self.features_length(), self.classes)?;
            let mut label = own.affine(self.one_hot_length, 0.0)?;
            if let Some(features) = &self.features {
                let shared = weight.narrow(1, LATENT, self.features_length())?.contiguous()?;
                label = (label + ops::linear(&shared, features)?)?;
            }
            *weight = Tensor::cat(&[latent, label], 1)?;
        }
        Ok(generator)
    }

    fn features_length(&self) -> usize {
        self.features.as_ref().map_or(0, |features| features.dims()[1])
    }
}

/// Rows `(B, classes)` of zeros with 1 at each of `labels`.
///
/// # Errors
/// A label of no class.
pub(crate) fn one_hots(labels: &[u32], classes: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    // Bytes: an eighth of the way to a GPU.
    let mut values = vec![0u8; labels.len() * classes];
    for (row, &label) in values.chunks_exact_mut(classes).zip(labels) {
        match row.get_mut(label as usize) {
            Some(value) => *value = 1,
            None => {
                return Err(candle_core::Error::msg(format!("expected a label below {classes}, found {label}")).into());
            }
        }
    }
    Ok(Tensor::from_vec(values, (labels.len(), classes), device)?.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_nn::VarBuilder;
    use nets::gradient_check::random;
    use nets::{Conditioning, Generator, GeneratorConfig, Initialization, Parameters, Width};

    #[test]
    fn a_folded_generator_draws_the_same_faces() -> Result<()> {
        for conditioning in [Conditioning::Start, Conditioning::EveryLayer] {
            same_faces(&LabelCode::with_features(&random(&[3, 256], 1)?, 4.0)?, 259, conditioning)?;
            same_faces(&LabelCode::new(None, 3, 4.0, DType::F64, &Device::Cpu), 3, conditioning)?;
        }
        Ok(())
    }

    fn same_faces(code: &LabelCode, length: usize, conditioning: Conditioning) -> Result<()> {
        assert_eq!(code.length(), length);
        let config = |classes| GeneratorConfig {
            channels: 1,
            width: Width::Tiny,
            classes,
            initialization: Initialization::FanIn,
            conditioning,
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
        let labels = Tensor::new(&[3u32, 1], &Device::Cpu)?;
        for row in code.of_labels(&labels)?.to_vec2::<f64>()? {
            assert!((row.iter().map(|value| value * value).sum::<f64>().sqrt() - 16.0).abs() < 1e-6);
        }
        Ok(())
    }

    #[test]
    fn a_label_of_nobody_is_refused() -> Result<()> {
        let code = LabelCode::new(None, 3, 1.0, DType::F32, &Device::Cpu);
        assert_eq!(code.mean()?.to_vec2::<f32>()?, [[1.0 / 3.0; 3]]);
        let error = code.of_labels(&Tensor::new(&[3u32], &Device::Cpu)?).unwrap_err();
        assert!(error.to_string().contains("expected a label below 3, found 3"), "{error}");
        Ok(())
    }
}
