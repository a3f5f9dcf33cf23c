//! Where tensors live, by name.

use candle_core::{Device, Error};

/// Checks a name, whether or not the device is there, so that a slip is told with the command line.
///
/// # Errors
/// When it is not `cpu`, `cuda` or `cuda:N`.
pub fn named(name: &str) -> Result<String, String> {
    ordinal(name).map(|_| name.to_owned())
}

/// `cpu`, `cuda` (the first) or `cuda:N`.
///
/// # Errors
/// When the name is none of these, or the device is not there.
pub fn parse(name: &str) -> candle_core::Result<Device> {
    // Plain messages: candle's `bail!` would append a backtrace to a sentence for the user.
    let Some(ordinal) = ordinal(name).map_err(Error::Msg)? else { return Ok(Device::Cpu) };
    if !cfg!(feature = "cuda") {
        let reason = "needs a program built with `--features cuda`; this one computes on the CPU";
        return Err(Error::Msg(format!("`{name}` {reason}")));
    }
    Device::new_cuda(ordinal)
}

/// The number of a GPU; `None` for the processor.
fn ordinal(name: &str) -> Result<Option<usize>, String> {
    let ordinal = match name.split_once(':') {
        None if name == "cpu" => return Ok(None),
        None if name == "cuda" => Some(0),
        Some(("cuda", ordinal)) => ordinal.parse().ok(),
        _ => None,
    };
    ordinal.map(Some).ok_or_else(|| format!("expected cpu, cuda or cuda:N, found `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_without_a_device() {
        for good in ["cpu", "cuda", "cuda:7"] {
            assert_eq!(named(good).as_deref(), Ok(good));
        }
        for wrong in ["", "tpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            assert_eq!(named(wrong), Err(format!("expected cpu, cuda or cuda:N, found `{wrong}`")));
            assert!(parse(wrong).is_err());
        }
        assert!(parse("cpu").is_ok_and(|device| device.is_cpu()));
    }
}
