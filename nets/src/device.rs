//! Where tensors live, by name.

use candle_core::{Device, Error, Result};

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
    // Plain messages: candle's `bail!` would append a backtrace to a sentence for the user.
    let Some(ordinal) = ordinal else {
        return Err(Error::Msg(format!("expected a device cpu or cuda:N, found `{name}`")));
    };
    if !cfg!(feature = "cuda") {
        let reason = "needs a program built with `--features cuda`; this one computes on the CPU";
        return Err(Error::Msg(format!("`{name}` {reason}")));
    }
    Device::new_cuda(ordinal)
}
