//! Centre loss (Wen et al., ECCV 2016), as a stand-in for Concentrate Loss (Huang et al., ICIP
//! 2017), whose formula is not public.
//!
//! Both draw the features of a class together, and any loss that does so quadratically is the same
//! thing but for how it estimates the centre: within a class
//! `(1/n^2) sum_ij |f_i - f_j|^2 = 2 (1/n) sum_i |f_i - mean|^2`.

use candle_core::{Result, Tensor, bail};

/// How the loss is named wherever a person reads it.
pub const LABEL: &str = "centre (stand-in for Concentrate Loss)";

/// One centre per class, moved by hand and not by gradients; part of the training state.
#[derive(Clone, Debug, PartialEq)]
pub struct Centres {
    values: Vec<f32>,
    dimension: usize,
}

impl Centres {
    /// All at the origin.
    pub fn new(classes: usize, dimension: usize) -> Self {
        Self { values: vec![0.0; classes * dimension], dimension }
    }

    /// From `(classes, dimension)`, as [`Centres::to_tensor`] gave it.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let (_, dimension) = tensor.dims2()?;
        Ok(Self { values: tensor.flatten_all()?.to_vec1()?, dimension })
    }

    /// `(classes, dimension)` on the CPU.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let classes = self.values.len() / self.dimension;
        Tensor::from_slice(&self.values, (classes, self.dimension), &candle_core::Device::Cpu)
    }

    /// `(1 / 2B) sum_i |f_i - m_(y_i)|^2` over features `(B, dimension)`, a scalar through which
    /// gradients reach the features only.
    pub fn loss(&self, features: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let mut own = Vec::with_capacity(labels.len() * self.dimension);
        for &label in labels {
            own.extend_from_slice(self.centre(label)?);
        }
        let own = Tensor::from_vec(own, (labels.len(), self.dimension), features.device())?;
        let distance = (features - own.to_dtype(features.dtype())?)?;
        distance.sqr()?.sum_all()?.affine(0.5 / labels.len() as f64, 0.0)
    }

    /// Moves each centre of the batch towards its features:
    /// `m_j -= rate * sum_i (m_j - f_i) / (1 + n_j)` over the `n_j` rows of class j.
    pub fn update(&mut self, features: &Tensor, labels: &[u32], rate: f64) -> Result<()> {
        let features = features.to_dtype(candle_core::DType::F32)?.to_vec2::<f32>()?;
        // Rows are added in batch order, class by class: the same bits on every run.
        let mut moves = std::collections::BTreeMap::<u32, (f64, Vec<f64>)>::new();
        for (feature, &label) in features.iter().zip(labels) {
            let centre = self.centre(label)?;
            let (count, sum) = moves.entry(label).or_insert_with(|| (0.0, vec![0.0; centre.len()]));
            *count += 1.0;
            for ((sum, &centre), &value) in sum.iter_mut().zip(centre).zip(feature) {
                *sum += f64::from(centre) - f64::from(value);
            }
        }
        for (label, (count, sum)) in moves {
            let start = label as usize * self.dimension;
            for (centre, sum) in self.values[start..].iter_mut().zip(sum) {
                *centre = (f64::from(*centre) - rate * sum / (1.0 + count)) as f32;
            }
        }
        Ok(())
    }

    fn centre(&self, label: u32) -> Result<&[f32]> {
        match self.values.chunks_exact(self.dimension).nth(label as usize) {
            Some(centre) => Ok(centre),
            None => bail!("expected a class below {}, found {label}", self.values.len() / self.dimension),
        }
    }
}
