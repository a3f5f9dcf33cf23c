//! `cvae-gan export`: what a server serves, in one file.

use clap::Args;
use command::Interrupt;
use command::atomic_file::write_atomically;
use command::human::{bytes, count};
use command::run_directory::spare;
use cvae_gan::identity_network;
use cvae_gan::{Error, Exportable, IdentityNetwork};
use dataset::{Dataset, OpenOptions};
use nets::bundle::{Bundle, Precision};
use std::io::Write;
use std::path::PathBuf;

/// Write the averaged generator, encoder and identity network as a bundle for a server
#[derive(Args)]
pub(crate) struct Export {
    /// A run directory or a checkpoint
    #[arg(value_name = "RUN|FILE")]
    weights: PathBuf,
    /// Leave out the encoder: no latents around real images then
    #[arg(long, help_heading = "Output")]
    without_encoder: bool,
    /// Store weights in half precision: half the file
    #[arg(long, help_heading = "Output")]
    half: bool,
    /// Identity network, for a run that was trained without one
    #[arg(long, value_name = "FILE|RUN", requires = "data", help_heading = "Input")]
    identity_weights: Option<PathBuf>,
    /// The images it was trained on, for the identities' centres
    #[arg(long, value_name = "PATH", requires = "identity_weights", help_heading = "Input")]
    data: Option<PathBuf>,
    /// Bundle to write
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: PathBuf,
}

pub(crate) fn run(export: &Export, json: bool, interrupt: &Interrupt) -> Result<(), Error> {
    spare(&export.weights, &export.out)?;
    let device = candle_core::Device::Cpu;
    let mut parts = Exportable::read(&export.weights, &device)?;
    if let (Some(weights), Some(data)) = (&export.identity_weights, &export.data) {
        if parts.has_identity() {
            return Err(Error::Identity {
                path: weights.clone(),
                reason: "expected a run that was trained without one, found one that holds the network it was \
                         trained against; leave --identity-weights away"
                    .to_owned(),
            });
        }
        let data = Dataset::open(data, &OpenOptions { decode_all: true, ..OpenOptions::default() })?;
        if data.digest() != parts.training().dataset_digest {
            return Err(Error::Data {
                path: data.path().to_owned(),
                expected: format!("the data set with digest {}", parts.training().dataset_digest),
                found: data.digest().to_owned(),
            });
        }
        let recognizer = identity_network::load(weights, &data, false, &device)?;
        parts.set_identity(IdentityNetwork::of_dataset(recognizer, &data, interrupt)?);
    }
    let precision = if export.half { Precision::Half } else { Precision::Full };
    let content = parts.to_bundle(!export.without_encoder, precision)?;
    write_atomically(&export.out, |file| file.write_all(&content))?;
    // What counts is what can be read back.
    let bundle = Bundle::open(&export.out, &device)?;

    let info = &bundle.info;
    if json {
        let object = serde_json::json!({
            "out": export.out.display().to_string(),
            "bytes": content.len(),
            "digest": bundle.digest,
            "identities": info.names.len(),
            "encoder": bundle.encoder.is_some(),
            "images_seen": info.images_seen,
        });
        println!("{object}");
    } else {
        println!(
            "{} of {} identities after {} images, digest {}: {}",
            bytes(content.len() as u64),
            info.names.len(),
            count(info.images_seen),
            bundle.digest.get(..16).unwrap_or_default(),
            export.out.display()
        );
    }
    Ok(())
}
