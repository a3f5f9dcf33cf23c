//! What one step measures, where it was computed: a step asks for all of its work before it waits for any.

use crate::Result;
use crate::error::Error;
use crate::figures::Figures;
use candle_core::Tensor;
use nets::{fetch, measured};

/// Figures of a step, most of them still on the device.
#[derive(Default)]
pub(crate) struct Measured {
    names: Vec<(String, Option<&'static str>)>,
    values: Vec<Tensor>,
    /// What the host knew all along.
    told: Vec<(String, f64)>,
}

impl Measured {
    /// A figure.
    pub(crate) fn add(&mut self, name: &str, value: &Tensor) -> Result<()> {
        self.put(name, None, value)
    }

    /// A figure that must be a number: `term` is how an error calls it.
    pub(crate) fn term(&mut self, name: &str, term: &'static str, value: &Tensor) -> Result<()> {
        self.put(name, Some(term), value)
    }

    /// A figure that isn't on the device.
    pub(crate) fn tell(&mut self, name: &str, value: f64) {
        self.told.push((name.to_owned(), value));
    }

    /// All that must be numbers, so far.
    pub(crate) fn terms(&self) -> Vec<Tensor> {
        let all = self.names.iter().zip(&self.values);
        all.filter(|((_, term), _)| term.is_some()).map(|(_, value)| value.clone()).collect()
    }

    /// Waits for all of them, once.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for the first term that is no number.
    pub(crate) fn fetch(self, images_seen: u64) -> Result<Figures> {
        let mut figures = Figures::default();
        for ((name, term), value) in self.names.iter().zip(fetch(&self.values)?) {
            if let (Some(term), false) = (term, value.is_finite()) {
                let kept = "it moved no weights".to_owned();
                return Err(Error::NotFinite { term: (*term).to_owned(), value, images_seen, kept });
            }
            figures.add(name, value);
        }
        self.told.iter().for_each(|(name, value)| figures.add(name, *value));
        Ok(figures)
    }

    fn put(&mut self, name: &str, term: Option<&'static str>, value: &Tensor) -> Result<()> {
        self.names.push((name.to_owned(), term));
        self.values.push(measured(value)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_first_term_that_is_no_number_is_named_and_other_figures_may_be_anything() -> Result<()> {
        let number = |value: f64| Tensor::new(value, &Device::Cpu);
        let mut step = Measured::default();
        step.add("slope", &number(f64::INFINITY)?)?;
        step.term("critic/gain", "critic gain", &number(2.0)?)?;
        step.term("critic/gain", "critic gain", &number(4.0)?)?;
        step.tell("weight", 0.5);
        assert_eq!(step.terms().len(), 2);
        let figures = step.fetch(8)?;
        assert_eq!(
            ["slope", "critic/gain", "weight"].map(|name| figures.mean(name)),
            [Some(f64::INFINITY), Some(3.0), Some(0.5)]
        );
        let mut step = Measured::default();
        step.term("loss/kl", "divergence", &number(f64::NAN)?)?;
        step.term("gradient_norm", "gradient norm", &number(f64::NAN)?)?;
        let error = step.fetch(8).expect_err("not a number").to_string();
        assert_eq!(error, "divergence is NaN after 8 images; it moved no weights");
        Ok(())
    }
}
