//! Searches for inputs that break a decoder. `fuzz/run` builds and starts it.

#![no_main]

use fuzz::{Target, memory, target};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

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

/// A socket that the other end has closed is an error, as in any other Rust program, and no end:
/// libFuzzer's own `main` leaves the signal as the system has it.
fn outlive_broken_pipes() {
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::default()).expect("a signal can be handled");
}

fuzz_target!(init: { outlive_broken_pipes(); LazyLock::force(&TARGET); }, |input: &[u8]| {
    memory::run_within_bounds(&TARGET, input);
});
