//! The latents of a batch's generated rows, and of their further tries.

use crate::plan::{
    Row, Source, latent,
    spec::{Latent, Spec},
};
use nets::chance::Chance;
use std::sync::Arc;

/// Where the generated rows of one batch take their latents from.
pub(super) struct Latents {
    chance: Chance,
    index: u64,
    /// Position of each row in the global batch.
    numbers: Vec<u32>,
    kind: Latent,
    /// An encoding for each row, where latents are jittered.
    encodings: Vec<Arc<[f32]>>,
}

impl Latents {
    /// Of the generated ones among `rows`, with their encodings if the spec asks for any.
    pub(super) fn new(spec: &Spec, index: u64, rows: &[Row], encodings: Vec<Arc<[f32]>>) -> Self {
        let generated = rows.iter().filter(|row| row.source != Source::Real);
        Self {
            chance: Chance::new(spec.seed, latent::PURPOSE),
            index,
            numbers: generated.map(|row| row.number).collect(),
            kind: spec.latent,
            encodings,
        }
    }

    /// The row half of the counter of a row's try.
    pub(super) fn counter(&self, nth: usize, retry: u32) -> u32 {
        proto::latent_row(self.numbers[nth], retry)
    }

    /// The latent of the `nth` generated row's try.
    pub(super) fn latent(&self, nth: usize, retry: u32) -> Vec<f32> {
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
