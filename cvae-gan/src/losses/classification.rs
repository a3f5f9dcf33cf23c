//! Eq. (3): the critics, and with them G, name the identity.

use candle_core::{Result, Tensor};

/// Mean cross-entropy of `logits (B, classes)` against `labels (B)`, as u32.
pub fn classification(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    candle_nn::loss::cross_entropy(logits, labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use nets::gradient_check::{check_gradients, random};

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_classes() -> Result<()> {
        let labels = Tensor::new(&[3u32, 529], &Device::Cpu)?;
        let loss = classification(&Tensor::zeros((2, 530), DType::F64, &Device::Cpu)?, &labels)?;
        assert!((loss.to_scalar::<f64>()? - 6.2728770).abs() < 1e-7);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        let labels = Tensor::new(&[1u32, 0, 4], &Device::Cpu)?;
        check_gradients(&[random(&[3, 5], 1)?], |v| classification(&v[0], &labels))
    }
}
