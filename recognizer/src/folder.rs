//! Batches of real images from a data set on disk.

use crate::batch::{Batch, BatchSource, Source, SourceError};
use dataset::Dataset;
use dataset::augment::Augmentation;
use nets::chance::Chance;
use nets::pixels::IMAGE_SIZE;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Decoded images are kept in memory when all of them fit into this many bytes.
const KEPT_BYTES: usize = 1 << 30;

/// A data set as a stream: every image once in each pass, every pass in another order, each row
/// flipped and shifted on its own. Batch n is a function of (data set, settings, n).
#[derive(Debug)]
pub struct FolderSource {
    dataset: Arc<Dataset>,
    settings: FolderSettings,
    next: u64,
    augment: Chance,
    /// One slot per image; empty where images are decoded anew each time.
    kept: Vec<OnceLock<Box<[u8]>>>,
}

/// What tells one [`FolderSource`] from another on the same data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FolderSettings {
    /// Rows of a batch.
    pub batch_size: usize,
    /// Of order and augmentation.
    pub seed: u64,
    /// Applied to every row.
    pub augmentation: Augmentation,
}

#[derive(Serialize, Deserialize)]
struct Place {
    kind: String,
    dataset: String,
    settings: FolderSettings,
    next: u64,
}

impl FolderSource {
    /// A stream from batch 0.
    ///
    /// # Errors
    /// A batch size of 0.
    pub fn new(dataset: Arc<Dataset>, settings: FolderSettings) -> Result<Self, SourceError> {
        if settings.batch_size == 0 {
            return Err(SourceError::Settings("expected a batch of at least 1 row, found 0".to_owned()));
        }
        let bytes = dataset.len().saturating_mul(IMAGE_SIZE * IMAGE_SIZE * dataset.channels());
        let slots = if bytes <= KEPT_BYTES { dataset.len() } else { 0 };
        let kept = std::iter::repeat_with(OnceLock::new).take(slots).collect();
        let augment = Chance::new(settings.seed, "folder/augment");
        Ok(Self { dataset, settings, next: 0, augment, kept })
    }

    /// The data set behind it.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// Images of batch `index`, in row order.
    pub fn rows(&self, index: u64) -> Vec<usize> {
        let rows = self.settings.batch_size as u64;
        self.images(index * rows..(index + 1) * rows)
    }

    /// Images at positions of the endless sequence that batches are cut from.
    pub fn images(&self, positions: Range<u64>) -> Vec<usize> {
        let images = self.dataset.len() as u64;
        let mut order = None;
        positions
            .map(|position| {
                // A batch may lie across the end of a pass.
                let pass = position / images;
                if order.as_ref().is_none_or(|(ordered, _)| *ordered != pass) {
                    let chance = Chance::new(self.settings.seed, &format!("folder/order/{pass}"));
                    order = Some((pass, chance.permutation(images)));
                }
                let (_, order) = order.as_ref().expect("set above; anything else is a bug");
                order.get(position % images) as usize
            })
            .collect()
    }

    /// The bytes of one image as stored, 128 * 128 * channels.
    ///
    /// # Errors
    /// An image that can't be read.
    pub fn read_into(&self, image: usize, pixels: &mut [u8]) -> dataset::Result<()> {
        match self.kept.get(image) {
            Some(slot) => {
                let kept = match slot.get() {
                    Some(kept) => kept,
                    None => {
                        let read = self.dataset.read(image)?.into_pixels().into_boxed_slice();
                        slot.get_or_init(|| read)
                    }
                };
                pixels.copy_from_slice(kept);
            }
            None => pixels.copy_from_slice(self.dataset.read(image)?.pixels()),
        }
        Ok(())
    }
}

impl BatchSource for FolderSource {
    fn classes(&self) -> usize {
        self.dataset.identities().len()
    }

    fn channels(&self) -> usize {
        self.dataset.channels()
    }

    fn batch_size(&self) -> usize {
        self.settings.batch_size
    }

    fn next(&mut self) -> Result<Batch, SourceError> {
        let index = self.next;
        let (rows, channels) = (self.rows(index), self.channels());
        let row_bytes = IMAGE_SIZE * IMAGE_SIZE * channels;
        let mut pixels = vec![0u8; rows.len() * row_bytes];
        let filled: dataset::Result<()> = pixels
            .par_chunks_exact_mut(row_bytes)
            .zip(&rows)
            .enumerate()
            .map(|(row, (pixels, &image))| {
                self.read_into(image, pixels)?;
                self.settings.augmentation.apply(pixels, channels, &mut self.augment.at(index, row as u64));
                Ok(())
            })
            .collect();
        filled.map_err(SourceError::other)?;
        self.next += 1;
        Ok(Batch {
            index,
            rows: rows.len(),
            channels,
            pixels: pixels.into(),
            labels: rows.iter().map(|&image| self.dataset.image_identity(image) as u32).collect(),
            sources: vec![Source::Real; rows.len()],
            mixtures: Vec::new(),
        })
    }

    fn place(&self) -> serde_json::Value {
        serde_json::json!({
            "kind": KIND,
            "dataset": self.dataset.digest(),
            "settings": self.settings,
            "next": self.next,
        })
    }

    fn resume(&mut self, place: &serde_json::Value) -> Result<(), SourceError> {
        let refuse = |what: &str, expected: &str, found: &str| {
            Err(SourceError::Place(format!("expected {what} {expected}, found {found}")))
        };
        let place: Place = match serde_json::from_value(place.clone()) {
            Ok(place) => place,
            Err(error) => return refuse("a place in a folder", "", &error.to_string()),
        };
        if place.kind != KIND {
            return refuse("a place in a", KIND, &place.kind);
        }
        if place.dataset != self.dataset.digest() {
            return refuse("the data set with digest", &place.dataset, self.dataset.digest());
        }
        if place.settings != self.settings {
            let show = |settings| serde_json::to_string(settings).unwrap_or_default();
            return refuse("the settings", &show(&place.settings), &show(&self.settings));
        }
        self.next = place.next;
        Ok(())
    }

    fn describe(&self) -> String {
        format!(
            "{} real images of {} identities from {}",
            self.dataset.len(),
            self.classes(),
            self.dataset.path().display()
        )
    }

    fn class_names(&self) -> Vec<String> {
        self.dataset.identities().iter().map(|identity| identity.name.clone()).collect()
    }

    fn dataset_digest(&self) -> Option<String> {
        Some(self.dataset.digest().to_owned())
    }
}

const KIND: &str = "folder";
