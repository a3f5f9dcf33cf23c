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
    device.device = vec!["cpu".into(), "abacus".into()];
    assert!(refusal(&device).contains("/tf32, /bf16 or /tf32/bf16 behind it, found `abacus`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_withheld_by_one_setting_is_in_nothing_that_is_served_and_moves_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.safetensors");
    std::fs::write(&path, drawn_bundle()).unwrap();
    let start = async |withhold: Vec<String>| {
        let config = Config { withhold, ..config(&path) };
        Running::start(Served::open(&config).unwrap(), "127.0.0.1:0").await
    };
    let per_batch = v1::identity_sampling::Rule::PerBatch(v1::PerBatch { identities: 3, images: 8 });
    let rules = [
        v1::identity_sampling::Rule::ByImage(v1::ByImage {}),
        v1::identity_sampling::Rule::ByIdentity(v1::ByIdentity {}),
        per_batch,
        v1::identity_sampling::Rule::Weighted(v1::Weighted { weights: vec![1.0, 0.0, 1.0, 1.0] }),
    ];
    let jitter = v1::latent::Kind::Jitter(v1::Jitter { scale: 1.0 });
    let prior = v1::latent::Kind::Prior(v1::Prior::default());
    let mut streams = Vec::new();
    for rule in &rules {
        for kind in [jitter, prior] {
            let mut request = request(3, 24, 3);
            let spec = request.spec.as_mut().unwrap();
            spec.identities = Some(v1::IdentitySampling { rule: Some(rule.clone()) });
            spec.latent = Some(v1::Latent { kind: Some(kind) });
            spec.blending = Some(v1::Blending { count: 20, max_similarity: 0.99, spread: 1.0, ..Default::default() });
            spec.filter = Some(v1::IdentityFilter { min_similarity: 0.5, max_retries: Some(1) });
            streams.push(request);
        }
    }
    // Everything is served and shelved once before the person is withheld, which takes a restart.
    let before = start(Vec::new()).await;
    for stream in &streams {
        before.read(stream.clone()).await.unwrap();
    }
    let (header, _) = before.read(streams[0].clone()).await.unwrap();
    before.kill().await;
    let server = start(vec![drawn_names()[1].clone()]).await;
    for stream in &streams {
        let (header, batches) = server.read(stream.clone()).await.unwrap();
        assert_eq!((header.identities, header.classes), (4, 24));
        for batch in batches {
            let provenance = batch.provenance.unwrap();
            assert!(batch.labels.iter().all(|&label| label != 1 && label < 24));
            assert!(provenance.parents.iter().all(|&parent| parent != 1));
            // Three images each, numbered in a row without those of the one withheld.
            for (&image, &label) in provenance.images.iter().zip(&batch.labels).filter(|(_, label)| **label < 4) {
                let shown = if image == proto::NONE { label } else { [0, 2, 3][image as usize / 3] };
                assert_eq!(shown, label);
            }
        }
    }
    // A stream that was begun with that person's images is told, and not silently another one.
    let expected = Some(v1::Expectation { dataset_digest: header.dataset_digest, ..Default::default() });
    let status = server.read(v1::StreamRequest { expected, ..streams[0].clone() }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    let names = v1::GetInfoRequest { first_identity: 0, names: 4 };
    assert_eq!(server.client().await.get_info(names).await.unwrap().into_inner().names, drawn_names());
    for parents in [&[1][..], &[0, 1]] {
        let parents = parents.iter().map(|&identity| v1::Parent { identity, weight: 0.5 }).collect();
        let latent = Some(v1::face::Latent::Counter(v1::LatentCounter::default()));
        let request =
            v1::SynthesizeRequest { faces: vec![v1::Face { parents, latent, spread: 1.0 }], ..Default::default() };
        let status = server.client().await.synthesize(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    }
}
