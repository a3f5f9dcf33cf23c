//! Stochastic gradient descent with momentum, as PyTorch defines it.

use super::{Multipliers, at_hand, clip_factor, updates, zip_update};
use crate::ops::element::{for_element_type, values, values_mut};
#[cfg(feature = "cuda")]
use crate::ops::kernels::{self, cuda};
use crate::parameters::{Parameters, check_names};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor};
use std::collections::BTreeMap;

/// Constants of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// Share of the last step that is kept.
    pub momentum: f64,
    /// Multiple of a weight that joins its gradient.
    pub weight_decay: f64,
}

/// `v = momentum v + (g + decay w)`, `w = w - rate v`.
pub struct Sgd {
    config: SgdConfig,
    velocities: BTreeMap<String, (Tensor, Multipliers)>,
    parameters: Parameters,
}

impl Sgd {
    /// An optimizer of all variables that `parameters` holds now; `multipliers` says by name what
    /// each is updated with.
    pub fn new(parameters: &Parameters, config: SgdConfig, multipliers: impl Fn(&str) -> Multipliers) -> Result<Self> {
        let velocities = parameters.vars().into_iter().map(|(name, var)| {
            let multipliers = multipliers(&name);
            Ok((name, (var.as_tensor().zeros_like()?, multipliers)))
        });
        Ok(Self { config, velocities: velocities.collect::<Result<_>>()?, parameters: parameters.clone() })
    }

    /// One step at learning rate `rate`, after gradients of a [`gradient_norm`](super::gradient_norm) above
    /// `limit` are brought down to it; 0 limits nothing. Variables without a gradient stay, and all do where
    /// `norm` is no finite number.
    ///
    /// # Errors
    /// When one was created after the optimizer; nothing is changed then.
    pub fn step(&mut self, gradients: &GradStore, norm: &Tensor, limit: f64, rate: f64) -> Result<()> {
        let updates = updates(&self.parameters, gradients, &self.velocities)?;
        let norm_here = at_hand(norm)?;
        if norm_here.is_some_and(|norm| !norm.is_finite()) {
            return Ok(());
        }
        let factor = norm_here.map_or(1.0, |norm| clip_factor(norm, limit));
        for (var, gradient, (velocity, multipliers)) in updates {
            let decay = self.config.weight_decay * multipliers.decay;
            #[cfg(feature = "cuda")]
            if var.device().is_cuda() {
                let (momentum, rate) = (self.config.momentum, rate * multipliers.rate);
                let launch = kernels::sgd(var.elem_count(), momentum, limit, decay, rate);
                cuda::update(&launch, &[&var, velocity, &gradient], Some(norm))?;
                continue;
            }
            velocity.inplace_op3(&gradient, &var, &Velocity { momentum: self.config.momentum, factor, decay })?;
            var.inplace_op2(velocity, &Descend { rate: rate * multipliers.rate })?;
        }
        Ok(())
    }

    /// Copies of the velocities, by variable name.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.velocities.iter().map(|(name, (velocity, _))| Ok((name.clone(), velocity.copy()?))).collect()
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// When names or shapes are not exactly the variables'; nothing is changed then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        check_names(self.velocities.iter().map(|(name, (velocity, _))| (name.as_str(), velocity.dims())), state)?;
        for (name, (velocity, _)) in &mut self.velocities {
            *velocity = state[name].to_dtype(velocity.dtype())?.to_device(velocity.device())?.copy()?;
        }
        Ok(())
    }
}

struct Velocity {
    momentum: f64,
    factor: f64,
    decay: f64,
}

impl InplaceOp3 for Velocity {
    fn name(&self) -> &'static str {
        "sgd-velocity"
    }

    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<()> {
        for_element_type!(s2, "sgd-velocity", T => {
            let (momentum, factor, decay) = (self.momentum as T, self.factor as T, self.decay as T);
            let velocity = values_mut::<T>(s1, l1)?;
            zip_update(velocity, &values::<T>((s2, l2))?, |v, g| *v = momentum * *v + factor * g);
            zip_update(velocity, &values::<T>((s3, l3))?, |v, w| *v += decay * w);
            Ok(())
        })
    }
}

struct Descend {
    rate: f64,
}

impl InplaceOp2 for Descend {
    fn name(&self) -> &'static str {
        "sgd-descend"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        for_element_type!(s2, "sgd-descend", T => {
            let rate = self.rate as T;
            zip_update(values_mut::<T>(s1, l1)?, &values::<T>((s2, l2))?, |w, v| *w -= rate * v);
            Ok(())
        })
    }
}
