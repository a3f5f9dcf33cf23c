//! A GPU as these networks use it: one stream for all work, and its freed memory kept.

use candle_core::cuda_backend::DeviceId;
use candle_core::{CudaDevice, Device, Error, Result};
use cudarc::cublas::sys::cublasGetVersion_v2;
use cudarc::driver::{CudaContext, DriverError, sys};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Opens a GPU; `tf32` as in [`parse`](super::parse).
///
/// # Errors
/// In one sentence, when there is none of this number, or the driver refuses.
pub fn open(ordinal: usize, tf32: bool) -> Result<Device> {
    let refused = |reason: String| Error::Msg(format!("cannot use `cuda:{ordinal}`: {reason}"));
    let failed = |error: DriverError| refused(format!("the driver says {:?}", error.0));
    match CudaContext::device_count() {
        Ok(count) if usize::try_from(count).is_ok_and(|count| ordinal < count) => {}
        Ok(0) | Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => {
            return Err(refused("this machine has no GPU that NVIDIA's driver knows".into()));
        }
        Ok(count) => return Err(refused(format!("this machine has {count} GPUs, numbered from 0"))),
        Err(error) => return Err(failed(error)),
    }
    let device = CudaDevice::new_with_stream(ordinal)?;
    let stream = device.cuda_stream();
    let (major, minor) = stream.context().compute_capability().map_err(failed)?;
    if major < 8 {
        return Err(refused(format!("its compute capability is {major}.{minor}, and the kernels need 8.0")));
    }
    // SAFETY: everything on this device is computed on its one stream, in the order in which it was
    // asked for; whoever takes another stream waits by events of its own.
    unsafe { device.disable_event_tracking() };
    keep_freed_memory(&device).map_err(failed)?;
    if tf32 {
        with_tf32().insert(device.id());
    }
    Ok(Device::Cuda(device))
}

/// Whether f32 factors may be rounded to TF32 on a device.
pub fn allows_tf32(device: &CudaDevice) -> bool {
    with_tf32().contains(&device.id())
}

fn with_tf32() -> MutexGuard<'static, HashSet<DeviceId>> {
    static DEVICES: OnceLock<Mutex<HashSet<DeviceId>>> = OnceLock::new();
    DEVICES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Convolutions that this program has computed by their definition, which is slow, since cuDNN has nothing for
/// them: none, it is hoped.
pub fn slow_convolutions() -> Vec<String> {
    crate::ops::conv::left_to_definition()
}

/// What a result's bits depend on here besides the program: the GPU's architecture, the versions of cuDNN
/// and cuBLAS, and what f32 is multiplied in. As in `cuda-sm90-cudnn9.10.2-cublas13.0.0/tf32`.
///
/// # Errors
/// When the driver or cuBLAS does not say.
pub fn numerics(device: &CudaDevice) -> Result<String> {
    let (major, minor) = device.cuda_stream().context().compute_capability().map_err(Error::wrap)?;
    // SAFETY: asks for a constant of the library.
    let cudnn = unsafe { cudarc::cudnn::sys::cudnnGetVersion() };
    let mut cublas = 0;
    // SAFETY: the handle is the device's own; the number is written before it is read.
    unsafe { cublasGetVersion_v2(*device.cublas_handle().handle(), &mut cublas) }.result().map_err(Error::wrap)?;
    let precision = if allows_tf32(device) { "tf32" } else { "f32" };
    let (cudnn, cublas) = (version(cudnn), version(usize::try_from(cublas).unwrap_or_default()));
    Ok(format!("cuda-sm{major}{minor}-cudnn{cudnn}-cublas{cublas}/{precision}"))
}

/// Both libraries write 9.10.2 as 91002.
fn version(number: usize) -> String {
    format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}

/// Keeps freed memory in the driver's pool instead of giving it back whenever the host waits.
fn keep_freed_memory(device: &CudaDevice) -> std::result::Result<(), DriverError> {
    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(());
    }
    context.bind_to_thread()?;
    let mut pool = std::ptr::null_mut();
    let mut most = u64::MAX;
    let threshold = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is written before it is used; this attribute is a 64-bit number.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()).result()?;
        sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut most).cast()).result()
    }
}
