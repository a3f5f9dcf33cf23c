//! A function of numbers to bytes on a GPU, for one tile after the other.
//!
//! It is captured as a graph once, so that a tile costs the host one launch. Two tiles are under way at
//! most: while one is computed, the next one's numbers are uploaded and the last one's bytes fetched, each
//! on a stream of its own, through memory that the driver has pinned.
//!
//! Where a graph can't be captured, the function is called for each tile instead, to the same bytes.

use super::received::Pinned;
use bytes::Bytes;
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{CudaDevice, DType, Device, Error, Result, Storage, Tensor, bail};
use cudarc::driver::{
    CudaEvent, CudaGraph, CudaSlice, CudaStream, DevicePtr, PinnedHostSlice, result,
    sys::{CUgraphInstantiate_flags_enum, CUstreamCaptureMode},
};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// What is captured must be all that is put on the device's stream meanwhile.
static CAPTURING: RwLock<()> = RwLock::new(());

/// Keeps captures waiting for as long as it lives: for threads that use a device beside its owner.
pub fn beside_captures() -> RwLockReadGuard<'static, ()> {
    CAPTURING.read().unwrap_or_else(PoisonError::into_inner)
}

/// A function's inputs of fixed shapes to a fixed number of bytes.
pub struct Pipeline {
    function: Function,
    device: CudaDevice,
    compute: Arc<CudaStream>,
    uploads: Arc<CudaStream>,
    downloads: Arc<CudaStream>,
    slots: [Slot; 2],
    pinned: Pinned,
    /// The slot of the next tile.
    next: usize,
    /// Tiles begun and not yet finished.
    begun: usize,
    uncaptured: Option<String>,
}

type Function = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send>;

/// One of two tiles under way.
struct Slot {
    inputs: Vec<Input>,
    output: CudaSlice<u8>,
    /// Where the bytes of a tile under way go.
    received: Option<PinnedHostSlice<u8>>,
    uploaded: CudaEvent,
    computed: CudaEvent,
    downloaded: CudaEvent,
    graph: Option<Graph>,
}

struct Input {
    there: Tensor,
    address: u64,
    sent: PinnedHostSlice<f32>,
}

struct Graph(CudaGraph);

// SAFETY: a graph may be used from any thread, by one at a time; its pipeline lends it only through an
// exclusive reference.
unsafe impl Send for Graph {}

impl Pipeline {
    /// Of a function from f32 tensors of these shapes to a tensor of `bytes` bytes on the same device.
    /// It is called a few times here.
    ///
    /// # Errors
    /// Those of the function, and when the device has no room.
    pub fn new(
        device: &CudaDevice,
        shapes: &[&[usize]],
        bytes: usize,
        function: impl Fn(&[Tensor]) -> Result<Tensor> + Send + 'static,
    ) -> Result<Self> {
        let compute = device.cuda_stream();
        let context = compute.context();
        let mut pipeline = Self {
            function: Box::new(function),
            device: device.clone(),
            uploads: context.new_stream().w()?,
            downloads: context.new_stream().w()?,
            slots: [Slot::new(device, shapes, bytes)?, Slot::new(device, shapes, bytes)?],
            pinned: Pinned::new(context, bytes),
            compute,
            next: 0,
            begun: 0,
            uncaptured: None,
        };
        let _alone = CAPTURING.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = pipeline.capture() {
            pipeline.slots.iter_mut().for_each(|slot| slot.graph = None);
            pipeline.uncaptured = Some(crate::sentence(&error));
            // Whatever kept it from being captured must not keep it from being computed.
            pipeline.slots[0].call(&pipeline.function, &pipeline.compute)?;
        }
        pipeline.compute.synchronize().w()?;
        Ok(pipeline)
    }

    /// Why the function is called for each tile instead of being captured, if so.
    pub fn uncaptured(&self) -> Option<&str> {
        self.uncaptured.as_deref()
    }

    /// Tiles begun and not yet finished, at most two.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// Begins with a tile. Returns at once; there must be fewer than two under way.
    ///
    /// # Errors
    /// When an input has another size than its shape, or the driver fails.
    pub fn begin(&mut self, inputs: &[&[f32]]) -> Result<()> {
        if self.begun == self.slots.len() {
            bail!("two tiles are under way already: this is a bug")
        }
        let Self { function, compute, uploads, downloads, slots, pinned, next, .. } = self;
        let slot = &mut slots[*next];
        if inputs.len() != slot.inputs.len() {
            bail!("expected {} inputs, found {}", slot.inputs.len(), inputs.len())
        }
        for (input, values) in slot.inputs.iter_mut().zip(inputs) {
            let sent = input.sent.as_mut_slice().w()?;
            if sent.len() != values.len() {
                bail!("expected {} numbers for {:?}, found {}", sent.len(), input.there, values.len())
            }
            sent.copy_from_slice(values);
            // SAFETY: the tensor has as many values, and nothing reads or writes either before the slot's
            // last tile is finished, which it is, or before `uploaded`.
            unsafe { result::memcpy_htod_async(input.address, sent, uploads.cu_stream()) }.w()?;
        }
        slot.uploaded.record(uploads).w()?;
        compute.wait(&slot.uploaded).w()?;
        match &slot.graph {
            Some(Graph(graph)) => graph.launch().w()?,
            None => slot.call(function, compute)?,
        }
        slot.computed.record(compute).w()?;
        downloads.wait(&slot.computed).w()?;
        let (output, _) = slot.output.device_ptr(downloads);
        let mut received = pinned.take()?;
        // SAFETY: both have the same size; the host reads only after `downloaded`, and the slot holds it until then.
        let sent = unsafe { result::memcpy_dtoh_async(received.as_mut_slice().w()?, output, downloads.cu_stream()) };
        slot.received = Some(received);
        sent.w()?;
        slot.downloaded.record(downloads).w()?;
        self.next = 1 - self.next;
        self.begun += 1;
        Ok(())
    }

    /// Waits for the tile that was begun first, and gives its bytes, where the device has put them.
    ///
    /// # Errors
    /// When none was begun, or the device failed.
    pub fn finish(&mut self) -> Result<Bytes> {
        if self.begun == 0 {
            bail!("no tile is under way: this is a bug")
        }
        let slot = &mut self.slots[(self.next + self.begun) % 2];
        slot.downloaded.synchronize().w()?;
        self.begun -= 1;
        let Some(received) = slot.received.take() else { bail!("a tile has nowhere to go: this is a bug") };
        self.pinned.share(received)
    }

    /// Captures the function for both slots, after a run that makes whatever is made once.
    fn capture(&mut self) -> Result<()> {
        let Self { function, compute, slots, device, .. } = self;
        // Small uploads, such as of shapes, become part of the graph as copies on the device.
        let _kept = device.enable_cuda_graph_htod_cache();
        for slot in slots {
            slot.call(function, compute)?;
            compute.synchronize().w()?;
            compute.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).w()?;
            let called = slot.call(function, compute);
            // Also after a failure: the stream must not stay in that state.
            let flags = CUgraphInstantiate_flags_enum::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
            let graph = compute.end_capture(flags).w();
            called?;
            let Some(graph) = graph? else { bail!("the graph is empty") };
            graph.upload().w()?;
            slot.graph = Some(Graph(graph));
        }
        Ok(())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Nothing may still read or write what is given back now. A device that failed does neither.
        for stream in [&self.uploads, &self.compute, &self.downloads] {
            let _ = stream.synchronize();
        }
    }
}

impl Slot {
    fn new(device: &CudaDevice, shapes: &[&[usize]], bytes: usize) -> Result<Self> {
        let stream = device.cuda_stream();
        let context = stream.context();
        let input = |shape: &&[usize]| {
            let there = Tensor::zeros(*shape, DType::F32, &Device::Cuda(device.clone()))?;
            // SAFETY: zeroed below, before anything reads it.
            let mut sent = unsafe { context.alloc_pinned::<f32>(there.elem_count()) }.w()?;
            sent.as_mut_slice().w()?.fill(0.0);
            let address = address(&there, &stream)?;
            Ok(Input { there, address, sent })
        };
        let event = || context.new_event(None).w();
        Ok(Self {
            inputs: shapes.iter().map(input).collect::<Result<_>>()?,
            output: device.alloc_zeros(bytes)?,
            received: None,
            uploaded: event()?,
            computed: event()?,
            downloaded: event()?,
            graph: None,
        })
    }

    /// Puts the function's work, and the copy of its result to where it is fetched from, on the stream.
    fn call(&self, function: &Function, compute: &CudaStream) -> Result<()> {
        let inputs: Vec<Tensor> = self.inputs.iter().map(|input| input.there.clone()).collect();
        let bytes = function(&inputs)?.contiguous()?;
        if bytes.dtype() != DType::U8 || bytes.elem_count() != self.output.len() {
            bail!("expected {} bytes, found {bytes:?}", self.output.len())
        }
        let from = address(&bytes, compute)?;
        let (to, _) = self.output.device_ptr(compute);
        // SAFETY: both have the same size, and all readers of the output come later on the stream, or wait
        // for it.
        unsafe { result::memcpy_dtod_async(to, from, self.output.len(), compute.cu_stream()) }.w()
    }
}

/// Where a contiguous tensor of f32 or bytes lies.
fn address(tensor: &Tensor, stream: &CudaStream) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let start = layout.start_offset() as u64;
    match &*storage {
        Storage::Cuda(storage) => match &storage.slice {
            CudaStorageSlice::F32(values) => Ok(values.device_ptr(stream).0 + 4 * start),
            CudaStorageSlice::U8(values) => Ok(values.device_ptr(stream).0 + start),
            _ => Err(Error::Msg(format!("expected f32 or bytes, found {tensor:?}"))),
        },
        _ => Err(Error::Msg(format!("expected a tensor on a GPU, found {tensor:?}"))),
    }
}
