//! What stands in for a dataset and a bundle: images and a generator that can be written down in a
//! line each. The client's tests serve the same.

use nets::{LATENT, pixels::IMAGE_SIZE};
use server::{
    engine::{GeneratorError, RowGenerator},
    gallery::{ImageStore, ReadError},
    served::{BundleFacts, Parts},
};
use std::{collections::BTreeMap, sync::Arc};

/// Bytes of a grey image.
pub(crate) const IMAGE: usize = IMAGE_SIZE * IMAGE_SIZE;

/// Identities of an ordinary dataset.
pub(crate) const IDENTITIES: u32 = 6;

/// Images of each.
pub(crate) const IMAGES: u32 = 4;

/// What comes before a tile of faces is generated: nothing, an error, or other pixels instead.
pub(crate) type BeforeTile = Box<dyn FnMut() -> Result<Option<Vec<u8>>, GeneratorError> + Send>;

/// What is served.
pub(crate) struct StandIns {
    pub(crate) image_counts: Vec<u32>,
    pub(crate) channels: usize,
    pub(crate) encoder: bool,
    pub(crate) dataset_digest: String,
    pub(crate) bundle_digest: String,
    pub(crate) numerics: String,
    /// Images that can't be read.
    pub(crate) unreadable: BTreeMap<u32, ReadError>,
    pub(crate) before_tile: BeforeTile,
}

impl Default for StandIns {
    fn default() -> Self {
        Self {
            image_counts: vec![IMAGES; IDENTITIES as usize],
            channels: 1,
            encoder: true,
            dataset_digest: "d".repeat(64),
            bundle_digest: "b".repeat(64),
            numerics: "fixture".into(),
            unreadable: BTreeMap::new(),
            before_tile: Box::new(|| Ok(None)),
        }
    }
}

impl StandIns {
    pub(crate) fn parts(self) -> Parts {
        let (channels, classes, before_tile) = (self.channels, self.image_counts.len(), self.before_tile);
        Parts {
            names: (0..classes).map(|identity| format!("person {identity}")).collect(),
            image_counts: self.image_counts,
            dataset_digest: self.dataset_digest.clone(),
            images: Arc::new(Numbered { channels, unreadable: self.unreadable }),
            bundle: BundleFacts {
                digest: self.bundle_digest,
                architecture: "a fixture".into(),
                images_seen: 7,
                dataset_digest: self.dataset_digest,
                channels,
                encoder: self.encoder,
            },
            numerics: self.numerics,
            generator: Box::new(move |_| Box::new(Formula { channels, classes, before_tile })),
        }
    }
}

/// Image `n` is full of the byte `n`.
struct Numbered {
    channels: usize,
    unreadable: BTreeMap<u32, ReadError>,
}

impl ImageStore for Numbered {
    fn read(&self, number: u32) -> Result<Vec<u8>, ReadError> {
        match self.unreadable.get(&number) {
            Some(error) => Err(error.clone()),
            None => Ok(vec![number as u8; IMAGE * self.channels]),
        }
    }
}

/// Pixel `p` of a row is a simple function of `p`, the latent and the label.
struct Formula {
    channels: usize,
    classes: usize,
    before_tile: BeforeTile,
}

impl RowGenerator for Formula {
    fn channels(&self) -> usize {
        self.channels
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn generate(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<Vec<u8>, GeneratorError> {
        if let Some(instead) = (self.before_tile)()? {
            return Ok(instead);
        }
        let image = IMAGE * self.channels;
        let row = |row: usize| {
            let latent = &latents[row * LATENT..][..LATENT];
            let label = &labels[row * self.classes..][..self.classes];
            let shade: f32 = label.iter().enumerate().map(|(identity, weight)| identity as f32 * weight).sum();
            (0..image).map(move |pixel| ((latent[pixel % LATENT] + shade) * 40.0 + 100.0) as u8)
        };
        Ok((0..rows).flat_map(row).collect())
    }

    fn encode(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        let image = IMAGE * self.channels;
        let encoding = |row: usize| {
            let mean = f32::from(pixels[row * image]) / 255.0;
            (0..2 * LATENT).map(move |nth| if nth < LATENT { mean } else { -1.0 })
        };
        Ok((0..rows).flat_map(encoding).collect())
    }
}
