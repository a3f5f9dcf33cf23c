//! Images to bytes where they are, so that a quarter of the numbers leaves the device.

#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use crate::pixels::{IMAGE_SIZE, quantize};
#[cfg(feature = "cuda")]
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, bail};
use rayon::prelude::*;

/// Images in `[-1, 1]` to bytes of the same shape, each by [`quantize`]. It has no gradient.
pub fn quantise(images: &Tensor) -> Result<Tensor> {
    let images = match images.device().is_cpu() {
        true => images.to_dtype(DType::F32)?,
        false => images.clone(),
    };
    images.contiguous()?.apply_op1_no_bwd(&Quantise)
}

struct Quantise;

impl CustomOp1 for Quantise {
    fn name(&self) -> &'static str {
        "quantise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = &*super::element::values::<f32>((storage, layout))?;
        let mut bytes = vec![0; values.len()];
        let parts = bytes.par_chunks_mut(IMAGE_SIZE * IMAGE_SIZE).zip(values.par_chunks(IMAGE_SIZE * IMAGE_SIZE));
        parts.for_each(|(bytes, values)| {
            bytes.iter_mut().zip(values).for_each(|(byte, &value)| *byte = quantize(value));
        });
        Ok((CpuStorage::U8(bytes), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let bytes = cuda::room(&storage.device, DType::U8, layout.shape())?;
        let buffers = [cuda::address((storage, layout))?, cuda::address_of_new(&bytes)?];
        if !storage.dtype().is_float() {
            bail!("quantise: expected floating point numbers, found {:?}", storage.dtype())
        }
        cuda::run(&kernels::quantise(layout.shape().elem_count()), &storage.device, storage.dtype(), &buffers)?;
        Ok((bytes, layout.shape().clone()))
    }
}
