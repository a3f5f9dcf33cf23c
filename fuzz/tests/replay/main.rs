//! What is kept of the corpus, and thousands of changes of the seeds: nothing panics, and nothing
//! takes more memory than it may. `fuzz/run` searches on.

use fuzz::{
    Target, memory,
    mutate::{mutate, swell},
    target,
};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Long inputs of each decoder.
const SWOLLEN: u64 = 40;

/// Memory is counted for the whole program, so one decoder runs at a time.
static TURN: Mutex<()> = Mutex::new(());

fn kept(target: &Target) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let Ok(files) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file of the corpus").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect()
}

/// Replays seeds, corpus and `changes` changes of both.
fn holds(name: &str, changes: u64) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target(name).expect("a decoder");
    let mut inputs = (target.seeds)();
    inputs.extend(kept(target));
    // What is set up once is no input's.
    assert!((target.run)(&inputs[0]), "{name}: nothing behind the front door is reached");
    let run = |input: &[u8], what: &str| {
        let told = std::panic::catch_unwind(|| memory::run_within_bounds(target, input));
        let shown = &input[..input.len().min(4096)];
        assert!(told.is_ok(), "{name}: {what} failed; the input begins {}", shown.escape_ascii());
    };
    for (number, input) in inputs.iter().enumerate() {
        run(input, &format!("input {number}"));
    }
    for number in 0..changes {
        let input = &inputs[(number % inputs.len() as u64) as usize];
        run(&mutate(input, &inputs, number), &format!("change {number}"));
    }
    for number in 0..SWOLLEN {
        let input = &inputs[(number % inputs.len() as u64) as usize];
        run(&swell(input, number), &format!("swollen input {number}"));
    }
}

#[test]
fn checkpoints_are_taken_or_refused() {
    holds("checkpoint", 4000);
}

#[test]
fn bundles_are_taken_or_refused() {
    holds("bundle", 200);
}

#[test]
fn files_of_pytorch_are_taken_or_refused() {
    holds("legacy", 4000);
}

#[test]
fn pickles_are_taken_or_refused() {
    holds("pickle", 4000);
}

#[test]
fn photographs_are_taken_or_refused() {
    holds("photograph", 1000);
}

#[test]
fn wheels_are_taken_or_refused() {
    holds("wheel", 1000);
}

#[test]
fn alignments_are_gone_on_with_or_refused() {
    holds("alignment", 1000);
}

#[test]
fn archives_are_taken_or_refused() {
    holds("archive", 1000);
}

#[test]
fn images_are_taken_or_refused() {
    holds("image", 1000);
}

#[test]
fn pairs_are_taken_or_refused() {
    holds("pairs", 4000);
}

#[test]
fn requests_are_answered_or_refused() {
    holds("request", 2000);
}

#[test]
fn answers_are_taken_or_refused() {
    holds("answers", 4000);
}

#[test]
fn places_are_taken_or_refused() {
    holds("place", 1000);
}

#[test]
fn recipes_are_taken_or_refused() {
    holds("recipe", 1000);
}

#[test]
fn settings_are_taken_or_refused() {
    holds("settings", 1000);
}

#[test]
fn runs_go_on_or_are_refused() {
    holds("run", 500);
}

#[test]
fn the_corpus_stays_small() {
    let all: usize = fuzz::TARGETS.iter().flat_map(kept).map(|input| input.len()).sum();
    assert!(all < 1 << 20, "expected a corpus of at most a MiB, found {all} bytes; `fuzz/run` can merge it");
}
