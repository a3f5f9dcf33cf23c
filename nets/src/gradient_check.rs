//! Gradients held against central differences in f64: the proof every op and loss must pass before
//! anything is trained through it.

use crate::chance::Chance;
use candle_core::{Device, Result, Tensor, Var, bail};

/// Standard normal values, a function of the shape and the seed.
pub fn random(dims: &[usize], seed: u64) -> Result<Tensor> {
    let mut draws = Chance::new(seed, "gradient check").at(0, dims.iter().product::<usize>() as u64);
    let values: Vec<f64> = (0..dims.iter().product()).map(|_| draws.normal()).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// Coordinates of each input that are compared; all of a small input.
const COORDINATES: usize = 40;
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;

/// Compares the gradient of `sum(weights * function(inputs))`, random `weights`, with central
/// differences at up to 40 coordinates of every input.
///
/// # Errors
/// Names the input, the coordinate and both values where they differ by more than one part in a
/// million of the largest gradient.
pub fn check_gradients(inputs: &[Tensor], function: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let vars = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let result = function(&tensors)?;
    let weights = random(result.dims(), 99)?;
    let gradients = (&result * &weights)?.sum_all()?.backward()?;
    let value = |inputs: &[Tensor]| (function(inputs)? * &weights)?.sum_all()?.to_scalar::<f64>();

    for (nth, var) in vars.iter().enumerate() {
        let Some(gradient) = gradients.get(var) else { bail!("input {nth} has no gradient") };
        let gradient = gradient.flatten_all()?.to_vec1::<f64>()?;
        let scale = gradient.iter().fold(1e-3f64, |scale, value| scale.max(value.abs()));
        let base = inputs[nth].flatten_all()?.to_vec1::<f64>()?;
        for at in (0..base.len()).step_by(base.len().div_ceil(COORDINATES)) {
            let moved = |step: f64| {
                let mut values = base.clone();
                values[at] += step;
                let mut inputs = inputs.to_vec();
                inputs[nth] = Tensor::from_vec(values, inputs[nth].dims(), &Device::Cpu)?;
                value(&inputs)
            };
            let difference = (moved(STEP)? - moved(-STEP)?) / (2.0 * STEP);
            if (difference - gradient[at]).abs() > TOLERANCE * scale {
                bail!("input {nth} at {at}: expected {difference} by differences, found {}", gradient[at])
            }
        }
    }
    Ok(())
}
