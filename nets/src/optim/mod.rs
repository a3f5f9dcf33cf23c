//! Optimizers whose whole state is tensors keyed by the variables' names, so that a run can be
//! stopped and go on with the same bits. Updates are fused and in place.

mod adam;
mod moving_average;
mod sgd;

pub use adam::{Adam, AdamConfig};
pub use moving_average::MovingAverage;
pub use sgd::{Sgd, SgdConfig};

use crate::ops::element::Element;
#[cfg(feature = "cuda")]
use crate::ops::kernels::{self, cuda};
use crate::parameters::Parameters;
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var, bail};
use multiversion::multiversion;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What one variable's update is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Multipliers {
    /// Of the learning rate.
    pub rate: f64,
    /// Of the weight decay.
    pub decay: f64,
}

impl Multipliers {
    /// The optimizer's own rate and decay.
    pub const ONE: Self = Self { rate: 1.0, decay: 1.0 };
}

/// Euclidean norm of all gradients together, a scalar of f64 where they are. Variables without a gradient
/// count as zero.
///
/// An optimizer is given it with the gradients, and looks at it on the device: a step needn't wait for it.
pub fn gradient_norm(parameters: &Parameters, gradients: &GradStore) -> Result<Tensor> {
    let (mut found, mut device) = (Vec::new(), Device::Cpu);
    for (_, var) in parameters.vars() {
        found.extend(gradients.get(&var).cloned());
        device = var.device().clone();
    }
    match (&device, found.is_empty()) {
        (_, true) => Tensor::new(0f64, &device),
        #[cfg(feature = "cuda")]
        (Device::Cuda(gpu), false) => norm_on_gpu(&found, gpu),
        _ => {
            let sum = |gradient: &Tensor| gradient.sqr()?.sum_all()?.to_dtype(DType::F64);
            Tensor::stack(&found.iter().map(sum).collect::<Result<Vec<_>>>()?, 0)?.sum_all()?.sqrt()
        }
    }
}

/// A kernel for each tensor and one for their sum.
#[cfg(feature = "cuda")]
fn norm_on_gpu(gradients: &[Tensor], device: &candle_core::CudaDevice) -> Result<Tensor> {
    let places: usize = gradients.iter().map(|gradient| kernels::sum_parts(gradient.elem_count())).sum();
    let parts = cuda::room(device, DType::F64, places)?;
    let parts_at = cuda::address_of_new(&parts)?;
    let mut place = 0;
    for gradient in gradients {
        let gradient = gradient.contiguous()?;
        let launch = kernels::square_sums(gradient.elem_count(), place);
        cuda::with_storages(&[&gradient], |arguments| {
            let (storage, layout) = arguments[0];
            cuda::run(&launch, device, gradient.dtype(), &[cuda::address((storage, layout))?, parts_at])
        })?;
        place += kernels::sum_parts(gradient.elem_count());
    }
    let norm = cuda::room(device, DType::F64, ())?;
    cuda::run(&kernels::root_of_sum(places), device, DType::F64, &[parts_at, cuda::address_of_new(&norm)?])?;
    Ok(cuda::tensor(norm, ()))
}

/// A norm that is no number if any of the values [`measured`](crate::measured) isn't one, else itself: handed
/// to an optimizer, it keeps weights from a step whose loss went wrong.
pub fn guarded(norm: &Tensor, values: &[Tensor]) -> Result<Tensor> {
    if values.is_empty() {
        return Ok(norm.clone());
    }
    // Zero times a number is zero, times anything else not a number.
    norm + Tensor::stack(values, 0)?.affine(0.0, 0.0)?.sum_all()?
}

/// A norm that the host can look at without waiting; a GPU's kernels look at theirs themselves.
fn at_hand(norm: &Tensor) -> Result<Option<f64>> {
    norm.device().is_cpu().then(|| norm.to_scalar()).transpose()
}

/// The factor that brings a gradient of norm `norm` down to at most `limit`; 0 limits nothing.
fn clip_factor(norm: f64, limit: f64) -> f64 {
    if limit > 0.0 && norm > limit { limit / norm } else { 1.0 }
}

/// Values per task of an elementwise update.
const CHUNK: usize = 1 << 15;

/// `update(value, source)` for every pair.
fn zip_update<T: Element>(target: &mut [T], source: &[T], update: impl Fn(&mut T, T) + Sync) {
    let chunks = target.par_chunks_mut(CHUNK).zip(source.par_chunks(CHUNK));
    chunks.for_each(|(target, source)| update_chunk(target, source, &update));
}

#[multiversion(targets = "simd")]
fn update_chunk<T: Element, F: Fn(&mut T, T)>(target: &mut [T], source: &[T], update: &F) {
    target.iter_mut().zip(source).for_each(|(value, &source)| update(value, source));
}

/// What one variable's step needs: the variable, its gradient and the optimizer's state of it.
type Update<'a, S> = (Var, Tensor, &'a S);

/// An update for every variable that has a gradient, contiguous as the in-place ops need it.
fn updates<'a, S>(
    parameters: &Parameters,
    gradients: &GradStore,
    states: &'a BTreeMap<String, S>,
) -> Result<Vec<Update<'a, S>>> {
    let mut updates = Vec::with_capacity(states.len());
    for (name, var) in parameters.vars() {
        let Some(gradient) = gradients.get(&var) else { continue };
        let Some(state) = states.get(&name) else {
            bail!("expected the variables that the optimizer was made for, found `{name}`, created later")
        };
        updates.push((var, gradient.detach().contiguous()?, state));
    }
    Ok(updates)
}

#[cfg(test)]
mod tests;
