//! Changed copies of images, differentiably: shifted, blurred, brighter, flatter.
//!
//! One small network can be satisfied by speckle where it looks. A face that must be recognised
//! wherever it lies and however sharp it is can't.

use crate::draws::Perturbation;
use candle_core::{Result, Tensor};
use nets::ops;

/// The changed copies of grey images `(B,S,S,1)` in `[0, 1]`. The same change for all, so that a
/// copy of a real image and of its reconstruction remain comparable.
pub(crate) fn perturb(grey: &Tensor, by: &Perturbation) -> Result<Tensor> {
    let mut images = shift(&shift(grey, 1, by.down)?, 2, by.right)?;
    if by.blur {
        images = blur(&images)?;
    }
    // Around middle grey.
    images.affine(by.contrast, 0.5 - 0.5 * by.contrast + by.brightness)
}

/// Moves along an axis and repeats the edge.
fn shift(images: &Tensor, axis: usize, by: i32) -> Result<Tensor> {
    let (size, distance) = (images.dim(axis)?, by.unsigned_abs() as usize);
    match by {
        0 => Ok(images.clone()),
        1.. => images.narrow(axis, 0, size - distance)?.pad_with_same(axis, distance, 0),
        _ => images.narrow(axis, distance, size - distance)?.pad_with_same(axis, 0, distance),
    }
}

/// Binomial weights 1 4 6 4 1 along both axes, edges repeated.
fn blur(images: &Tensor) -> Result<Tensor> {
    const WEIGHTS: [f64; 5] = [1.0, 4.0, 6.0, 4.0, 1.0];
    let products: Vec<f64> = WEIGHTS.iter().flat_map(|a| WEIGHTS.map(|b| a * b / 256.0)).collect();
    let filter = Tensor::from_vec(products, (1, 5, 5, 1), images.device())?.to_dtype(images.dtype())?;
    let padded = images.pad_with_same(1, 2, 2)?.pad_with_same(2, 2, 2)?;
    ops::conv2d(&padded, &filter, 1, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use nets::gradient_check::{check_gradients, random};

    const STRONG: Perturbation = Perturbation { right: 2, down: -3, blur: true, contrast: 0.8, brightness: 0.05 };

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        check_gradients(&[random(&[2, 8, 8, 1], 1)?], |v| perturb(&v[0], &STRONG))
    }

    #[test]
    fn a_constant_image_only_changes_its_grey() -> Result<()> {
        let grey = Tensor::full(0.25f64, (1, 8, 8, 1), &Device::Cpu)?;
        let changed = perturb(&grey, &STRONG)?;
        assert!((changed - (0.5 - 0.25 * 0.8 + 0.05))?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
        let nothing = Perturbation { right: 0, down: 0, blur: false, contrast: 1.0, brightness: 0.0 };
        assert_eq!(perturb(&grey, &nothing)?.to_vec1_all()?, grey.to_vec1_all()?);
        Ok(())
    }

    #[test]
    fn shifts_move_content_and_repeat_edges() -> Result<()> {
        let row = Tensor::new(&[1.0, 2.0, 3.0, 4.0], &Device::Cpu)?.reshape((1, 1, 4, 1))?;
        assert_eq!(shift(&row, 2, 1)?.to_vec1_all()?, [1.0, 1.0, 2.0, 3.0]);
        assert_eq!(shift(&row, 2, -2)?.to_vec1_all()?, [3.0, 4.0, 4.0, 4.0]);
        Ok(())
    }

    trait Values {
        fn to_vec1_all(&self) -> Result<Vec<f64>>;
    }

    impl Values for Tensor {
        fn to_vec1_all(&self) -> Result<Vec<f64>> {
            self.flatten_all()?.to_vec1()
        }
    }
}
