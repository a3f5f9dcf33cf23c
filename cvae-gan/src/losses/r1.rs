//! R1 (Mescheder, Geiger and Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018): a
//! critic's values should be flat around real images. Lazy, at every sixteenth step or so, it costs next to
//! nothing (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020).

use candle_core::{Result, Tensor};

/// `1/2 E |g|^2` of a critic's input gradients `g (B,S,S,channels)` at real images;
/// [`nets::Discriminator::input_gradient`] writes them as a graph that trains.
pub fn r1(gradient: &Tensor) -> Result<Tensor> {
    gradient.flatten_from(1)?.sqr()?.sum(1)?.mean_all()?.affine(0.5, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use nets::gradient_check::{check_gradients, random};

    #[test]
    fn a_linear_critic_costs_half_its_squared_slope() -> Result<()> {
        let gradient = (Tensor::ones((3, 4, 4, 3), DType::F64, &Device::Cpu)? * 0.5)?;
        assert_eq!(r1(&gradient)?.to_scalar::<f64>()?, 0.5 * 48.0 * 0.25);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        check_gradients(&[random(&[2, 3, 3, 2], 1)?], |v| r1(&v[0]))
    }
}
