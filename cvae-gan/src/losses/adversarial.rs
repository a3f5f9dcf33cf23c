//! Eq. (2): the critics tell real from made images; E and G answer.

use super::reading::CriticReading;
use candle_core::Result;
use candle_core::Tensor;

/// What a critic maximises, before its penalty: `E s(x) - w (E s(x_e) + E s(x_r))`, from the
/// critic's values `(B)` of real images and of each branch's fakes.
pub fn critic_gain(real: &Tensor, branches: &[Tensor], reading: CriticReading) -> Result<Tensor> {
    real.mean_all()? - fakes(branches, reading)?
}

/// What E and G minimise: `-w (E s(x_e) + E s(x_r))`.
pub fn generator_loss(branches: &[Tensor], reading: CriticReading) -> Result<Tensor> {
    fakes(branches, reading)?.neg()
}

/// `E s(x)^2`. One real term against two fakes rewards a critic for lowering all its values, which
/// the penalty does not see; this small leash holds them (Karras et al., "Progressive Growing of
/// GANs", ICLR 2018).
pub fn drift(real: &Tensor) -> Result<Tensor> {
    real.sqr()?.mean_all()
}

/// Weight of [`drift`] under [`CriticReading::AsPrinted`].
pub const DRIFT_WEIGHT: f64 = 1e-3;

fn fakes(branches: &[Tensor], reading: CriticReading) -> Result<Tensor> {
    let weight = match reading {
        CriticReading::AsPrinted => 1.0,
        CriticReading::Balanced => 1.0 / branches.len() as f64,
    };
    let means = branches.iter().map(Tensor::mean_all).collect::<Result<Vec<_>>>()?;
    Tensor::stack(&means, 0)?.sum_all()?.affine(weight, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use nets::gradient_check::{check_gradients, random};

    fn value(constant: f64) -> Tensor {
        Tensor::new(&[constant, constant], &Device::Cpu).expect("two numbers")
    }

    #[test]
    fn both_readings_give_their_values() -> Result<()> {
        let branches = [value(0.5), value(-1.0)];
        let gain = |shift: f64, reading| {
            let branches: Vec<Tensor> = branches.iter().map(|b| b + shift).collect::<Result<_>>()?;
            critic_gain(&value(2.0 + shift), &branches, reading)?.to_scalar::<f64>()
        };
        // With a penalty of 0.25: 2.25 and 2.
        assert_eq!(gain(0.0, CriticReading::AsPrinted)? - 0.25, 2.25);
        assert_eq!(gain(0.0, CriticReading::Balanced)? - 0.25, 2.0);
        // A constant added to the critic is worth its amount as printed, nothing when balanced.
        assert_eq!(gain(0.0, CriticReading::AsPrinted)? - gain(3.0, CriticReading::AsPrinted)?, 3.0);
        assert_eq!(gain(0.0, CriticReading::Balanced)?, gain(3.0, CriticReading::Balanced)?);
        assert_eq!(generator_loss(&branches, CriticReading::Balanced)?.to_scalar::<f64>()?, 0.25);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        let inputs = [random(&[3], 1)?, random(&[3], 2)?, random(&[3], 3)?];
        for reading in [CriticReading::AsPrinted, CriticReading::Balanced] {
            check_gradients(&inputs, |v| critic_gain(&v[0], &v[1..], reading))?;
            check_gradients(&inputs[1..], |v| generator_loss(v, reading))?;
        }
        check_gradients(&inputs[..1], |v| drift(&v[0]))
    }
}
