//! The mean absolute difference of two tensors, a sum over all that they hold in one pass.

use super::element::{Element, for_element_type, output, same_dtype, values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
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
    a.contiguous()?.apply_op2(&b.contiguous()?, MeanDistance)
}

/// Mean over all values of `|x|`, a scalar without a gradient.
///
/// # Errors
/// When there are none.
pub fn mean_magnitude(x: &Tensor) -> Result<Tensor> {
    if x.elem_count() == 0 {
        bail!("mean magnitude: expected values, found shape {:?}", x.dims())
    }
    x.contiguous()?.apply_op1_no_bwd(&MeanMagnitude)
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

impl CustomOp2 for MeanDistance {
    fn name(&self) -> &'static str {
        "mean-distance"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        for_element_type!(s1, "mean-distance", T => {
            let (a, b) = (&*values::<T>((s1, l1))?, &*values::<T>((s2, l2))?);
            Ok(output::<T>(vec![mean(a, |at, a| magnitude(a - b[at]))], ()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((on_gpu((s1, l1), cuda::address((s2, l2))?)?, ().into()))
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _y: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_a = a.apply_op3_no_bwd(b, g, &Gradient)?;
        let of_b = b.track_op().then(|| of_a.neg()).transpose()?;
        Ok((a.track_op().then_some(of_a), of_b))
    }
}

impl CustomOp1 for MeanMagnitude {
    fn name(&self) -> &'static str {
        "mean-magnitude"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        for_element_type!(storage, "mean-magnitude", T => {
            let x = &*values::<T>((storage, layout))?;
            Ok(output::<T>(vec![mean(x, |_, x| magnitude(x))], ()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((on_gpu((storage, layout), 0)?, ().into()))
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

impl CustomOp3 for Gradient {
    fn name(&self) -> &'static str {
        "mean-distance-gradient"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        for_element_type!(s1, "mean-distance-gradient", T => {
            let (a, b) = (&*values::<T>((s1, l1))?, &*values::<T>((s2, l2))?);
            let share = values::<T>((s3, l3))?[0] / T::of(a.len() as f64);
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
            Ok(output::<T>(da, l1.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::compute(&kernels::distance_gradient(l1.shape().elem_count()), &[(s1, l1), (s2, l2), (s3, l3)], l1.shape())
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
