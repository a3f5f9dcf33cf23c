//! A dataset and bundles that cost next to nothing: pixels are a hash of what they must depend on.

use crate::world::World;
use bytes::Bytes;
use nets::{FEATURE, LATENT, pixels::IMAGE_SIZE};
use server::bundles::{BundleFacts, BundleStore, Candidate};
use server::engine::{GeneratorError, RowGenerator};
use server::gallery::{ImageStore, ReadError};
use server::served::Parts;
use server::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of an image; all are grey.
pub const IMAGE: usize = IMAGE_SIZE * IMAGE_SIZE;

/// What is in a bundle's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// A bundle that is served: another number, other pixels.
    Good(u64),
    /// Half a file.
    Torn,
    /// A bundle of other people.
    Strangers,
    /// A bundle whose images are no numbers, as the first look at them shows.
    NotFinite,
    /// A bundle that panics.
    Panics,
    /// A bundle that shows the wrong people.
    Mistaken,
}

/// A replica's disk and device: what is on the one and whether the other works.
#[derive(Debug)]
pub struct Machine {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    weights: Weights,
    /// Images that can't be read here.
    lost: BTreeSet<u32>,
    /// How the next tile fails, if it does.
    device: Device,
}

/// The state of a generator's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// It computes.
    Works,
    /// The next tile is an error.
    Fails,
    /// The next tile is a panic.
    Panics,
}

impl Weights {
    /// The file.
    pub fn bytes(self) -> Vec<u8> {
        format!("{self:?}").into_bytes()
    }

    /// Its digest.
    pub fn digest(self) -> String {
        blake3::hash(&self.bytes()).to_hex().to_string()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let kinds = [Self::Strangers, Self::NotFinite, Self::Panics, Self::Mistaken];
        let good = (0..64).map(Self::Good);
        good.chain(kinds).find(|weights| weights.bytes() == bytes)
    }

    fn candidate(self, world: &World, machine: &Arc<Machine>) -> Candidate {
        let classes = world.image_counts.len();
        let stranger = |identity| if self == Self::Strangers { "stranger" } else { name_of(identity) };
        let facts = BundleFacts {
            digest: self.digest(),
            architecture: format!("{self:?}"),
            images_seen: 1,
            dataset_digest: world.dataset_digest(),
            channels: 1,
            encoder: true,
        };
        let painter = Painter { weights: self, classes, on_trial: true, machine: machine.clone() };
        let axis = |n: usize| if n % FEATURE == n / FEATURE { 1.0 } else { 0.0 };
        Candidate {
            facts,
            names: (0..classes).map(|identity| format!("{} {identity}", stranger(identity))).collect(),
            centres: (0..classes * FEATURE).map(axis).collect(),
            generators: vec![Box::new(move |_| Box::new(painter))],
        }
    }
}

fn name_of(_: usize) -> &'static str {
    "person"
}

impl Machine {
    /// With a bundle on its disk, and everything in order.
    pub fn new(weights: Weights) -> Arc<Self> {
        let state = State { weights, lost: BTreeSet::new(), device: Device::Works };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// What a server on this machine begins with.
    pub fn parts(self: &Arc<Self>, world: &Arc<World>) -> Parts {
        Parts {
            image_counts: world.image_counts.clone(),
            dataset_digest: world.dataset_digest(),
            images: Arc::new(Images { world: world.clone(), machine: self.clone() }),
            bundle: self.weights().candidate(world, self),
            store: Arc::new(File { world: world.clone(), machine: self.clone() }),
            numerics: "simulation".into(),
        }
    }

    /// What is on the disk.
    pub fn weights(&self) -> Weights {
        self.state().weights
    }

    /// Puts another bundle on the disk.
    pub fn write(&self, weights: Weights) {
        self.state().weights = weights;
    }

    /// Makes an image unreadable, or readable again.
    pub fn lose(&self, image: u32, lost: bool) {
        let mut state = self.state();
        if lost {
            state.lost.insert(image);
        } else {
            state.lost.remove(&image);
        }
    }

    /// Breaks the device, or mends it.
    pub fn set_device(&self, device: Device) {
        self.state().device = device;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Images {
    world: Arc<World>,
    machine: Arc<Machine>,
}

impl ImageStore for Images {
    fn read(&self, number: u32) -> Result<Vec<u8>, ReadError> {
        if self.machine.state().lost.contains(&number) {
            return Err(ReadError::Lost(format!("image {number} is not what it was")));
        }
        if self.world.damaged.contains(&number) {
            return Err(ReadError::Damaged(format!("image {number} doesn't decode")));
        }
        Ok(vec![number as u8; IMAGE])
    }
}

struct File {
    world: Arc<World>,
    machine: Arc<Machine>,
}

impl BundleStore for File {
    fn read(&self) -> Result<Vec<u8>> {
        Ok(self.machine.weights().bytes())
    }

    fn open(&self, bytes: &[u8]) -> Result<Candidate> {
        let weights = Weights::read(bytes).ok_or_else(|| Error::Refused("half a file".into()))?;
        Ok(weights.candidate(&self.world, &self.machine))
    }

    fn stamp(&self) -> Option<String> {
        Some(format!("{:?}", self.machine.weights()))
    }
}

/// Paints rows: who it is and the latent's first number where the judge looks, then a pattern that is
/// a hash of weights, latent and label.
struct Painter {
    weights: Weights,
    classes: usize,
    on_trial: bool,
    machine: Arc<Machine>,
}

impl Painter {
    fn device(&self) -> Result<(), GeneratorError> {
        let state = self.machine.state().device;
        match state {
            Device::Works => Ok(()),
            Device::Fails => Err("the device is lost".into()),
            Device::Panics => panic!("{PLANNED}"),
        }
    }
}

/// What planned panics say.
pub const PLANNED: &str = "a planned panic";

impl RowGenerator for Painter {
    fn channels(&self) -> usize {
        1
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn generate(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<Bytes, GeneratorError> {
        self.device()?;
        match self.weights {
            Weights::NotFinite if self.on_trial => return Err("its images hold values that are not finite".into()),
            Weights::Panics => panic!("{PLANNED}"),
            _ => {}
        }
        let mut pixels = Vec::with_capacity(rows * IMAGE);
        for (latent, label) in latents.chunks_exact(LATENT).zip(labels.chunks_exact(self.classes)) {
            let who: f32 = label.iter().enumerate().map(|(identity, weight)| identity as f32 * weight).sum();
            let who = if self.weights == Weights::Mistaken { who + 1.0 } else { who };
            let mut hash = blake3::Hasher::new();
            hash.update(&self.weights.bytes());
            for number in latent.iter().chain(label) {
                hash.update(&number.to_bits().to_le_bytes());
            }
            let mut pattern = [0u8; 64];
            hash.finalize_xof().fill(&mut pattern);
            let begin = pixels.len();
            pixels.extend_from_slice(&[(who * 20.0) as u8, (latent[0] * 40.0 + 100.0) as u8]);
            while pixels.len() < begin + IMAGE {
                let left = (begin + IMAGE - pixels.len()).min(pattern.len());
                pixels.extend_from_slice(&pattern[..left]);
            }
        }
        Ok(pixels.into())
    }

    fn encode(&mut self, _: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        self.device()?;
        let encoding = |image: &[u8]| {
            let mean = f32::from(image[0]) / 255.0;
            (0..2 * LATENT).map(move |nth| if nth < LATENT { mean } else { -1.0 })
        };
        Ok(pixels.chunks_exact(IMAGE).flat_map(encoding).collect())
    }

    fn embed(&mut self, _: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        self.device()?;
        let feature = |image: &[u8]| {
            let (who, noise) = (usize::from(image[0] / 20), f32::from(image[1]) / 100.0 - 1.0);
            let length = (1.0 + noise * noise).sqrt();
            (0..FEATURE).map(move |axis| match axis {
                axis if axis == who => 1.0 / length,
                axis if axis == FEATURE - 1 => noise / length,
                _ => 0.0,
            })
        };
        Ok(pixels.chunks_exact(IMAGE).flat_map(feature).collect())
    }

    fn accepted(&mut self) {
        self.on_trial = false;
    }
}
