//! Bias and LeakyReLU in one pass, and the mask by which the critic's input gradient is a graph of
//! first-order ops.

use super::bias::{check_channels, column_sum};
use super::element::{Argument, Element, output, same_dtype, with_values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
use multiversion::multiversion;
use rayon::prelude::*;

/// `max(v, slope v)` of `v = x + bias`, for `x (..., C)`, `bias (C)` and `0 <= slope < 1`; slope 0 is a
/// plain ReLU.
pub fn leaky_relu(x: &Tensor, bias: &Tensor, slope: f64) -> Result<Tensor> {
    same_dtype("leaky-relu", x.dtype(), bias.dtype())?;
    check_channels("leaky-relu", x, bias)?;
    LeakyRelu { slope }.apply([x, bias])
}

/// `g` where the activation `y` is positive, `slope g` elsewhere: what a gradient becomes on its
/// way back through [`leaky_relu`]. Linear in `g`; `y` is a constant, as the slope's derivative is
/// zero almost everywhere.
pub fn leaky_relu_mask(y: &Tensor, g: &Tensor, slope: f64) -> Result<Tensor> {
    same_dtype("leaky-relu-mask", y.dtype(), g.dtype())?;
    if y.dims() != g.dims() {
        bail!("leaky-relu-mask: expected a gradient of shape {:?}, found {:?}", y.dims(), g.dims())
    }
    LeakyReluMask { slope }.apply([y, g])
}

struct LeakyRelu {
    slope: f64,
}

impl Op<2> for LeakyRelu {
    fn name(&self) -> &'static str {
        "leaky-relu"
    }

    fn on_cpu(&self, inputs: [Argument; 2]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [x, bias] => {
            let slope = T::of(self.slope);
            let mut y = x.to_vec();
            y.par_chunks_mut(bias.len() * 256).for_each(|rows| activate(rows, bias, slope));
            Ok(output::<T>(y, inputs[0].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 2]) -> Result<(CudaStorage, Shape)> {
        let launch = kernels::leaky_relu(inputs[0].count(), inputs[1].count(), self.slope);
        cuda::compute(&launch, &inputs, inputs[0].shape())
    }

    fn gradients(&self, [x, bias]: [&Tensor; 2], y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 2]> {
        // The activation has the sign of what it activated, so it serves as its own mask.
        let dx = leaky_relu_mask(&y.detach(), g, self.slope)?;
        let db = bias.track_op().then(|| column_sum(&dx)).transpose()?;
        Ok([x.track_op().then_some(dx), db])
    }
}

struct LeakyReluMask {
    slope: f64,
}

impl Op<2> for LeakyReluMask {
    fn name(&self) -> &'static str {
        "leaky-relu-mask"
    }

    fn on_cpu(&self, inputs: [Argument; 2]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [y, g] => {
            let slope = T::of(self.slope);
            let mut masked = vec![T::ZERO; g.len()];
            let parts = masked.par_chunks_mut(1 << 14).zip(y.par_chunks(1 << 14)).zip(g.par_chunks(1 << 14));
            parts.for_each(|((masked, y), g)| mask(masked, y, g, slope));
            Ok(output::<T>(masked, inputs[1].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 2]) -> Result<(CudaStorage, Shape)> {
        let launch = kernels::leaky_relu_mask(inputs[1].count(), self.slope);
        cuda::compute(&launch, &inputs, inputs[1].shape())
    }

    fn gradients(&self, [y, g]: [&Tensor; 2], _masked: &Tensor, gg: &Tensor) -> Result<[Option<Tensor>; 2]> {
        Ok([None, g.track_op().then(|| leaky_relu_mask(&y.detach(), gg, self.slope)).transpose()?])
    }
}

#[multiversion(targets = "simd")]
fn activate<T: Element>(rows: &mut [T], bias: &[T], slope: T) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, &bias) in row.iter_mut().zip(bias) {
            let sum = *value + bias;
            *value = leak(sum, sum, slope);
        }
    }
}

#[multiversion(targets = "simd")]
fn mask<T: Element>(masked: &mut [T], y: &[T], g: &[T], slope: T) {
    for ((masked, &y), &g) in masked.iter_mut().zip(y).zip(g) {
        *masked = leak(y, g, slope);
    }
}

#[inline(always)]
fn leak<T: Element>(sign: T, value: T, slope: T) -> T {
    if sign > T::ZERO { value } else { value * slope }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};

    #[test]
    fn leaky_relu_equals_its_definition() -> Result<()> {
        let (x, bias) = (random(&[2, 3, 3, 4], 1)?, random(&[4], 2)?);
        let sum = x.broadcast_add(&bias)?;
        // Slope 0 is what the encoder's blocks end with.
        for slope in [0.01, 0.0] {
            let slow = sum.maximum(&(&sum * slope)?)?;
            let difference = (leaky_relu(&x, &bias, slope)? - slow)?.abs()?.max_all()?.to_scalar::<f64>()?;
            assert_eq!(difference, 0.0);
        }
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        let y = random(&[3, 5], 3)?;
        for slope in [0.01, 0.0] {
            check_gradients(&[random(&[2, 3, 3, 4], 1)?, random(&[4], 2)?], |v| leaky_relu(&v[0], &v[1], slope))?;
            check_gradients(&[random(&[3, 5], 4)?], |v| leaky_relu_mask(&y, &v[0], slope))?;
        }
        Ok(())
    }

    #[test]
    fn a_mask_of_another_shape_is_refused() -> Result<()> {
        for other in [&[3, 4][..], &[2, 5], &[15]] {
            let error = leaky_relu_mask(&random(other, 1)?, &random(&[3, 5], 2)?, 0.01).unwrap_err().to_string();
            assert!(error.contains("found [3, 5]"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_number_stays_visible() -> Result<()> {
        let x = Tensor::new(&[[f64::NAN, 1.0]], &candle_core::Device::Cpu)?;
        let y = leaky_relu(&x, &random(&[2], 1)?, 0.0)?.to_vec2::<f64>()?;
        assert!(y[0][0].is_nan() && !y[0][1].is_nan());
        Ok(())
    }
}
