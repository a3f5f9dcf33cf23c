//! Eq. (3): the critics, and with them G, name the identity.

use candle_core::{D, Result, Tensor};

/// Mean cross-entropy of `logits (B, classes)` against `labels (B)`, as u32.
pub fn classification(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    candle_nn::loss::cross_entropy(logits, labels)
}

/// The same against `shares (B, classes)` of whom each image is asked to show, which sum to 1.
pub fn shared_classification(logits: &Tensor, shares: &Tensor) -> Result<Tensor> {
    let logs = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    (logs * shares.to_dtype(logits.dtype())?)?.sum(D::Minus1)?.mean_all()?.neg()
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
    fn shares_of_several_cost_the_same_shares_of_what_each_costs() -> Result<()> {
        let logits = random(&[1, 3], 1)?;
        let shared = shared_classification(&logits, &Tensor::new(&[[0.25, 0.0, 0.75]], &Device::Cpu)?)?;
        let alone = |label: u32| classification(&logits, &Tensor::new(&[label], &Device::Cpu)?)?.to_scalar::<f64>();
        assert!((shared.to_scalar::<f64>()? - 0.25 * alone(0)? - 0.75 * alone(2)?).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        let shares = Tensor::new(&[[0.5, 0.2, 0.0, 0.0, 0.3], [0.0, 1.0, 0.0, 0.0, 0.0]], &Device::Cpu)?;
        check_gradients(&[random(&[2, 5], 1)?], |v| shared_classification(&v[0], &shares))?;
        let labels = Tensor::new(&[1u32, 0, 4], &Device::Cpu)?;
        check_gradients(&[random(&[3, 5], 1)?], |v| classification(&v[0], &labels))
    }
}
