//! Running mean features of each identity, as the critics see real images.

use crate::Result;
use candle_core::{DType, Device, Tensor};
use nets::ops;
use std::collections::BTreeMap;

/// Means of several layers, each `(classes, length)`. They follow the critics as those learn.
#[derive(Default)]
pub(crate) struct ClassMeans {
    /// By layer: means, and how often each class was seen, `(classes, 1)`.
    layers: BTreeMap<String, (Tensor, Tensor)>,
}

/// Share of the newest batch in a mean, once enough were seen.
const NEWEST: f64 = 0.1;

impl ClassMeans {
    /// Moves the classes of this batch towards its features `(B, ...)` and gives the new means of
    /// each row's class, in the features' shape. Neither gets a gradient.
    pub(crate) fn update(&mut self, layer: &str, features: &Tensor, one_hots: &Tensor) -> Result<Tensor> {
        let features = features.detach();
        let flat = features.flatten_from(1)?;
        let (dtype, device) = (flat.dtype(), flat.device().clone());
        let (classes, length) = (one_hots.dim(1)?, flat.dim(1)?);
        if !self.layers.contains_key(layer) {
            let zeros = |length: usize| Tensor::zeros((classes, length), dtype, &device);
            self.layers.insert(layer.to_owned(), (zeros(length)?, zeros(1)?));
        }
        let (means, seen) = &self.layers[layer];

        let by_class = one_hots.t()?.contiguous()?; // (classes, B)
        let rows = by_class.sum_keepdim(1)?;
        let present = rows.minimum(1.0)?;
        let sums = ops::linear(&by_class, &flat.t()?.contiguous()?)?; // (classes, length)
        let batch_means = sums.broadcast_div(&rows.maximum(1.0)?)?;
        // The first batches count fully: a mean that starts at zero would stay near it.
        let newest = seen.affine(1.0, 1.0)?.recip()?.maximum(NEWEST)?;
        let share = (present * newest)?;
        let means = (means + (batch_means - means)?.broadcast_mul(&share)?)?;
        let seen = (seen + rows.minimum(1.0)?)?;

        let wanted = ops::linear(one_hots, &means.t()?.contiguous()?)?.reshape(features.dims())?;
        self.layers.insert(layer.to_owned(), (means, seen));
        Ok(wanted)
    }

    pub(crate) fn tensors(&self) -> BTreeMap<String, Tensor> {
        let both = |(layer, (means, seen)): (&String, &(Tensor, Tensor))| {
            [(format!("{layer}.means"), means.clone()), (format!("{layer}.seen"), seen.clone())]
        };
        self.layers.iter().flat_map(both).collect()
    }

    pub(crate) fn from_tensors(tensors: &BTreeMap<String, Tensor>, dtype: DType, device: &Device) -> Result<Self> {
        let mut layers = BTreeMap::new();
        for (name, means) in tensors {
            let Some(layer) = name.strip_suffix(".means") else { continue };
            let Some(seen) = tensors.get(&format!("{layer}.seen")) else { continue };
            let taken = |tensor: &Tensor| tensor.to_dtype(dtype)?.to_device(device);
            layers.insert(layer.to_owned(), (taken(means)?, taken(seen)?));
        }
        Ok(Self { layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::gradient_check::random;

    #[test]
    fn a_class_seen_once_has_its_images_mean() -> Result<()> {
        let features = random(&[3, 2, 2, 1], 1)?;
        let one_hots = Tensor::new(&[[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], &Device::Cpu)?;
        let mut means = ClassMeans::default();
        let wanted = means.update("layer", &features, &one_hots)?;
        let first = features.narrow(0, 0, 2)?.mean_keepdim(0)?;
        let expected = Tensor::cat(&[&first, &first, &features.narrow(0, 2, 1)?], 0)?;
        assert!((wanted - expected)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-14);
        let read = ClassMeans::from_tensors(&means.tensors(), DType::F64, &Device::Cpu)?;
        assert_eq!(read.layers.len(), 1);
        Ok(())
    }

    #[test]
    fn the_first_ten_batches_count_alike_and_later_ones_a_tenth() -> Result<()> {
        let mut means = ClassMeans::default();
        let one_hot = |class: usize| Tensor::new(&[[[1.0, 0.0], [0.0, 1.0]][class]], &Device::Cpu);
        let mut see = |class, value: f64| -> Result<f64> {
            let features = Tensor::new(&[[value]], &Device::Cpu)?;
            Ok(means.update("layer", &features, &one_hot(class)?)?.get(0)?.get(0)?.to_scalar()?)
        };
        for nth in 1..=10 {
            let mean = see(0, f64::from(nth))?;
            assert!((mean - f64::from(nth + 1) / 2.0).abs() < 1e-12, "{nth}: {mean}");
            // Who is not in a batch stays as he was.
            assert!((see(1, 7.0)? - 7.0).abs() < 1e-12);
        }
        assert!((see(0, 15.5)? - 6.5).abs() < 1e-12);
        assert!((see(0, 6.5)? - 6.5).abs() < 1e-12);
        Ok(())
    }
}
