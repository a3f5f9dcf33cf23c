//! Compiles the kernels for GPUs, with the feature `cuda`: `nvcc` from `$NVCC`, `$CUDA_HOME/bin` or the
//! path turns them to PTX for compute capability 8.0. No GPU is needed for that.

use std::path::Path;
use std::process::Command;
use std::{env, process::exit};

const SOURCE: &str = "src/ops/kernels/source";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    for name in ["NVCC", "CUDA_HOME"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    if let Err(reason) = compile() {
        eprintln!("the feature `cuda` needs NVIDIA's compiler nvcc, 12.0 or later: {reason}");
        exit(1);
    }
}

fn compile() -> Result<(), String> {
    let out = env::var_os("OUT_DIR").ok_or("cargo names no folder for outputs")?;
    let nvcc = env::var_os("NVCC").map(Into::into).unwrap_or_else(|| match env::var_os("CUDA_HOME") {
        Some(home) => Path::new(&home).join("bin/nvcc"),
        None => "nvcc".into(),
    });
    let status = Command::new(&nvcc)
        .args(["-ptx", "-O3", "-arch=compute_80", "-o"])
        .arg(Path::new(&out).join("kernels.ptx"))
        .arg(Path::new(SOURCE).join("kernels.cu"))
        .status()
        .map_err(|error| format!("cannot start {}: {error}", nvcc.display()))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", nvcc.display())) }
}
