//! Eq. (2): the critics tell real from made images; E and G answer.

use super::reading::{CriticLoss, CriticReading};
use candle_core::Result;
use candle_core::Tensor;

/// What a critic minimises, before its penalty, of its values `(B)` of real images and of each branch's
/// fakes: minus the gain; or, with `w` as in the gain, `E f(-s(x)) + w (E f(s(x_e)) + E f(s(x_r)))`, where `f`
/// is `max(0, 1 + s)` (hinge) or `ln(1 + e^s)` (logistic).
pub fn critic_loss(real: &Tensor, branches: &[Tensor], loss: CriticLoss, reading: CriticReading) -> Result<Tensor> {
    let f: fn(&Tensor) -> Result<Tensor> = match loss {
        CriticLoss::Wasserstein => return critic_gain(real, branches, reading)?.neg(),
        CriticLoss::Hinge => |values| values.affine(1.0, 1.0)?.relu(),
        CriticLoss::Logistic => softplus,
    };
    let of_fakes = branches.iter().map(f).collect::<Result<Vec<_>>>()?;
    f(&real.neg()?)?.mean_all()? + fakes(&of_fakes, reading)?
}

/// What a critic maximises, before its penalty: `E s(x) - w (E s(x_e) + E s(x_r))`, from the
/// critic's values `(B)` of real images and of each branch's fakes.
pub fn critic_gain(real: &Tensor, branches: &[Tensor], reading: CriticReading) -> Result<Tensor> {
    real.mean_all()? - fakes(branches, reading)?
}

/// What E and G minimise: `-w (E s(x_e) + E s(x_r))`; against a logistic critic `ln(1 + e^-s)` in place of
/// `-s`, which still pulls where the critic is sure (Goodfellow et al., 2014).
pub fn generator_loss(branches: &[Tensor], loss: CriticLoss, reading: CriticReading) -> Result<Tensor> {
    match loss {
        CriticLoss::Wasserstein | CriticLoss::Hinge => fakes(branches, reading)?.neg(),
        CriticLoss::Logistic => {
            let of_fakes = branches.iter().map(|values| softplus(&values.neg()?)).collect::<Result<Vec<_>>>()?;
            fakes(&of_fakes, reading)
        }
    }
}

/// `ln(1 + e^x)`, without overflow.
fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + x.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?
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
        let loss = generator_loss(&branches, CriticLoss::Wasserstein, CriticReading::Balanced)?;
        assert_eq!(loss.to_scalar::<f64>()?, 0.25);
        Ok(())
    }

    #[test]
    fn hinge_and_logistic_give_their_values() -> Result<()> {
        let (real, branches) = (value(0.25), [value(0.5), value(-3.0)]);
        let of = |loss, reading| critic_loss(&real, &branches, loss, reading)?.to_scalar::<f64>();
        // Fakes below -1 and real images above 1 are told well enough.
        assert_eq!(of(CriticLoss::Hinge, CriticReading::Balanced)?, 0.75 + 0.5 * 1.5);
        assert_eq!(of(CriticLoss::Hinge, CriticReading::AsPrinted)?, 0.75 + 1.5);
        let softplus = |x: f64| x.exp().ln_1p();
        let expected = softplus(-0.25) + 0.5 * (softplus(0.5) + softplus(-3.0));
        assert!((of(CriticLoss::Logistic, CriticReading::Balanced)? - expected).abs() < 1e-15);
        let answer = generator_loss(&branches, CriticLoss::Logistic, CriticReading::Balanced)?.to_scalar::<f64>()?;
        assert!((answer - 0.5 * (softplus(-0.5) + softplus(3.0))).abs() < 1e-15);
        // Far out, where e^s is no number any more.
        let far = critic_loss(&value(-800.0), &[value(800.0)], CriticLoss::Logistic, CriticReading::Balanced)?;
        assert_eq!(far.to_scalar::<f64>()?, 1600.0);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        let inputs = [random(&[3], 1)?, random(&[3], 2)?, random(&[3], 3)?];
        for reading in [CriticReading::AsPrinted, CriticReading::Balanced] {
            check_gradients(&inputs, |v| critic_gain(&v[0], &v[1..], reading))?;
            for loss in [CriticLoss::Wasserstein, CriticLoss::Hinge, CriticLoss::Logistic] {
                check_gradients(&inputs, |v| critic_loss(&v[0], &v[1..], loss, reading))?;
                check_gradients(&inputs[1..], |v| generator_loss(v, loss, reading))?;
            }
        }
        check_gradients(&inputs[..1], |v| drift(&v[0]))
    }
}
