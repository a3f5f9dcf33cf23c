//! Memory that the driver has pinned, for what comes from a GPU: handed on as it is, and used again once
//! nobody holds any of it.

use bytes::Bytes;
use candle_core::{Result, cuda_backend::WrapErr};
use cudarc::driver::{CudaContext, PinnedHostSlice};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Pieces that are kept beside those in use: what a few batches hold. Pinning takes a GPU as long as some
/// tiles do.
const KEPT: usize = 16;

/// Pieces of one size.
pub(super) struct Pinned {
    context: Arc<CudaContext>,
    bytes: usize,
    free: Arc<Mutex<Vec<PinnedHostSlice<u8>>>>,
}

/// A piece that is held by somebody; it goes back when they have all let go of it.
struct Held {
    memory: Option<PinnedHostSlice<u8>>,
    address: *const u8,
    bytes: usize,
    context: Arc<CudaContext>,
    home: Weak<Mutex<Vec<PinnedHostSlice<u8>>>>,
}

// SAFETY: the address is that of the memory it owns, which nobody writes as long as this lives.
unsafe impl Send for Held {}

impl Pinned {
    /// Pieces of so many bytes, none of which is there yet.
    pub(super) fn new(context: &Arc<CudaContext>, bytes: usize) -> Self {
        Self { context: context.clone(), bytes, free: Arc::default() }
    }

    /// A piece, in which anything may stand.
    ///
    /// # Errors
    /// When the driver has no more.
    pub(super) fn take(&self) -> Result<PinnedHostSlice<u8>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(memory) = free {
            return Ok(memory);
        }
        // SAFETY: zeroed below, before anything reads it. The host reads it, so it must be cached.
        let mut memory = unsafe { self.context.alloc_pinned_with_flags::<u8>(self.bytes, 0) }.w()?;
        memory.as_mut_slice().w()?.fill(0);
        Ok(memory)
    }

    /// A piece that was written, to be read by whoever wants to.
    ///
    /// # Errors
    /// When the driver failed meanwhile.
    pub(super) fn share(&self, memory: PinnedHostSlice<u8>) -> Result<Bytes> {
        let address = memory.as_ptr().w()?;
        let (bytes, context, home) = (self.bytes, self.context.clone(), Arc::downgrade(&self.free));
        Ok(Bytes::from_owner(Held { memory: Some(memory), address, bytes, context, home }))
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the memory is as long, was zeroed when it was made, and is held by this.
        unsafe { std::slice::from_raw_parts(self.address, self.bytes) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        if let Some(home) = self.home.upgrade() {
            let mut free = home.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < KEPT {
                return free.push(memory);
            }
        }
        // The driver takes it back from a thread that knows its context, whichever thread this is.
        let _ = self.context.bind_to_thread();
        drop(memory);
    }
}
