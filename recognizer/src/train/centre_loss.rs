//! Centre loss (Wen et al., ECCV 2016), as a stand-in for Concentrate Loss (Huang et al., ICIP
//! 2017), whose formula is not public.
//!
//! Both draw the features of a class together, and any loss that does so quadratically is the same
//! thing but for how it estimates the centre: within a class
//! `(1/n^2) sum_ij |f_i - f_j|^2 = 2 (1/n) sum_i |f_i - mean|^2`.
//!
//! A row that is a mixture of classes is drawn to the same mixture of their centres, and moves each of
//! them by its part, which is the way that the gradient of the distance between the two points.

use super::targets::Targets;
use crate::batch::Part;
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

    /// Half the mean over rows, by their weights, of `|f_i - sum_c w_ic m_c|^2` over features `(B, dimension)`: a
    /// scalar through which gradients reach the features only. `w_ic` is the part of class c in row i.
    pub fn loss(&self, features: &Tensor, targets: &Targets) -> Result<Tensor> {
        let mut own = Vec::with_capacity(targets.len() * self.dimension);
        for row in targets.rows() {
            own.extend(self.mixed(row)?.into_iter().map(|value| value as f32));
        }
        let own = Tensor::from_vec(own, (targets.len(), self.dimension), features.device())?;
        let distance = (features - own.to_dtype(features.dtype())?)?;
        let mut squares = distance.sqr()?;
        if let Some(weights) = targets.weights() {
            let weights = Tensor::from_slice(weights, (targets.len(), 1), features.device())?;
            squares = squares.broadcast_mul(&weights.to_dtype(features.dtype())?)?;
        }
        squares.sum_all()?.affine(0.5 / targets.total_weight(), 0.0)
    }

    /// Moves each centre of the batch towards its features, where `w_ij` is the part of class j in row i times how
    /// much the row counts: `m_j -= rate * sum_i w_ij (sum_c w_ic m_c - f_i) / (1 + sum_i w_ij)`.
    pub fn update(&mut self, features: &Tensor, targets: &Targets, rate: f64) -> Result<()> {
        let features = features.to_dtype(candle_core::DType::F32)?.to_vec2::<f32>()?;
        // Rows are added in batch order, class by class: the same bits on every run.
        let mut moves = std::collections::BTreeMap::<u32, (f64, Vec<f64>)>::new();
        for (nth, (feature, row)) in features.iter().zip(targets.rows()).enumerate() {
            let own = self.mixed(row)?;
            let of_row = targets.weights().map_or(1.0, |weights| f64::from(weights[nth]));
            for part in row {
                let weight = f64::from(part.weight) * of_row;
                let (count, sum) = moves.entry(part.class).or_insert_with(|| (0.0, vec![0.0; own.len()]));
                *count += weight;
                for ((sum, &own), &value) in sum.iter_mut().zip(&own).zip(feature) {
                    *sum += weight * (own - f64::from(value));
                }
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

    /// The centres of a row's classes, mixed as they are in it.
    fn mixed(&self, row: &[Part]) -> Result<Vec<f64>> {
        let mut mixed = vec![0.0; self.dimension];
        for part in row {
            for (mixed, &centre) in mixed.iter_mut().zip(self.centre(part.class)?) {
                *mixed += f64::from(part.weight) * f64::from(centre);
            }
        }
        Ok(mixed)
    }

    fn centre(&self, label: u32) -> Result<&[f32]> {
        match self.values.chunks_exact(self.dimension).nth(label as usize) {
            Some(centre) => Ok(centre),
            None => bail!("expected a class below {}, found {label}", self.values.len() / self.dimension),
        }
    }
}
