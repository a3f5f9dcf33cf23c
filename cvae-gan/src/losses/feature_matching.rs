//! Eq. (4): images made should look to the critics' upper layers as real ones do (pix2pixHD, Wang
//! et al. 2018).

use candle_core::{Result, Tensor};
use nets::ops::mean_distance;

/// Sum over layers of the mean absolute difference of activations, real side without gradient.
pub fn feature_matching(real: &[Tensor], made: &[Tensor]) -> Result<Tensor> {
    sum(real.iter().zip(made).map(|(real, made)| mean_distance(made, &real.detach())))
}

/// The same between the batch's means: what images from random latents share with real ones as a
/// set, without being drawn to one of them.
pub fn mean_feature_matching(real: &[Tensor], made: &[Tensor]) -> Result<Tensor> {
    sum(real.iter().zip(made).map(|(real, made)| {
        let mean = |x: &Tensor| x.mean(0);
        mean_distance(&mean(made)?, &mean(real)?.detach())
    }))
}

fn sum(terms: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    Tensor::stack(&terms.collect::<Result<Vec<_>>>()?, 0)?.sum_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use nets::gradient_check::{check_gradients, random};

    #[test]
    fn one_layer_gives_its_known_value() -> Result<()> {
        let row = |values: [f64; 4]| Tensor::new(&[values], &Device::Cpu);
        let real = [row([1.0, 2.0, 3.0, 4.0])?];
        let encoded = feature_matching(&real, &[row([1.0; 4])?])?.to_scalar::<f64>()?;
        let prior = feature_matching(&real, &[row([2.0; 4])?])?.to_scalar::<f64>()?;
        assert_eq!((encoded, prior), (1.5, 1.0));
        assert_eq!(feature_matching(&real, &real)?.to_scalar::<f64>()?, 0.0);
        Ok(())
    }

    #[test]
    fn the_real_side_gets_no_gradient() -> Result<()> {
        let (real, made) = (Var::from_tensor(&random(&[2, 3], 1)?)?, Var::from_tensor(&random(&[2, 3], 2)?)?);
        for matching in [feature_matching, mean_feature_matching] {
            let loss = matching(&[real.as_tensor().clone()], &[made.as_tensor().clone()])?;
            let gradients = loss.backward()?;
            assert!(gradients.get(&real).is_none() && gradients.get(&made).is_some());
        }
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        let real = [random(&[2, 3, 3, 2], 1)?, random(&[2, 5], 2)?];
        let made = [random(&[2, 3, 3, 2], 3)?, random(&[2, 5], 4)?];
        check_gradients(&made, |v| feature_matching(&real, v))?;
        check_gradients(&made, |v| mean_feature_matching(&real, v))
    }
}
