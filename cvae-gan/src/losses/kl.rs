//! Eq. (5): latents of real images lie where random ones are drawn.

use candle_core::{Result, Tensor};
use nets::Posterior;

/// Divergence of the encoder's distributions from the standard normal one, in nats: summed over
/// the latent, averaged over the batch. The printed "covariance epsilon" is the log-variance.
pub fn kl(posterior: &Posterior) -> Result<Tensor> {
    posterior.kl()
}

/// What a divergence has beyond `free` nats (free bits: Kingma et al. 2016, over the whole latent).
///
/// A divergence averaged over N images is the information that latents have of them, which is at most log N,
/// and how far all of them together are from the standard normal distribution: only the second is to be driven out.
pub fn beyond(divergence: &Tensor, free: f64) -> Result<Tensor> {
    if free == 0.0 { Ok(divergence.clone()) } else { divergence.affine(1.0, -free)?.relu() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use nets::gradient_check::{check_gradients, random};

    #[test]
    fn known_divergences() -> Result<()> {
        let of = |mu: &[f64], logvar: &[f64]| {
            let row = |values: &[f64]| Tensor::new(values, &Device::Cpu)?.unsqueeze(0);
            kl(&Posterior { mu: row(mu)?, logvar: row(logvar)? })?.to_scalar::<f64>()
        };
        assert_eq!(of(&[0.0], &[0.0])?, 0.0);
        assert!((of(&[1.0, 2.0], &[0.0, 2f64.ln()])? - 2.6534264).abs() < 1e-7);
        Ok(())
    }

    #[test]
    fn the_gradient_of_a_mean_is_the_mean_itself() -> Result<()> {
        let mu = Var::from_tensor(&random(&[1, 6], 1)?)?;
        let posterior = Posterior { mu: mu.as_tensor().clone(), logvar: random(&[1, 6], 2)? };
        let gradient = kl(&posterior)?.backward()?.get(&mu).expect("mu has a gradient").clone();
        assert!((gradient - mu.as_tensor())?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
        check_gradients(&[random(&[3, 4], 3)?, random(&[3, 4], 4)?], |v| {
            kl(&Posterior { mu: v[0].clone(), logvar: v[1].clone() })
        })
    }

    #[test]
    fn what_is_free_pulls_nowhere() -> Result<()> {
        let of = |free: f64| -> Result<(f64, f64)> {
            let mu = Var::new(&[[1.0, 2.0]], &Device::Cpu)?;
            let posterior =
                Posterior { mu: mu.as_tensor().clone(), logvar: Tensor::new(&[[0.0, 2f64.ln()]], &Device::Cpu)? };
            let beyond = beyond(&kl(&posterior)?, free)?;
            let pull = beyond.backward()?.get(&mu).map_or(Ok(0.0), |pull| pull.abs()?.sum_all()?.to_scalar::<f64>())?;
            Ok((beyond.to_scalar::<f64>()?, pull))
        };
        for (free, value, pull) in [(0.0, 2.6534264, 3.0), (2.0, 0.6534264, 3.0), (3.0, 0.0, 0.0)] {
            let found = of(free)?;
            assert!((found.0 - value).abs() < 1e-7 && found.1 == pull, "{free}: {found:?}");
        }
        Ok(())
    }

    #[test]
    fn sampled_latents_have_the_posteriors_moments() -> Result<()> {
        let wide = |value: f64| Tensor::full(value, (100_000, 1), &Device::Cpu);
        let posterior = Posterior { mu: wide(0.7)?, logvar: wide(0.5)? };
        let z = posterior.sample(&random(&[100_000, 1], 5)?)?;
        let mean = z.mean_all()?.to_scalar::<f64>()?;
        let variance = (z - mean)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
        assert!((mean - 0.7).abs() < 0.01 && (variance / 0.5f64.exp() - 1.0).abs() < 0.01, "{mean} {variance}");
        let narrow = Posterior { mu: wide(0.7)?, logvar: wide(-20.0)? };
        let z = narrow.sample(&random(&[100_000, 1], 5)?)?;
        assert!((z - 0.7)?.abs()?.mean_all()?.to_scalar::<f64>()? < 1e-4);
        Ok(())
    }
}
