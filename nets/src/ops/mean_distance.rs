//! The mean absolute difference of two tensors, a sum over all that they hold in one pass.

use super::element::{Argument, Element, output, same_dtype, with_values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, backend::BackendStorage};
use rayon::prelude::*;

/// Mean over all values of `|a - b|`, a scalar. Where both are equal the gradient is zero.
///
/// # Errors
/// When they differ in shape or number type, or hold nothing.
pub fn mean_distance(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() || a.elem_count() == 0 {
        bail!("mean distance: expected two tensors of one shape, found {:?} and {:?}", a.dims(), b.dims())
    }
    same_dtype("mean distance", a.dtype(), b.dtype())?;
    MeanDistance.apply([a, b])
}

/// Mean over all values of `|x|`, a scalar without a gradient.
///
/// # Errors
/// When there are none.
pub fn mean_magnitude(x: &Tensor) -> Result<Tensor> {
    if x.elem_count() == 0 {
        bail!("mean magnitude: expected values, found shape {:?}", x.dims())
    }
    MeanMagnitude.compute([x])
}

struct MeanDistance;
struct MeanMagnitude;
/// From a, b and the gradient of their distance to the gradient of a.
struct Gradient;

/// Values of one partial sum.
const PART: usize = 1 << 14;

/// The mean of what `term` makes of the values from each part's beginning on.
fn mean<T: Element>(x: &[T], term: impl Fn(usize, T) -> T + Sync) -> T {
    let sum_of = |(nth, part): (usize, &[T])| -> f64 {
        part.iter().enumerate().map(|(at, &value)| term(nth * PART + at, value).to_f64()).sum()
    };
    let parts: Vec<f64> = x.par_chunks(PART).enumerate().map(sum_of).collect();
    T::of(parts.iter().sum::<f64>() / x.len() as f64)
}

fn magnitude<T: Element>(value: T) -> T {
    if value < T::ZERO { T::ZERO - value } else { value }
}

impl Op<2> for MeanDistance {
    fn name(&self) -> &'static str {
        "mean-distance"
    }

    fn on_cpu(&self, inputs: [Argument; 2]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [a, b] => {
            Ok(output::<T>(vec![mean(a, |at, a| magnitude(a - b[at]))], ()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 2]) -> Result<(CudaStorage, Shape)> {
        Ok((on_gpu(inputs[0], cuda::address(inputs[1])?)?, ().into()))
    }

    fn gradients(&self, [a, b]: [&Tensor; 2], _y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let of_a = Gradient.compute([a, b, g])?;
        let of_b = b.track_op().then(|| of_a.neg()).transpose()?;
        Ok([a.track_op().then_some(of_a), of_b])
    }
}

impl Op<1> for MeanMagnitude {
    fn name(&self) -> &'static str {
        "mean-magnitude"
    }

    fn on_cpu(&self, inputs: [Argument; 1]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [x] => {
            Ok(output::<T>(vec![mean(x, |_, x| magnitude(x))], ()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 1]) -> Result<(CudaStorage, Shape)> {
        Ok((on_gpu(inputs[0], 0)?, ().into()))
    }
}

/// The mean of `|a - b|` for a `b` at this address, of `|a|` for one at 0.
#[cfg(feature = "cuda")]
fn on_gpu(a: cuda::Argument, b: u64) -> Result<CudaStorage> {
    let (device, dtype, count) = (&a.0.device, a.0.dtype(), a.1.shape().elem_count());
    let parts = cuda::room(device, cuda::accumulator(dtype), kernels::sum_parts(count))?;
    let parts_at = cuda::address_of_new(&parts)?;
    cuda::run(&kernels::distance_sums(count), device, dtype, &[cuda::address(a)?, b, parts_at])?;
    let mean = cuda::room(device, dtype, ())?;
    cuda::run(&kernels::mean_of_parts(count), device, dtype, &[parts_at, cuda::address_of_new(&mean)?])?;
    Ok(mean)
}

impl Op<3> for Gradient {
    fn name(&self) -> &'static str {
        "mean-distance-gradient"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [a, b, g] => {
            let share = g[0] / T::of(a.len() as f64);
            let mut da = vec![T::ZERO; a.len()];
            da.par_chunks_mut(PART).zip(a.par_chunks(PART).zip(b.par_chunks(PART))).for_each(|(da, (a, b))| {
                for (da, (&a, &b)) in da.iter_mut().zip(a.iter().zip(b)) {
                    *da = match a.partial_cmp(&b) {
                        Some(std::cmp::Ordering::Greater) => share,
                        Some(std::cmp::Ordering::Less) => T::ZERO - share,
                        Some(std::cmp::Ordering::Equal) => T::ZERO,
                        // What is no number shows.
                        None => a - b,
                    };
                }
            });
            Ok(output::<T>(da, inputs[0].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 3]) -> Result<(CudaStorage, Shape)> {
        cuda::compute(&kernels::distance_gradient(inputs[0].count()), &inputs, inputs[0].shape())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};
    use candle_core::Device;

    #[test]
    fn value_and_gradient() -> Result<()> {
        let (a, b) = (random(&[3, 7, 2], 1)?, random(&[3, 7, 2], 2)?);
        let slow = (&a - &b)?.abs()?.mean_all()?.to_scalar::<f64>()?;
        assert!((mean_distance(&a, &b)?.to_scalar::<f64>()? - slow).abs() < 1e-12);
        let magnitude = a.abs()?.mean_all()?.to_scalar::<f64>()?;
        assert!((mean_magnitude(&a)?.to_scalar::<f64>()? - magnitude).abs() < 1e-12);
        check_gradients(&[a, b], |v| mean_distance(&v[0], &v[1]))
    }

    #[test]
    fn equal_values_pull_nowhere_and_what_is_no_number_shows() -> Result<()> {
        let a = candle_core::Var::new(&[1.0, 2.0, f64::NAN], &Device::Cpu)?;
        let b = Tensor::new(&[1.0, 0.5, 1.0], &Device::Cpu)?;
        let distance = mean_distance(&a, &b)?;
        let gradients = distance.backward()?;
        let of_a = gradients.get(&a).expect("it takes part").to_vec1::<f64>()?;
        assert_eq!(of_a[..2], [0.0, 1.0 / 3.0]);
        assert!(of_a[2].is_nan() && distance.to_scalar::<f64>()?.is_nan());
        assert!(mean_distance(&a, &b.narrow(0, 0, 2)?).is_err());
        Ok(())
    }
}
