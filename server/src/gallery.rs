//! The real images: decoded once, kept in an LRU cache that is bounded in bytes.
//!
//! Decoding runs beside the tasks that wait for it, as much at a time as there are cores. An image whose pixel data turn
//! out to be damaged, although its file is the one in the dataset's digest, is replaced by the next
//! image of the same identity: a function of the dataset, so that replays agree, and written into
//! the batch's provenance. A file that changed or can't be read any more is an error instead: what
//! other servers would send is then unknown.

use crate::{
    error::{Error, Result},
    makers::Makers,
    plan::catalogue::Catalogue,
    telemetry::Telemetry,
    workers::Workers,
};
use bytes::Bytes;
use lru::LruCache;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::task::JoinSet;

/// Where images come from: a dataset, or a test's.
pub trait ImageStore: Send + Sync + 'static {
    /// Decodes image `number`: 128 x 128 x channels bytes.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read(&self, number: u32) -> Result<Vec<u8>, ReadError>;
}

/// Why an image can't be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The file is the one that was opened, and it doesn't decode.
    Damaged(String),
    /// The file is gone, changed or unreadable.
    Lost(String),
}

impl ImageStore for dataset::Dataset {
    fn read(&self, number: u32) -> Result<Vec<u8>, ReadError> {
        match dataset::Dataset::read(self, number as usize) {
            Ok(image) => Ok(image.into_pixels()),
            Err(error @ dataset::Error::Image { .. }) => Err(ReadError::Damaged(error.to_string())),
            Err(error) => Err(ReadError::Lost(error.to_string())),
        }
    }
}

/// A decoded image and its number.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The image's number: the one asked for, unless it is damaged.
    pub number: u32,
    /// 128 x 128 x channels bytes.
    pub pixels: Bytes,
}

/// A handle on the cache; clones share it.
#[derive(Clone)]
pub struct Gallery {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn ImageStore>,
    catalogue: Arc<Catalogue>,
    cache: Mutex<Cache>,
    decoders: Makers,
    telemetry: Arc<Telemetry>,
}

struct Cache {
    pictures: LruCache<u32, Picture>,
    bytes: usize,
    max_bytes: usize,
}

impl Gallery {
    /// A cache of at most `max_bytes` of pixels over a store.
    pub fn new(
        store: Arc<dyn ImageStore>,
        catalogue: Arc<Catalogue>,
        max_bytes: usize,
        telemetry: Arc<Telemetry>,
        workers: &Workers,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                catalogue,
                cache: Mutex::new(Cache { pictures: LruCache::unbounded(), bytes: 0, max_bytes }),
                // Places of its own: as many as can use a core each; more would only hold memory.
                decoders: Makers::new(workers),
                telemetry,
            }),
        }
    }

    /// The pictures of these numbers, in the same order.
    ///
    /// # Errors
    /// [`Error::Image`] when a file was lost, or all images of an identity are damaged.
    pub async fn pictures(&self, numbers: &[u32]) -> Result<Vec<Picture>> {
        let mut pictures: Vec<Option<Picture>> = {
            let mut cache = self.shared.cache();
            numbers.iter().map(|number| cache.pictures.get(number).cloned()).collect()
        };
        let missing: Vec<usize> = (0..numbers.len()).filter(|&nth| pictures[nth].is_none()).collect();
        self.shared.telemetry.gallery(numbers.len() - missing.len(), missing.len());
        // Leaving early, because the trainer left or an image is lost, ends the whole set.
        let mut decoding = JoinSet::new();
        for nth in missing {
            let (shared, number) = (self.shared.clone(), numbers[nth]);
            decoding.spawn(async move {
                let decoders = shared.decoders.clone();
                (nth, decoders.run(move || shared.decode(number)).await)
            });
        }
        while let Some(decoded) = decoding.join_next().await {
            match decoded {
                Ok((nth, picture)) => pictures[nth] = Some(picture?),
                Err(error) => return Err(Error::Bug(format!("decoding ended: {error}"))),
            }
        }
        let missing = || Error::Bug("an image was neither found nor decoded".into());
        pictures.into_iter().map(|picture| picture.ok_or_else(missing)).collect()
    }
}

impl Gallery {
    /// Bytes of the pictures kept.
    pub(crate) fn bytes(&self) -> usize {
        self.shared.cache().bytes
    }
}

impl Shared {
    /// Decodes an image, or the next one of the same identity that isn't damaged.
    fn decode(&self, number: u32) -> Result<Picture> {
        // Another batch may have decoded it while this one waited for its turn.
        if let Some(picture) = self.cache().pictures.get(&number) {
            return Ok(picture.clone());
        }
        let started = Instant::now();
        let images = self.catalogue.images_of(self.catalogue.identity_of(number));
        let mut first_damage = None;
        for candidate in (number..images.end).chain(images.start..number) {
            match self.store.read(candidate) {
                Ok(pixels) => {
                    self.telemetry.decoded(started.elapsed());
                    let picture = Picture { number: candidate, pixels: pixels.into() };
                    self.telemetry.gallery_holds(self.cache().insert(number, picture.clone()));
                    return Ok(picture);
                }
                Err(ReadError::Lost(reason)) => return Err(Error::Image(reason)),
                Err(ReadError::Damaged(reason)) => {
                    tracing::warn!(
                        image = candidate,
                        reason,
                        "a damaged image is replaced by the next of its identity"
                    );
                    first_damage.get_or_insert(reason);
                }
            }
        }
        let reason = first_damage.unwrap_or_else(|| format!("there is no image {number}"));
        Err(Error::Image(format!("{reason}; no other image of this identity can be decoded")))
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Nothing that can panic runs between the cache's own steps.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Keeps a picture under the number that asks for it; returns the bytes kept.
    fn insert(&mut self, number: u32, picture: Picture) -> usize {
        self.bytes += picture.pixels.len();
        if let Some(old) = self.pictures.put(number, picture) {
            self.bytes -= old.pixels.len();
        }
        while self.bytes > self.max_bytes {
            let Some((_, oldest)) = self.pictures.pop_lru() else { break };
            self.bytes -= oldest.pixels.len();
        }
        self.bytes
    }
}
