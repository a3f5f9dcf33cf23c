//! Convolutions by cuDNN: one plan for each geometry and number type, made at first sight and kept.
//!
//! A plan is chosen by cuDNN's heuristics and not by timing, which would choose otherwise on another
//! day; of what they propose, only deterministic algorithms count.

use super::geometry::{Geometry, Kind};
use crate::device::cuda::allows_tf32;
use crate::ops::kernels::cuda::{address_of_new, room};
use candle_core::cuda_backend::DeviceId;
use candle_core::{CudaDevice, CudaStorage, DType, Result, bail};
use cudarc::cudnn::sys::{self, cudnnStatus_t as Status};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Largest scratch memory of a plan, in bytes.
const MOST_WORKSPACE: usize = 1 << 30;

/// Algorithms that cuDNN may propose for a kind; it has fewer.
const PROPOSALS: usize = 8;

/// Computes a kind of the buffers at these addresses, arguments before the result. Gives whether
/// cuDNN has an algorithm for it; if not, nothing was computed.
pub(super) fn convolve(
    kind: Kind,
    geometry: &Geometry,
    device: &CudaDevice,
    dtype: DType,
    buffers: [u64; 3],
) -> Result<bool> {
    let library = library(device);
    let mut library = library.lock().unwrap_or_else(PoisonError::into_inner);
    let key = Key { kind, geometry: *geometry, dtype, tf32: allows_tf32(device) };
    library.open(device)?.convolve(key, device, buffers)
}

/// Convolutions that were computed by their definition, slowly, since cuDNN has nothing for them.
pub(crate) fn left_to_definition() -> Vec<String> {
    left().iter().map(|key| format!("{:?} {:?} {:?}", key.kind, key.dtype, key.geometry)).collect()
}

fn left() -> MutexGuard<'static, Vec<Key>> {
    static LEFT: Mutex<Vec<Key>> = Mutex::new(Vec::new());
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// cuDNN as it serves each device. Neither it nor its plans are given back before the process ends: a
/// program opens its GPUs once.
fn library(device: &CudaDevice) -> Arc<Mutex<Library>> {
    static LIBRARIES: OnceLock<Mutex<HashMap<DeviceId, Arc<Mutex<Library>>>>> = OnceLock::new();
    let mut libraries = LIBRARIES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    libraries.entry(device.id()).or_default().clone()
}

#[derive(Default)]
struct Library(Option<Opened>);

struct Opened {
    handle: sys::cudnnHandle_t,
    plans: HashMap<Key, Option<Plan>>,
    /// Scratch memory, the last the largest. Earlier ones stay: a captured graph may still name them.
    workspaces: Vec<(CudaStorage, usize)>,
}

// SAFETY: handle and descriptors may be used from any thread, by one at a time, which the mutex around
// each library sees to.
unsafe impl Send for Opened {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    geometry: Geometry,
    dtype: DType,
    tf32: bool,
}

/// Descriptors of one convolution, and the algorithms that may compute it, best first.
struct Plan {
    images: sys::cudnnTensorDescriptor_t,
    outputs: sys::cudnnTensorDescriptor_t,
    filters: sys::cudnnFilterDescriptor_t,
    convolution: sys::cudnnConvolutionDescriptor_t,
    proposals: Vec<Proposal>,
    /// The first has computed it before.
    proven: bool,
}

#[derive(Clone, Copy, Debug)]
struct Proposal {
    algorithm: Algorithm,
    math: sys::cudnnMathType_t,
    workspace: usize,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    DataGradient(sys::cudnnConvolutionBwdDataAlgo_t),
    FilterGradient(sys::cudnnConvolutionBwdFilterAlgo_t),
}

impl Library {
    fn open(&mut self, device: &CudaDevice) -> Result<&mut Opened> {
        if self.0.is_none() {
            let stream = device.cuda_stream();
            bind(device)?;
            let mut handle = null_mut();
            // SAFETY: the handle is written before it is used; the stream lives as long as the device,
            // which the caller holds while it computes.
            unsafe {
                check("open", sys::cudnnCreate(&mut handle))?;
                check("take the stream", sys::cudnnSetStream(handle, stream.cu_stream().cast()))?;
            }
            self.0 = Some(Opened { handle, plans: HashMap::new(), workspaces: Vec::new() });
        }
        match &mut self.0 {
            Some(opened) => Ok(opened),
            None => bail!("cuDNN was not opened: this is a bug"),
        }
    }
}

impl Opened {
    fn convolve(&mut self, key: Key, device: &CudaDevice, buffers: [u64; 3]) -> Result<bool> {
        bind(device)?;
        if !self.plans.contains_key(&key) {
            let plan = Plan::new(self.handle, key)?;
            if plan.is_none() {
                left().push(key);
            }
            self.plans.insert(key, plan);
        }
        loop {
            let Some(Some(plan)) = self.plans.get(&key) else { return Ok(false) };
            let Some(&proposal) = plan.proposals.first() else {
                self.plans.insert(key, None);
                left().push(key);
                return Ok(false);
            };
            let workspace = self.workspace(device, proposal.workspace)?;
            let Some(Some(plan)) = self.plans.get_mut(&key) else { return Ok(false) };
            match plan.run(self.handle, proposal, workspace, buffers) {
                Status::CUDNN_STATUS_SUCCESS => {
                    plan.proven = true;
                    return Ok(true);
                }
                // The heuristics may promise what no kernel keeps; nothing was launched then.
                _ if !plan.proven => drop(plan.proposals.remove(0)),
                status => bail!("cuDNN computed {:?} before and now fails: {status:?}", key.geometry),
            }
        }
    }

    /// The address of scratch memory of at least so many bytes.
    fn workspace(&mut self, device: &CudaDevice, bytes: usize) -> Result<u64> {
        if bytes == 0 {
            return Ok(0);
        }
        match self.workspaces.last() {
            Some((storage, size)) if *size >= bytes => address_of_new(storage),
            last => {
                // By doubling, so that what stays behind is never more than what is used.
                let size = bytes.max(last.map_or(0, |(_, size)| 2 * size));
                let storage = room(device, DType::U8, size)?;
                let address = address_of_new(&storage)?;
                self.workspaces.push((storage, size));
                Ok(address)
            }
        }
    }
}

impl Plan {
    /// None where cuDNN knows no such convolution.
    fn new(handle: sys::cudnnHandle_t, key: Key) -> Result<Option<Self>> {
        let number = match key.dtype {
            DType::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            DType::BF16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
            DType::F16 => sys::cudnnDataType_t::CUDNN_DATA_HALF,
            _ => return Ok(None),
        };
        let math = match key.dtype {
            // The default lets f32 be computed in TF32.
            DType::F32 if key.tf32 => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            DType::F32 => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            _ => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        };
        let g = &key.geometry;
        let extents = [g.batch, g.height, g.width, g.channels, g.filters, g.out_height, g.out_width, g.size, g.stride];
        let mut numbers = [0; 9];
        for (number, extent) in numbers.iter_mut().zip(extents) {
            let Ok(extent) = i32::try_from(extent) else { return Ok(None) };
            *number = extent;
        }
        let [batch, height, width, channels, filters, out_height, out_width, size, stride] = numbers;
        let Ok(padding) = i32::try_from(g.padding) else { return Ok(None) };
        let mut plan = Self {
            images: null_mut(),
            outputs: null_mut(),
            filters: null_mut(),
            convolution: null_mut(),
            proposals: Vec::new(),
            proven: false,
        };
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        // SAFETY: each descriptor is made before it is set; all are plain values to cuDNN.
        let described = unsafe {
            check("describe", sys::cudnnCreateTensorDescriptor(&mut plan.images))?;
            check("describe", sys::cudnnCreateTensorDescriptor(&mut plan.outputs))?;
            check("describe", sys::cudnnCreateFilterDescriptor(&mut plan.filters))?;
            check("describe", sys::cudnnCreateConvolutionDescriptor(&mut plan.convolution))?;
            [
                sys::cudnnSetTensor4dDescriptor(plan.images, format, number, batch, channels, height, width),
                sys::cudnnSetTensor4dDescriptor(plan.outputs, format, number, batch, filters, out_height, out_width),
                sys::cudnnSetFilter4dDescriptor(plan.filters, number, format, filters, channels, size, size),
                sys::cudnnSetConvolution2dDescriptor(
                    plan.convolution,
                    padding,
                    padding,
                    stride,
                    stride,
                    1,
                    1,
                    sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                    sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
                ),
                sys::cudnnSetConvolutionMathType(plan.convolution, math),
            ]
        };
        if described.iter().any(|status| *status != Status::CUDNN_STATUS_SUCCESS) {
            return Ok(None);
        }
        plan.proposals = plan.proposals(handle, key.kind);
        if key.dtype == DType::F32 && !key.tf32 {
            plan.proposals.iter_mut().for_each(|proposal| proposal.math = math);
        }
        Ok(Some(plan))
    }

    /// What cuDNN proposes for a kind, best first, of what is deterministic and takes no more than its
    /// share of memory.
    fn proposals(&self, handle: sys::cudnnHandle_t, kind: Kind) -> Vec<Proposal> {
        let (x, y, w, convolution) = (self.images, self.outputs, self.filters, self.convolution);
        let mut count = 0;
        macro_rules! proposed {
            ($performance:ty, $algorithm:ident, $get:ident($($descriptor:expr),*)) => {{
                // SAFETY: a record of numbers, of enumerations that have a zero, and of reserved fields.
                let mut records: [$performance; PROPOSALS] = unsafe { std::mem::zeroed() };
                // SAFETY: there is room for as many records as are asked for.
                let status = unsafe {
                    sys::$get(handle, $($descriptor,)* PROPOSALS as i32, &mut count, records.as_mut_ptr())
                };
                let count = if status == Status::CUDNN_STATUS_SUCCESS { count.max(0) as usize } else { 0 };
                let usable = records.into_iter().take(count).filter(|record| {
                    record.status == Status::CUDNN_STATUS_SUCCESS
                        && record.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC
                        && record.memory <= MOST_WORKSPACE
                });
                let proposal = |record: $performance| Proposal {
                    algorithm: Algorithm::$algorithm(record.algo),
                    math: record.mathType,
                    workspace: record.memory,
                };
                usable.map(proposal).collect()
            }};
        }
        match kind {
            Kind::Forward => proposed!(
                sys::cudnnConvolutionFwdAlgoPerf_t,
                Forward,
                cudnnGetConvolutionForwardAlgorithm_v7(x, w, convolution, y)
            ),
            Kind::DataGradient => proposed!(
                sys::cudnnConvolutionBwdDataAlgoPerf_t,
                DataGradient,
                cudnnGetConvolutionBackwardDataAlgorithm_v7(w, y, convolution, x)
            ),
            Kind::FilterGradient => proposed!(
                sys::cudnnConvolutionBwdFilterAlgoPerf_t,
                FilterGradient,
                cudnnGetConvolutionBackwardFilterAlgorithm_v7(x, y, convolution, w)
            ),
        }
    }

    fn run(&self, handle: sys::cudnnHandle_t, proposal: Proposal, workspace: u64, [a, b, result]: [u64; 3]) -> Status {
        let Self { images: x, outputs: y, filters: w, convolution, .. } = *self;
        let (one, zero) = (1f32, 0f32);
        let (one, zero) = ((&raw const one).cast::<c_void>(), (&raw const zero).cast::<c_void>());
        let (a, b, result) = (a as *const c_void, b as *const c_void, result as *mut c_void);
        let (workspace, size) = (workspace as *mut c_void, proposal.workspace);
        // SAFETY: the descriptors say how the buffers lie, whose sizes are the geometry's; the workspace
        // has the bytes that the algorithm asked for.
        unsafe {
            let status = sys::cudnnSetConvolutionMathType(convolution, proposal.math);
            if status != Status::CUDNN_STATUS_SUCCESS {
                return status;
            }
            match proposal.algorithm {
                Algorithm::Forward(algorithm) => sys::cudnnConvolutionForward(
                    handle,
                    one,
                    x,
                    a,
                    w,
                    b,
                    convolution,
                    algorithm,
                    workspace,
                    size,
                    zero,
                    y,
                    result,
                ),
                Algorithm::DataGradient(algorithm) => sys::cudnnConvolutionBackwardData(
                    handle,
                    one,
                    w,
                    b,
                    y,
                    a,
                    convolution,
                    algorithm,
                    workspace,
                    size,
                    zero,
                    x,
                    result,
                ),
                Algorithm::FilterGradient(algorithm) => sys::cudnnConvolutionBackwardFilter(
                    handle,
                    one,
                    x,
                    a,
                    y,
                    b,
                    convolution,
                    algorithm,
                    workspace,
                    size,
                    zero,
                    w,
                    result,
                ),
            }
        }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made once, by `new`, or still null, and not used any more. What a failure says would
        // help nobody.
        unsafe {
            if !self.images.is_null() {
                sys::cudnnDestroyTensorDescriptor(self.images);
            }
            if !self.outputs.is_null() {
                sys::cudnnDestroyTensorDescriptor(self.outputs);
            }
            if !self.filters.is_null() {
                sys::cudnnDestroyFilterDescriptor(self.filters);
            }
            if !self.convolution.is_null() {
                sys::cudnnDestroyConvolutionDescriptor(self.convolution);
            }
        }
    }
}

/// Makes the device's context current: cuDNN works in that of the calling thread.
fn bind(device: &CudaDevice) -> Result<()> {
    device.cuda_stream().context().bind_to_thread().map_err(candle_core::Error::wrap)
}

fn check(what: &str, status: Status) -> Result<()> {
    match status {
        Status::CUDNN_STATUS_SUCCESS => Ok(()),
        status => bail!("cuDNN cannot {what}: {status:?}"),
    }
}
