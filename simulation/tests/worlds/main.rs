//! Worlds, played. `SEED=7 cargo test --workspace --release one_seed` plays one again, and
//! `simulate --seed 7` tells its story.

use simulation::{contest, play};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Worlds that every run of the tests plays.
const SEEDS: u64 = 500;

/// Kinds of events without any of which the worlds would prove little.
const KINDS: [&str; 25] = [
    "batch",
    "batch made again",
    "bundle refused",
    "bundle served",
    "connection cut",
    "device broken",
    "disk full",
    "engine failed",
    "file swapped",
    "garbage sent",
    "image lost",
    "lie told",
    "limit reached",
    "other bundle accepted",
    "replica out of reach",
    "server asked to end",
    "server killed",
    "slow way",
    "stream parted",
    "trainer died",
    "trainer gave up",
    "trainer resumed",
    "trainer stalled",
    "training out of reach",
    "world resized",
];

#[test]
fn every_promise_is_kept_in_every_world() {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let play_some = || {
        let mut counts = BTreeMap::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return counts;
            }
            let story = play(seed).unwrap_or_else(|failure| panic!("{failure}"));
            story.counts.into_iter().for_each(|(kind, count)| *counts.entry(kind).or_insert(0) += count);
        }
    };
    let counts = std::thread::scope(|scope| {
        let playing: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
        let mut all = BTreeMap::<&str, u64>::new();
        for counts in playing {
            let counts = counts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            counts.into_iter().for_each(|(kind, count)| *all.entry(kind).or_default() += count);
        }
        all
    });
    for kind in KINDS {
        assert!(counts.contains_key(kind), "nothing of this kind happened: {kind}; what did: {counts:#?}");
    }
}

#[test]
fn one_seed() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    play(seed).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    for seed in 0..24 {
        assert_eq!(play(seed).unwrap().hash, play(seed).unwrap().hash, "seed {seed}");
    }
}

#[test]
fn those_who_wait_are_served_by_their_shares() {
    for seed in 0..12 {
        let parts = contest::parts(seed);
        let (rows, shares): (u64, f64) =
            (parts.iter().map(|part| part.rows).sum(), parts.iter().map(|part| part.share).sum());
        for part in &parts {
            let expected = rows as f64 * part.share / shares;
            let off = (part.rows as f64 - expected).abs();
            assert!(off <= part.slack, "seed {seed}: {off} rows from {expected:.0}: {parts:#?}");
        }
    }
}

#[test]
fn one_that_stalls_gives_its_place_back_when_its_stream_is_old() {
    for seed in 0..4 {
        let age = Duration::from_secs(30);
        let waited = contest::behind_one_that_stalls(seed, age);
        // A minute for its last words, and a few seconds until the other one asks again.
        assert!(waited < age + Duration::from_secs(60 + 30), "seed {seed}: {waited:?}");
    }
}

#[test]
fn one_that_stalls_costs_the_others_no_more_than_what_was_made_for_it() {
    for seed in 0..8 {
        let (alone, beside, made) = contest::beside_one_that_stalls(seed);
        assert!(
            beside <= alone + made,
            "seed {seed}: {beside:?} instead of {alone:?}, and {made:?} at most was for it"
        );
    }
}
