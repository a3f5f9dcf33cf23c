//! A real bundle over drawn faces, from file to stream.

use crate::bundle::{DRAWN, drawn_bundle, drawn_names, tiny_bundle};
use crate::fixture::*;
use nets::checkpoint::Checkpoint;
use proto::v1;
use server::{Config, Error, Served};
use std::path::Path;

fn config(weights: &Path) -> Config {
    Config { data: DRAWN.into(), weights: Some(weights.to_owned()), ..Config::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_and_drawn_faces_are_served_from_their_names_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.safetensors");
    std::fs::write(&path, drawn_bundle()).unwrap();
    let open = || Served::open(&config(&path)).unwrap();
    let one = Running::start(open(), "127.0.0.1:0").await;
    let mut mixed = request(7, 12, 2);
    mixed.spec.as_mut().unwrap().latent =
        Some(v1::Latent { kind: Some(v1::latent::Kind::Jitter(v1::Jitter { scale: 1.0 })) });
    let (header, batches) = one.read(mixed.clone()).await.unwrap();
    assert_eq!(header.classes, 8);
    assert!(header.numerics.ends_with("/f32/tile16"), "{}", header.numerics);
    // Faces, images and digests are measured apart.
    let [generated, copied, encoded, sealed] = ["generate", "device_copy", "encode", "digest"].map(|stage| {
        let one = &one;
        async move { one.metric(&format!("lookalike_{stage}_seconds_count")).await }
    });
    assert_eq!(sealed.await, 2.0);
    let (generated, encoded) = (generated.await, encoded.await);
    assert!(generated > 0.0 && encoded > 0.0);
    assert_eq!(
        (copied.await, one.metric("lookalike_device_batch_images_count").await),
        (generated, generated + encoded)
    );
    let other = Running::start(open(), "127.0.0.1:0").await;
    assert_eq!(other.read(mixed).await.unwrap(), (header, batches));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_the_demo_is_served() {
    let server = Running::start(Served::open(&Config::default()).unwrap(), "127.0.0.1:0").await;
    let (header, batches) = server.read(request(1, 8, 1)).await.unwrap();
    assert_eq!((batches.len(), batches[0].rows), (1, 8));
    assert!(proto::digest::agrees(&batches[0]) && header.identities > 1);
}

#[test]
fn what_cannot_be_served_is_told_before_serving() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.safetensors");
    let refusal = |config: &Config| Served::open(config).err().expect("a refusal").to_string();
    std::fs::write(&path, tiny_bundle(&["somebody", "someone"])).unwrap();
    let error = Served::open(&config(&path)).err().unwrap();
    assert!(matches!(error, Error::Names(_)), "{error}");
    assert!(error.to_string().contains("2 in the bundle and 4 in the dataset; class 0 is `somebody`"), "{error}");

    let absent = folder.path().join("absent");
    assert!(refusal(&config(&absent)).contains("absent"));
    let mut elsewhere = config(&path);
    elsewhere.data = absent.display().to_string();
    assert!(refusal(&elsewhere).contains("no data set at"));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refusal(&config(&path)).contains("cut short"));
    std::fs::write(&path, Checkpoint::new("cvae-gan run").to_bytes().unwrap()).unwrap();
    assert!(refusal(&config(&path)).contains("expected a bundle, found a `cvae-gan run` in"));
    let mut device = config(&path);
    device.device = "abacus".into();
    assert!(refusal(&device).contains("expected a device cpu or cuda:N, found `abacus`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_person_is_in_no_row_and_moves_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.safetensors");
    std::fs::write(&path, drawn_bundle()).unwrap();
    let config = Config { withhold: vec![drawn_names()[1].clone()], ..config(&path) };
    let server = Running::start(Served::open(&config).unwrap(), "127.0.0.1:0").await;
    let (header, batches) = server.read(request(3, 24, 3)).await.unwrap();
    assert_eq!(header.identities, 4);
    for batch in batches {
        assert!(batch.labels.iter().all(|&label| label != 1));
        assert!(batch.provenance.unwrap().parents.iter().all(|&parent| parent != 1));
    }
    let face = v1::Face {
        parents: vec![v1::Parent { identity: 1, weight: 1.0 }],
        latent: Some(v1::face::Latent::Counter(v1::LatentCounter::default())),
    };
    let request = v1::SynthesizeRequest { faces: vec![face], ..Default::default() };
    let status = server.client().await.synthesize(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
}
