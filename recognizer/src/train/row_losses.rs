//! The loss of each row by itself, for those who choose the next rows by it.

use crate::batch::{Batch, Source};
use candle_core::{D, Result, Tensor};

/// Class and cross-entropy of each row of a batch that shows a person of the data set, from the `logits`
/// of all rows. Blended rows are left out: nobody is to be shown more often for them.
pub(super) fn row_losses(logits: &Tensor, batch: &Batch) -> Result<(Vec<u32>, Vec<f32>)> {
    let labels = Tensor::from_slice(&batch.labels, batch.rows, logits.device())?;
    let log_probabilities = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    let of_class = log_probabilities.gather(&labels.unsqueeze(1)?, 1)?;
    let losses: Vec<f32> = of_class.neg()?.flatten_all()?.to_vec1()?;
    let rows = batch.labels.iter().copied().zip(losses).zip(&batch.sources);
    Ok(rows.filter(|(_, source)| **source != Source::Blended).map(|(row, _)| row).unzip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_losses_of_rows_have_the_batch_loss_for_their_mean_and_blended_ones_are_left_out() {
        let logits = Tensor::new(&[[1.0f32, 2.0, 4.0], [0.0, 0.0, 0.0], [-3.0, 5.0, 60.0]], &Device::Cpu).unwrap();
        let mut batch = Batch {
            index: 0,
            rows: 3,
            channels: 1,
            pixels: Vec::new().into(),
            labels: vec![2, 0, 2],
            sources: vec![Source::Real; 3],
            mixtures: Vec::new(),
        };
        let (classes, losses) = row_losses(&logits, &batch).unwrap();
        assert!(classes == [2, 0, 2] && (losses[1] - 3.0f32.ln()).abs() < 1e-6 && losses[2].abs() < 1e-6);
        let labels = Tensor::new(&*batch.labels, &Device::Cpu).unwrap();
        let mean: f32 = candle_nn::loss::cross_entropy(&logits, &labels).unwrap().to_scalar().unwrap();
        assert!((losses.iter().sum::<f32>() / 3.0 - mean).abs() < 1e-6);
        batch.sources[1] = Source::Blended;
        assert_eq!(row_losses(&logits, &batch).unwrap(), (vec![2, 2], vec![losses[0], losses[2]]));
    }
}
