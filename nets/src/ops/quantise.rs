//! Images to bytes where they are, so that a quarter of the numbers leaves the device.

use super::element::{Argument, values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
use crate::pixels::{IMAGE_SIZE, quantize};
use candle_core::{CpuStorage, DType, Result, Shape, Tensor};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, bail};
use rayon::prelude::*;

/// Images in `[-1, 1]` to bytes of the same shape, each by [`quantize`]. It has no gradient.
pub fn quantise(images: &Tensor) -> Result<Tensor> {
    let images = match images.device().is_cpu() {
        true => images.to_dtype(DType::F32)?,
        false => images.clone(),
    };
    Quantise.compute([&images])
}

struct Quantise;

impl Op<1> for Quantise {
    fn name(&self) -> &'static str {
        "quantise"
    }

    fn on_cpu(&self, inputs: [Argument; 1]) -> Result<(CpuStorage, Shape)> {
        let values = &*values::<f32>(inputs[0])?;
        let mut bytes = vec![0; values.len()];
        let parts = bytes.par_chunks_mut(IMAGE_SIZE * IMAGE_SIZE).zip(values.par_chunks(IMAGE_SIZE * IMAGE_SIZE));
        parts.for_each(|(bytes, values)| {
            bytes.iter_mut().zip(values).for_each(|(byte, &value)| *byte = quantize(value));
        });
        Ok((CpuStorage::U8(bytes), inputs[0].shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 1]) -> Result<(CudaStorage, Shape)> {
        let (device, dtype) = (&inputs[0].0.device, inputs[0].dtype());
        let bytes = cuda::room(device, DType::U8, inputs[0].shape())?;
        let buffers = [cuda::address(inputs[0])?, cuda::address_of_new(&bytes)?];
        if !dtype.is_float() {
            bail!("quantise: expected floating point numbers, found {dtype:?}")
        }
        cuda::run(&kernels::quantise(inputs[0].count()), device, dtype, &buffers)?;
        Ok((bytes, inputs[0].shape().clone()))
    }
}
