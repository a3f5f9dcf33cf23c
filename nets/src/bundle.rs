//! A bundle: what a server serves, in one file.
//!
//! The averaged generator, optionally the encoder, the identity network with the centres of its
//! classes, and the names of the identities in class order. `cvae-gan export` makes it; the BLAKE3
//! digest of its bytes names it everywhere.

use crate::checkpoint::{Checkpoint, CheckpointError, bytes_of};
use crate::device::Numbers;
use crate::pixels::IMAGE_SIZE;
use crate::{Encoder, EncoderConfig, FEATURE, Generator, GeneratorConfig, LightCnn, LightCnnConfig, sentence};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const KIND: &str = "bundle";
const CENTRES: &str = "centres";

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleInfo {
    /// Side of the images in pixels; their channels are the generator's.
    pub image_size: usize,
    /// Shape of G.
    pub generator: GeneratorConfig,
    /// Shape of E, if it is inside.
    pub encoder: Option<EncoderConfig>,
    /// Shape of the identity network.
    pub identity: LightCnnConfig,
    /// Digest of the identity network's weights as training had them, before any rounding
    /// ([`digest_of`](crate::checkpoint::digest_of)): whoever judges the faces made must be another.
    pub identity_digest: String,
    /// Names of the identities; the position is the class.
    pub names: Vec<String>,
    /// Images that training had seen.
    pub images_seen: u64,
    /// Digest of the data set it was trained on.
    pub dataset_digest: String,
}

/// The tensors of a bundle before it is written, by the names of the networks' parameters.
#[derive(Clone, Debug, Default)]
pub struct BundleTensors {
    /// G, averaged.
    pub generator: BTreeMap<String, Tensor>,
    /// E, averaged; empty to leave it out.
    pub encoder: BTreeMap<String, Tensor>,
    /// The identity network.
    pub identity: BTreeMap<String, Tensor>,
    /// Normalised mean feature of each class, `(classes, 256)`.
    pub centres: Option<Tensor>,
}

/// Number type of the stored weights; they compute in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Four bytes.
    #[default]
    Full,
    /// Two bytes, IEEE half precision.
    Half,
}

/// A bundle ready to compute.
pub struct Bundle {
    /// G.
    pub generator: Generator,
    /// E, if the bundle has it.
    pub encoder: Option<Encoder>,
    /// The identity network.
    pub identity: LightCnn,
    /// Normalised mean feature of each class, `(classes, 256)`, on the CPU.
    pub centres: Tensor,
    /// What it says of itself.
    pub info: BundleInfo,
    /// BLAKE3 of the file, in hexadecimal.
    pub digest: String,
}

impl Bundle {
    /// Reads a file and builds its networks on `device`, in f32.
    ///
    /// # Errors
    /// When the file is no whole bundle, its tensors do not fit its description, or a weight is
    /// not finite.
    pub fn open(path: &Path, device: &Device) -> Result<Self, CheckpointError> {
        Self::from_bytes(&bytes_of(path)?, &path.display().to_string(), device)
    }

    /// [`open`](Self::open) for bytes in memory, which errors call `origin`.
    pub fn from_bytes(bytes: &[u8], origin: &str, device: &Device) -> Result<Self, CheckpointError> {
        Self::from_bytes_in(bytes, origin, device, Numbers::F32)
    }

    /// [`from_bytes`](Self::from_bytes) with a generator that computes in `numbers`. What judges images stays in
    /// f32.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes_in(
        bytes: &[u8],
        origin: &str,
        device: &Device,
        numbers: Numbers,
    ) -> Result<Self, CheckpointError> {
        // Weights are put on a device beside whatever it computes.
        #[cfg(feature = "cuda")]
        let _beside = crate::device::beside_captures();
        let mut file = Checkpoint::from_bytes(bytes, origin, KIND, device)?;
        let info: BundleInfo = file.get("info")?;
        check_info(&info).map_err(|reason| file.content(reason))?;
        let (generator, identity) = (file.take("generator"), file.take("identity"));
        let encoder = info.encoder.as_ref().map(|config| (config, file.take("encoder")));
        let mut centres = file.take(CENTRES);
        file.nothing_left()?;
        let build = || -> candle_core::Result<Self> {
            let dtype = numbers.dtype();
            let generator = build("generator", generator, device, dtype, |vb| Generator::new(&info.generator, vb))?;
            let encoder = match encoder {
                Some((config, encoder)) => {
                    Some(build("encoder", encoder, device, DType::F32, |vb| Encoder::new(config, vb))?)
                }
                None => None,
            };
            let identity =
                build("identity network", identity, device, DType::F32, |vb| LightCnn::new(&info.identity, vb))?;
            let Some(matrix) = centres.remove(CENTRES) else {
                candle_core::bail!("expected class centres, found none")
            };
            if let Some(name) = centres.keys().next() {
                candle_core::bail!("expected one tensor of class centres, found `{name}` too")
            }
            crate::parameters::expect_dims("class centres", &matrix, &[info.names.len(), FEATURE])?;
            check_finite("class centres", CENTRES, &matrix)?;
            let centres = matrix.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
            let digest = blake3::hash(bytes).to_hex().to_string();
            Ok(Self { generator, encoder, identity, centres, info: info.clone(), digest })
        };
        build().map_err(|error| file.content(sentence(&error)))
    }

    /// The bytes of a bundle file, proven readable.
    ///
    /// # Errors
    /// When the tensors do not fit `info` or are not finite: then there is nothing to serve.
    pub fn to_bytes(
        info: &BundleInfo,
        tensors: BundleTensors,
        precision: Precision,
    ) -> Result<Vec<u8>, CheckpointError> {
        let mut file = Checkpoint::new(KIND);
        file.set("info", info);
        let stored = |tensors: BTreeMap<String, Tensor>| -> candle_core::Result<BTreeMap<String, Tensor>> {
            tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_dtype(precision.dtype())?))).collect()
        };
        let centres = tensors.centres.into_iter().map(|tensor| (CENTRES.to_owned(), tensor)).collect();
        let groups = [
            ("generator", tensors.generator),
            ("encoder", tensors.encoder),
            ("identity", tensors.identity),
            (CENTRES, centres),
        ];
        for (group, tensors) in groups {
            let tensors = stored(tensors).map_err(|error| file.content(sentence(&error)))?;
            file.put(group, tensors);
        }
        let bytes = file.to_bytes()?;
        Self::from_bytes(&bytes, "the new bundle", &Device::Cpu)?;
        Ok(bytes)
    }
}

impl Precision {
    fn dtype(self) -> DType {
        match self {
            Self::Full => DType::F32,
            Self::Half => DType::F16,
        }
    }
}

/// Refuses descriptions that contradict themselves or ask for absurd memory.
fn check_info(info: &BundleInfo) -> Result<(), String> {
    const MAX_CLASSES: usize = 1 << 20;
    let (classes, channels) = (info.generator.classes, info.generator.channels);
    if classes != info.names.len() || !(1..=MAX_CLASSES).contains(&classes) {
        return Err(format!("expected a name for each of {classes} identities, found {} names", info.names.len()));
    }
    if info.names.windows(2).any(|pair| pair[0].as_bytes() >= pair[1].as_bytes()) {
        return Err("expected different identity names in byte order".to_owned());
    }
    if info.image_size != IMAGE_SIZE {
        return Err(format!("expected images of {IMAGE_SIZE} pixels, found {}", info.image_size));
    }
    if ![1, 3].contains(&channels) || info.encoder.as_ref().is_some_and(|encoder| encoder.channels != channels) {
        return Err(format!("expected 1 or 3 image channels in every network, found {channels} in the generator"));
    }
    if info.identity.classes > MAX_CLASSES {
        return Err(format!("expected at most {MAX_CLASSES} classes, found {}", info.identity.classes));
    }
    Ok(())
}

/// Refuses a tensor with a value that is not finite.
fn check_finite(what: &str, name: &str, tensor: &Tensor) -> candle_core::Result<()> {
    if !tensor.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?.is_finite() {
        candle_core::bail!("{what}: values of `{name}` are not finite; the run that made them had failed")
    }
    Ok(())
}

/// Builds a network from exactly its tensors.
fn build<N>(
    what: &str,
    tensors: BTreeMap<String, Tensor>,
    device: &Device,
    dtype: DType,
    network: impl FnOnce(VarBuilder) -> candle_core::Result<N>,
) -> candle_core::Result<N> {
    for (name, tensor) in &tensors {
        check_finite(what, name, tensor)?;
    }
    let count = tensors.len();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    let vb = VarBuilder::from_tensors(tensors.into_iter().collect(), dtype, device);
    let vb = vb.rename_f(move |name| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        name.to_owned()
    });
    let network = network(vb).map_err(|error| candle_core::Error::Msg(format!("{what}: {}", sentence(&error))))?;
    let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
    if asked != count {
        candle_core::bail!("{what}: expected {asked} tensors, found {count}")
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conditioning, Downsampling, Initialization, LightCnnKind, Parameters, Width};

    fn tiny() -> candle_core::Result<(BundleInfo, BundleTensors)> {
        conditioned(Conditioning::Start)
    }

    fn conditioned(conditioning: Conditioning) -> candle_core::Result<(BundleInfo, BundleTensors)> {
        let (width, initialization) = (Width::Tiny, Initialization::FanIn);
        let info = BundleInfo {
            image_size: IMAGE_SIZE,
            generator: GeneratorConfig { channels: 1, width, classes: 3, initialization, conditioning },
            encoder: Some(EncoderConfig { channels: 1, width, downsampling: Downsampling::Strided, initialization }),
            identity: LightCnnConfig { kind: LightCnnKind::Nine, width, classes: 3 },
            identity_digest: "0".into(),
            names: ["a", "b", "c"].map(String::from).to_vec(),
            images_seen: 7,
            dataset_digest: "0".into(),
        };
        let fresh = || Parameters::new(1, DType::F32, &Device::Cpu);
        let (generator, encoder, identity) = (fresh(), fresh(), fresh());
        Generator::new(&info.generator, generator.var_builder())?;
        Encoder::new(info.encoder.as_ref().expect("set above"), encoder.var_builder())?;
        LightCnn::new(&info.identity, identity.var_builder())?;
        let tensors = BundleTensors {
            generator: generator.tensors()?,
            encoder: encoder.tensors()?,
            identity: identity.tensors()?,
            centres: Some(Tensor::zeros((3, FEATURE), DType::F32, &Device::Cpu)?),
        };
        Ok((info, tensors))
    }

    #[test]
    fn a_bundle_computes_what_was_exported() -> anyhow::Result<()> {
        for conditioning in [Conditioning::Start, Conditioning::EveryLayer] {
            let (info, tensors) = conditioned(conditioning)?;
            let bytes = Bundle::to_bytes(&info, tensors.clone(), Precision::Full)?;
            let bundle = Bundle::from_bytes(&bytes, "here", &Device::Cpu)?;
            assert_eq!(bundle.info, info);
            let parameters = Parameters::new(9, DType::F32, &Device::Cpu);
            let original = Generator::new(&info.generator, parameters.var_builder())?;
            parameters.load(&tensors.generator)?;
            let z = Tensor::ones((1, crate::LATENT), DType::F32, &Device::Cpu)?;
            let c = Tensor::new(&[[0.2f32, 0.3, 0.5]], &Device::Cpu)?;
            let images = |generator: &Generator| generator.forward(&z, &c)?.flatten_all()?.to_vec1::<f32>();
            assert_eq!(images(&bundle.generator)?, images(&original)?);
        }
        Ok(())
    }

    #[test]
    fn bundles_from_before_conditional_norms_are_what_they_were() -> anyhow::Result<()> {
        let description = r#"{"channels":1,"width":"tiny","classes":3,"initialization":"fan-in"}"#;
        let (info, tensors) = tiny()?;
        assert_eq!(serde_json::to_string(&info.generator)?, description);
        assert_eq!(serde_json::from_str::<GeneratorConfig>(description)?, info.generator);
        // Whoever takes one kind of generator for the other is told.
        let (other, _) = conditioned(Conditioning::EveryLayer)?;
        let error = Bundle::to_bytes(&other, tensors, Precision::Full).map(drop).expect_err("tensors are missing");
        assert!(error.to_string().contains("deconv1.norm.weight"), "{error}");
        Ok(())
    }

    #[test]
    fn half_precision_halves_the_file() -> anyhow::Result<()> {
        let (info, tensors) = tiny()?;
        let full = Bundle::to_bytes(&info, tensors.clone(), Precision::Full)?.len();
        let half = Bundle::to_bytes(&info, tensors, Precision::Half)?.len();
        assert!((half as f64) < 0.51 * full as f64, "{half} of {full}");
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused_in_one_sentence() -> anyhow::Result<()> {
        let (info, tensors) = tiny()?;
        let refusal = |info: &BundleInfo, tensors: BundleTensors| match Bundle::to_bytes(info, tensors, Precision::Full)
        {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let mut more = info.clone();
        more.names.push("d".into());
        assert!(refusal(&more, tensors.clone()).contains("each of 3 identities, found 4 names"));
        let mut wider = info.clone();
        wider.generator.width = Width::Small;
        assert!(refusal(&wider, tensors.clone()).contains("generator"));
        let mut without = info.clone();
        without.encoder = None;
        assert_eq!(refusal(&without, BundleTensors { encoder: BTreeMap::new(), ..tensors.clone() }), "");
        let mut broken = tensors.clone();
        broken.generator.insert("deconv6.bias".into(), Tensor::new(&[f32::NAN], &Device::Cpu)?);
        assert!(refusal(&info, broken).contains("not finite"));
        let mut extra = tensors.clone();
        extra.identity.insert("extra".into(), Tensor::new(&[1f32], &Device::Cpu)?);
        assert!(refusal(&info, extra).contains("identity network: expected 22 tensors, found 23"));
        let infinite = (tensors.centres.as_ref().expect("set above") + f64::INFINITY)?;
        let infinite = BundleTensors { centres: Some(infinite), ..tensors.clone() };
        assert!(refusal(&info, infinite).contains("class centres: values of `centres` are not finite"));
        let larger = BundleInfo { image_size: 256, ..info };
        assert!(refusal(&larger, tensors.clone()).contains("expected images of 128 pixels, found 256"));
        // Whoever exports without the encoder must leave out its weights too.
        assert!(refusal(&without, tensors).contains("a tensor `encoder/blocks.0.conv1.weight` that the description"));
        Ok(())
    }

    #[test]
    fn weights_that_nobody_would_use_are_refused() -> anyhow::Result<()> {
        let (info, tensors) = tiny()?;
        let whole = Bundle::to_bytes(&info, tensors, Precision::Full)?;
        for (group, found) in [("judge", "a tensor `judge/x`"), ("centres", "found `x` too")] {
            let mut file = Checkpoint::from_bytes(&whole, "here", KIND, &Device::Cpu)?;
            file.put(group, [("x".to_owned(), Tensor::new(&[1f32], &Device::Cpu)?)].into());
            let error = Bundle::from_bytes(&file.to_bytes()?, "here", &Device::Cpu).err().expect("too much");
            assert!(error.to_string().contains(found), "{error}");
        }
        Ok(())
    }
}
