//! Files of weights: ours, and PyTorch's.

mod pytorch;
mod signed;

pub use pytorch::{legacies, legacy, pickle, pickles};

use candle_core::{DType, Device, Tensor};
use nets::bundle::{BundleTensors, Precision};
use nets::checkpoint::Checkpoint;
use nets::{
    Bundle, BundleInfo, Conditioning, Downsampling, Encoder, EncoderConfig, FEATURE, Generator, GeneratorConfig,
    Initialization, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Width,
};
use recognizer::{Card, Recognizer};

const RECOGNIZER: &str = "recognizer";

/// The most bytes of weights that are made for a description.
const MOST_WEIGHTS: usize = 8 << 20;

/// A checkpoint as it is, and once more with the digest that its contents have. What was accepted
/// is written and read back.
pub fn checkpoint(input: &[u8]) -> bool {
    let read = |bytes: &[u8]| Checkpoint::from_bytes(bytes, "the input", RECOGNIZER, &Device::Cpu);
    let _ = read(input);
    let Ok(mut file) = read(&signed::signed(input).unwrap_or_default()) else { return false };
    let written = file.to_bytes().expect("what was read can be written");
    assert_eq!(read(&written).expect("what was written can be read").to_bytes().expect("and again"), written);
    let _ = (file.get::<Card>("card"), file.get::<u64>("images_seen"));
    file.take("network");
    true
}

/// The description of a bundle or a recognizer, in JSON as the file has it. The weights that it
/// promises are made here, so that a corpus stays small.
pub fn bundle(input: &[u8]) -> bool {
    let Some(file) = signed::with_weights(input, MOST_WEIGHTS) else { return false };
    if Bundle::from_bytes(&file, "the input", &Device::Cpu).is_ok() {
        return true;
    }
    let Ok(mut file) = Checkpoint::from_bytes(&file, "the input", RECOGNIZER, &Device::Cpu) else { return false };
    let Ok(card) = file.get::<Card>("card") else { return false };
    Recognizer::new(card, file.take("network"), &Device::Cpu).is_ok()
}

/// Small ones: with fields and tensors, without, and of number types that no network has.
pub fn checkpoints() -> Vec<Vec<u8>> {
    let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).expect("a small tensor");
    let mut full = Checkpoint::new(RECOGNIZER);
    full.set("images_seen", 1234u64);
    full.set("rate", 1.0 / 3.0);
    full.set("names", ["a", "\u{e9}\n"]);
    full.set("card", card());
    full.put("network", [("x".into(), tensor(&[1.0, 2.0])), ("y".into(), tensor(&[]))].into());
    let mut other = Checkpoint::new(RECOGNIZER);
    let halves = tensor(&[0.5, -1.0]).to_dtype(DType::F16).expect("a half");
    let numbers = Tensor::new(&[[1i64, 2], [3, 4]], &Device::Cpu).expect("a small tensor");
    other.put("network", [("h".into(), halves), ("n".into(), numbers)].into());
    [full, other, Checkpoint::new(RECOGNIZER), Checkpoint::new("bundle")]
        .map(|file| file.to_bytes().expect("a checkpoint can be written"))
        .into()
}

fn card() -> Card {
    let config = LightCnnConfig { kind: LightCnnKind::Nine, width: Width::Tiny, classes: 3 };
    Card { config, class_names: vec!["a".into(), "b".into()], dataset: Some("0".into()), images_seen: 7 }
}

/// The descriptions of whole bundles and of a recognizer, all of the smallest width.
pub fn bundles() -> Vec<Vec<u8>> {
    let (grey, colour) = (described_bundle(1, true), described_bundle(3, false));
    let network = Parameters::new(1, DType::F32, &Device::Cpu);
    LightCnn::new(&card().config, network.var_builder()).expect("a small network");
    let mut file = Checkpoint::new(RECOGNIZER);
    file.set("card", card());
    file.put("network", network.tensors().expect("its weights"));
    let recognizer = file.to_bytes().expect("a checkpoint can be written");
    [grey, colour, recognizer].map(|file| signed::description(&file).expect("a description").to_vec()).into()
}

fn described_bundle(channels: usize, with_encoder: bool) -> Vec<u8> {
    let (width, initialization) = (Width::Tiny, Initialization::FanIn);
    let encoder = EncoderConfig { channels, width, downsampling: Downsampling::Strided, initialization };
    let info = BundleInfo {
        image_size: 128,
        generator: GeneratorConfig { channels, width, classes: 2, initialization, conditioning: Conditioning::Start },
        encoder: with_encoder.then_some(encoder),
        identity: LightCnnConfig { classes: 2, ..card().config },
        identity_digest: "0".into(),
        names: ["a", "b"].map(String::from).into(),
        images_seen: 7,
        dataset_digest: "0".into(),
    };
    let fresh = || Parameters::new(1, DType::F32, &Device::Cpu);
    let (generator, encoder, identity) = (fresh(), fresh(), fresh());
    Generator::new(&info.generator, generator.var_builder()).expect("a small network");
    if let Some(config) = &info.encoder {
        Encoder::new(config, encoder.var_builder()).expect("a small network");
    }
    LightCnn::new(&info.identity, identity.var_builder()).expect("a small network");
    let weights = |parameters: &Parameters| parameters.tensors().expect("its weights");
    let tensors = BundleTensors {
        generator: weights(&generator),
        encoder: weights(&encoder),
        identity: weights(&identity),
        centres: Some(Tensor::zeros((2, FEATURE), DType::F32, &Device::Cpu).expect("centres")),
    };
    Bundle::to_bytes(&info, tensors, Precision::Half).expect("a bundle can be written")
}
