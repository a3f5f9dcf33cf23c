//! What batch `index` of a stream consists of: a pure function of the spec, the catalogue and the
//! index. No clock, no tensor, no file.
//!
//! Invariants:
//! - nothing is carried from one index to the next, so any index can be asked for first;
//! - only integers, IEEE arithmetic and the pinned functions of [`nets::chance`] are used, so the
//!   plan is the same on every machine;
//! - a row's random numbers come from `(seed, purpose, index, row)`, where `row` counts within the
//!   global batch, so a rank's slice is a slice of the same rows.
//!
//! In order: [`catalogue`] (who there is), [`centres`] (who is near whom), [`spec`] (what is asked for,
//! checked), [`mix`] (how many rows of each source, the same throughout or scheduled), [`identities`],
//! [`neighbours`] and [`blending`] (who is in them), [`table`] (how often, where losses decide), [`guard`]
//! (who of the blended is too near somebody real), [`latent`] (the vector that a generated row's counter
//! stands for).

pub mod blending;
pub mod catalogue;
pub mod centres;
pub mod guard;
pub mod identities;
pub mod latent;
pub mod mix;
pub mod neighbours;
pub mod spec;
pub mod table;

use blending::{Blending, Parent};
use catalogue::Catalogue;
use centres::Centres;
use identities::Identities;
use mix::Mixer;
use nets::chance::Chance;
use spec::Spec;
use std::{ops::Range, sync::Arc};
use table::Table;

/// Version of the rules in this folder. It changes whenever any stream's plan would.
pub const VERSION: u32 = 2;

/// Where a row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An image of the dataset.
    Real,
    /// A new image of one of its identities.
    Existing,
    /// An image of an invented identity.
    Blended,
}

impl Source {
    /// Its number on the wire and in digests.
    pub fn number(self) -> i32 {
        match self {
            Self::Real => 1,
            Self::Existing => 2,
            Self::Blended => 3,
        }
    }
}

/// One planned row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Position in the global batch: the second half of the row's counters.
    pub number: u32,
    /// Where it comes from.
    pub source: Source,
    /// Its class: identity `i` is class `i`, blended identity `j` is class `C + j`.
    pub label: u32,
    /// The dataset image behind it: shown by a real row, encoded by a row with a jittered latent.
    pub image: Option<u32>,
    /// The identities it is generated from, the heaviest first; none for a real row.
    pub parents: Vec<Parent>,
}

/// Plans the batches of one stream.
#[derive(Clone, Debug)]
pub struct Planner {
    spec: Arc<Spec>,
    catalogue: Arc<Catalogue>,
    mixer: Mixer,
    identities: Identities,
    blending: Blending,
    order: Chance,
    bases: Chance,
}

impl Planner {
    /// A planner for a spec that [`Spec::check`] has passed against this catalogue and the centres that
    /// it names, if any.
    pub fn new(spec: Arc<Spec>, catalogue: Arc<Catalogue>, centres: Option<Arc<Centres>>) -> Self {
        Self {
            mixer: Mixer::new(&spec.mix, &spec.schedule, spec.batch_size),
            identities: Identities::new(&spec, catalogue.clone(), centres.clone()),
            blending: Blending::new(&spec, catalogue.clone(), centres),
            order: Chance::new(spec.seed, "row order"),
            bases: Chance::new(spec.seed, "encoded images"),
            spec,
            catalogue,
        }
    }

    /// The stream's spec.
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// Classes of the stream: the identities, and the blended ones when the mix has any in some batch.
    pub fn classes(&self) -> u32 {
        self.spec.classes(self.catalogue.identities())
    }

    /// Rows `range` of global batch `index`, in the order in which they are sent.
    pub fn rows(&self, index: u64, range: Range<u32>) -> Vec<Row> {
        self.rows_by(None, index, range)
    }

    /// The same by a sampling table, which [`spec::Sampling::ByLoss`] alone heeds.
    pub fn rows_by(&self, table: Option<&Table>, index: u64, range: Range<u32>) -> Vec<Row> {
        let shares = self.mixer.batch(index);
        let mut order: Vec<u32> = (0..self.spec.batch_size).collect();
        self.order.at(index, 0).shuffle(&mut order);
        let batch = identities::BatchShares { index, shares };
        let mut identities = self.identities.batch(batch, table);
        let blended = self.blending.batch(batch);
        range
            .filter_map(|number| order.get(number as usize).map(|&slot| (number, slot)))
            .filter_map(|(number, slot)| {
                Some(match shares.source(slot) {
                    (Source::Real, nth) => {
                        let image = identities.real(nth, number);
                        let label = self.catalogue.identity_of(image);
                        Row { number, source: Source::Real, label, image: Some(image), parents: Vec::new() }
                    }
                    (Source::Existing, nth) => {
                        let (label, image) = identities.existing(nth, number);
                        let parents = vec![Parent::alone(label)];
                        let image = self.spec.latent.is_jitter().then_some(image);
                        Row { number, source: Source::Existing, label, image, parents }
                    }
                    (Source::Blended, nth) => {
                        let j = blended.number(nth)?;
                        let parents = self.blending.parents(j);
                        let image = self.spec.latent.is_jitter().then(|| self.base(&parents, index, number)).flatten();
                        Row { number, source: Source::Blended, label: self.catalogue.identities() + j, image, parents }
                    }
                })
            })
            .collect()
    }

    /// Blended identities that the guard passed over since this was last asked, in this stream and those
    /// that blend alike.
    pub fn take_passed_over(&self) -> u64 {
        self.blending.take_passed_over()
    }

    /// A real image of the heaviest parent that has any.
    fn base(&self, parents: &[Parent], index: u64, number: u32) -> Option<u32> {
        let images =
            parents.iter().map(|parent| self.catalogue.images_of(parent.identity)).find(|images| !images.is_empty())?;
        let nth = self.bases.at(index, number.into()).below(images.len() as u64);
        Some(images.start + nth as u32)
    }
}

#[cfg(test)]
mod tests;
