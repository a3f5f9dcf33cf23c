//! Memory of batches that nobody holds any more, for the next ones.
//!
//! A batch's pixels are a megabyte and more, which an allocator gives back to the system and takes from
//! it again, page by page and each cleared, for every batch; or doesn't give back at all, when smaller things
//! lie behind them. Here they come from the system itself, are used again, and are given back when too
//! many are kept, or nobody has use for them.

use bytes::Bytes;
use memmap2::MmapMut;
use std::{
    alloc::{Layout, handle_alloc_error},
    mem,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// Memory to put batches in; clones share it.
#[derive(Clone, Debug)]
pub struct Buffers(Arc<Mutex<Kept>>);

/// What was given back, the latest last: it is the likeliest to lie in a processor's cache.
#[derive(Debug)]
struct Kept {
    buffers: Vec<MmapMut>,
    bytes: usize,
    /// Bytes that are kept at most.
    most: usize,
}

/// A buffer to be filled. It goes back when it, or what [`Buffer::freeze`] made of it, is dropped.
#[derive(Debug)]
pub struct Buffer {
    /// `None` for no bytes at all, which the system has none of.
    bytes: Option<MmapMut>,
    home: Weak<Mutex<Kept>>,
}

impl Buffers {
    /// Keeps so many bytes for later at most.
    pub fn keeping(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept { buffers: Vec::new(), bytes: 0, most })))
    }

    /// A buffer of so many bytes, in which anything may stand. When the system has no memory left the
    /// process ends, as by any other allocation.
    pub fn take(&self, length: usize) -> Buffer {
        let kept = self.lock().take(length);
        let bytes = kept.or_else(|| (length > 0).then(|| from_system(length)));
        Buffer { bytes, home: Arc::downgrade(&self.0) }
    }

    /// Gives back to the system what is kept.
    pub fn give_back(&self) {
        let mut kept = self.lock();
        kept.bytes = 0;
        let given = mem::take(&mut kept.buffers);
        drop(kept);
        drop(given);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn from_system(length: usize) -> MmapMut {
    let layout = Layout::array::<u8>(length).unwrap_or(Layout::new::<u8>());
    MmapMut::map_anon(length).unwrap_or_else(|_| handle_alloc_error(layout))
}

impl Kept {
    fn take(&mut self, length: usize) -> Option<MmapMut> {
        let nth = self.buffers.iter().rposition(|buffer| buffer.len() == length)?;
        self.bytes -= length;
        Some(self.buffers.remove(nth))
    }

    /// Makes room by those that were given back first.
    fn put(&mut self, buffer: MmapMut) {
        if buffer.len() > self.most {
            return;
        }
        self.bytes += buffer.len();
        self.buffers.push(buffer);
        let mut excess = self.bytes.saturating_sub(self.most);
        let leaving = self.buffers.iter().take_while(|buffer| {
            let leaves = excess > 0;
            excess = excess.saturating_sub(buffer.len());
            leaves
        });
        let count = leaving.count();
        self.bytes -= self.buffers.drain(..count).map(|buffer| buffer.len()).sum::<usize>();
    }
}

impl Buffer {
    /// What was written into it, to be shared.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let (Some(home), Some(bytes)) = (self.home.upgrade(), self.bytes.take()) {
            home.lock().unwrap_or_else(PoisonError::into_inner).put(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.as_deref_mut().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_nobody_holds_is_the_next_one_of_its_length() {
        let buffers = Buffers::keeping(1000);
        let mut buffer = buffers.take(100);
        assert_eq!(*buffer, [0; 100]);
        buffer[3] = 7;
        let place = buffer.as_ptr();
        let batch = buffer.freeze();
        assert_eq!((batch.as_ptr(), batch[3]), (place, 7));

        let part = batch.slice(50..);
        drop(batch);
        assert_ne!(buffers.take(100).as_ptr(), place, "a part of it is held");
        drop(part);
        assert_ne!(buffers.take(101).as_ptr(), place);
        assert_eq!(buffers.take(100).as_ptr(), place);
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let buffers = Buffers::keeping(64 << 20);
        let bytes = || buffers.0.lock().unwrap().bytes;
        let held: Vec<Buffer> = (1..=9).map(|nth| buffers.take(nth << 20)).collect();
        assert_eq!(bytes(), 0);
        drop(held);
        assert_eq!(bytes(), 45 << 20);
        drop([10, 12].map(|nth| buffers.take(nth << 20)));
        // Those of one and two megabytes had to go, as 67 are too many.
        assert_eq!(bytes(), 64 << 20);
        drop(buffers.take((64 << 20) + 1));
        assert_eq!(bytes(), 64 << 20);
        let kept = buffers.0.lock().unwrap();
        assert_eq!(kept.buffers.iter().map(|buffer| buffer.len()).sum::<usize>(), kept.bytes);
        drop(kept);
        buffers.give_back();
        assert_eq!(bytes(), 0);
    }

    #[test]
    fn a_batch_may_outlive_its_server() {
        let batch = Buffers::keeping(1000).take(10).freeze();
        assert_eq!(batch.len(), 10);
        assert!(Buffers::keeping(1000).take(0).freeze().is_empty());
    }
}
