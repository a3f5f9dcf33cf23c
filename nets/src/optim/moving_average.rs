//! The exponential moving average of a network's weights, which is what is served.

use super::zip_update;
use crate::ops::element::{for_element_type, values, values_mut};
#[cfg(feature = "cuda")]
use crate::ops::kernels::{self, cuda};
use crate::parameters::{Parameters, check_names};
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor};
use std::collections::BTreeMap;

/// `average = decay average + (1 - decay) weights`, by variable name.
pub struct MovingAverage {
    averages: BTreeMap<String, Tensor>,
}

impl MovingAverage {
    /// Starts at the current values.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        Ok(Self { averages: parameters.tensors()? })
    }

    /// Moves towards the current values; `decay` in `[0, 1]`, 0 copies them.
    pub fn update(&mut self, parameters: &Parameters, decay: f64) -> Result<()> {
        for (name, var) in parameters.vars() {
            if let Some(average) = self.averages.get(&name) {
                #[cfg(feature = "cuda")]
                if average.device().is_cuda() {
                    let launch = kernels::moving_average(average.elem_count(), 1.0 - decay);
                    cuda::update(&launch, &[average, &var], None)?;
                    continue;
                }
                average.inplace_op2(&var, &Towards { share: 1.0 - decay })?;
            }
        }
        Ok(())
    }

    /// Copies of the averages.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.averages.iter().map(|(name, average)| Ok((name.clone(), average.copy()?))).collect()
    }

    /// Takes up saved averages.
    ///
    /// # Errors
    /// When names or shapes are not exactly the variables'; nothing is changed then.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        check_names(self.averages.iter().map(|(name, average)| (name.as_str(), average.dims())), tensors)?;
        for (name, average) in &mut self.averages {
            *average = tensors[name].to_dtype(average.dtype())?.to_device(average.device())?.copy()?;
        }
        Ok(())
    }
}

struct Towards {
    share: f64,
}

impl InplaceOp2 for Towards {
    fn name(&self) -> &'static str {
        "moving-average"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        for_element_type!(s2, "moving-average", T => {
            let share = self.share as T;
            zip_update(values_mut::<T>(s1, l1)?, &values::<T>((s2, l2))?, |average, w| *average += share * (w - *average));
            Ok(())
        })
    }
}
