//! Names this build for the numerics class: everything in the sources that can change a byte of a
//! batch, and the compiler that translates it. Whitespace counts too: a build that is called
//! different although it isn't costs a trainer one question, the opposite costs it the truth.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Every room that a batch passes on its way, and the manifests, whose features the lock file
/// doesn't tell.
const SOURCES: [&str; 11] = [
    "../nets/src",
    "../nets/build.rs",
    "../dataset/src",
    "../proto/src",
    "src",
    "../Cargo.lock",
    "../Cargo.toml",
    "../nets/Cargo.toml",
    "../dataset/Cargo.toml",
    "../proto/Cargo.toml",
    "Cargo.toml",
];

fn main() -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        add(&mut hasher, Path::new(source))?;
    }
    let settings = ["TARGET", "CARGO_CFG_TARGET_FEATURE", "CARGO_ENCODED_RUSTFLAGS", "OPT_LEVEL"].map(str::to_owned);
    let features = env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CARGO_FEATURE_"));
    let mut variables: Vec<String> = settings.into_iter().chain(features).collect();
    variables.sort();
    for variable in variables {
        hasher.update(format!("{variable}={}\n", env::var(&variable).unwrap_or_default()).as_bytes());
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
