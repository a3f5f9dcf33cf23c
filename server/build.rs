//! Names this build for the numerics class: everything in the sources that can change a byte of a
//! batch, and the compiler that translates it. Whitespace counts too: a build that is called
//! different although it isn't costs a trainer one question, the opposite costs it the truth.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCES: [&str; 5] = ["../nets/src", "../dataset/src", "src/plan", "src/plan.rs", "src/assemble.rs"];

fn main() -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    for source in SOURCES.iter().chain(&["../Cargo.lock"]) {
        println!("cargo:rerun-if-changed={source}");
        add(&mut hasher, Path::new(source))?;
    }
    for variable in ["TARGET", "CARGO_CFG_TARGET_FEATURE", "OPT_LEVEL"] {
        hasher.update(env::var(variable).unwrap_or_default().as_bytes());
    }
    let compiler = Command::new(env::var("RUSTC").unwrap_or("rustc".into())).arg("-vV").output()?;
    hasher.update(&compiler.stdout);
    println!("cargo:rustc-env=LOOKALIKE_BUILD={}", &hasher.finalize().to_hex()[..8]);
    Ok(())
}

fn add(hasher: &mut blake3::Hasher, path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        hasher.update(path.to_string_lossy().as_bytes());
        hasher.update(&fs::read(path)?);
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| add(hasher, entry))
}
