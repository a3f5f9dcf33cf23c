//! `recognizer embed`: features of all images of a data set, as a file.

use candle_core::{Device, Tensor};
use clap::Args;
use command::atomic_file::write_atomically;
use command::run_directory::spare;
use command::{Context, Progress};
use dataset::{Dataset, OpenOptions};
use recognizer::{Error, embed_unless};
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

/// Write the features of a data set's images to a safetensors file
///
/// Tensors: features (images, 256), labels (images), centres (identities, 256; normalised means of
/// normalised features). Its metadata holds the identities' names and the images' paths in order.
#[derive(Args)]
pub(crate) struct Embed {
    /// Recognizer: a checkpoint, a run directory, or published LightCNN weights (.pth.tar)
    #[arg(long, value_name = "FILE|RUN", help_heading = "Input")]
    weights: PathBuf,
    /// Images: a folder per identity, a tar of one, or demo
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    data: PathBuf,
    /// What computes: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named, help_heading = "Everywhere")]
    device: String,
    /// File to write
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: PathBuf,
}

pub(crate) fn run(embed: &Embed, json: bool, context: &Context) -> Result<(), Error> {
    spare(&embed.weights, &embed.out)?;
    let device = nets::device::parse(&embed.device)?;
    let recognizer = recognizer::load(&embed.weights, &device)?;
    let data = Dataset::open(&embed.data, &OpenOptions { decode_all: true, ..OpenOptions::default() })?;
    let images: Vec<usize> = (0..data.len()).collect();
    let labels: Vec<u32> = images.iter().map(|&image| data.image_identity(image) as u32).collect();

    let progress = Progress::new("embedding", images.len() as u64, "images");
    let advance = |images| progress.advance(images);
    let features = embed_unless(&context.interrupt, &recognizer.network, &device, &data, &images, advance)?;
    progress.finish();

    let classes = data.identities().len();
    let centres = features.class_centres(&labels, classes)?;
    let table = |values: &[f32], rows: usize| Tensor::from_slice(values, (rows, nets::FEATURE), &Device::Cpu);
    let tensors = [
        ("features", table(features.values(), images.len())?),
        ("labels", Tensor::from_slice(&labels, labels.len(), &Device::Cpu)?),
        ("centres", table(centres.values(), classes)?),
    ];
    let names: Vec<&str> = data.identities().iter().map(|identity| identity.name.as_str()).collect();
    let paths: Vec<&str> = images.iter().map(|&image| data.image_path(image)).collect();
    // One entry: the container writes several in no fixed order, and equal features shall give
    // equal files.
    let description = serde_json::json!({ "names": names, "paths": paths, "dataset": data.digest() });
    let metadata = HashMap::from([("features".to_owned(), description.to_string())]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(candle_core::Error::from)?;
    write_atomically(&embed.out, |file| file.write_all(&bytes))?;
    if json {
        println!(
            "{}",
            serde_json::json!({ "out": embed.out.display().to_string(), "images": images.len(), "identities": classes })
        );
    } else {
        println!("{} features of {classes} identities: {}", images.len(), embed.out.display());
    }
    Ok(())
}
