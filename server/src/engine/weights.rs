//! The generator of a bundle.

use super::{GeneratorError, RowGenerator};
#[cfg(feature = "cuda")]
use crate::error::device_sentence;
use crate::telemetry::Telemetry;
use bytes::Bytes;
use candle_core::{DType, Device, Tensor};
use nets::device::{Numbers, Place};
use nets::{Encoder, Generator, LATENT, LightCnn, bundle::Bundle, pixels};
use std::{sync::Arc, time::Instant};

/// The networks of a bundle on a device.
pub struct BundleGenerator {
    generator: Arc<Generator>,
    encoder: Option<Encoder>,
    identity: LightCnn,
    /// Whether outputs are looked at: weights that are finite may overflow all the same.
    on_trial: bool,
    channels: usize,
    classes: usize,
    weight_bytes: usize,
    device: Device,
    /// What takes its tiles once it was accepted, where that is on a GPU.
    #[cfg(feature = "cuda")]
    tiles: super::on_gpu::Tiles,
    telemetry: Arc<Telemetry>,
}

impl BundleGenerator {
    /// From a bundle that was opened on `device`.
    pub fn new(bundle: Bundle, device: Device, telemetry: Arc<Telemetry>) -> Self {
        let (channels, classes) = (bundle.info.generator.channels, bundle.info.generator.classes);
        Self {
            generator: Arc::new(bundle.generator),
            encoder: bundle.encoder,
            identity: bundle.identity,
            on_trial: true,
            channels,
            classes,
            weight_bytes: 0,
            device,
            #[cfg(feature = "cuda")]
            tiles: super::on_gpu::Tiles::default(),
            telemetry,
        }
    }
}

impl BundleGenerator {
    /// With weights that are known to take so many bytes.
    pub(crate) fn holding(self, weight_bytes: usize) -> Self {
        Self { weight_bytes, ..self }
    }
}

/// Bytes that the weights of a bundle's file take once they are on the device, in f32: by its header, which
/// names the shape of each tensor. 0 for what is no such file.
pub(crate) fn weight_bytes(file: &[u8]) -> usize {
    let header = || {
        let length = u64::from_le_bytes(file.first_chunk().copied()?);
        let header = file.get(8..)?.get(..usize::try_from(length).ok()?)?;
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(header).ok()
    };
    let numbers = |tensor: &serde_json::Value| -> Option<u64> {
        tensor.get("shape")?.as_array()?.iter().map(serde_json::Value::as_u64).product()
    };
    let numbers: u64 = header().unwrap_or_default().values().filter_map(numbers).sum();
    usize::try_from(numbers).unwrap_or_default() * size_of::<f32>()
}

/// What the bytes depend on besides weights and build: the kernel path that the processor's
/// features select at run time, and the number type.
pub fn numerics(place: &Place) -> String {
    let in_f32 = numerics_in_f32(&place.device);
    match (place.numbers, in_f32.rsplit_once('/')) {
        (Numbers::Bf16, Some((kernels, "f32"))) => format!("{kernels}/{}", place.numbers),
        // The identity network computes in these whatever the generator does.
        (Numbers::Bf16, Some(_)) => format!("{in_f32}/{}", place.numbers),
        _ => in_f32,
    }
}

fn numerics_in_f32(device: &Device) -> String {
    match device {
        Device::Cpu => format!("cpu-{}/f32", kernel_path()),
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => nets::device::cuda::numerics(device).unwrap_or_else(|error| {
            tracing::warn!(error = device_sentence(&error), "the driver does not say what GPU computes");
            "cuda-unknown/f32".to_owned()
        }),
        _ => "cuda/f32".to_owned(),
    }
}

/// The best vector instructions that the kernels would use here.
fn kernel_path() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::is_x86_feature_detected!("fma") && std::is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    if cfg!(target_arch = "aarch64") { "neon" } else { "scalar" }
}

impl RowGenerator for BundleGenerator {
    fn channels(&self) -> usize {
        self.channels
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn generate(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<Bytes, GeneratorError> {
        let z = Tensor::from_slice(latents, (rows, LATENT), &self.device)?;
        let c = Tensor::from_slice(labels, (rows, self.classes), &self.device)?;
        // Bytes don't say.
        if self.on_trial && !self.generator.forward(&z, &c)?.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Err("its images hold values that are not finite".into());
        }
        let generating = Instant::now();
        let images = self.generator.bytes(&z, &c)?;
        // A GPU has only been told so far; without this, fetching would be measured as the work.
        self.device.synchronize()?;
        self.telemetry.generated(generating.elapsed());
        let copying = Instant::now();
        let bytes = images.flatten_all()?.to_vec1::<u8>()?;
        self.telemetry.device_copied(copying.elapsed());
        Ok(bytes.into())
    }

    #[cfg(feature = "cuda")]
    fn begin(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<bool, GeneratorError> {
        let Device::Cuda(device) = &self.device else { return Ok(false) };
        let shape = super::on_gpu::Shape { rows, classes: self.classes, channels: self.channels };
        self.tiles.begin(device, &self.generator, shape, latents, labels)?;
        Ok(true)
    }

    #[cfg(feature = "cuda")]
    fn finish(&mut self) -> Result<Bytes, GeneratorError> {
        let waiting = Instant::now();
        let pixels = self.tiles.finish()?;
        self.telemetry.generated(waiting.elapsed());
        Ok(pixels)
    }

    fn encode(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        let encoder = self.encoder.as_ref().ok_or("the bundle has no encoder: this is a bug")?;
        let x = pixels::to_signed(pixels, rows, self.channels, DType::F32, &self.device)?;
        let encoding = Instant::now();
        let posterior = encoder.forward(&x)?;
        let encodings = Tensor::cat(&[posterior.mu, posterior.logvar], 1)?.flatten_all()?.to_vec1::<f32>()?;
        self.telemetry.encoded(encoding.elapsed());
        Ok(encodings)
    }

    fn embed(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        let x = pixels::to_grey(pixels, rows, self.channels, DType::F32, &self.device)?;
        let features = self.identity.features(&x)?;
        // Length 1, but for a feature of nothing at all.
        let lengths = features.sqr()?.sum_keepdim(1)?.sqrt()?.clamp(f32::MIN_POSITIVE, f32::MAX)?;
        Ok(features.broadcast_div(&lengths)?.flatten_all()?.to_vec1::<f32>()?)
    }

    fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    fn accepted(&mut self) {
        self.on_trial = false;
    }
}
