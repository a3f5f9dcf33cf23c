//! Launches on a GPU, and storage there.

use super::{Arguments, Launch};
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};
use cudarc::driver::{DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg};

/// All kernels, for compute capability 8.0 and, through the driver's compiler, every later one.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

// SAFETY: plain numbers, laid out as the kernels' own declaration is.
unsafe impl DeviceRepr for Arguments {}

/// An argument of an op: storage, and where the values lie in it.
pub(crate) type Argument<'a> = (&'a CudaStorage, &'a Layout);

/// The address of an argument's first value.
///
/// # Errors
/// When the values do not lie in one piece.
pub(crate) fn address((storage, layout): Argument) -> Result<u64> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor, found strides {:?}: this is a bug", layout.stride())
    };
    let stream = storage.device.cuda_stream();
    // All of a device's work is on its one stream, so no use needs to be recorded for another.
    let first = match &storage.slice {
        CudaStorageSlice::U8(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::BF16(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::F16(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::F32(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::F64(values) => values.device_ptr(&stream).0,
        _ => bail!("expected floating point numbers or bytes, found {:?}", storage.dtype()),
    };
    Ok(first + (start * storage.dtype().size_in_bytes()) as u64)
}

/// The address of storage that was just made.
pub(crate) fn address_of_new(storage: &CudaStorage) -> Result<u64> {
    address((storage, &Layout::contiguous(0)))
}

/// Room for values that a kernel is about to write, all of them.
pub(crate) fn room(device: &CudaDevice, dtype: DType, shape: impl Into<Shape>) -> Result<CudaStorage> {
    // SAFETY: every caller's kernel writes each value before anything reads it, on the same stream.
    unsafe { device.alloc_uninit(&shape.into(), dtype) }
}

/// The type that sums over a type are taken in.
pub(crate) fn accumulator(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// Runs a launch for a number type, on the buffers at these addresses.
///
/// # Errors
/// For a type that there are no kernels for, and when the driver refuses.
pub(crate) fn run(launch: &Launch, device: &CudaDevice, dtype: DType, buffers: &[u64]) -> Result<()> {
    let suffix = match dtype {
        DType::F32 => "f32",
        DType::F64 => "f64",
        DType::BF16 => "bf16",
        DType::F16 => "f16",
        other => bail!("{}: expected f32, f64, bf16 or f16 on CUDA, found {other:?}", launch.kernel),
    };
    if launch.is_empty() {
        return Ok(());
    }
    let launch = launch.on(buffers);
    let function = device.get_or_load_custom_func(&format!("{}_{suffix}", launch.kernel), "lookalike", PTX)?;
    let arguments = launch.arguments(buffers);
    let [grid, block] = [launch.grid, launch.block].map(|[x, y, z]| (x, y, z));
    let config = LaunchConfig { grid_dim: grid, block_dim: block, shared_mem_bytes: 0 };
    let mut call = function.builder();
    call.arg(&arguments);
    // SAFETY: the kernel takes one `Arguments`; the launch was made for the shapes of these buffers, and
    // each of its threads stays inside them, which the emulated tests hold it to.
    unsafe { call.launch(config) }.w()?;
    Ok(())
}

/// Runs a launch whose last buffer is its output, of the inputs' type.
pub(crate) fn compute(launch: &Launch, inputs: &[Argument], shape: impl Into<Shape>) -> Result<(CudaStorage, Shape)> {
    let (first, _) = inputs[0];
    let (dtype, shape) = (first.dtype(), shape.into());
    let output = room(&first.device, dtype, &shape)?;
    let mut buffers = Vec::with_capacity(inputs.len() + 1);
    for &(storage, layout) in inputs {
        if storage.dtype() != dtype {
            bail!("{}: expected one element type, found {dtype:?} and {:?}", launch.kernel, storage.dtype())
        }
        buffers.push(address((storage, layout))?);
    }
    buffers.push(address_of_new(&output)?);
    run(launch, &first.device, dtype, &buffers)?;
    Ok((output, shape))
}

/// The sums over the rows of `(rows, columns)`.
pub(crate) fn column_sum((storage, layout): Argument, rows: usize, columns: usize) -> Result<CudaStorage> {
    let (device, dtype) = (&storage.device, storage.dtype());
    let count = super::column_parts(rows);
    let parts = room(device, accumulator(dtype), (count, columns))?;
    let launch = super::column_sum_parts(rows, columns);
    run(&launch, device, dtype, &[address((storage, layout))?, address_of_new(&parts)?])?;
    column_total(&parts, dtype, count, columns)
}

/// The sums over `(parts, columns)` of partial sums, in another type.
pub(crate) fn column_total(parts: &CudaStorage, dtype: DType, count: usize, columns: usize) -> Result<CudaStorage> {
    let total = room(&parts.device, dtype, columns)?;
    let buffers = [address_of_new(parts)?, address_of_new(&total)?];
    run(&super::column_sum_total(count, columns), &parts.device, dtype, &buffers)?;
    Ok(total)
}

/// A tensor of storage that was computed, without a past.
pub(crate) fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// Runs `body` on the storages of contiguous tensors that all live on one GPU.
///
/// # Errors
/// When one of them lives elsewhere.
pub(crate) fn with_storages<R>(tensors: &[&Tensor], body: impl FnOnce(&[Argument]) -> Result<R>) -> Result<R> {
    let guards: Vec<_> = tensors.iter().map(|tensor| tensor.storage_and_layout()).collect();
    let mut arguments = Vec::with_capacity(guards.len());
    for (storage, layout) in &guards {
        match &**storage {
            Storage::Cuda(storage) => arguments.push((storage, *layout)),
            _ => bail!("expected tensors on one GPU, found one elsewhere: this is a bug"),
        }
    }
    body(&arguments)
}

/// Runs a launch on tensors of one type, some of which it changes where they are, and at last a scalar of f64.
///
/// Work of later readers comes after it on the device's one stream, so that this is as good as a write
/// through an exclusive reference; candle gives none on several tensors at once.
pub(crate) fn update(launch: &Launch, tensors: &[&Tensor], scalar: Option<&Tensor>) -> Result<()> {
    let all: Vec<&Tensor> = tensors.iter().copied().chain(scalar).collect();
    with_storages(&all, |arguments| {
        let (arguments, scalar) = arguments.split_at(tensors.len());
        let (first, _) = arguments[0];
        let mut buffers = Vec::with_capacity(arguments.len());
        for &(storage, layout) in arguments {
            if storage.dtype() != first.dtype() || layout.shape().elem_count() != tensors[0].elem_count() {
                bail!("{}: expected tensors of one type and size: this is a bug", launch.kernel)
            }
            buffers.push(address((storage, layout))?);
        }
        for &(storage, layout) in scalar {
            if storage.dtype() != DType::F64 || layout.shape().elem_count() != 1 {
                bail!("{}: expected a scalar of f64: this is a bug", launch.kernel)
            }
            buffers.push(address((storage, layout))?);
        }
        run(launch, &first.device, first.dtype(), &buffers)
    })
}
