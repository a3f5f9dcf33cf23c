//! Networks that compute with the live weights of others and take no gradient.

use candle_core::DType;
use candle_nn::VarBuilder;
use nets::Parameters;

/// A view of parameters, for the constructor of a second network that shares their memory: it sees
/// every update, and neither its own graph nor a gradient of theirs is ever made. Half the work of
/// a backward pass through a network whose weights don't move is saved.
pub(crate) fn frozen(parameters: &Parameters, dtype: DType) -> VarBuilder<'static> {
    let vars = parameters.vars();
    let device = vars.first().map_or(candle_core::Device::Cpu, |(_, var)| var.device().clone());
    let views = vars.into_iter().map(|(name, var)| (name, var.as_tensor().detach())).collect();
    VarBuilder::from_tensors(views, dtype, &device)
}
