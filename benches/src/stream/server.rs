//! A server whose faces lie in memory: real ones that need no decoding, and a generator that takes no time.

use crate::Way;
use ::server::{
    Config, Served,
    bundles::{BundleFacts, BundleStore, Candidate},
    engine::{GeneratorError, RowGenerator},
    gallery::{ImageStore, ReadError},
    listeners::{Listen, Listeners},
    served::Parts,
};
use bytes::Bytes;
use nets::{FEATURE, LATENT, pixels::IMAGE_SIZE};
use std::{error::Error, sync::Arc};

/// People, and images of each: as many bytes as eight batches of 64.
const PEOPLE: usize = 64;
const IMAGES: u32 = 8;

/// Serves until it is killed; its first line says where.
pub(crate) fn serve(channels: usize, way: Way) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let place = match way {
        Way::Tcp => Listen::Tcp("127.0.0.1:0".parse()?),
        Way::Unix => Listen::Unix(folder.path().join("faces.sock")),
    };
    runtime.block_on(async {
        // As many rows of a tile as a GPU takes at a time.
        let config = Config { tile: Some(64), ..Config::default() };
        let served = Served::new(&config, parts(channels))?;
        let listeners = Listeners::bind(&[place], 0o600, None).await?;
        let metrics = ::server::bind("127.0.0.1:0".parse()?).await?;
        match listeners.places()?.first() {
            Some(Listen::Tcp(address)) => println!("http://{address}"),
            Some(Listen::Unix(path)) => println!("unix:{}", path.display()),
            None => return Err("the server listens nowhere: this is a bug".into()),
        }
        // For as long as the measurement lives, which holds the other end of standard input.
        let ends = async {
            let mut word = String::new();
            let _ = tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut word)).await;
        };
        Ok(::server::serve_opened(Arc::new(served), listeners, metrics, ends).await?)
    })
}

fn parts(channels: usize) -> Parts {
    let names: Vec<String> = (0..PEOPLE).map(|person| format!("person {person}")).collect();
    let facts = BundleFacts {
        digest: "b".repeat(64),
        architecture: "nothing".into(),
        images_seen: 0,
        dataset_digest: "d".repeat(64),
        channels,
        encoder: false,
    };
    // Each person lies along an axis of its own.
    let centres = (0..PEOPLE * FEATURE).map(|n| if n % FEATURE == n / FEATURE { 1.0 } else { 0.0 }).collect();
    Parts {
        image_counts: vec![IMAGES; PEOPLE],
        dataset_digest: "d".repeat(64),
        images: Arc::new(InMemory::new(channels)),
        bundle: Candidate {
            facts,
            names,
            centres,
            generators: vec![Box::new(move |_| Box::new(InMemory::new(channels)))],
        },
        store: Arc::new(Nowhere),
        numerics: "none".into(),
    }
}

struct InMemory {
    channels: usize,
    /// What every tile shows.
    tile: Bytes,
}

impl InMemory {
    fn new(channels: usize) -> Self {
        Self { channels, tile: Bytes::new() }
    }

    fn image(&self, number: usize) -> impl Iterator<Item = u8> {
        (0..IMAGE_SIZE * IMAGE_SIZE * self.channels).map(move |at| (at * 31 + number * 17) as u8)
    }
}

impl ImageStore for InMemory {
    fn read(&self, number: u32) -> Result<Vec<u8>, ReadError> {
        Ok(self.image(number as usize).collect())
    }
}

impl RowGenerator for InMemory {
    fn channels(&self) -> usize {
        self.channels
    }

    fn classes(&self) -> usize {
        PEOPLE
    }

    fn generate(&mut self, rows: usize, _latents: &[f32], _labels: &[f32]) -> Result<Bytes, GeneratorError> {
        let wanted = rows * IMAGE_SIZE * IMAGE_SIZE * self.channels;
        if self.tile.len() != wanted {
            self.tile = vec![127; wanted].into();
        }
        Ok(self.tile.clone())
    }

    fn encode(&mut self, rows: usize, _pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        Ok(vec![0.0; rows * 2 * LATENT])
    }

    fn embed(&mut self, rows: usize, _pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        Ok((0..rows * FEATURE).map(|n| if n % FEATURE == 0 { 1.0 } else { 0.0 }).collect())
    }
}

/// There are no newer weights.
struct Nowhere;

impl BundleStore for Nowhere {
    fn read(&self) -> ::server::error::Result<Vec<u8>> {
        Err(::server::Error::Refused("there are no other weights".into()))
    }

    fn open(&self, _bytes: &[u8]) -> ::server::error::Result<Candidate> {
        Err(::server::Error::Refused("there are no other weights".into()))
    }

    fn stamp(&self) -> Option<String> {
        None
    }
}
