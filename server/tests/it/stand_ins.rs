//! What stands in for a dataset and a bundle: images and a generator that can be written down in a
//! line each. The client's tests serve the same.

use bytes::Bytes;
use nets::{FEATURE, LATENT, pixels::IMAGE_SIZE};
use server::{
    Error,
    bundles::{BundleFacts, BundleStore, Candidate},
    engine::{GeneratorError, RowGenerator},
    gallery::{ImageStore, ReadError},
    served::Parts,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

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
    /// An image whose decoder panics.
    pub(crate) bewitched: Option<u32>,
    pub(crate) before_tile: BeforeTile,
    /// The file of weights, as [`Weights`] reads it; nothing is there until somebody writes.
    pub(crate) file: File,
}

/// A file in memory.
pub(crate) type File = Arc<Mutex<Option<String>>>;

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
            bewitched: None,
            before_tile: Box::new(|| Ok(None)),
            file: File::default(),
        }
    }
}

impl StandIns {
    pub(crate) fn parts(self) -> Parts {
        let (channels, classes, before_tile) = (self.channels, self.image_counts.len(), self.before_tile);
        let names: Vec<String> = (0..classes).map(|identity| format!("person {identity}")).collect();
        let facts = BundleFacts {
            digest: self.bundle_digest,
            architecture: "a fixture".into(),
            images_seen: 7,
            dataset_digest: self.dataset_digest.clone(),
            channels,
            encoder: self.encoder,
        };
        let generator = Formula { channels, classes, before_tile, offset: 0.0, noise: 1.0 };
        Parts {
            image_counts: self.image_counts,
            dataset_digest: self.dataset_digest,
            images: Arc::new(Numbered { channels, unreadable: self.unreadable, bewitched: self.bewitched }),
            store: Arc::new(Weights { file: self.file, facts: facts.clone(), names: names.clone() }),
            bundle: Candidate {
                facts,
                centres: centres(classes, 0),
                names,
                generators: vec![Box::new(move |_| Box::new(generator))],
            },
            numerics: self.numerics,
        }
    }
}

/// Weights as a line of words: `offset=3 noise=0.5 channels=1 people=6 encoder=no fails=yes turn=1`, any
/// of them left out as in the weights begun with.
pub(crate) struct Weights {
    file: File,
    facts: BundleFacts,
    names: Vec<String>,
}

impl BundleStore for Weights {
    fn read(&self) -> Result<Vec<u8>, Error> {
        let file = self.file.lock().unwrap();
        file.as_ref().map(|text| text.clone().into_bytes()).ok_or_else(|| Error::Refused("there is no file".into()))
    }

    fn open(&self, bytes: &[u8]) -> Result<Candidate, Error> {
        let text = std::str::from_utf8(bytes).unwrap();
        let word = |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str, otherwise: f32| word(name).map_or(otherwise, |number| number.parse().unwrap());
        if word("torn").is_some() {
            return Err(Error::Refused("half a file".into()));
        }
        let channels = number("channels", self.facts.channels as f32) as usize;
        let classes = number("people", self.names.len() as f32) as usize;
        let fails = word("fails").is_some();
        let before_tile: BeforeTile = Box::new(move || if fails { panic!("weights of nonsense") } else { Ok(None) });
        let generator =
            Formula { channels, classes, before_tile, offset: number("offset", 0.0), noise: number("noise", 1.0) };
        Ok(Candidate {
            facts: BundleFacts {
                digest: blake3::hash(bytes).to_hex().to_string(),
                channels,
                encoder: self.facts.encoder && word("encoder").is_none(),
                ..self.facts.clone()
            },
            names: self.names.iter().take(classes).cloned().collect(),
            centres: centres(classes, number("turn", 0.0) as usize),
            generators: vec![Box::new(move |_| Box::new(generator))],
        })
    }

    fn stamp(&self) -> Option<String> {
        self.file.lock().unwrap().clone()
    }
}

/// Class `i` lies along axis `i`, or one that comes `turn` later.
fn centres(classes: usize, turn: usize) -> Vec<f32> {
    (0..classes * FEATURE).map(|n| if n % FEATURE == n / FEATURE + turn { 1.0 } else { 0.0 }).collect()
}

/// Image `n` is full of the byte `n`.
struct Numbered {
    channels: usize,
    unreadable: BTreeMap<u32, ReadError>,
    bewitched: Option<u32>,
}

impl ImageStore for Numbered {
    fn read(&self, number: u32) -> Result<Vec<u8>, ReadError> {
        assert_ne!(self.bewitched, Some(number), "the decoder panics");
        match self.unreadable.get(&number) {
            Some(error) => Err(error.clone()),
            None => Ok(vec![number as u8; IMAGE * self.channels]),
        }
    }
}

/// Pixel `p` of a row is a simple function of `p`, the latent and the label, but for the first two: who
/// it shows, and the latent's first number.
struct Formula {
    channels: usize,
    classes: usize,
    before_tile: BeforeTile,
    /// Shows somebody else when not 0.
    offset: f32,
    /// Scales the latent as far as one can see it.
    noise: f32,
}

impl RowGenerator for Formula {
    fn channels(&self) -> usize {
        self.channels
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn generate(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<Bytes, GeneratorError> {
        if let Some(instead) = (self.before_tile)()? {
            return Ok(instead.into());
        }
        let image = IMAGE * self.channels;
        let row = |row: usize| {
            let latent = &latents[row * LATENT..][..LATENT];
            let label = &labels[row * self.classes..][..self.classes];
            let shade: f32 = label.iter().enumerate().map(|(identity, weight)| identity as f32 * weight).sum();
            let (who, noise) = (shade + self.offset, self.noise);
            (0..image).map(move |pixel| match pixel {
                0 => (who * 20.0) as u8,
                1 => (latent[0] * noise * 40.0 + 100.0) as u8,
                _ => ((latent[pixel % LATENT] + who) * 40.0 + 100.0) as u8,
            })
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

    fn embed(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        let image = IMAGE * self.channels;
        let feature = |row: usize| {
            let (who, noise) =
                (usize::from(pixels[row * image] / 20), f32::from(pixels[row * image + 1]) / 100.0 - 1.0);
            let length = (1.0 + noise * noise).sqrt();
            (0..FEATURE).map(move |axis| match axis {
                axis if axis == who => 1.0 / length,
                axis if axis == FEATURE - 1 => noise / length,
                _ => 0.0,
            })
        };
        Ok((0..rows).flat_map(feature).collect())
    }
}
