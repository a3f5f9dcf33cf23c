//! The invented identities: whose mixture each is, and which of them a batch shows.
//!
//! Blended identity `j` is a function of `(blending seed, j, number of identities)` alone, so its
//! class means the same person in every batch, for every trainer. One with a parent who has no
//! images, which is how a withheld person appears, or one that the [`guard`](super::guard) finds too
//! near somebody real, is never shown and never given other parents: the next `j` of the same
//! permutation that can be shown takes its place in the batch.

use super::{
    catalogue::Catalogue,
    centres::Centres,
    guard::Guard,
    identities::BatchShares,
    spec::{BlendingSpec, Spec},
};
use dataset::blended::{Blended, Rule, order};
use nets::chance::{Chance, Permutation};
use std::sync::Arc;

pub use dataset::blended::Parent;

/// Blended identities looked at to see whether enough of them can be shown.
const INSPECTED: u32 = 4096;

/// One of so many must be showable, so that the way to the next one that is stays short.
const LEAST_SHOWN: usize = 100;

/// As [`INSPECTED`] and [`LEAST_SHOWN`] where a guard judges: each look takes a millisecond.
const GUARDED: (u32, usize) = (128, 10);

/// The blended identities of one stream.
#[derive(Clone, Debug)]
pub struct Blending {
    spec: BlendingSpec,
    stream_seed: u64,
    /// P and K, where a batch has so many people with so many rows each.
    per_batch: Option<(u32, u32)>,
    catalogue: Arc<Catalogue>,
    people: Blended,
    guard: Option<Guard>,
}

impl Blending {
    /// For a spec that fits the catalogue, and the centres that it names, if any.
    pub fn new(spec: &Spec, catalogue: Arc<Catalogue>, centres: Option<Arc<Centres>>) -> Self {
        let BlendingSpec { parents, alpha, max_weight, seed, .. } = spec.blending;
        let people = Blended::new(Rule { parents, alpha, max_weight, seed }, catalogue.identities());
        Self {
            spec: spec.blending,
            stream_seed: spec.seed,
            per_batch: spec.sampling.per_batch(),
            catalogue,
            people,
            // Where nobody blended is shown the blending is checked for nothing, not even for how many.
            guard: centres
                .filter(|_| spec.has_blended() && spec.blending.max_similarity > 0.0)
                .map(|centres| Guard::new(&spec.blending, centres)),
        }
    }

    /// Who blended identity `j` is: different parents, the heaviest first, none above the cap.
    pub fn parents(&self, j: u32) -> Vec<Parent> {
        self.people.parents(j)
    }

    /// Whether all parents of `j` have images, and nobody real is too near.
    pub fn can_show(&self, j: u32) -> bool {
        self.has_images(j) && !self.is_near(j)
    }

    /// Whether all parents of `j` have images.
    fn has_images(&self, j: u32) -> bool {
        let present = |&identity: &u64| !self.catalogue.images_of(identity as u32).is_empty();
        self.catalogue.is_complete() || self.people.identities(j).iter().all(present)
    }

    fn is_near(&self, j: u32) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.is_near(j, || self.parents(j)))
    }

    /// Whether enough blended identities can be shown for every batch, and a substitute for one
    /// that can't is found soon.
    pub fn is_possible(&self) -> bool {
        let (count, needed) = (self.spec.count, self.per_batch.map_or(1, |(identities, _)| identities as usize));
        if self.catalogue.is_complete() && self.guard.is_none() {
            return count as usize >= needed;
        }
        let (inspected, least) = if self.guard.is_some() { GUARDED } else { (INSPECTED, LEAST_SHOWN) };
        let inspected = count.min(inspected);
        let shown = (0..inspected).filter(|&j| self.can_show(j)).count();
        // No longer a way than where just as many can be shown as must.
        let further = (inspected..count).take(if self.guard.is_some() { needed * least } else { usize::MAX });
        let further = further.filter(|&j| self.can_show(j)).take(needed.saturating_sub(shown));
        shown * least >= inspected as usize && shown + further.count() >= needed
    }

    /// The chooser for one batch.
    pub fn batch(&self, batch: BatchShares) -> BatchBlended<'_> {
        let dealt = self.per_batch.map(|(_, images)| {
            let groups = batch.shares.rows[2].div_ceil(images.max(1));
            let purpose = format!("blended identities of batch {}", batch.index);
            let order = Chance::new(self.stream_seed, &purpose).permutation(self.spec.count.into());
            self.shown(&order, 0).take(groups as usize).collect()
        });
        BatchBlended { all: self, batch, dealt }
    }

    /// The blended identities that can be shown, in a permutation's order from a position on, then
    /// from its start.
    fn shown<'a>(&'a self, order: &'a Permutation, position: u64) -> impl Iterator<Item = u32> + 'a {
        let positions = (position..self.spec.count.into()).chain(0..position);
        positions.map(|position| order.get(position) as u32).filter(|&j| {
            let near = self.has_images(j).then(|| self.is_near(j));
            if let (Some(true), Some(guard)) = (near, &self.guard) {
                guard.passed_over();
            }
            near == Some(false)
        })
    }

    /// Blended identities that the guard passed over since this was last asked.
    pub(super) fn take_passed_over(&self) -> u64 {
        self.guard.as_ref().map_or(0, Guard::take_passed_over)
    }
}

/// Chooses the blended identities of one batch.
#[derive(Debug)]
pub struct BatchBlended<'a> {
    all: &'a Blending,
    batch: BatchShares,
    /// The blended identities of this batch, where so many have so many rows each.
    dealt: Option<Vec<u32>>,
}

impl BatchBlended<'_> {
    /// The blended identity of the batch's `nth` blended row; none if nobody can be shown, which
    /// [`Blending::is_possible`] has ruled out.
    pub fn number(&self, nth: u32) -> Option<u32> {
        if let Some(dealt) = &self.dealt {
            return dealt.get((nth as usize).checked_rem(dealt.len())?).copied();
        }
        let count = u64::from(self.all.spec.count);
        let ordinal = self.batch.shares.before[2].wrapping_add(nth.into());
        let order = order(self.all.stream_seed, ordinal / count, count);
        self.all.shown(&order, ordinal % count).next()
    }
}
