//! Compiles the contract with protox, a protobuf compiler in Rust, so that no `protoc` is needed.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

const CONTRACT: &str = "proto/lookalike/v1/augment.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={CONTRACT}");
    let descriptors = protox::compile([CONTRACT], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Pixels stay in the reference-counted buffer they were assembled in.
        .bytes(".")
        // A batch is kept beside its images as JSON, every column that comes to be with it.
        .type_attribute("lookalike.v1.Batch", "#[derive(serde::Serialize, serde::Deserialize)] #[serde(default)]")
        .type_attribute("lookalike.v1.Provenance", "#[derive(serde::Serialize, serde::Deserialize)] #[serde(default)]")
        .field_attribute("lookalike.v1.Batch.digest", "#[serde(skip)]")
        .field_attribute("lookalike.v1.Batch.pixels", "#[serde(skip)]")
        .compile_fds(descriptors)?;
    Ok(())
}
