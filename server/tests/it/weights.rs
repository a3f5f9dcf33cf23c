//! A real bundle over drawn faces, from file to stream.

use crate::fixture::*;
use candle_core::{DType, Device, Tensor};
use nets::{
    Downsampling, Encoder, EncoderConfig, FEATURE, Generator, GeneratorConfig, Initialization, LightCnn,
    LightCnnConfig, LightCnnKind, Parameters, Width,
    bundle::{Bundle, BundleInfo, BundleTensors, Precision},
    checkpoint::Checkpoint,
};
use proto::v1;
use server::{Config, Error, Served};
use std::path::Path;

pub(crate) const DRAWN: &str = "demo:identities=4,images=3,seed=1";

/// A bundle of the smallest networks, with random weights.
pub(crate) fn tiny_bundle(names: &[&str]) -> Vec<u8> {
    let (width, initialization, classes) = (Width::Tiny, Initialization::FanIn, names.len());
    let info = BundleInfo {
        image_size: nets::pixels::IMAGE_SIZE,
        generator: GeneratorConfig { channels: 1, width, classes, initialization },
        encoder: Some(EncoderConfig { channels: 1, width, downsampling: Downsampling::Strided, initialization }),
        identity: LightCnnConfig { kind: LightCnnKind::Nine, width, classes },
        identity_digest: "0".repeat(64),
        names: names.iter().map(|&name| name.to_owned()).collect(),
        images_seen: 0,
        dataset_digest: "0".repeat(64),
    };
    let parameters = || Parameters::new(1, DType::F32, &Device::Cpu);
    let (generator, encoder, identity) = (parameters(), parameters(), parameters());
    Generator::new(&info.generator, generator.var_builder()).unwrap();
    Encoder::new(info.encoder.as_ref().unwrap(), encoder.var_builder()).unwrap();
    LightCnn::new(&info.identity, identity.var_builder()).unwrap();
    let tensors = BundleTensors {
        generator: generator.tensors().unwrap(),
        encoder: encoder.tensors().unwrap(),
        identity: identity.tensors().unwrap(),
        centres: Some(Tensor::zeros((classes, FEATURE), DType::F32, &Device::Cpu).unwrap()),
    };
    Bundle::to_bytes(&info, tensors, Precision::Full).unwrap()
}

fn drawn_names() -> Vec<String> {
    let dataset = dataset::Dataset::open(DRAWN, &dataset::OpenOptions::default()).unwrap();
    dataset.identities().iter().map(|identity| identity.name.clone()).collect()
}

/// A bundle for those drawn faces.
pub(crate) fn drawn_bundle() -> Vec<u8> {
    tiny_bundle(&drawn_names().iter().map(String::as_str).collect::<Vec<_>>())
}

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
    let other = Running::start(open(), "127.0.0.1:0").await;
    assert_eq!(other.read(mixed).await.unwrap(), (header, batches));
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
