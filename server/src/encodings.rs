//! Real images as the encoder sees them, for jittered latents: an LRU cache in front of the engine.
//!
//! Each bundle has its own. An encoding doesn't depend on what else is in its tile, so a cached one is as good as new.

use crate::{
    error::{Error, Result},
    gallery::Picture,
    scheduler::{Turn, Weights},
};
use lru::LruCache;
use nets::LATENT;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

/// Encodings kept: 2 KiB each, 32 MiB in all.
const KEPT: NonZeroUsize = NonZeroUsize::new(1 << 14).expect("above zero");

/// A cache of encodings.
#[derive(Debug)]
pub struct Encodings {
    cache: Mutex<LruCache<u32, Arc<[f32]>>>,
}

impl Encodings {
    /// An empty cache.
    pub fn new() -> Self {
        Self { cache: Mutex::new(LruCache::new(KEPT)) }
    }

    /// Mean and log-variance (512 numbers) for each picture, in order, by the weights that this cache
    /// belongs to.
    ///
    /// # Errors
    /// Those of [`Weights::encode`].
    pub async fn of(&self, weights: &Weights, turn: Turn, pictures: &[Picture]) -> Result<Vec<Arc<[f32]>>> {
        let mut found: Vec<Option<Arc<[f32]>>> = {
            let mut cache = self.lock();
            pictures.iter().map(|picture| cache.get(&picture.number).cloned()).collect()
        };
        let missing: Vec<usize> = (0..pictures.len()).filter(|&nth| found[nth].is_none()).collect();
        let images = missing.iter().map(|&nth| pictures[nth].pixels.clone()).collect();
        let encoded = weights.encode(turn, images).await?;
        let mut cache = self.lock();
        for (&nth, encoding) in missing.iter().zip(encoded.chunks_exact(2 * LATENT)) {
            let encoding: Arc<[f32]> = encoding.into();
            cache.put(pictures[nth].number, encoding.clone());
            found[nth] = Some(encoding);
        }
        let missing = || Error::Bug("the engine left out an encoding".into());
        found.into_iter().map(|encoding| encoding.ok_or_else(missing)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<u32, Arc<[f32]>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Encodings {
    fn default() -> Self {
        Self::new()
    }
}
