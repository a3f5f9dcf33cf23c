//! The three kinds on a GPU: matrix products through cuBLAS where a window is one pixel, cuDNN where
//! it is more, and the definition's own kernels for what cuDNN has none for, f64 above all.
//!
//! Whichever computes, a geometry always meets the same algorithm on the same GPU and libraries, and
//! only such as sum in a fixed order: a tile's bytes do not change from one run to the next.

use super::cudnn;
use super::geometry::{Geometry, Kind};
use crate::device::cuda::allows_tf32;
use crate::ops::kernels::{self, cuda};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::{CudaStorage, DType, Result, bail};
use cudarc::cublas::sys::{
    cublasComputeType_t as Compute, cublasGemmAlgo_t, cublasGemmEx_64, cublasOperation_t as Operation, cudaDataType,
};
use std::ffi::c_void;

/// Computes a kind of its two arguments.
pub(in crate::ops) fn convolve(kind: Kind, g: &Geometry, a: cuda::Argument, b: cuda::Argument) -> Result<CudaStorage> {
    let (device, dtype) = (&a.0.device, a.0.dtype());
    if b.0.dtype() != dtype {
        bail!("convolution: expected one element type, found {dtype:?} and {:?}", b.0.dtype())
    }
    let result = cuda::room(device, dtype, &g.result_dims(kind))?;
    let buffers = [cuda::address(a)?, cuda::address(b)?, cuda::address_of_new(&result)?];
    // A sum over nothing is zero, which the definition knows and the libraries refuse.
    let is_empty = [g.batch, g.channels, g.filters, g.positions()].contains(&0);
    if g.is_pointwise() && !is_empty {
        multiply(kind, g, a.0, buffers)?;
        return Ok(result);
    }
    let through_cudnn = dtype != DType::F64 && !is_empty;
    if through_cudnn && cudnn::convolve(kind, g, device, dtype, buffers)? {
        return Ok(result);
    }
    let launch = kernels::convolution(kind, g);
    if kind != Kind::FilterGradient {
        cuda::run(&launch, device, dtype, &buffers)?;
        return Ok(result);
    }
    let (parts, values) = (kernels::filter_parts(g), g.filters * g.window());
    let sums = cuda::room(device, cuda::accumulator(dtype), (parts, values))?;
    cuda::run(&launch, device, dtype, &[buffers[0], buffers[1], cuda::address_of_new(&sums)?])?;
    cuda::column_total(&sums, dtype, parts, values)
}

/// A pointwise kind: a product of matrices, as cuBLAS has them, by columns.
fn multiply(kind: Kind, g: &Geometry, storage: &CudaStorage, [a, b, result]: [u64; 3]) -> Result<()> {
    let (pixels, channels, filters) = ((g.batch * g.positions()) as i64, g.channels as i64, g.filters as i64);
    // In columns: x is (channels, pixels), w (channels, filters), y (filters, pixels).
    let product = match kind {
        // y = w' x
        Kind::Forward => {
            Product { rows: filters, columns: pixels, terms: channels, left: (b, true), right: (a, false) }
        }
        // x = w y
        Kind::DataGradient => {
            Product { rows: channels, columns: pixels, terms: filters, left: (b, false), right: (a, false) }
        }
        // w = x y'
        Kind::FilterGradient => {
            Product { rows: channels, columns: filters, terms: pixels, left: (a, false), right: (b, true) }
        }
    };
    product.run(storage, result)
}

/// `left (rows, terms)` times `right (terms, columns)`, each an address and whether it lies transposed.
struct Product {
    rows: i64,
    columns: i64,
    terms: i64,
    left: (u64, bool),
    right: (u64, bool),
}

impl Product {
    fn run(&self, storage: &CudaStorage, result: u64) -> Result<()> {
        let (number, compute) = match storage.dtype() {
            DType::F64 => (cudaDataType::CUDA_R_64F, Compute::CUBLAS_COMPUTE_64F),
            DType::F32 if allows_tf32(&storage.device) => {
                (cudaDataType::CUDA_R_32F, Compute::CUBLAS_COMPUTE_32F_FAST_TF32)
            }
            DType::F32 => (cudaDataType::CUDA_R_32F, Compute::CUBLAS_COMPUTE_32F),
            DType::BF16 => (cudaDataType::CUDA_R_16BF, Compute::CUBLAS_COMPUTE_32F),
            DType::F16 => (cudaDataType::CUDA_R_16F, Compute::CUBLAS_COMPUTE_32F),
            other => bail!("linear: expected f32, f64, bf16 or f16 on CUDA, found {other:?}"),
        };
        // The factors are of the type that is computed in.
        let (one, zero, one_wide, zero_wide) = (1f32, 0f32, 1f64, 0f64);
        let narrow = [(&raw const one).cast::<c_void>(), (&raw const zero).cast()];
        let wide = [(&raw const one_wide).cast::<c_void>(), (&raw const zero_wide).cast()];
        let [alpha, beta] = if storage.dtype() == DType::F64 { wide } else { narrow };
        let operation = |transposed| if transposed { Operation::CUBLAS_OP_T } else { Operation::CUBLAS_OP_N };
        let (left, right) = (self.left, self.right);
        // Values from one column to the next, as the matrices lie.
        let left_stride = if left.1 { self.terms } else { self.rows };
        let right_stride = if right.1 { self.columns } else { self.terms };
        let blas = storage.device.cublas_handle();
        // SAFETY: the matrices have these extents, by the geometry that their storages were checked
        // against; the handle is the device's own, on its stream.
        unsafe {
            cublasGemmEx_64(
                *blas.handle(),
                operation(left.1),
                operation(right.1),
                self.rows,
                self.columns,
                self.terms,
                alpha,
                left.0 as *const c_void,
                number,
                left_stride,
                right.0 as *const c_void,
                number,
                right_stride,
                beta,
                result as *mut c_void,
                number,
                self.rows,
                compute,
                cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .result()
        .w()
    }
}
