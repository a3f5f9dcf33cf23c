//! The engine with the real networks: a row's bytes depend on the row alone.

use crate::bundle::tiny_bundle;
use crate::fixture::in_time;
use candle_core::Device;
use nets::bundle::Bundle;
use server::{
    Error,
    engine::weights::BundleGenerator,
    plan::blending::Parent,
    scheduler::{Face, Scheduler, Turn, Weights},
    telemetry::Telemetry,
    workers::Workers,
};
use std::{collections::BTreeMap, sync::Arc};

fn weights(tile: usize) -> Weights {
    seated(tile).1
}

fn seated(tile: usize) -> (Scheduler, Weights) {
    let telemetry = Arc::new(Telemetry::new("", "").unwrap());
    let bundle = Bundle::from_bytes(&tiny_bundle(&["a", "b", "c"]), "a test", &Device::Cpu).unwrap();
    let generator = BundleGenerator::new(bundle, Device::Cpu, telemetry.clone());
    let scheduler = Scheduler::start(tile, 1, 3, BTreeMap::new(), telemetry, &Workers::Threads).unwrap();
    let weights = scheduler.seat(Box::new(generator)).unwrap();
    weights.accept();
    (scheduler, weights)
}

fn faces() -> Vec<Face> {
    (0..11u32)
        .map(|nth| Face {
            parents: vec![Parent { identity: nth % 3, weight: 0.75 }, Parent { identity: (nth + 1) % 3, weight: 0.25 }],
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
    let nobody = Face { parents: vec![Parent { identity: 99, weight: 1.0 }], latent: vec![0.0; 256] };
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
    use server::engine::RowGenerator;
    let bundle = || Bundle::from_bytes(&tiny_bundle(&["a", "b", "c"]), "a test", &Device::Cpu).unwrap();
    let telemetry = Arc::new(Telemetry::new("", "").unwrap());
    let faces = faces();
    let latents: Vec<f32> = faces.iter().flat_map(|face| face.latent.clone()).collect();
    let labels: Vec<f32> = faces
        .iter()
        .flat_map(|face| {
            let mut label = [0f32; 3];
            face.parents.iter().for_each(|parent| label[parent.identity as usize] += parent.weight);
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
    let nobody = Face { parents: vec![Parent { identity: 99, weight: 1.0 }], latent: vec![0.0; 256] };
    let error = in_time(weights.generate(Turn::Stream(0), vec![nobody])).await.unwrap_err();
    assert!(
        matches!(&error, Error::Engine(reason) if reason.contains("its packer ended early: this is a bug")),
        "{error}"
    );
    in_time(scheduler.failed()).await;
    assert!(in_time(weights.generate(Turn::Stream(1), faces())).await.is_err());
}
