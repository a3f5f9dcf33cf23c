//! Finished batches, kept for others who ask for the same: an LRU cache that is bounded in bytes.
//!
//! Two trainers with one spec share the work while they are near each other; a batch that was
//! evicted is made again, equal. A batch that is being made is waited for; if its maker leaves,
//! one of those who wait makes it.

use crate::{assemble::Batch, error::Result, telemetry::Mode};
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// Which rows of which stream, made by which bundle and sampling table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey([u8; 32]);

/// A cache of batches.
pub struct Shelf {
    slots: Mutex<Slots>,
}

struct Slots {
    batches: LruCache<(StreamKey, u64), Slot>,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Slot {
    batch: Arc<OnceCell<Arc<Batch>>>,
    /// 0 while it is being made.
    bytes: usize,
}

/// Slots at most, so that those whose makers left don't add up.
const MAX_SLOTS: NonZeroUsize = NonZeroUsize::new(1 << 14).expect("above zero");

impl StreamKey {
    /// Of some rows of the batches of the spec with a digest, by the bundle and the sampling table with
    /// these digests; that of no table is empty.
    pub fn new(spec: [u8; 32], rows: &Range<u32>, bundle: &str, table: &str) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&spec).update(&rows.start.to_le_bytes()).update(&rows.end.to_le_bytes());
        // Digests are text, which the byte between them is not.
        hash.update(bundle.as_bytes()).update(&[0]).update(table.as_bytes());
        Self(*hash.finalize().as_bytes())
    }
}

impl Shelf {
    /// An empty cache of at most `max_bytes` of pixels. With 0, batches are shared only while they
    /// are being made.
    pub fn new(max_bytes: usize) -> Self {
        Self { slots: Mutex::new(Slots { batches: LruCache::new(MAX_SLOTS), bytes: 0, max_bytes }) }
    }

    /// The batch from the cache, or made and put there.
    ///
    /// # Errors
    /// Those of `make`. Others who wait for the batch then try for themselves.
    pub async fn get_or_make(
        &self,
        key: StreamKey,
        index: u64,
        make: impl Future<Output = Result<Batch>>,
    ) -> Result<(Arc<Batch>, Mode)> {
        let cell = self.slots().cell((key, index));
        let mut mode = Mode::Shared;
        let made = cell.get_or_try_init(|| async {
            mode = Mode::Made;
            make.await.map(Arc::new)
        });
        let batch = made.await?.clone();
        if mode == Mode::Made {
            self.slots().keep((key, index), &cell, batch.pixels.len());
        }
        Ok((batch, mode))
    }

    /// Bytes of the pixels kept.
    pub(crate) fn bytes(&self) -> usize {
        self.slots().bytes
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn cell(&mut self, key: (StreamKey, u64)) -> Arc<OnceCell<Arc<Batch>>> {
        if let Some(slot) = self.batches.get(&key) {
            return slot.batch.clone();
        }
        let slot = Slot::default();
        let cell = slot.batch.clone();
        if let Some((_, evicted)) = self.batches.push(key, slot) {
            self.bytes -= evicted.bytes;
        }
        cell
    }

    /// Counts a finished batch, and evicts the longest unused ones beyond the bound.
    fn keep(&mut self, key: (StreamKey, u64), cell: &Arc<OnceCell<Arc<Batch>>>, bytes: usize) {
        // It may have been evicted meanwhile, and another one begun in its place.
        if let Some(slot) = self.batches.peek_mut(&key).filter(|slot| Arc::ptr_eq(&slot.batch, cell)) {
            slot.bytes = bytes;
            self.bytes += bytes;
        }
        while self.bytes > self.max_bytes {
            // One that is being made has no bytes to give back, and others may wait for it.
            let finished = self.batches.iter().rev().find(|(_, slot)| slot.bytes > 0).map(|(key, _)| *key);
            let Some(oldest) = finished.and_then(|key| self.batches.pop(&key)) else { break };
            self.bytes -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const KEY: StreamKey = StreamKey([0; 32]);

    fn batch(index: u64) -> Batch {
        Batch { index, pixels: vec![0; 10].into(), ..Batch::default() }
    }

    #[tokio::test]
    async fn what_was_made_is_shared_until_it_is_evicted() {
        let shelf = Shelf::new(25);
        let mode = async |index| shelf.get_or_make(KEY, index, async { Ok(batch(index)) }).await.unwrap().1;
        assert_eq!([mode(0).await, mode(1).await, mode(0).await], [Mode::Made, Mode::Made, Mode::Shared]);
        assert_eq!(mode(2).await, Mode::Made); // Evicts 1, which was used longest ago.
        assert_eq!([mode(0).await, mode(1).await], [Mode::Shared, Mode::Made]);
        assert!(shelf.slots().bytes <= 25);
    }

    #[tokio::test]
    async fn a_batch_that_is_being_made_is_shared_however_full_the_shelf_is() {
        let shelf = Shelf::new(25);
        let (finish, finished) = tokio::sync::oneshot::channel();
        let slow = shelf.get_or_make(KEY, 0, async {
            let _ = finished.await;
            Ok(batch(0))
        });
        let others = async {
            for index in 1..5 {
                shelf.get_or_make(KEY, index, async { Ok(batch(index)) }).await.unwrap();
            }
            let waiting = shelf.get_or_make(KEY, 0, async { Ok(batch(0)) });
            finish.send(()).unwrap();
            waiting.await.unwrap().1
        };
        let (made, shared) = tokio::join!(slow, others);
        assert_eq!((made.unwrap().1, shared), (Mode::Made, Mode::Shared));
        assert!(shelf.slots().bytes <= 25);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_a_maker_that_leaves_is_replaced() {
        let shelf = Shelf::new(100);
        let failed = shelf.get_or_make(KEY, 0, async { Err(Error::ShuttingDown) }).await;
        assert!(failed.is_err());
        let makers = AtomicUsize::new(0);
        let never = shelf.get_or_make(KEY, 0, async {
            makers.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        });
        let waits = async {
            // The one that never ends is polled first, and dropped once the other one waits.
            tokio::task::yield_now().await;
            shelf.get_or_make(KEY, 0, async { Ok(batch(0)) }).await
        };
        let mut never = Box::pin(never);
        let mut waits = Box::pin(waits);
        tokio::select! {
            biased;
            _ = &mut never => unreachable!(),
            _ = &mut waits => unreachable!(),
            () = tokio::task::yield_now() => {}
        }
        drop(never);
        let (made, mode) = waits.await.unwrap();
        assert_eq!((made.index, mode, makers.load(Ordering::SeqCst)), (0, Mode::Made, 1));
    }
}
