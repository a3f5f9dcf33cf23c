//! What PyTorch said, and how far we may be from it.

use candle_core::{DType, Device, Result, Tensor};
use std::collections::HashMap;

/// Samples of reference tensors: values spread by the golden ratio, then the norm of all.
pub(crate) struct Reference {
    stored: HashMap<String, Tensor>,
}

/// Values per stored tensor, at most: of outputs and of gradients.
pub(crate) const OUTPUT_LIMIT: usize = 512;
pub(crate) const GRADIENT_LIMIT: usize = 64;

impl Reference {
    pub(crate) fn open() -> Result<Self> {
        Self::at("networks.safetensors")
    }

    /// A file below `nets/reference`.
    pub(crate) fn at(path: &str) -> Result<Self> {
        let path = format!("{}/reference/{path}", env!("CARGO_MANIFEST_DIR"));
        Ok(Self { stored: candle_core::safetensors::load(path, &Device::Cpu)? })
    }

    /// A tensor that is kept whole.
    pub(crate) fn tensor(&self, name: &str) -> &Tensor {
        self.stored.get(name).unwrap_or_else(|| panic!("no reference `{name}`"))
    }

    /// `max|a - b| / max|b|` over the sample and over the norms, the larger of the two.
    pub(crate) fn distance(&self, name: &str, found: &Tensor, limit: usize) -> Result<f64> {
        let expected = self.tensor(name).to_vec1::<f64>()?;
        let found = found.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let norm = found.iter().map(|value| value * value).sum::<f64>().sqrt();
        let spread = |nth: u64| ((nth * 2_654_435_761 % (1 << 32)) * found.len() as u64) >> 32;
        let sample = match found.len() > limit {
            true => (0..limit as u64).map(|nth| found[spread(nth) as usize]).collect(),
            false => found.clone(),
        };
        let (expected_norm, expected) = expected.split_last().expect("a sample and a norm");
        assert_eq!(sample.len(), expected.len(), "size of `{name}`");
        let largest = expected.iter().fold(0f64, |largest, value| largest.max(value.abs()));
        let worst = sample.iter().zip(expected).fold(0f64, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(worst.is_finite() && largest > 0.0, "`{name}`: {worst} of {largest}");
        Ok((worst / largest).max((norm - expected_norm).abs() / expected_norm))
    }

    /// Every stored name below `prefix`, without it.
    pub(crate) fn names_below(&self, prefix: &str) -> Vec<&str> {
        let mut names: Vec<&str> = self.stored.keys().filter_map(|name| name.strip_prefix(prefix)).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn scalar(&self, name: &str) -> Result<f64> {
        self.stored[name].get(0)?.to_scalar()
    }
}
