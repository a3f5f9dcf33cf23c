//! Eq. (7): to a frozen recognizer, an image made shows the person it was made for.

use super::distance::mean_cosine;
use super::reading::IdentityDistance;
use candle_core::{Result, Tensor};
use nets::ops;

/// Distance of features `(B,256)` from those wanted, averaged over the batch. The wanted ones get
/// no gradient.
pub fn identity(made: &Tensor, wanted: &Tensor, distance: IdentityDistance) -> Result<Tensor> {
    match distance {
        IdentityDistance::AsPrinted => ops::mean_distance(made, &wanted.detach()),
        IdentityDistance::Cosine => mean_cosine(made, &wanted.detach()),
    }
}

/// Mean over layers of the mean absolute difference of the recognizer's maps, each in units of the
/// real map's own mean magnitude. Many layers are harder to fool than the last alone (perceptual
/// loss, Johnson et al. 2016).
pub fn identity_maps(made: &[Tensor], real: &[Tensor]) -> Result<Tensor> {
    let layers = made.iter().zip(real).map(|(made, real)| {
        let real = real.detach();
        // Max-feature-map activations are never all zero on an image.
        let unit = ops::mean_magnitude(&real)?.affine(1.0, 1e-6)?;
        ops::mean_distance(made, &real)? / unit
    });
    Tensor::stack(&layers.collect::<Result<Vec<_>>>()?, 0)?.mean_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use nets::gradient_check::{check_gradients, random};

    #[test]
    fn equal_features_cost_nothing_and_opposite_ones_two() -> Result<()> {
        let x = random(&[3, 256], 1)?;
        let cosine = |y: &Tensor| identity(&x, y, IdentityDistance::Cosine)?.to_scalar::<f64>();
        assert!(cosine(&(&x * 3.0)?)?.abs() < 1e-12);
        assert!((cosine(&x.neg()?)? - 2.0).abs() < 1e-12);
        assert_eq!(identity(&x, &x, IdentityDistance::AsPrinted)?.to_scalar::<f64>()?, 0.0);
        let ones = Tensor::ones((2, 4), candle_core::DType::F64, &Device::Cpu)?;
        let distance = identity(&(&ones * 3.0)?, &ones, IdentityDistance::AsPrinted)?;
        assert_eq!(distance.to_scalar::<f64>()?, 2.0);
        Ok(())
    }

    #[test]
    fn wanted_features_get_no_gradient() -> Result<()> {
        let (made, wanted) = (Var::from_tensor(&random(&[2, 8], 1)?)?, Var::from_tensor(&random(&[2, 8], 2)?)?);
        for distance in [IdentityDistance::AsPrinted, IdentityDistance::Cosine] {
            let gradients = identity(&made, &wanted, distance)?.backward()?;
            assert!(gradients.get(&wanted).is_none() && gradients.get(&made).is_some());
        }
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        let (made, wanted) = (random(&[3, 8], 1)?, random(&[3, 8], 2)?);
        for distance in [IdentityDistance::AsPrinted, IdentityDistance::Cosine] {
            check_gradients(std::slice::from_ref(&made), |v| identity(&v[0], &wanted, distance))?;
        }
        let real = [random(&[2, 3, 3, 2], 3)?, random(&[2, 2, 2, 4], 4)?];
        let made = [random(&[2, 3, 3, 2], 5)?, random(&[2, 2, 2, 4], 6)?];
        check_gradients(&made, |v| identity_maps(v, &real))
    }
}
