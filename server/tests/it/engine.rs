//! The engine with the real networks: a row's bytes depend on the row alone.

use crate::bundle::tiny_bundle;
use crate::fixture::in_time;
use bytes::Bytes;
use candle_core::Device;
use dataset::blended::label::fill;
use nets::bundle::Bundle;
use server::{
    Error,
    engine::{GeneratorError, RowGenerator, weights::BundleGenerator},
    plan::{blending::Parent, catalogue::Catalogue},
    scheduler::{Face, Scheduler, Turn, Weights},
    telemetry::Telemetry,
    workers::Workers,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

fn weights(tile: usize) -> Weights {
    seated(tile).1
}

fn seated(tile: usize) -> (Scheduler, Weights) {
    let telemetry = Arc::new(Telemetry::new("", "").unwrap());
    let bundle = Bundle::from_bytes(&tiny_bundle(&["a", "b", "c"]), "a test", &Device::Cpu).unwrap();
    let generator = BundleGenerator::new(bundle, Device::Cpu, telemetry.clone());
    let scheduler =
        Scheduler::start(tile, 1, &Catalogue::new([1; 3]), BTreeMap::new(), telemetry, &Workers::Threads, 1).unwrap();
    let weights = scheduler.seat(vec![Box::new(generator)]).unwrap();
    weights.accept();
    (scheduler, weights)
}

fn faces() -> Vec<Face> {
    (0..11u32)
        .map(|nth| Face {
            parents: vec![Parent { identity: nth % 3, weight: 0.75 }, Parent { identity: (nth + 1) % 3, weight: 0.25 }],
            reach: if nth % 2 == 0 { 1.0 } else { 1.25 },
            latent: (0..256).map(|i| ((i * (nth + 3)) % 17) as f32 / 8.0 - 1.0).collect(),
        })
        .collect()
}

async fn images(weights: &Weights, faces: &[Face]) -> Vec<Vec<u8>> {
    weights.generate(Turn::Stream(0), faces.to_vec()).await.unwrap().iter().map(|image| image.to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_depends_neither_on_its_neighbours_nor_on_its_position() {
    let weights = weights(4);
    let faces = faces();
    let together = images(&weights, &faces).await;
    assert!(together.windows(2).all(|pair| pair[0] != pair[1]), "the generator ignores its input");
    for (nth, face) in faces.iter().enumerate() {
        let alone = images(&weights, std::slice::from_ref(face)).await;
        assert!(alone[0] == together[nth], "row {nth} changed when it was alone");
    }
    let mut reversed = faces.clone();
    reversed.reverse();
    let mut backwards = images(&weights, &reversed).await;
    backwards.reverse();
    assert!(backwards == together, "a row changed with its position");
    let (one, other) = tokio::join!(images(&weights, &faces[..5]), images(&weights, &faces[5..]));
    assert!([one, other].concat() == together, "a row changed when two streams shared its tile");
}

#[tokio::test(flavor = "multi_thread")]
async fn encodings_and_features_of_an_image_do_not_depend_on_the_others() {
    let weights = weights(4);
    let pictures: Vec<bytes::Bytes> =
        (0..6u32).map(|nth| (0..128 * 128u32).map(|p| (p * (nth + 1) / 7) as u8).collect()).collect();
    let together = weights.encode(Turn::Stream(0), pictures.clone()).await.unwrap();
    let features = weights.embed(Turn::Stream(0), pictures.clone()).await.unwrap();
    for (nth, picture) in pictures.iter().enumerate() {
        let alone = weights.encode(Turn::Stream(0), vec![picture.clone()]).await.unwrap();
        assert_eq!(alone, together[nth * 512..][..512], "picture {nth}");
        let feature = weights.embed(Turn::Stream(0), vec![picture.clone()]).await.unwrap();
        assert_eq!(feature, features[nth * 256..][..256], "feature of picture {nth}");
        let length: f32 = feature.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5, "a feature has length 1, not {length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_packed_ends_the_engine_and_leaves_nobody_waiting() {
    let (scheduler, weights) = seated(4);
    let nobody = Face { parents: vec![Parent::alone(99)], reach: 1.0, latent: vec![0.0; 256] };
    let (one, other) = tokio::join!(
        in_time(weights.generate(Turn::Stream(0), vec![nobody])),
        in_time(weights.generate(Turn::Stream(1), faces())),
    );
    assert!(matches!(one, Err(Error::Engine(_))), "{one:?}");
    assert!(other.is_ok() || matches!(other, Err(Error::Engine(_))));
    assert!(scheduler.failure().unwrap().contains("packer ended early"));
    in_time(scheduler.failed()).await;
    let late = in_time(weights.generate(Turn::Stream(1), faces())).await;
    assert!(matches!(late, Err(Error::Engine(_))), "{late:?}");
}

#[test]
fn bytes_do_not_depend_on_the_thread_count() {
    let bundle = || Bundle::from_bytes(&tiny_bundle(&["a", "b", "c"]), "a test", &Device::Cpu).unwrap();
    let telemetry = Arc::new(Telemetry::new("", "").unwrap());
    let faces = faces();
    let latents: Vec<f32> = faces.iter().flat_map(|face| face.latent.clone()).collect();
    let labels: Vec<f32> = faces
        .iter()
        .flat_map(|face| {
            let mut label = [0f32; 3];
            fill(&mut label, &face.parents, face.reach, &[0, 1, 2]);
            label
        })
        .collect();
    let with_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut generator = BundleGenerator::new(bundle(), Device::Cpu, telemetry.clone());
            generator.generate(faces.len(), &latents, &labels).unwrap()
        })
    };
    let one = with_threads(1);
    for threads in [2, 3, 7] {
        assert!(with_threads(threads) == one, "{threads} threads gave other bytes than one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packer_that_panics_ends_everything_with_its_name() {
    let (scheduler, weights) = seated(4);
    // Requests are checked before they get here; rows that don't fit are a bug.
    let nobody = Face { parents: vec![Parent::alone(99)], reach: 1.0, latent: vec![0.0; 256] };
    let error = in_time(weights.generate(Turn::Stream(0), vec![nobody])).await.unwrap_err();
    assert!(
        matches!(&error, Error::Engine(reason) if reason.contains("its packer ended early: this is a bug")),
        "{error}"
    );
    in_time(scheduler.failed()).await;
    assert!(in_time(weights.generate(Turn::Stream(1), faces())).await.is_err());
}

/// Computes like a GPU: a tile is begun, and waited for later.
struct Deferred {
    begun: std::collections::VecDeque<Bytes>,
    /// Most tiles that were ever under way.
    most: Arc<AtomicUsize>,
    /// Tiles that it finishes before it fails.
    good: usize,
}

impl Deferred {
    fn seated(good: usize) -> (Scheduler, Weights, Arc<AtomicUsize>) {
        let telemetry = Arc::new(Telemetry::new("", "").unwrap());
        let scheduler =
            Scheduler::start(4, 1, &Catalogue::new([1; 3]), BTreeMap::new(), telemetry, &Workers::Threads, 1).unwrap();
        let most = Arc::new(AtomicUsize::new(0));
        let generator = Self { begun: Default::default(), most: most.clone(), good };
        let weights = scheduler.seat(vec![Box::new(generator)]).unwrap();
        weights.accept();
        (scheduler, weights, most)
    }
}

impl RowGenerator for Deferred {
    fn channels(&self) -> usize {
        1
    }

    fn classes(&self) -> usize {
        3
    }

    fn generate(&mut self, rows: usize, latents: &[f32], _labels: &[f32]) -> Result<Bytes, GeneratorError> {
        Ok((0..rows).flat_map(|row| vec![(latents[row * 256] * 8.0 + 100.0) as u8; 128 * 128]).collect())
    }

    fn begin(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<bool, GeneratorError> {
        let pixels = self.generate(rows, latents, labels)?;
        self.begun.push_back(pixels);
        self.most.fetch_max(self.begun.len(), Ordering::SeqCst);
        Ok(true)
    }

    fn finish(&mut self) -> Result<Bytes, GeneratorError> {
        std::thread::sleep(std::time::Duration::from_millis(2));
        self.good = self.good.checked_sub(1).ok_or("the device is lost")?;
        self.begun.pop_front().ok_or_else(|| "nothing was begun".into())
    }

    fn encode(&mut self, rows: usize, _pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        if !self.begun.is_empty() {
            return Err("another tile is under way".into());
        }
        Ok(vec![0.0; rows * 512])
    }

    fn embed(&mut self, _rows: usize, _pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        Err("it looks at nothing".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_tile_is_begun_while_one_is_under_way_and_everyone_gets_their_own() {
    let (_scheduler, weights, most) = Deferred::seated(usize::MAX);
    let expected: Vec<u8> = faces().iter().map(|face| (face.latent[0] * 8.0 + 100.0) as u8).collect();
    let picture = bytes::Bytes::from(vec![0; 128 * 128]);
    for round in 0..20 {
        let (one, other, encoded) = tokio::join!(
            in_time(weights.generate(Turn::Stream(0), faces())),
            in_time(weights.generate(Turn::Stream(1), faces())),
            in_time(weights.encode(Turn::Stream(2), vec![picture.clone()])),
        );
        for images in [one.unwrap(), other.unwrap()] {
            let found: Vec<u8> = images.iter().map(|image| image[128 * 128 - 1]).collect();
            assert_eq!(found, expected, "round {round}");
        }
        assert_eq!(encoded.unwrap().len(), 512);
    }
    assert_eq!(most.load(Ordering::SeqCst), 2, "tiles under way at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_lost_while_tiles_are_under_way_leaves_nobody_waiting() {
    let (scheduler, weights, _) = Deferred::seated(1);
    let (one, other) = tokio::join!(
        in_time(weights.generate(Turn::Stream(0), faces())),
        in_time(weights.generate(Turn::Stream(1), faces())),
    );
    assert!(one.is_err() && other.is_err());
    assert!(scheduler.failure().unwrap().contains("the device is lost"));
}
