//! Searches for inputs that break a decoder. `fuzz/run` builds and starts it.

#![no_main]

use fuzz::{Target, memory, target};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// The decoder that `FUZZ_TARGET` names. Its seeds are written to `FUZZ_SEEDS`.
static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = target(&name).unwrap_or_else(|| panic!("expected FUZZ_TARGET to name a decoder, found {name:?}"));
    if let Ok(folder) = std::env::var("FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(format!("{folder}/seed-{number:02}"), seed).expect("seeds can be written");
        }
    }
    target
});

fuzz_target!(init: { LazyLock::force(&TARGET); }, |input: &[u8]| {
    memory::run_within_bounds(&TARGET, input);
});
