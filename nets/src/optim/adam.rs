//! Adam (Kingma and Ba, 2015).

use super::{at_hand, updates, zip_update};
use crate::ops::element::{for_element_type, values, values_mut};
#[cfg(feature = "cuda")]
use crate::ops::kernels::{self, AdamStep, cuda};
use crate::parameters::{Parameters, check_names};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, InplaceOp3, Layout, Result, Tensor, bail};
use std::collections::BTreeMap;

/// Constants of [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second.
    pub epsilon: f64,
}

impl Default for AdamConfig {
    /// The paper's betas, 0.5 and 0.999.
    fn default() -> Self {
        Self { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `w = w - rate m' / (sqrt(v') + epsilon)`
/// with `m'` and `v'` corrected for their start at zero.
pub struct Adam {
    config: AdamConfig,
    moments: BTreeMap<String, Moments>,
    steps: u64,
    parameters: Parameters,
}

struct Moments {
    mean: Tensor,
    square: Tensor,
}

/// Key of the step count in a saved state; no variable has this name.
const STEPS: &str = "adam.steps";

impl Adam {
    /// An optimizer of all variables that `parameters` holds now.
    pub fn new(parameters: &Parameters, config: AdamConfig) -> Result<Self> {
        let moments = parameters.vars().into_iter().map(|(name, var)| {
            let zeros = || var.as_tensor().zeros_like();
            Ok((name, Moments { mean: zeros()?, square: zeros()? }))
        });
        Ok(Self { config, moments: moments.collect::<Result<_>>()?, steps: 0, parameters: parameters.clone() })
    }

    /// One step at learning rate `rate`. Variables without a gradient stay, and all do where `norm`, the
    /// [`gradient_norm`](super::gradient_norm), is no finite number.
    ///
    /// # Errors
    /// When one was created after the optimizer; nothing is changed then.
    pub fn step(&mut self, gradients: &GradStore, norm: &Tensor, rate: f64) -> Result<()> {
        let updates = updates(&self.parameters, gradients, &self.moments)?;
        self.steps += 1;
        if at_hand(norm)?.is_some_and(|norm| !norm.is_finite()) {
            return Ok(());
        }
        let AdamConfig { beta1, beta2, epsilon } = self.config;
        let steps = self.steps as f64;
        let (first, second) = (1.0 - libm::pow(beta1, steps), 1.0 - libm::pow(beta2, steps));
        for (var, gradient, Moments { mean, square }) in updates {
            #[cfg(feature = "cuda")]
            if var.device().is_cuda() {
                let step = AdamStep { beta1, beta2, rate: rate / first, correction: second, epsilon };
                cuda::update(&kernels::adam(var.elem_count(), step), &[&var, mean, square, &gradient], Some(norm))?;
                continue;
            }
            mean.inplace_op2(&gradient, &Decay { beta: beta1, squared: false })?;
            square.inplace_op2(&gradient, &Decay { beta: beta2, squared: true })?;
            var.inplace_op3(mean, square, &Descend { rate: rate / first, second, epsilon })?;
        }
        Ok(())
    }

    /// Copies of the moments and the step count, by name.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for (name, moments) in &self.moments {
            state.insert(format!("{name}.mean"), moments.mean.copy()?);
            state.insert(format!("{name}.square"), moments.square.copy()?);
        }
        state.insert(STEPS.to_owned(), Tensor::from_vec(vec![self.steps as i64], 1, &Device::Cpu)?);
        Ok(state)
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// When names or shapes are not exactly the variables'; nothing is changed then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let names: Vec<(String, &[usize])> = self
            .moments
            .iter()
            .flat_map(|(name, moments)| {
                [(format!("{name}.mean"), moments.mean.dims()), (format!("{name}.square"), moments.square.dims())]
            })
            .chain([(STEPS.to_owned(), &[1][..])])
            .collect();
        check_names(names.iter().map(|(name, dims)| (name.as_str(), *dims)), state)?;
        let steps = state[STEPS].to_dtype(DType::I64)?.to_vec1::<i64>()?[0];
        let Ok(steps) = u64::try_from(steps) else { bail!("expected a step count of at least 0, found {steps}") };
        for (name, moments) in &mut self.moments {
            let taken = |part: &str, old: &Tensor| {
                state[&format!("{name}.{part}")].to_dtype(old.dtype())?.to_device(old.device())?.copy()
            };
            *moments = Moments { mean: taken("mean", &moments.mean)?, square: taken("square", &moments.square)? };
        }
        self.steps = steps;
        Ok(())
    }
}

/// `m = beta m + (1 - beta) g`, or of `g^2`.
struct Decay {
    beta: f64,
    squared: bool,
}

impl InplaceOp2 for Decay {
    fn name(&self) -> &'static str {
        "adam-moment"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        for_element_type!(s2, "adam-moment", T => {
            let (beta, rest) = (self.beta as T, (1.0 - self.beta) as T);
            let (moment, gradient) = (values_mut::<T>(s1, l1)?, &*values::<T>((s2, l2))?);
            match self.squared {
                true => zip_update(moment, gradient, |m, g| *m = beta * *m + rest * (g * g)),
                false => zip_update(moment, gradient, |m, g| *m = beta * *m + rest * g),
            }
            Ok(())
        })
    }
}

struct Descend {
    rate: f64,
    second: f64,
    epsilon: f64,
}

impl InplaceOp3 for Descend {
    fn name(&self) -> &'static str {
        "adam-descend"
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
        use rayon::prelude::*;
        for_element_type!(s2, "adam-descend", T => {
            let (rate, second, epsilon) = (self.rate as T, self.second as T, self.epsilon as T);
            let (w, m, v) = (values_mut::<T>(s1, l1)?, &*values::<T>((s2, l2))?, &*values::<T>((s3, l3))?);
            let chunks = w.par_chunks_mut(super::CHUNK).zip(m.par_chunks(super::CHUNK)).zip(v.par_chunks(super::CHUNK));
            chunks.for_each(|((w, m), v)| {
                for ((w, &m), &v) in w.iter_mut().zip(m).zip(v) {
                    *w -= rate * m / ((v / second).sqrt() + epsilon);
                }
            });
            Ok(())
        })
    }
}
