//! A real bundle of the smallest networks, over drawn faces. The client's tests serve the same.

use candle_core::{DType, Device, Tensor};
use nets::{
    Conditioning, Downsampling, Encoder, EncoderConfig, FEATURE, Generator, GeneratorConfig, Initialization, LightCnn,
    LightCnnConfig, LightCnnKind, Parameters, Width,
    bundle::{Bundle, BundleInfo, BundleTensors, Precision},
};

/// Faces that are drawn in no time.
pub(crate) const DRAWN: &str = "demo:identities=4,images=3,seed=1";

/// A bundle of the smallest networks, with random weights.
pub(crate) fn tiny_bundle(names: &[&str]) -> Vec<u8> {
    let (width, initialization, classes) = (Width::Tiny, Initialization::FanIn, names.len());
    let info = BundleInfo {
        image_size: nets::pixels::IMAGE_SIZE,
        generator: GeneratorConfig { channels: 1, width, classes, initialization, conditioning: Conditioning::Start },
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

/// Their names.
pub(crate) fn drawn_names() -> Vec<String> {
    let dataset = dataset::Dataset::open(DRAWN, &dataset::OpenOptions::default()).unwrap();
    dataset.identities().iter().map(|identity| identity.name.clone()).collect()
}

/// A bundle for those drawn faces.
pub(crate) fn drawn_bundle() -> Vec<u8> {
    tiny_bundle(&drawn_names().iter().map(String::as_str).collect::<Vec<_>>())
}
