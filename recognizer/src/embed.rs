//! Images to features.

use crate::error::Result;
use crate::metrics::Features;
use candle_core::{DType, Device, Tensor};
use command::Interrupt;
use dataset::Dataset;
use nets::{FEATURE, LightCnn, pixels};
use rayon::prelude::*;

/// Images that pass through the network together. A row's feature doesn't depend on it.
const ROWS: usize = 32;

/// Features `(count, 256)` of some images of a data set, in the order of `images`. `advance` is
/// told after each batch how many images it had.
///
/// # Errors
/// An image that can't be read.
pub fn embed(
    network: &LightCnn,
    device: &Device,
    dataset: &Dataset,
    images: &[usize],
    advance: impl FnMut(u64),
) -> Result<Features> {
    embed_unless(&Interrupt::new(), network, device, dataset, images, advance)
}

/// [`embed`], with a look at `interrupt` before each batch.
///
/// # Errors
/// [`command::Error::Interrupted`], an image that can't be read.
pub fn embed_unless(
    interrupt: &Interrupt,
    network: &LightCnn,
    device: &Device,
    dataset: &Dataset,
    images: &[usize],
    mut advance: impl FnMut(u64),
) -> Result<Features> {
    let mut features = Features::new(FEATURE);
    for images in images.chunks(ROWS) {
        if interrupt.requested() {
            return Err(command::Error::Interrupted.into());
        }
        let read: dataset::Result<Vec<Vec<u8>>> =
            images.par_iter().map(|&image| dataset.read(image).map(dataset::Image::into_pixels)).collect();
        let tensor = embed_pixels(network, device, dataset.channels(), &read?.concat())?;
        features.extend(&tensor)?;
        advance(images.len() as u64);
    }
    Ok(features)
}

/// Features of images given as NHWC bytes, 128 * 128 * `channels` each: 256 values an image.
///
/// # Errors
/// Bytes that are no whole number of images.
pub fn embed_pixels(network: &LightCnn, device: &Device, channels: usize, bytes: &[u8]) -> Result<Vec<f32>> {
    let image = pixels::IMAGE_SIZE * pixels::IMAGE_SIZE * channels;
    let mut features = Vec::new();
    for bytes in bytes.chunks(ROWS * image) {
        let grey = pixels::to_grey(bytes, bytes.len() / image, channels, DType::F32, device)?;
        features.extend(to_values(&network.features(&grey)?)?);
    }
    Ok(features)
}

/// Logits `(count, classes)` of features.
///
/// # Errors
/// Features of another length than the network's.
pub fn classify(network: &LightCnn, device: &Device, features: &Features) -> Result<Vec<Vec<f32>>> {
    let shape = (features.len(), features.dimension());
    let tensor = Tensor::from_slice(features.values(), shape, device)?;
    Ok(network.classify(&tensor)?.to_dtype(DType::F32)?.to_vec2()?)
}

fn to_values(features: &Tensor) -> candle_core::Result<Vec<f32>> {
    features.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
