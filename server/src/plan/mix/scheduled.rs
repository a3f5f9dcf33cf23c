//! Shares that change over the index, walked through once.
//!
//! A batch has the whole rows of each share; the fractions of the three sum to 0, 1 or 2 rows, which go
//! to the sources that are owed most: those whose exact shares of all batches so far are furthest ahead
//! of the rows they were given. None that has no fraction in this batch is given one. What a source is
//! owed stays within one row of nothing, whatever the schedule.
//!
//! Where the walk stood is kept now and then, so that any batch is a short walk away. All of it is
//! integer arithmetic.

use super::{Shares, UNIT, shares};
use crate::plan::spec::{Schedule, Shape};

/// Batches between two places of the walk that are kept.
const STRIDE: u64 = 1024;

/// The batches before the last point of a schedule.
#[derive(Debug)]
pub(super) struct Scheduled {
    legs: Vec<Leg>,
    /// Before batches 0, [`STRIDE`], ...
    kept: Vec<Standing>,
    /// After the last batch.
    end: Standing,
}

/// Batches between two points.
#[derive(Debug)]
struct Leg {
    /// The first of them.
    first: u64,
    /// How many: 1 to 2^22.
    batches: u64,
    /// Shares of the first.
    from: [u64; 3],
    /// What they change by in each batch: whole [`UNIT`]s, and parts of one in `batches`.
    slope: [(i64, u64); 3],
}

/// What came before a batch.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Rows of each source.
    rows: [u64; 3],
    /// By how much their exact shares were more, in [`UNIT`]s.
    owed: [i64; 3],
}

impl Scheduled {
    /// `None` without points. `begin` are the shares of batch 0.
    pub(super) fn new(begin: [u64; 3], schedule: &Schedule, batch_size: u32) -> Option<Self> {
        let (mut first, mut from) = (0, begin);
        let legs: Vec<Leg> = schedule
            .points
            .iter()
            .map(|point| {
                let to = shares(&point.mix, batch_size);
                let towards = if schedule.shape == Shape::Linear { to } else { from };
                let leg = Leg::new(first, point.index, from, towards);
                (first, from) = (point.index, to);
                leg
            })
            .collect();
        let batches = legs.last()?.end();
        let mut kept = Vec::with_capacity(batches.div_ceil(STRIDE) as usize);
        let mut end = Standing::default();
        for (index, share) in (0..batches).zip(shares_from(&legs, 0)) {
            if index % STRIDE == 0 {
                kept.push(end);
            }
            end.deal(share);
        }
        Some(Self { legs, kept, end })
    }

    /// The index after the last batch.
    pub(super) fn end(&self) -> u64 {
        self.legs.last().map_or(0, Leg::end)
    }

    /// Rows of each source in all batches.
    pub(super) fn totals(&self) -> [u64; 3] {
        self.end.rows
    }

    /// The shares of batch `index`, which must lie before the end.
    pub(super) fn batch(&self, index: u64) -> Shares {
        let mut standing = self.kept.get((index / STRIDE) as usize).copied().unwrap_or_default();
        let first = index / STRIDE * STRIDE;
        let (mut before, mut rows) = (standing.rows, [0; 3]);
        for share in shares_from(&self.legs, first).take((index - first + 1) as usize) {
            before = standing.rows;
            rows = standing.deal(share);
        }
        Shares { rows, before }
    }
}

/// The shares of batch `first` and of those after it.
fn shares_from(legs: &[Leg], first: u64) -> impl Iterator<Item = [u64; 3]> + '_ {
    let legs = legs.iter().filter(move |leg| leg.end() > first);
    legs.flat_map(move |leg| (first.max(leg.first)..leg.end()).map(|index| leg.share(index)))
}

impl Leg {
    fn new(first: u64, end: u64, from: [u64; 3], to: [u64; 3]) -> Self {
        let batches = end - first;
        let slope = std::array::from_fn(|source| {
            let change = to[source] as i64 - from[source] as i64;
            (change.div_euclid(batches as i64), change.rem_euclid(batches as i64) as u64)
        });
        Self { first, batches, from, slope }
    }

    fn end(&self) -> u64 {
        self.first + self.batches
    }

    /// The shares of a batch, which sum to whole rows.
    fn share(&self, index: u64) -> [u64; 3] {
        let steps = index - self.first;
        let mut share: [u64; 3] = std::array::from_fn(|source| {
            let (whole, part) = self.slope[source];
            // Rounded down, so between those of both ends.
            (self.from[source] as i64 + whole * steps as i64 + (part * steps / self.batches) as i64) as u64
        });
        let lost = self.from.iter().sum::<u64>() - share.iter().sum::<u64>();
        let heaviest = (0..3).fold(0, |best, source| if share[source] > share[best] { source } else { best });
        share[heaviest] += lost;
        share
    }
}

impl Standing {
    /// Goes past a batch of these shares; its rows.
    fn deal(&mut self, share: [u64; 3]) -> [u32; 3] {
        const ROW: u64 = UNIT as u64;
        let fractions = share.map(|share| share % ROW);
        let mut rows = share.map(|share| (share / ROW) as u32);
        for (owed, fraction) in self.owed.iter_mut().zip(fractions) {
            *owed += fraction as i64;
        }
        let mut waiting = fractions.map(|fraction| fraction > 0);
        for _ in 0..fractions.iter().sum::<u64>() / ROW {
            let most = (0..3).filter(|&source| waiting[source]).fold(None, |best: Option<usize>, source| match best {
                Some(best) if self.owed[best] >= self.owed[source] => Some(best),
                _ => Some(source),
            });
            // Fractions that sum to a row are those of two sources, to two rows those of three.
            let Some(source) = most else { break };
            waiting[source] = false;
            self.owed[source] -= ROW as i64;
            rows[source] += 1;
        }
        for (total, rows) in self.rows.iter_mut().zip(rows) {
            *total += u64::from(rows);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The most that a source can be owed, or be ahead, after any sequence of shares that are multiples
    /// of a `parts`-th of a row.
    fn furthest(parts: u64) -> f64 {
        let part = UNIT as u64 / parts;
        let mut seen = BTreeSet::from([[0i64; 3]]);
        let mut open = vec![[0i64; 3]];
        while let Some(owed) = open.pop() {
            for (first, second) in (0..parts).flat_map(|first| (0..parts).map(move |second| (first, second))) {
                let third = (2 * parts - first - second) % parts;
                let mut standing = Standing { rows: [0; 3], owed };
                standing.deal([first * part, second * part, third * part]);
                if seen.insert(standing.owed) {
                    open.push(standing.owed);
                }
            }
        }
        let furthest = seen.iter().flatten().map(|owed| owed.unsigned_abs()).max().unwrap();
        furthest as f64 / UNIT as f64
    }

    #[test]
    fn no_schedule_whatever_owes_a_source_a_whole_row() {
        for parts in [2, 4, 8, 16, 32] {
            assert_eq!(furthest(parts), 1.0 - 1.0 / parts as f64);
        }
    }
}
