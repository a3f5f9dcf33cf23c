//! Max-feature-map (Wu et al., "A Light CNN for Deep Face Representation", 2018): the larger of
//! the first and the second half of the channels, with the bias before it in the same pass.

use super::bias::{check_channels, column_sum};
use super::element::{Argument, Element, output, same_dtype, with_values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `y_j = max(x_j + b_j, x_{j+n} + b_{j+n})`: `x (..., 2n)` and `bias (2n)` to `n` channels. The
/// gradient goes to the larger half; a tie is split evenly. What is no number wins.
pub fn max_feature_map(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    same_dtype("max-feature-map", x.dtype(), bias.dtype())?;
    check_channels("max-feature-map", x, bias)?;
    if bias.dim(0)? % 2 != 0 {
        bail!("max-feature-map: expected an even number of channels, found {}", bias.dim(0)?)
    }
    MaxFeatureMap.apply([x, bias])
}

/// Pixels of a task.
const PIXELS: usize = 256;

struct MaxFeatureMap;

impl Op<2> for MaxFeatureMap {
    fn name(&self) -> &'static str {
        "max-feature-map"
    }

    fn on_cpu(&self, inputs: [Argument; 2]) -> Result<(CpuStorage, Shape)> {
        let mut dims = inputs[0].shape().dims().to_vec();
        dims.iter_mut().last().into_iter().for_each(|channels| *channels /= 2);
        with_values!(self, inputs, T, [x, bias] => {
            let half = bias.len() / 2;
            let mut y = vec![T::ZERO; x.len() / 2];
            y.par_chunks_mut(half * PIXELS).zip(x.par_chunks(2 * half * PIXELS)).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(half).zip(x.chunks_exact(2 * half)) {
                    y.iter_mut().zip(halves(x, bias)).for_each(|(y, (low, high))| *y = larger(low, high));
                }
            });
            Ok(output::<T>(y, dims))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 2]) -> Result<(CudaStorage, Shape)> {
        let mut dims = inputs[0].shape().dims().to_vec();
        dims.iter_mut().last().into_iter().for_each(|channels| *channels /= 2);
        let launch = kernels::max_feature_map(dims.iter().product(), inputs[1].count() / 2);
        cuda::compute(&launch, &inputs, dims)
    }

    fn gradients(&self, [x, bias]: [&Tensor; 2], _y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let dx = MaxFeatureMapGradient.compute([x, bias, g])?;
        let db = bias.track_op().then(|| column_sum(&dx)).transpose()?;
        Ok([x.track_op().then_some(dx), db])
    }
}

/// From x, bias and the output's gradient to the gradient of x.
struct MaxFeatureMapGradient;

impl Op<3> for MaxFeatureMapGradient {
    fn name(&self) -> &'static str {
        "max-feature-map-gradient"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [x, bias, g] => {
            let half = bias.len() / 2;
            let mut dx = vec![T::ZERO; x.len()];
            let pixels = dx.par_chunks_mut(2 * half * PIXELS).zip(x.par_chunks(2 * half * PIXELS));
            pixels.zip(g.par_chunks(half * PIXELS)).for_each(|((dx, x), g)| {
                for ((dx, x), g) in dx.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half)).zip(g.chunks_exact(half)) {
                    let (low_dx, high_dx) = dx.split_at_mut(half);
                    for (((low_dx, high_dx), &g), (low, high)) in low_dx.iter_mut().zip(high_dx).zip(g).zip(halves(x, bias)) {
                        let share = if low > high { T::ONE } else { T::ZERO };
                        let share = if low == high { T::HALF } else { share };
                        *low_dx = g * share;
                        *high_dx = g * (T::ONE - share);
                    }
                }
            });
            Ok(output::<T>(dx, inputs[0].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 3]) -> Result<(CudaStorage, Shape)> {
        let launch = kernels::max_feature_map_gradient(inputs[2].count(), inputs[1].count() / 2);
        cuda::compute(&launch, &inputs, inputs[0].shape())
    }
}

/// The competing values of one pixel, its bias added.
fn halves<T: Element>(pixel: &[T], bias: &[T]) -> impl Iterator<Item = (T, T)> {
    let half = bias.len() / 2;
    let ((low, high), (low_bias, high_bias)) = (pixel.split_at(half), bias.split_at(half));
    let (low, high) = (low.iter().zip(low_bias), high.iter().zip(high_bias));
    low.zip(high).map(|((&low, &low_bias), (&high, &high_bias))| (low + low_bias, high + high_bias))
}

/// `a` where it is larger or no number: what is no number must not vanish in a maximum.
pub(super) fn larger<T: Element>(a: T, b: T) -> T {
    if exceeds(a, b) { a } else { b }
}

/// Whether `a` wins against `b`.
pub(super) fn exceeds<T: Element>(a: T, b: T) -> bool {
    // `|`, as a jump to spare the second test would keep the loops from being vectorised.
    (a > b) | a.is_nan()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};
    use candle_core::{Device, Var};

    fn zeros(channels: usize) -> Result<Tensor> {
        Tensor::zeros(channels, candle_core::DType::F64, &Device::Cpu)
    }

    #[test]
    fn halves_compete_not_neighbours() -> Result<()> {
        let x = Tensor::new(&[[1.0, -2.0, 3.0, 0.5, 4.0, -1.0]], &Device::Cpu)?;
        assert_eq!(max_feature_map(&x, &zeros(6)?)?.to_vec2::<f64>()?, [[1.0, 4.0, 3.0]]);
        Ok(())
    }

    #[test]
    fn the_gradient_reaches_only_the_winner_and_ties_split() -> Result<()> {
        let x = Var::new(&[[1.0, 2.0, 0.0, 2.0]], &Device::Cpu)?;
        let gradients = max_feature_map(&x, &zeros(4)?)?.sum_all()?.backward()?;
        let dx = gradients.get(&x).expect("x takes part").to_vec2::<f64>()?;
        assert_eq!(dx, [[1.0, 0.5, 0.0, 0.5]]);
        Ok(())
    }

    #[test]
    fn fused_equals_composed() -> Result<()> {
        let (x, bias) = (random(&[2, 6, 4, 10], 1)?, random(&[10], 2)?);
        let sum = x.broadcast_add(&bias)?;
        let slow = sum.narrow(3, 0, 5)?.maximum(&sum.narrow(3, 5, 5)?)?;
        assert_eq!((max_feature_map(&x, &bias)? - slow)?.abs()?.max_all()?.to_scalar::<f64>()?, 0.0);
        Ok(())
    }

    #[test]
    fn what_is_no_number_wins_from_either_half() -> Result<()> {
        let x = Tensor::new(&[[f64::NAN, 1.0, 2.0, 3.0, f64::NAN, 4.0]], &Device::Cpu)?;
        let y = max_feature_map(&x, &zeros(6)?)?.to_vec2::<f64>()?;
        assert!(y[0][0].is_nan() && y[0][1].is_nan() && y[0][2] == 4.0);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        check_gradients(&[random(&[2, 4, 4, 6], 1)?, random(&[6], 2)?], |v| max_feature_map(&v[0], &v[1]))?;
        check_gradients(&[random(&[3, 6], 1)?, random(&[6], 2)?], |v| max_feature_map(&v[0], &v[1]))
    }

    #[test]
    fn the_second_moment_of_unit_normals_is_preserved() -> Result<()> {
        // E[max(a, b)^2] = 1: why weights of variance 1 / fan-in keep the signal.
        let mut draws = crate::chance::Chance::new(5, "moments").at(0, 0);
        let normals: Vec<f64> = (0..200_000).map(|_| draws.normal()).collect();
        let y = max_feature_map(&Tensor::from_vec(normals, (1000, 200), &Device::Cpu)?, &zeros(200)?)?;
        let moment = y.sqr()?.mean_all()?.to_scalar::<f64>()?;
        assert!((moment - 1.0).abs() < 0.02, "{moment}");
        Ok(())
    }
}
