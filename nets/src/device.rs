//! Where tensors live, by name.

#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "cuda")]
mod pipeline;

#[cfg(feature = "cuda")]
pub use pipeline::{Pipeline, beside_captures};

use candle_core::{Device, Error, Result};

/// `cpu`, `cuda` (the first GPU) or `cuda:N`, whose f32 is f32; with `/tf32` behind it, convolutions and
/// matrix products may round their factors to TF32, which is several times faster.
///
/// # Errors
/// When the name is none of these, or the device is not there.
pub fn parse(name: &str) -> Result<Device> {
    let (place, tf32) = match name.strip_suffix("/tf32") {
        Some(place) => (place, true),
        None => (name, false),
    };
    let ordinal = match place.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if place == "cuda" => Some(0),
        Some(("cuda", ordinal)) => ordinal.parse().ok(),
        _ => None,
    };
    // Plain messages: candle's `bail!` would append a backtrace to a sentence for the user.
    let Some(ordinal) = ordinal else {
        return Err(Error::Msg(format!("expected a device cpu or cuda:N, found `{name}`")));
    };
    open(name, ordinal, tf32)
}

#[cfg(feature = "cuda")]
fn open(_name: &str, ordinal: usize, tf32: bool) -> Result<Device> {
    cuda::open(ordinal, tf32)
}

#[cfg(not(feature = "cuda"))]
fn open(name: &str, _ordinal: usize, _tf32: bool) -> Result<Device> {
    let reason = "needs a program built with `--features cuda`; this one computes on the CPU";
    Err(Error::Msg(format!("`{name}` {reason}")))
}
