//! WGAN-GP's penalty (Gulrajani et al. 2017) on the input of either critic: its value should rise
//! by one per unit of distance between fake and real.

use candle_core::{Result, Tensor};

/// Images between real ones and fakes: `share x + (1 - share) fake`, a `share (B,1,1,1)` in
/// `[0, 1)` per image. No gradient reaches either.
pub fn between(real: &Tensor, fake: &Tensor, share: &Tensor) -> Result<Tensor> {
    let (real, fake) = (real.detach(), fake.detach());
    &fake + (real - &fake)?.broadcast_mul(share)?
}

/// `E (|g| - 1)^2` of the norms `(B)` that [`gradient_norms`] gives.
pub fn gradient_penalty(norms: &Tensor) -> Result<Tensor> {
    norms.affine(1.0, -1.0)?.sqr()?.mean_all()
}

/// `|g|` of a critic's input gradient `g (B,S,S,channels)` at each image, `(B)`;
/// [`nets::Discriminator::input_gradient`] writes it as a graph that trains.
pub fn gradient_norms(gradient: &Tensor) -> Result<Tensor> {
    // The root's slope at zero is infinite; a constant far below any real gradient bounds it.
    gradient.flatten_from(1)?.sqr()?.sum(1)?.affine(1.0, 1e-14)?.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use nets::gradient_check::{check_gradients, random};
    use nets::{Capacity, Discriminator, DiscriminatorConfig, Initialization, Parameters, Scale, Width, ops};

    fn penalty_of(gradient: &Tensor) -> Result<Tensor> {
        gradient_penalty(&gradient_norms(gradient)?)
    }

    fn of_constant(weight: f64, dims: &[usize]) -> Result<f64> {
        let gradient = (Tensor::ones(dims, DType::F64, &Device::Cpu)? * weight)?;
        penalty_of(&gradient)?.to_scalar()
    }

    #[test]
    fn linear_critics_have_known_penalties() -> Result<()> {
        assert!((of_constant(0.5, &[3, 4, 4, 3])? - 6.0717968).abs() < 1e-7);
        assert!((of_constant(1.0, &[2, 128, 128, 1])? - 16_129.0).abs() < 1e-6);
        assert!((of_constant(1.0, &[2, 128, 128, 3])? - 48_709.595).abs() < 1e-3);
        assert!((of_constant(0.0, &[2, 4, 4, 1])? - 1.0).abs() < 1e-6);
        // s = |x|^2 / 2 has the gradient x.
        let x = random(&[3, 2, 2, 1], 1)?;
        let norms = x.flatten_from(1)?.sqr()?.sum(1)?.sqrt()?;
        let expected = (norms - 1.0)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
        assert!((penalty_of(&x)?.to_scalar::<f64>()? - expected).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn a_share_of_one_is_the_real_image_and_halving_commutes() -> Result<()> {
        let (x, y) = (random(&[2, 8, 8, 1], 1)?, random(&[2, 8, 8, 1], 2)?);
        let share = |a: f64, b: f64| Tensor::new(&[a, b], &Device::Cpu)?.reshape((2, 1, 1, 1));
        let mixed = between(&x, &y, &share(1.0, 0.0)?)?;
        let expected = Tensor::cat(&[x.narrow(0, 0, 1)?, y.narrow(0, 1, 1)?], 0)?;
        assert!((mixed - expected)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
        let share = share(0.3, 0.8)?;
        let down_of_mix = ops::pyramid_down(&between(&x, &y, &share)?)?;
        let mix_of_down = between(&ops::pyramid_down(&x)?, &ops::pyramid_down(&y)?, &share)?;
        assert!((down_of_mix - mix_of_down)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-14);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        check_gradients(&[random(&[2, 3, 3, 2], 1)?], |v| penalty_of(&v[0]))
    }

    #[test]
    fn a_critic_learns_from_its_penalty_exactly() -> Result<()> {
        // So small that no activation changes its sign, where the penalty jumps.
        const STEP: f64 = 1e-8;
        let labels = Tensor::new(&[[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], &Device::Cpu)?;
        for (scale, projection) in [(Scale::Full128, true), (Scale::Half64, true), (Scale::Half64, false)] {
            let config = DiscriminatorConfig {
                channels: 1,
                width: Width::Tiny,
                classes: 3,
                capacity: Capacity::Compact,
                scale,
                initialization: Initialization::FanIn,
                projection,
            };
            let parameters = Parameters::new(5, DType::F64, &Device::Cpu);
            let critic = Discriminator::new(&config, parameters.var_builder())?;
            let side = if scale == Scale::Full128 { 128 } else { 64 };
            let x = random(&[2, side, side, 1], 7)?;
            let penalty = || penalty_of(&critic.input_gradient_for(&x, &labels)?);
            let gradients = penalty()?.backward()?;
            for (name, var) in parameters.vars() {
                let Some(gradient) = gradients.get(&var) else {
                    assert!(name.contains("bias") || name.contains("cls"), "{name} has no gradient");
                    continue;
                };
                let gradient = gradient.flatten_all()?.to_vec1::<f64>()?;
                let values = var.flatten_all()?.to_vec1::<f64>()?;
                let scale = gradient.iter().fold(1e-12f64, |scale, g| scale.max(g.abs()));
                let at = values.len() / 2;
                let moved = |step: f64| {
                    let mut values = values.clone();
                    values[at] += step;
                    var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu)?)?;
                    penalty()?.to_scalar::<f64>()
                };
                let difference = (moved(STEP)? - moved(-STEP)?) / (2.0 * STEP);
                var.set(&Tensor::from_vec(values.clone(), var.dims(), &Device::Cpu)?)?;
                assert!((difference - gradient[at]).abs() < 1e-3 * scale, "{name}: {difference} {}", gradient[at]);
            }
        }
        Ok(())
    }
}
