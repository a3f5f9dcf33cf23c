//! What a batch's generated rows are made from, and their further tries.

use crate::{
    plan::{
        Row, Source, latent,
        spec::{Latent, Spec},
    },
    scheduler::Face,
};
use dataset::blended::label::reach;
use nets::chance::Chance;
use std::sync::Arc;

/// The faces of the generated rows of one batch.
pub(super) struct Faces {
    chance: Chance,
    index: u64,
    /// Position of each row in the global batch.
    numbers: Vec<u32>,
    kind: Latent,
    /// How far mixtures are led away from the average person.
    spread: f64,
    /// An encoding for each row, where latents are jittered.
    encodings: Vec<Arc<[f32]>>,
}

impl Faces {
    /// Of the generated ones among `rows`, with their encodings if the spec asks for any.
    pub(super) fn new(spec: &Spec, index: u64, rows: &[Row], encodings: Vec<Arc<[f32]>>) -> Self {
        let generated = rows.iter().filter(|row| row.source != Source::Real);
        Self {
            chance: Chance::new(spec.seed, latent::PURPOSE),
            index,
            numbers: generated.map(|row| row.number).collect(),
            kind: spec.latent,
            spread: spec.blending.spread,
            encodings,
        }
    }

    /// The row half of the counter of a row's try.
    pub(super) fn counter(&self, nth: usize, retry: u32) -> u32 {
        proto::latent_row(self.numbers[nth], retry)
    }

    /// What a try of the `nth` generated row, which is `row`, is made from.
    pub(super) fn face(&self, nth: usize, row: &Row, retry: u32) -> Face {
        Face { parents: row.parents.clone(), reach: self.reach(row), latent: self.latent(nth, retry) }
    }

    /// The factor by which the difference of a row's person from the average one is scaled.
    pub(super) fn reach(&self, row: &Row) -> f64 {
        reach(&row.parents, self.spread)
    }

    fn latent(&self, nth: usize, retry: u32) -> Vec<f32> {
        let mut draws = self.chance.at(self.index, self.counter(nth, retry).into());
        match self.kind {
            Latent::Prior { truncation } => latent::prior(&mut draws, truncation),
            Latent::Jitter { scale } => latent::jitter(&mut draws, &self.encodings[nth], scale),
        }
    }

    /// Whether another try of a row is another image.
    pub(super) fn vary(&self) -> bool {
        self.kind != (Latent::Jitter { scale: 0.0 })
    }
}
