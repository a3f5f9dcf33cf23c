//! Which identity and image each real or existing row shows.
//!
//! Permutations are keyed by the number of the round ("epoch"), so that every round has another
//! order and any position of any round is found without walking there.

use super::{
    catalogue::Catalogue,
    centres::Centres,
    mix::Shares,
    neighbours::Neighbours,
    spec::{Before, Sampling, Spec},
    table::Table,
};
use nets::chance::{Chance, Permutation};
use std::{collections::BTreeMap, sync::Arc};

/// Chooses identities and images for the rows of one stream.
#[derive(Clone, Debug)]
pub struct Identities {
    seed: u64,
    sampling: Arc<Sampling>,
    /// Running sums of the weights of [`Sampling::Weighted`].
    cumulative: Arc<[f64]>,
    /// Of [`Sampling::Neighbours`].
    neighbours: Option<Neighbours>,
    catalogue: Arc<Catalogue>,
}

/// A batch: its index and how its rows are shared out.
#[derive(Clone, Copy, Debug)]
pub struct BatchShares {
    /// The index in the stream.
    pub index: u64,
    /// Rows of each source.
    pub shares: Shares,
}

impl Identities {
    /// For a spec that fits the catalogue, and the centres that it names, if any.
    pub fn new(spec: &Spec, catalogue: Arc<Catalogue>, centres: Option<Arc<Centres>>) -> Self {
        let cumulative = match &spec.sampling {
            Sampling::Weighted(weights) => weights
                .iter()
                .scan(0.0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                })
                .collect(),
            _ => Arc::default(),
        };
        let neighbours = match (&spec.sampling, centres) {
            (&Sampling::Neighbours { identities, neighbours, group, .. }, Some(centres)) => {
                Some(Neighbours::new(spec.seed, (identities, group, neighbours), catalogue.clone(), centres))
            }
            _ => None,
        };
        Self { seed: spec.seed, sampling: Arc::new(spec.sampling.clone()), cumulative, neighbours, catalogue }
    }

    /// The chooser for one batch, by a sampling table where there is one.
    pub fn batch<'a>(&'a self, batch: BatchShares, table: Option<&'a Table>) -> BatchIdentities<'a> {
        let [real, existing, _] = batch.shares.rows;
        let people = self.sampling.per_batch().map(|(_, images)| (real + existing).div_ceil(images.max(1)) as usize);
        let dealt = match (people, &self.neighbours) {
            (None, _) => Vec::new(),
            (Some(people), Some(neighbours)) => neighbours.deal(batch.index, people),
            (Some(people), None) => {
                let present = self.catalogue.present();
                let mut draws = Chance::new(self.seed, "identities of a batch").at(batch.index, 0);
                let chosen = draws.distinct(people, present.len() as u64);
                chosen.into_iter().filter_map(|nth| present.get(nth as usize).copied()).collect()
            }
        };
        BatchIdentities { all: self, batch, table, dealt, rounds: BTreeMap::new() }
    }
}

/// Chooses identities and images for the rows of one batch.
#[derive(Debug)]
pub struct BatchIdentities<'a> {
    all: &'a Identities,
    batch: BatchShares,
    /// Of [`Sampling::ByLoss`].
    table: Option<&'a Table>,
    /// The identities of this batch, where so many have so many rows each.
    dealt: Vec<u32>,
    /// Permutations in use, by purpose: rows of one batch mostly share a round.
    rounds: BTreeMap<String, Permutation>,
}

impl BatchIdentities<'_> {
    /// The image of the `nth` real row of the batch, which is row `number` of it.
    pub fn real(&mut self, nth: u32, number: u32) -> u32 {
        let ordinal = self.batch.shares.before[0].wrapping_add(nth.into());
        self.choose("real", ordinal, nth, number)
    }

    /// The identity of the `nth` existing row of the batch, which is row `number` of it, and the
    /// image to encode when its latent is jittered.
    pub fn existing(&mut self, nth: u32, number: u32) -> (u32, u32) {
        let ordinal = self.batch.shares.before[1].wrapping_add(nth.into());
        let image = self.choose("existing", ordinal, self.batch.shares.rows[0] + nth, number);
        (self.all.catalogue.identity_of(image), image)
    }

    /// An image for row `ordinal` of the source's rows in the whole stream, which is slot `slot`
    /// of the batch before shuffling and row `number` after.
    fn choose(&mut self, source: &str, ordinal: u64, slot: u32, number: u32) -> u32 {
        let catalogue = &*self.all.catalogue;
        match &*self.all.sampling {
            Sampling::ByImage => self.by_image(source, ordinal),
            Sampling::ByIdentity => self.by_identity(source, ordinal),
            Sampling::ByLoss(rule) => match (self.table, rule.before) {
                (None, Before::ByIdentity) => self.by_identity(source, ordinal),
                (None, Before::ByImage) => self.by_image(source, ordinal),
                (Some(table), _) => {
                    let mut draws = Chance::new(self.all.seed, &format!("{source} identities by loss"))
                        .at(self.batch.index, number.into());
                    let images = catalogue.images_of(table.draw(&mut draws));
                    images.start + draws.below(images.len() as u64) as u32
                }
            },
            Sampling::PerBatch { .. } | Sampling::Neighbours { .. } => {
                // Dealt in turn, so that an identity's rows come from both sources.
                let groups = self.dealt.len() as u32;
                let identity = self.dealt[(slot % groups) as usize];
                let images = catalogue.images_of(identity);
                let purpose = format!("images of identity {identity}, batch {}", self.batch.index);
                let len = images.len() as u64;
                images.start + self.permuted(purpose, u64::from(slot / groups) % len, len) as u32
            }
            Sampling::Weighted(_) => {
                let mut draws = Chance::new(self.all.seed, &format!("weighted {source} identities"))
                    .at(self.batch.index, number.into());
                let cumulative = &self.all.cumulative;
                let point = draws.unit() * cumulative.last().copied().unwrap_or(0.0);
                // The first identity whose running sum exceeds the point has a weight above zero.
                let identity = cumulative.partition_point(|&sum| sum <= point) as u32;
                let images = catalogue.images_of(identity);
                images.start + draws.below(images.len() as u64) as u32
            }
        }
    }

    fn by_image(&mut self, source: &str, ordinal: u64) -> u32 {
        let images = u64::from(self.all.catalogue.images());
        self.permuted(format!("{source} images, round {}", ordinal / images), ordinal % images, images) as u32
    }

    fn by_identity(&mut self, source: &str, ordinal: u64) -> u32 {
        let present = self.all.catalogue.present().len() as u64;
        let visit = ordinal / present;
        let nth = self.permuted(format!("{source} identities, round {visit}"), ordinal % present, present);
        let identity = self.all.catalogue.present()[nth as usize];
        self.visited(source, identity, visit)
    }

    /// The image of an identity on its `visit`-th turn: its images in a permutation of their own.
    fn visited(&mut self, source: &str, identity: u32, visit: u64) -> u32 {
        let images = self.all.catalogue.images_of(identity);
        let len = images.len() as u64;
        let purpose = format!("{source} images of identity {identity}, round {}", visit / len);
        images.start + self.permuted(purpose, visit % len, len) as u32
    }

    fn permuted(&mut self, purpose: String, position: u64, len: u64) -> u64 {
        let seed = self.all.seed;
        let permutation =
            self.rounds.entry(purpose).or_insert_with_key(|purpose| Chance::new(seed, purpose).permutation(len));
        permutation.get(position)
    }
}
