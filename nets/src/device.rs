//! Where tensors live, by name.

use candle_core::{Device, Result, bail};

/// `cpu`, `cuda` (the first) or `cuda:N`.
///
/// # Errors
/// When the name is none of these, or the device is not there.
pub fn parse(name: &str) -> Result<Device> {
    let ordinal = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if name == "cuda" => Some(0),
        Some(("cuda", ordinal)) => ordinal.parse().ok(),
        _ => None,
    };
    let Some(ordinal) = ordinal else { bail!("expected a device cpu or cuda:N, found `{name}`") };
    if !cfg!(feature = "cuda") {
        bail!("`{name}` needs a program built with `--features cuda`; this one computes on the CPU")
    }
    Device::new_cuda(ordinal)
}
