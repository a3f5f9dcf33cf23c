//! The leakage guard: which blended identities are too near somebody real to be shown.
//!
//! To judge one is to compare it with every identity, a millisecond for ten thousand of them, so what
//! was found is kept with the centres it was found by: two bits for each blended identity.

use super::{
    blending::Parent,
    centres::{Centres, cosine},
    spec::BlendingSpec,
};
use dataset::blended::label::reach;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Verdicts on the blended identities of one [`BlendingSpec`].
#[derive(Clone, Debug)]
pub struct Guard {
    centres: Arc<Centres>,
    /// The largest cosine that passes.
    bound: f64,
    /// How far blended identities are led away from the average person.
    spread: f64,
    verdicts: Arc<Verdicts>,
}

/// What is known of each blended identity, shared by all streams that ask about the same ones.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// Two bits each: whether it was judged, and whether it is too near.
    words: Box<[AtomicU64]>,
    passed_over: AtomicU64,
}

const JUDGED: u64 = 1;
const NEAR: u64 = 2;

/// Verdicts in a word.
const EACH: u32 = 32;

impl Guard {
    /// The guard that a spec asks for.
    pub fn new(spec: &BlendingSpec, centres: Arc<Centres>) -> Self {
        Self { bound: spec.max_similarity, spread: spec.spread, verdicts: centres.verdicts(spec), centres }
    }

    /// Whether blended identity `j` is too near somebody, its parents included.
    pub fn is_near(&self, j: u32, parents: impl FnOnce() -> Vec<Parent>) -> bool {
        let shift = 2 * (j % EACH);
        // None beyond the count that the verdicts were made for, which is the spec's.
        let word = self.verdicts.words.get((j / EACH) as usize);
        let known = word.map_or(0, |word| word.load(Ordering::Relaxed) >> shift);
        if known & JUDGED != 0 {
            return known & NEAR != 0;
        }
        let near = self.judge(&parents());
        if let Some(word) = word {
            // Whoever else judges it meanwhile comes to the same verdict.
            word.fetch_or((JUDGED | if near { NEAR } else { 0 }) << shift, Ordering::Relaxed);
        }
        near
    }

    fn judge(&self, parents: &[Parent]) -> bool {
        let blended = self.centres.blend(parents, reach(parents, self.spread));
        let near = |centre: &[f32]| cosine(&blended, centre) > self.bound;
        // The nearest is most often a parent.
        parents.iter().filter_map(|parent| self.centres.of(parent.identity)).any(near) || self.centres.iter().any(near)
    }

    /// Counts one that was passed over in a batch.
    pub(super) fn passed_over(&self) {
        self.verdicts.passed_over.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were passed over since this was last asked, by all streams that share the verdicts.
    pub(super) fn take_passed_over(&self) -> u64 {
        self.verdicts.passed_over.swap(0, Ordering::Relaxed)
    }
}

impl Verdicts {
    /// On so many blended identities, none judged yet.
    pub(super) fn new(count: u32) -> Self {
        let words = (0..count.div_ceil(EACH)).map(|_| AtomicU64::new(0)).collect();
        Self { words, passed_over: AtomicU64::new(0) }
    }
}
