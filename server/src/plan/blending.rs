//! The invented identities: whose mixture each is, and which of them a batch shows.
//!
//! Blended identity `j` is a function of `(blending seed, j, number of identities)` alone, so its
//! class means the same person in every batch, for every trainer. One with a parent who has no
//! images, which is how a withheld person appears, is never shown and never given other parents:
//! another `j` takes its place in the batch.

use super::{
    catalogue::Catalogue,
    identities::Place,
    spec::{BlendingSpec, Sampling, Spec},
};
use nets::chance::Chance;
use std::sync::Arc;

/// Draws of weights before the last is pulled under the cap instead. An accepted draw is all but
/// certain long before, unless alpha is tiny and every draw is nearly one parent alone.
const WEIGHT_DRAWS: usize = 256;

/// Draws of a substitute for a blended identity that can't be shown.
const SUBSTITUTE_DRAWS: usize = 4096;

/// Blended identities looked at to see whether enough of them can be shown.
const INSPECTED: u32 = 4096;

/// An identity's part in a generated row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parent {
    /// Which identity.
    pub identity: u32,
    /// Its weight; those of a row sum to 1.
    pub weight: f32,
}

/// The blended identities of one stream.
#[derive(Clone, Debug)]
pub struct Blending {
    spec: BlendingSpec,
    stream_seed: u64,
    /// K of [`Sampling::PerBatch`].
    images_per_identity: Option<u32>,
    catalogue: Arc<Catalogue>,
    people: Chance,
}

impl Blending {
    /// For a spec that fits the catalogue.
    pub fn new(spec: &Spec, catalogue: Arc<Catalogue>) -> Self {
        Self {
            spec: spec.blending,
            stream_seed: spec.seed,
            images_per_identity: match spec.sampling {
                Sampling::PerBatch { images, .. } => Some(images),
                _ => None,
            },
            catalogue,
            people: Chance::new(spec.blending.seed, "blended identities"),
        }
    }

    /// Who blended identity `j` is: different parents, the heaviest first, none above the cap.
    pub fn parents(&self, j: u32) -> Vec<Parent> {
        let mut draws = self.people.at(j.into(), 0);
        let identities = draws.distinct(self.spec.parents as usize, self.catalogue.identities().into());
        let count = identities.len();
        let cap = self.spec.max_weight;
        let largest = |weights: &[f64]| weights.iter().fold(0.0f64, |largest, &weight| largest.max(weight));
        let mut weights = draws.dirichlet(self.spec.alpha, count);
        for _ in 1..WEIGHT_DRAWS {
            if largest(&weights) <= cap {
                break;
            }
            weights = draws.dirichlet(self.spec.alpha, count);
        }
        let (top, even) = (largest(&weights), 1.0 / count as f64);
        if top > cap {
            // Along the line to equal weights, just as far as the cap asks for.
            let kept = (cap - even) / (top - even);
            weights.iter_mut().for_each(|weight| *weight = even + kept * (*weight - even));
        }
        let mut parents: Vec<Parent> = identities
            .into_iter()
            .zip(weights)
            .map(|(identity, weight)| Parent { identity: identity as u32, weight: weight as f32 })
            .collect();
        parents.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.identity.cmp(&b.identity)));
        parents
    }

    /// Whether all parents of `j` have images.
    fn can_show(&self, j: u32) -> bool {
        let absent = |parent: &Parent| self.catalogue.images_of(parent.identity).is_empty();
        self.catalogue.is_complete() || !self.parents(j).iter().any(absent)
    }

    /// Whether enough blended identities can be shown that a substitute is always found.
    pub fn is_possible(&self) -> bool {
        let inspected = self.spec.count.min(INSPECTED);
        let shown = (0..inspected).filter(|&j| self.can_show(j)).count();
        self.catalogue.is_complete() || shown * 100 >= inspected as usize
    }

    /// The chooser for one batch.
    pub fn batch(&self, place: Place) -> BatchBlended<'_> {
        let dealt = match self.images_per_identity {
            Some(images) => {
                let groups = place.shares.rows[2].div_ceil(images.max(1));
                let mut draws = Chance::new(self.stream_seed, "blended identities of a batch").at(place.index, 0);
                draws.distinct(groups as usize, self.spec.count.into()).into_iter().map(|j| j as u32).collect()
            }
            None => Vec::new(),
        };
        BatchBlended { all: self, place, dealt }
    }
}

/// Chooses the blended identities of one batch.
#[derive(Debug)]
pub struct BatchBlended<'a> {
    all: &'a Blending,
    place: Place,
    dealt: Vec<u32>,
}

impl BatchBlended<'_> {
    /// The blended identity of the batch's `nth` blended row, which is row `number` of it.
    pub fn number(&self, nth: u32, number: u32) -> u32 {
        let all = self.all;
        let count = u64::from(all.spec.count);
        let (planned, purpose, row) = if self.dealt.is_empty() {
            let ordinal = self.place.shares.before[2].wrapping_add(nth.into());
            let order = Chance::new(all.stream_seed, &format!("blended order, round {}", ordinal / count));
            (order.permutation(count).get(ordinal % count) as u32, "blended substitutes", number)
        } else {
            // One substitute for the whole group.
            let group = nth % self.dealt.len() as u32;
            (self.dealt[group as usize], "blended substitutes of groups", group)
        };
        if all.can_show(planned) {
            return planned;
        }
        let mut draws = Chance::new(all.stream_seed, purpose).at(self.place.index, row.into());
        let mut candidates = (0..SUBSTITUTE_DRAWS).map(|_| draws.below(count) as u32);
        candidates.find(|&j| all.can_show(j)).unwrap_or(planned)
    }
}
