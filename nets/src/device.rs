//! Where tensors live, by name.

#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "cuda")]
mod pipeline;
#[cfg(feature = "cuda")]
mod received;

#[cfg(feature = "cuda")]
pub use pipeline::{Pipeline, beside_captures};

use candle_core::{DType, Device, Error};
use serde::{Deserialize, Serialize};

/// What networks compute in. Weights, losses and updates are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Numbers {
    /// Single precision; on a GPU convolutions may round their factors to TF32.
    #[default]
    F32,
    /// bfloat16: half the memory, three significant digits.
    Bf16,
}

impl Numbers {
    /// As a tensor has them.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Where networks compute, and in what.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where.
    pub device: Device,
    /// In what.
    pub numbers: Numbers,
}

/// Checks a name, whether or not the device is there, so that a slip is told with the command line.
///
/// # Errors
/// When it is not `cpu`, `cuda` or `cuda:N`, the last two with or without `/tf32`.
pub fn named(name: &str) -> Result<String, String> {
    in_f32(name).map(|_| name.to_owned())
}

/// As [`named`], for commands that compute in bf16 too: any name may have `/bf16` behind it.
///
/// # Errors
/// When it is none of these names.
pub fn named_with_numbers(name: &str) -> Result<String, String> {
    read(name).map(|_| name.to_owned())
}

/// `cpu`, `cuda` (the first GPU) or `cuda:N`, whose f32 is f32; with `/tf32` behind it, convolutions and
/// matrix products may round their factors to TF32, which is several times faster.
///
/// # Errors
/// When the name is none of these, or the device is not there.
pub fn parse(name: &str) -> candle_core::Result<Device> {
    // Plain messages: candle's `bail!` would append a backtrace to a sentence for the user.
    in_f32(name).and_then(|named| named.open(name).map_err(|error| error.to_string())).map_err(Error::Msg)
}

/// As [`parse`], or any of these with `/bf16` behind it: networks then compute in bf16, and what is left in f32
/// follows what stands before it.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_numbers(name: &str) -> candle_core::Result<Place> {
    let named = read(name).map_err(Error::Msg)?;
    Ok(Place { device: named.open(name)?, numbers: named.numbers })
}

/// What [`parse_with_numbers`] would compute in, without a look at the device.
///
/// # Errors
/// When the name is none of these.
pub fn numbers(name: &str) -> candle_core::Result<Numbers> {
    Ok(read(name).map_err(Error::Msg)?.numbers)
}

/// Whether a name is a GPU's, without a look at it.
pub fn is_gpu(name: &str) -> bool {
    read(name).is_ok_and(|named| named.gpu.is_some())
}

/// A device as it is named.
struct Named {
    /// `None` for the processor.
    gpu: Option<usize>,
    tf32: bool,
    numbers: Numbers,
}

impl Named {
    fn open(&self, name: &str) -> candle_core::Result<Device> {
        self.gpu.map_or(Ok(Device::Cpu), |ordinal| open(name, ordinal, self.tf32))
    }
}

fn in_f32(name: &str) -> Result<Named, String> {
    let expected = || format!("expected cpu, cuda, cuda:N or, on a GPU, /tf32 behind it, found `{name}`");
    read(name).ok().filter(|named| named.numbers == Numbers::F32).ok_or_else(expected)
}

fn read(name: &str) -> Result<Named, String> {
    let (place, tf32, numbers) = match name.split_once('/') {
        None => (name, false, Numbers::F32),
        Some((place, "tf32")) => (place, true, Numbers::F32),
        Some((place, "bf16")) => (place, false, Numbers::Bf16),
        Some((place, "tf32/bf16")) => (place, true, Numbers::Bf16),
        Some(_) => ("", false, Numbers::F32),
    };
    let gpu = match place.split_once(':') {
        None if place == "cpu" && !tf32 => Some(None),
        None if place == "cuda" => Some(Some(0)),
        Some(("cuda", ordinal)) => ordinal.parse().ok().map(Some),
        _ => None,
    };
    let named = gpu.map(|gpu| Named { gpu, tf32, numbers });
    named.ok_or_else(|| {
        format!(
            "expected cpu, cpu/bf16, cuda, cuda:N or, on a GPU, /tf32, /bf16 or /tf32/bf16 behind it, found `{name}`"
        )
    })
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
        for wrong in
            ["", "tpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu/tf32", "cuda/tf", "cuda/bf16/tf32", "cpu/tf32/bf16"]
        {
            assert_eq!(
                named(wrong),
                Err(format!("expected cpu, cuda, cuda:N or, on a GPU, /tf32 behind it, found `{wrong}`"))
            );
            assert!(parse(wrong).is_err());
            assert!(named_with_numbers(wrong).is_err_and(|error| error.ends_with(&format!("found `{wrong}`"))));
        }
        for narrow in ["cpu/bf16", "cuda:3/bf16", "cuda/tf32/bf16"] {
            assert_eq!(named_with_numbers(narrow).as_deref(), Ok(narrow));
            assert!(named(narrow).is_err());
        }
        assert!(is_gpu("cuda:1/tf32/bf16") && !is_gpu("cpu") && !is_gpu("cuda:"));
        assert!(parse_with_numbers("cpu/bf16").is_ok_and(|place| place.numbers == Numbers::Bf16));
        assert!(parse_with_numbers("cpu").is_ok_and(|place| place.numbers == Numbers::F32));
        assert!(parse("cpu").is_ok_and(|device| device.is_cpu()));
    }
}
