//! How many rows of each source a batch has, and how many the batches before it had.
//!
//! Shares that don't change have a closed form (`constant`). Those of a schedule are walked through
//! once, up to its last point (`scheduled`); from there on they don't change any more.

mod constant;
mod scheduled;

use super::{
    Source,
    spec::{Mix, Schedule},
};
use constant::Constant;
use scheduled::Scheduled;
use std::sync::Arc;

/// Shares are counted in 2^-40 of a row; those of the largest batch take 50 bits.
const UNIT: u128 = 1 << 40;

/// Deals the rows of a batch to the sources.
#[derive(Clone, Debug)]
pub struct Mixer {
    /// Up to the last point of a schedule.
    scheduled: Option<Arc<Scheduled>>,
    /// From there on.
    constant: Constant,
}

/// Rows of each source in one batch and in all batches before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Real, existing and blended rows of this batch.
    pub rows: [u32; 3],
    /// The same in all batches before it.
    pub before: [u64; 3],
}

impl Mixer {
    /// For mixes whose weights are finite, not negative and not all zero, at ascending indices. A
    /// schedule takes time in proportion to its last index: a tenth of a second for the largest.
    pub fn new(mix: &Mix, schedule: &Schedule, batch_size: u32) -> Self {
        let scheduled = Scheduled::new(shares(mix, batch_size), schedule, batch_size).map(Arc::new);
        let last = schedule.points.last().map_or(mix, |point| &point.mix);
        Self { scheduled, constant: Constant::new(shares(last, batch_size)) }
    }

    /// The shares of batch `index`.
    pub fn batch(&self, index: u64) -> Shares {
        let (first, begun) = match &self.scheduled {
            Some(scheduled) if index < scheduled.end() => return scheduled.batch(index),
            Some(scheduled) => (scheduled.end(), scheduled.totals()),
            None => (0, [0; 3]),
        };
        let before = self.constant.totals(index - first);
        let after = self.constant.totals(index.saturating_add(1) - first);
        Shares {
            rows: std::array::from_fn(|source| after[source].wrapping_sub(before[source]) as u32),
            before: std::array::from_fn(|source| begun[source].wrapping_add(before[source])),
        }
    }
}

/// The shares of a batch in [`UNIT`]s; they sum to its rows.
fn shares(mix: &Mix, batch_size: u32) -> [u64; 3] {
    let weights = [mix.real, mix.existing, mix.blended];
    let sum: f64 = weights.iter().sum();
    let batch = u64::from(batch_size) * UNIT as u64;
    // The heaviest source takes what rounding leaves over, so that the shares sum exactly.
    let heaviest = (0..3).fold(0, |best, source| if weights[source] > weights[best] { source } else { best });
    let mut shares = weights.map(|weight| libm::round(weight / sum * f64::from(batch_size) * UNIT as f64) as u64);
    let others: u64 = (0..3).filter(|&source| source != heaviest).map(|source| shares[source]).sum();
    shares[heaviest] = batch.saturating_sub(others);
    shares
}

impl Shares {
    /// The source of slot `slot` of the batch before its rows are shuffled, and which of the
    /// source's rows of this batch it is. Sources come in order.
    pub fn source(&self, slot: u32) -> (Source, u32) {
        let [real, existing, _] = self.rows;
        if slot < real {
            (Source::Real, slot)
        } else if slot - real < existing {
            (Source::Existing, slot - real)
        } else {
            (Source::Blended, slot - real - existing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::spec::{Point, Shape};
    use proptest::prelude::*;

    fn constant(mix: Mix, batch_size: u32) -> Mixer {
        Mixer::new(&mix, &Schedule::default(), batch_size)
    }

    fn check(mix: Mix, batch_size: u32, index: u64) -> Result<(), TestCaseError> {
        let sum = mix.real + mix.existing + mix.blended;
        let shares = constant(mix, batch_size).batch(index);
        prop_assert_eq!(shares.rows.iter().sum::<u32>(), batch_size);
        for (source, weight) in [mix.real, mix.existing, mix.blended].into_iter().enumerate() {
            let share = weight / sum * f64::from(batch_size);
            let rows = f64::from(shares.rows[source]);
            prop_assert!((rows - share).abs() < 1.0 + 1e-9, "{rows} rows of a share of {share}");
            let total = shares.before[source] as f64;
            let exact = share * index as f64;
            prop_assert!((total - exact).abs() < 1.0 + 1e-9 * index as f64, "{total} rows of {exact}");
            prop_assert!(weight > 0.0 || rows == 0.0);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn each_batch_and_every_total_is_within_one_row_of_its_share(
            (real, existing, blended) in (0u32..20, 0u32..20, 0u32..20),
            batch_size in 1u32..300,
            index in 0u64..100_000,
        ) {
            prop_assume!(real + existing + blended > 0);
            let mix = Mix { real: real.into(), existing: existing.into(), blended: blended.into() };
            check(mix, batch_size, index)?;
        }

        #[test]
        fn odd_weights_and_far_indices_are_no_exception(
            real in 0.0f64..1.0, existing in 0.0f64..1.0, blended in 1e-6f64..1.0,
            batch_size in 1u32..1025,
            index in 0u64..1_000_000,
        ) {
            check(Mix { real, existing, blended }, batch_size, index)?;
        }

        #[test]
        fn consecutive_batches_fit_together(
            real in 0.0f64..1.0, existing in 0.0f64..1.0, blended in 1e-6f64..1.0,
            batch_size in 1u32..100, index: u64,
        ) {
            prop_assume!(index < u64::MAX - 1);
            let mixer = constant(Mix { real, existing, blended }, batch_size);
            let (this, next) = (mixer.batch(index), mixer.batch(index + 1));
            prop_assert_eq!(this.rows.iter().sum::<u32>(), batch_size);
            for source in 0..3 {
                prop_assert_eq!(this.before[source].wrapping_add(this.rows[source].into()), next.before[source]);
            }
        }
    }

    /// The shares of batch `index`, as anybody would work them out.
    fn share_at(mix: &Mix, schedule: &Schedule, index: u64) -> [f64; 3] {
        let parts = |mix: &Mix| {
            let sum = mix.real + mix.existing + mix.blended;
            [mix.real / sum, mix.existing / sum, mix.blended / sum]
        };
        let past = schedule.points.partition_point(|point| point.index <= index);
        let (first, from) = past
            .checked_sub(1)
            .map_or((0, parts(mix)), |nth| (schedule.points[nth].index, parts(&schedule.points[nth].mix)));
        match schedule.points.get(past).filter(|_| schedule.shape == Shape::Linear) {
            None => from,
            Some(next) => {
                let way = (index - first) as f64 / (next.index - first) as f64;
                let to = parts(&next.mix);
                std::array::from_fn(|source| from[source] + way * (to[source] - from[source]))
            }
        }
    }

    prop_compose! {
        fn mixes()(real in 0u32..5, existing in 0u32..5, blended in 0u32..5, sum in 0.1f64..10.0) -> Mix {
            let [real, existing, blended] = [real, existing, blended].map(|weight| f64::from(weight) * sum);
            if real + existing + blended > 0.0 { Mix { real, existing, blended } } else { Mix { real: 1.0, existing, blended } }
        }
    }

    prop_compose! {
        fn schedules()(
            points in prop::collection::btree_map(1u64..3000, mixes(), 1..6), linear: bool,
        ) -> Schedule {
            let points = points.into_iter().map(|(index, mix)| Point { index, mix }).collect();
            Schedule { points, shape: if linear { Shape::Linear } else { Shape::Steps } }
        }
    }

    proptest! {
        // Each looks at thousands of batches.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn scheduled_shares_are_kept_in_each_batch_and_over_all_of_them(
            mix in mixes(), schedule in schedules(), batch_size in 1u32..40,
        ) {
            let mixer = Mixer::new(&mix, &schedule, batch_size);
            let last = schedule.points.last().unwrap().index;
            let (mut exact, mut before) = ([0.0; 3], [0; 3]);
            for index in 0..last + 50 {
                let shares = mixer.batch(index);
                prop_assert_eq!(shares.before, before, "batch {}", index);
                prop_assert_eq!(shares.rows.iter().sum::<u32>(), batch_size);
                let share = share_at(&mix, &schedule, index).map(|part| part * f64::from(batch_size));
                let stray = if index <= last { 1.0 } else { 2.0 };
                for source in 0..3 {
                    let rows = f64::from(shares.rows[source]);
                    prop_assert!((rows - share[source]).abs() < 1.0 + 1e-9, "{} rows of {}", rows, share[source]);
                    prop_assert!(share[source] > 0.0 || rows == 0.0);
                    let total = before[source] as f64;
                    prop_assert!((total - exact[source]).abs() < stray + 1e-6, "{} of {}", total, exact[source]);
                    exact[source] += share[source];
                    before[source] += u64::from(shares.rows[source]);
                }
            }
        }

        #[test]
        fn after_the_last_point_a_mix_goes_on_without_end(
            mix in mixes(), schedule in schedules(), batch_size in 1u32..1025, beyond in 0u64..1 << 40,
        ) {
            let mixer = Mixer::new(&mix, &schedule, batch_size);
            let last = schedule.points.last().unwrap();
            let (begin, this) = (mixer.batch(last.index).before, mixer.batch(last.index + beyond));
            let alone = constant(last.mix, batch_size).batch(beyond);
            prop_assert_eq!(this.rows, alone.rows);
            prop_assert_eq!(this.before, std::array::from_fn(|source| begin[source] + alone.before[source]));
        }
    }

    #[test]
    fn the_longest_schedule_is_exact_to_its_end() {
        let mix = Mix { real: 1.0, existing: 0.0, blended: 0.0 };
        let index = proto::limits::MAX_MIX_INDEX;
        let to = Mix { real: 0.0, existing: 1.0, blended: 2.0 };
        let schedule = Schedule { points: vec![Point { index, mix: to }], shape: Shape::Linear };
        let mixer = Mixer::new(&mix, &schedule, 1024);
        // Half of the rows are real, all in all, and half a batch's more as the first one is all real.
        let total = mixer.batch(index).before;
        let half = index * 512 + 512;
        assert!(total[0].abs_diff(half) <= 1, "{total:?}, {half}");
        assert_eq!(total.iter().sum::<u64>(), index * 1024);
        assert_eq!(mixer.batch(index - 1).rows.iter().sum::<u32>(), 1024);
        assert_eq!(mixer.batch(0).rows, [1024, 0, 0]);
    }

    #[test]
    fn slots_come_in_source_order() {
        let shares = Shares { rows: [2, 1, 1], before: [0; 3] };
        let sources: Vec<_> = (0..4).map(|slot| shares.source(slot)).collect();
        assert_eq!(sources, [(Source::Real, 0), (Source::Real, 1), (Source::Existing, 0), (Source::Blended, 0)]);
    }
}
