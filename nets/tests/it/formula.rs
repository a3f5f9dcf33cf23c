//! Weights and images that are formulas, so that no reference has to store them. The same ones are
//! written in `nets/reference/make.py`, which documents them.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use nets::{LATENT, Parameters};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Identities in every reference case.
pub(crate) const CLASSES: usize = 5;

/// FNV-1a, 64 bits.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// Values in `[-1, 1)`: splitmix64 at the hash of the stream's name plus 1, 2, ...
pub(crate) fn unit(stream: &str, count: usize) -> Vec<f64> {
    let start = fnv1a(stream.as_bytes());
    (0..count).into_par_iter().map(|at| unit_at(start, at)).collect()
}

fn unit_at(start: u64, at: usize) -> f64 {
    let x = start.wrapping_add((at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> 11) as f64 * (1.0 / (1u64 << 52) as f64) - 1.0
}

/// Values that f32 and f64 hold alike.
pub(crate) fn tensor(values: &[f64], dims: &[usize], dtype: DType) -> Result<Tensor> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)?.to_dtype(dtype)
}

/// One variable of a case.
pub(crate) fn variable(case: &str, name: &str, dims: &[usize], dtype: DType) -> Result<Tensor> {
    let fan_in = if name.starts_with("deconv") { 4 * dims[0] } else { dims[1..].iter().product() };
    let light_cnn = name.contains(".filter.") || name.starts_with("fc");
    let bound = (if light_cnn { 3.0 } else { 6.0 } / fan_in as f64).sqrt();
    let (offset, factor) = if name.ends_with(".bias") || name.ends_with(".shift") {
        (0.0, 0.1)
    } else if name.ends_with(".scale") {
        (1.0, 0.2)
    } else if name.contains("conv2.filter") {
        (0.0, 0.2 * bound)
    } else {
        (0.0, bound)
    };
    let start = fnv1a(format!("{case}/{name}").as_bytes());
    let values = (0..dims.iter().product()).into_par_iter().map(|at| (offset + factor * unit_at(start, at)) as f32);
    Tensor::from_vec(values.collect::<Vec<f32>>(), dims, &Device::Cpu)?.to_dtype(dtype)
}

/// Hands a network the case's variables, as constants.
pub(crate) fn weights(case: &str, dtype: DType) -> VarBuilder<'static> {
    VarBuilder::from_backend(Box::new(Formula { case: case.to_owned() }), dtype, Device::Cpu)
}

/// Sets variables, already named by a network, to the case's.
pub(crate) fn fill(parameters: &Parameters, case: &str) -> Result<()> {
    let values = parameters.vars().into_iter().map(|(name, var)| {
        let value = variable(case, &name, var.dims(), var.dtype())?;
        Ok((name, value))
    });
    parameters.load(&values.collect::<Result<BTreeMap<_, _>>>()?)
}

/// Images of squares under noise, `(batch, size, size, channels)` in `[-1, 1]`.
pub(crate) fn images(case: &str, [batch, size, channels]: [usize; 3], dtype: DType) -> Result<Tensor> {
    picture(case, [batch, size, channels], dtype, |value| value)
}

/// The same in `[0, 1]`, grey.
pub(crate) fn grey_images(case: &str, batch: usize, dtype: DType) -> Result<Tensor> {
    picture(case, [batch, nets::pixels::IMAGE_SIZE, 1], dtype, |value| 0.5 * value + 0.5)
}

fn picture(case: &str, [batch, size, channels]: [usize; 3], dtype: DType, range: fn(f64) -> f64) -> Result<Tensor> {
    let squares = unit(&format!("{case}/squares"), batch * (size / 16).pow(2) * channels);
    let mut values = unit(&format!("{case}/noise"), batch * size * size * channels);
    for (at, value) in values.iter_mut().enumerate() {
        let (pixel, channel) = (at / channels, at % channels);
        let (image, y, x) = (pixel / (size * size), pixel / size % size, pixel % size);
        let square = (image * (size / 16) + y / 16) * (size / 16) + x / 16;
        *value = range(0.7 * squares[square * channels + channel] + 0.3 * *value);
    }
    tensor(&values, &[batch, size, size, channels], dtype)
}

/// Latents `(batch, 256)`.
pub(crate) fn latents(case: &str, batch: usize, dtype: DType) -> Result<Tensor> {
    let values: Vec<f64> = unit(&format!("{case}/z"), batch * LATENT).into_iter().map(|u| 1.7 * u).collect();
    tensor(&values, &[batch, LATENT], dtype)
}

/// Labels `(batch, CLASSES)`, each of two identities.
pub(crate) fn labels(batch: usize, dtype: DType) -> Result<Tensor> {
    let mut values = vec![0.0; batch * CLASSES];
    for row in 0..batch {
        values[row * CLASSES + row % CLASSES] = 0.75;
        values[row * CLASSES + (row + 2) % CLASSES] = 0.25;
    }
    tensor(&values, &[batch, CLASSES], dtype)
}

struct Formula {
    case: String,
}

impl SimpleBackend for Formula {
    fn get(&self, shape: Shape, name: &str, _init: Init, dtype: DType, _device: &Device) -> Result<Tensor> {
        variable(&self.case, name, shape.dims(), dtype)
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> Result<Tensor> {
        candle_core::bail!("`{name}` was asked for without its shape")
    }

    fn contains_tensor(&self, _name: &str) -> bool {
        true
    }
}
