//! Hard neighbours: batches of people who look alike to the identity network.
//!
//! A batch's people come in groups. A group has an anchor, and others drawn among the identities whose
//! class centres have the largest cosines with the anchor's. Anchors follow a keyed permutation, so that
//! everybody is one equally often.
//!
//! To find somebody's neighbours is to compare them with everybody, a millisecond or two for ten thousand
//! people. So it is done when they are first asked for, and kept with the centres for all streams. What
//! is kept changes how soon an answer is there, and no answer.

use super::{
    catalogue::Catalogue,
    centres::{Centres, cosine},
};
use lru::LruCache;
use nets::chance::{Chance, Permutation};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Neighbours kept of one kind, all anchors together: 16 MiB of them.
const KEPT: usize = 1 << 22;

/// The people of the batches of one stream.
#[derive(Clone, Debug)]
pub struct Neighbours {
    seed: u64,
    catalogue: Arc<Catalogue>,
    centres: Arc<Centres>,
    /// How many of an anchor's nearest may be drawn.
    count: usize,
    /// Groups of a batch.
    groups: u32,
    found: Arc<Found>,
}

/// The nearest of each anchor that was asked for, shared by all streams that ask for as many of them.
#[derive(Debug)]
pub(super) struct Found {
    nearest: Mutex<LruCache<u32, Arc<[u32]>>>,
    /// Anchors that are kept.
    most: usize,
}

impl Found {
    /// Of so many nearest; none are found yet.
    pub(super) fn new(count: usize) -> Self {
        // A cache with a bound of its own would take the memory of all of them at once.
        Self { nearest: Mutex::new(LruCache::unbounded()), most: (KEPT / count.max(1)).max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<u32, Arc<[u32]>>> {
        self.nearest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Neighbours {
    /// For batches of up to `people` identities in groups of `group`, drawn among the `count` nearest.
    pub fn new(
        seed: u64,
        (people, group, count): (u32, u32, u32),
        catalogue: Arc<Catalogue>,
        centres: Arc<Centres>,
    ) -> Self {
        let found = centres.neighbours(count as usize, &catalogue);
        Self { seed, catalogue, centres, count: count as usize, groups: people.div_ceil(group.max(1)).max(1), found }
    }

    /// So many different people of batch `index`, those who lead a group first.
    pub fn deal(&self, index: u64, people: usize) -> Vec<u32> {
        let mut dealt: Vec<u32> = Vec::with_capacity(people);
        let anchors = self.anchors(index);
        for &anchor in anchors.iter().take(people) {
            // At the end of a round the same one may come again.
            if !dealt.contains(&anchor) {
                dealt.push(anchor);
            }
        }
        let draws = Chance::new(self.seed, "people near an anchor");
        let (each, more) = (people / anchors.len(), people % anchors.len());
        for (nth, &anchor) in anchors.iter().enumerate() {
            let mut near = self.nearest(anchor).to_vec();
            draws.at(index, nth as u64).shuffle(&mut near);
            let mut missing = (each + usize::from(nth < more)).saturating_sub(1);
            for identity in near {
                if missing > 0 && !dealt.contains(&identity) {
                    dealt.push(identity);
                    missing -= 1;
                }
            }
        }
        // Groups whose neighbours overlap leave places for anybody.
        let present = self.catalogue.present();
        let order = Chance::new(self.seed, &format!("people beside groups, batch {index}"));
        let order = order.permutation(present.len() as u64);
        let mut position = 0;
        while dealt.len() < people && position < present.len() as u64 {
            let identity = present[order.get(position) as usize];
            if !dealt.contains(&identity) {
                dealt.push(identity);
            }
            position += 1;
        }
        dealt
    }

    /// Who lead the groups of batch `index`.
    pub(super) fn anchors(&self, index: u64) -> Vec<u32> {
        let present = self.catalogue.present();
        let (everybody, groups) = (present.len() as u128, u128::from(self.groups));
        let mut order: Option<(u128, Permutation)> = None;
        let leader = |group| {
            let ordinal = u128::from(index) * groups + group;
            let (round, position) = (ordinal / everybody, (ordinal % everybody) as u64);
            if order.as_ref().is_none_or(|(known, _)| *known != round) {
                let chance = Chance::new(self.seed, &format!("anchors, round {round}"));
                order = Some((round, chance.permutation(everybody as u64)));
            }
            let nth = order.as_ref().map_or(0, |(_, order)| order.get(position));
            present[nth as usize]
        };
        (0..groups).map(leader).collect()
    }

    /// The nearest identities that have images, the nearest first; of two as near, the first in class
    /// order.
    pub(super) fn nearest(&self, anchor: u32) -> Arc<[u32]> {
        if let Some(known) = self.found.lock().get(&anchor).cloned() {
            return known;
        }
        // Whoever else asks meanwhile finds the same.
        let own = self.centres.of(anchor).unwrap_or_default();
        let others = self.catalogue.present().iter().filter(|&&identity| identity != anchor);
        let mut others: Vec<(f64, u32)> =
            others.map(|&identity| (cosine(own, self.centres.of(identity).unwrap_or_default()), identity)).collect();
        let nearer = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if self.count < others.len() {
            others.select_nth_unstable_by(self.count, nearer);
            others.truncate(self.count);
        }
        others.sort_unstable_by(nearer);
        let nearest: Arc<[u32]> = others.into_iter().map(|(_, identity)| identity).collect();
        let mut found = self.found.lock();
        found.put(anchor, nearest.clone());
        if found.len() > self.found.most {
            found.pop_lru();
        }
        nearest
    }
}
