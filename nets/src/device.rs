//! Where tensors live, by name.

#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "cuda")]
mod pipeline;
#[cfg(feature = "cuda")]
mod received;

#[cfg(feature = "cuda")]
pub use pipeline::{Pipeline, beside_captures};

use candle_core::{Device, Error};

/// Checks a name, whether or not the device is there, so that a slip is told with the command line.
///
/// # Errors
/// When it is not `cpu`, `cuda` or `cuda:N`, the last two with or without `/tf32`.
pub fn named(name: &str) -> Result<String, String> {
    read(name).map(|_| name.to_owned())
}

/// `cpu`, `cuda` (the first GPU) or `cuda:N`, whose f32 is f32; with `/tf32` behind it, convolutions and
/// matrix products may round their factors to TF32, which is several times faster.
///
/// # Errors
/// When the name is none of these, or the device is not there.
pub fn parse(name: &str) -> candle_core::Result<Device> {
    // Plain messages: candle's `bail!` would append a backtrace to a sentence for the user.
    match read(name).map_err(Error::Msg)? {
        None => Ok(Device::Cpu),
        Some(Gpu { ordinal, tf32 }) => open(name, ordinal, tf32),
    }
}

/// A GPU as it is named.
struct Gpu {
    ordinal: usize,
    tf32: bool,
}

/// `None` for the processor.
fn read(name: &str) -> Result<Option<Gpu>, String> {
    let (place, tf32) = name.strip_suffix("/tf32").map_or((name, false), |place| (place, true));
    let ordinal = match place.split_once(':') {
        None if name == "cpu" => return Ok(None),
        None if place == "cuda" => Some(0),
        Some(("cuda", ordinal)) => ordinal.parse().ok(),
        _ => None,
    };
    let gpu = ordinal.map(|ordinal| Gpu { ordinal, tf32 });
    gpu.map(Some).ok_or_else(|| format!("expected cpu, cuda or cuda:N, found `{name}`"))
}

#[cfg(feature = "cuda")]
fn open(_name: &str, ordinal: usize, tf32: bool) -> candle_core::Result<Device> {
    cuda::open(ordinal, tf32)
}

#[cfg(not(feature = "cuda"))]
fn open(name: &str, _ordinal: usize, _tf32: bool) -> candle_core::Result<Device> {
    let reason = "needs a program built with `--features cuda`; this one computes on the CPU";
    Err(Error::Msg(format!("`{name}` {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_without_a_device() {
        for good in ["cpu", "cuda", "cuda:7", "cuda/tf32", "cuda:1/tf32"] {
            assert_eq!(named(good).as_deref(), Ok(good));
        }
        for wrong in ["", "tpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu/tf32", "cuda/tf"] {
            assert_eq!(named(wrong), Err(format!("expected cpu, cuda or cuda:N, found `{wrong}`")));
            assert!(parse(wrong).is_err());
        }
        assert!(parse("cpu").is_ok_and(|device| device.is_cpu()));
    }
}
