//! Figures of many steps, averaged into one line.

use crate::Result;
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Sums since the last line. Part of a checkpoint, so that a resumed run writes the same lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    sums: BTreeMap<String, (f64, f64)>,
}

impl Figures {
    /// Adds one step's value.
    pub fn add(&mut self, name: &str, value: f64) {
        let (sum, count) = self.sums.entry(name.to_owned()).or_default();
        *sum += value;
        *count += 1.0;
    }

    /// Adds another's sums.
    pub fn merge(&mut self, other: &Self) {
        for (name, (sum, count)) in &other.sums {
            let mine = self.sums.entry(name.clone()).or_default();
            *mine = (mine.0 + sum, mine.1 + count);
        }
    }

    /// The mean of a figure, if it was measured.
    pub fn mean(&self, name: &str) -> Option<f64> {
        self.sums.get(name).map(|(sum, count)| sum / count)
    }

    /// All means, by name.
    pub fn means(&self) -> Vec<(&str, f64)> {
        self.sums.iter().map(|(name, (sum, count))| (name.as_str(), sum / count)).collect()
    }

    /// As tensors `[sum, count]`, exactly.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn to_tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let pair = |(name, (sum, count)): (&String, &(f64, f64))| {
            Ok((name.clone(), Tensor::new(&[*sum, *count], &Device::Cpu)?))
        };
        self.sums.iter().map(pair).collect()
    }

    /// From [`Figures::to_tensors`].
    ///
    /// # Errors
    /// Tensors of another form.
    pub fn from_tensors(tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let pair = |(name, tensor): (&String, &Tensor)| match tensor.to_vec1::<f64>()?[..] {
            [sum, count] => Ok((name.clone(), (sum, count))),
            _ => Err(candle_core::Error::msg(format!("figure {name}: expected a sum and a count"))),
        };
        Ok(Self { sums: tensors.iter().map(pair).collect::<candle_core::Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_survive_a_checkpoint() -> Result<()> {
        let mut figures = Figures::default();
        figures.add("loss/pixel", 0.1);
        figures.add("loss/pixel", 0.2);
        let mut read = Figures::from_tensors(&figures.to_tensors()?)?;
        assert_eq!(read, figures);
        read.merge(&figures);
        assert_eq!(read.mean("loss/pixel"), figures.mean("loss/pixel"));
        Ok(())
    }
}
