//! What the rows of a batch are learned as: a class each, or a mixture of several; and how much each row counts.

use crate::batch::{Batch, Part, Source};
use candle_core::{Result, Tensor};

/// The classes of each row, with weights that sum to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    parts: Vec<Part>,
    /// Where each row's parts end.
    ends: Vec<usize>,
    /// How much each row counts; all alike where it is empty.
    weights: Vec<f32>,
}

impl Targets {
    /// Those of a batch that [`Batch::check`] has passed.
    pub fn of(batch: &Batch) -> Self {
        let (parts, ends) = (Vec::with_capacity(batch.rows), Vec::with_capacity(batch.rows));
        let mut targets = Self { parts, ends, weights: Vec::new() };
        let mut mixtures = batch.mixtures.iter().peekable();
        for (row, &label) in batch.labels.iter().enumerate() {
            match mixtures.next_if(|mixture| mixture.row as usize == row) {
                Some(mixture) if !mixture.parts.is_empty() => targets.parts.extend(&mixture.parts),
                _ => targets.parts.push(Part { class: label, weight: 1.0 }),
            }
            targets.ends.push(targets.parts.len());
        }
        targets
    }

    /// A class for each row.
    pub fn hard(labels: &[u32]) -> Self {
        let parts = labels.iter().map(|&class| Part { class, weight: 1.0 }).collect();
        Self { parts, ends: (1..=labels.len()).collect(), weights: Vec::new() }
    }

    /// The same, but that generated rows count `weight` where real ones count 1, above 0.
    pub fn weighted(mut self, sources: &[Source], weight: f64) -> Self {
        if weight != 1.0 {
            let of = |&source: &Source| if source == Source::Real { 1.0 } else { weight as f32 };
            self.weights = sources.iter().map(of).collect();
        }
        self
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The classes of each row, at least one.
    pub fn rows(&self) -> impl Iterator<Item = &[Part]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.parts[start..end])
    }

    /// How much each row counts; nothing where all count 1.
    pub(super) fn weights(&self) -> Option<&[f32]> {
        (!self.weights.is_empty()).then_some(&self.weights)
    }

    /// How much all rows count.
    pub(super) fn total_weight(&self) -> f64 {
        self.weights().map_or(self.len() as f64, |weights| weights.iter().copied().map(f64::from).sum())
    }

    /// Mean over the rows, by their weights, of `- sum_c weight_c log softmax(logits)_c`, for logits
    /// `(rows, classes)`.
    ///
    /// # Errors
    /// Logits of another number of rows, or of too few classes.
    pub fn cross_entropy(&self, logits: &Tensor) -> Result<Tensor> {
        let rows = self.len();
        let most = self.rows().map(<[Part]>::len).max().unwrap_or(0);
        if self.parts.len() == rows && self.weights().is_none() {
            // The ordinary case: no mixture among them, and all count alike.
            let labels: Vec<u32> = self.parts.iter().map(|part| part.class).collect();
            return candle_nn::loss::cross_entropy(logits, &Tensor::from_vec(labels, rows, logits.device())?);
        }
        // Shorter rows are filled up with nothing of their first class.
        let filled = |row: &[Part]| {
            let first = row.first().map_or(0, |part| part.class);
            let part = row.iter().copied().chain(std::iter::repeat(Part { class: first, weight: 0.0 }));
            part.take(most).collect::<Vec<_>>()
        };
        let parts: Vec<Part> = self.rows().flat_map(filled).collect();
        let classes: Vec<u32> = parts.iter().map(|part| part.class).collect();
        let mut weights: Vec<f32> = parts.iter().map(|part| part.weight).collect();
        if let Some(of_rows) = self.weights() {
            let rows = weights.chunks_exact_mut(most).zip(of_rows);
            rows.for_each(|(row, of_row)| row.iter_mut().for_each(|weight| *weight *= of_row));
        }
        let classes = Tensor::from_vec(classes, (rows, most), logits.device())?;
        let weights = Tensor::from_vec(weights, (rows, most), logits.device())?.to_dtype(logits.dtype())?;
        let chosen = candle_nn::ops::log_softmax(logits, 1)?.gather(&classes, 1)?;
        (chosen * weights)?.sum_all()?.affine(-1.0 / self.total_weight(), 0.0)
    }

    /// Share of the rows that `logits` classify rightly: a mixture counts as much as it is of the
    /// class that is found.
    ///
    /// # Errors
    /// Those of the device.
    pub fn accuracy(&self, logits: &Tensor) -> Result<f64> {
        let best = logits.argmax(1)?.to_vec1::<u32>()?;
        let right = |(row, best): (&[Part], u32)| -> f64 {
            row.iter().filter(|part| part.class == best).map(|part| f64::from(part.weight)).sum()
        };
        Ok(self.rows().zip(best).map(right).sum::<f64>() / self.len() as f64)
    }
}
