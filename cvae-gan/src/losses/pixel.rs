//! Eq. (6): a reconstruction shows what its original shows.

use candle_core::{Result, Tensor};
use nets::ops::mean_distance;

/// Mean over all pixels of `|x - x_e|`. A mean, not a norm: the sum would be 16,384 times as large
/// and drown every other term.
pub fn pixel(x: &Tensor, reconstruction: &Tensor) -> Result<Tensor> {
    mean_distance(reconstruction, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::gradient_check::{check_gradients, random};

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        let x = random(&[2, 4, 4, 3], 1)?;
        check_gradients(&[random(&[2, 4, 4, 3], 2)?], |v| pixel(&x, &v[0]))
    }
}
