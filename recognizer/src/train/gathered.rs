use super::trainer::Step;
use candle_core::{Device, Result, Tensor};

/// Sums over the steps since the last line of figures, weighted by rows.
///
/// Part of a checkpoint, in f64: a line that spans a resume says what it would have said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gathered {
    sums: [f64; FIGURES.len()],
    rows: f64,
}

/// Names of the figures of a step, as `stats.jsonl` and TensorBoard have them.
const FIGURES: [&str; 5] = ["softmax", "centre", "train_accuracy", "gradient_norm", "learning_rate"];

impl Gathered {
    pub(super) fn add(&mut self, step: &Step) {
        let values = [step.softmax, step.centre, step.accuracy, step.gradient_norm, step.learning_rate];
        for (sum, value) in self.sums.iter_mut().zip(values) {
            *sum += value * step.rows as f64;
        }
        self.rows += step.rows as f64;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Means by name.
    pub(super) fn figures(&self) -> Vec<(&'static str, f64)> {
        FIGURES.into_iter().zip(self.sums).map(|(name, sum)| (name, sum / self.rows)).collect()
    }

    /// What fits behind a progress bar.
    pub(super) fn note(&self) -> String {
        let [softmax, _, accuracy, ..] = self.sums.map(|sum| sum / self.rows);
        format!("loss {softmax:.3}, {:.1} % right", 100.0 * accuracy)
    }

    pub(super) fn to_tensor(&self) -> Result<Tensor> {
        let values = [&self.sums[..], &[self.rows]].concat();
        Tensor::new(values, &Device::Cpu)
    }

    pub(super) fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let values = tensor.to_vec1::<f64>()?;
        let mut gathered = Self::default();
        let slots = gathered.sums.iter_mut().chain([&mut gathered.rows]);
        slots.zip(values).for_each(|(slot, value)| *slot = value);
        Ok(gathered)
    }
}
