//! How many rows of each source a batch has, and how many the batches before it had.
//!
//! Every batch holds each source's share rounded down or up, and the totals never stray by a whole
//! row. Rounding each source's running total by itself would not do: the roundings of three
//! sources need not sum to the batch size. So a share is split into whole rows, which every batch
//! has, and a fraction. The fractions of the sources sum to 0, 1 or 2 rows; that many sources get
//! one row more. One extra row a batch is dealt by two nested running totals: the first source
//! takes it `round(n f1)` times in n batches, the second takes `round(m f2 / (f2 + f3))` of the m
//! times that are left. Two extra rows are one source that gets none.

use super::{Source, spec::Mix};

/// Shares are counted in 2^-40 of a row; 64 bits of index fit beside that in 128 bits.
const UNIT: u128 = 1 << 40;

/// Deals the rows of a batch to the sources.
#[derive(Clone, Debug)]
pub struct Mixer {
    whole: [u64; 3],
    /// Sources that get an extra row (or are left without one) and how often, in [`UNIT`]s.
    fractions: [u128; 3],
    extra: Extra,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    None,
    OneGets,
    OneGoesWithout,
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
    /// For a mix whose weights are finite, not negative and not all zero.
    pub fn new(mix: &Mix, batch_size: u32) -> Self {
        let weights = [mix.real, mix.existing, mix.blended];
        let sum: f64 = weights.iter().sum();
        let batch = u128::from(batch_size) * UNIT;
        // The heaviest source takes what rounding leaves over, so that the shares sum exactly.
        let heaviest = (0..3).fold(0, |best, source| if weights[source] > weights[best] { source } else { best });
        let mut shares = weights.map(|weight| libm::round(weight / sum * f64::from(batch_size) * UNIT as f64) as u128);
        let others: u128 = (0..3).filter(|&source| source != heaviest).map(|source| shares[source]).sum();
        shares[heaviest] = batch.saturating_sub(others);
        let whole = shares.map(|share| (share / UNIT) as u64);
        let fractions = shares.map(|share| share % UNIT);
        let (extra, fractions) = match fractions.iter().sum::<u128>() / UNIT {
            0 => (Extra::None, fractions),
            1 => (Extra::OneGets, fractions),
            _ => (Extra::OneGoesWithout, fractions.map(|fraction| UNIT - fraction)),
        };
        Self { whole, fractions, extra }
    }

    /// The shares of batch `index`.
    pub fn batch(&self, index: u64) -> Shares {
        let before = self.totals(index);
        let after = self.totals(index.saturating_add(1));
        Shares { rows: std::array::from_fn(|source| (after[source].wrapping_sub(before[source])) as u32), before }
    }

    /// Rows of each source in the first `batches` batches. Beyond 2^64 rows the count wraps, which
    /// the difference of two totals doesn't notice.
    fn totals(&self, batches: u64) -> [u64; 3] {
        let dealt = self.dealt(batches);
        std::array::from_fn(|source| {
            let whole = self.whole[source].wrapping_mul(batches);
            match self.extra {
                Extra::None => whole,
                Extra::OneGets => whole.wrapping_add(dealt[source]),
                Extra::OneGoesWithout => whole.wrapping_add(batches - dealt[source]),
            }
        })
    }

    /// How often each source was the chosen one in the first `batches` batches.
    fn dealt(&self, batches: u64) -> [u64; 3] {
        let [first, second, third] = self.fractions;
        let to_first = rounded(batches, first, UNIT);
        let left = batches - to_first;
        let to_second = rounded(left, second, second + third);
        [to_first, to_second, left - to_second]
    }
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

/// `round(count * part / whole)`, 0 when `whole` is 0.
fn rounded(count: u64, part: u128, whole: u128) -> u64 {
    if whole == 0 {
        return 0;
    }
    ((2 * u128::from(count) * part + whole) / (2 * whole)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(mix: Mix, batch_size: u32, index: u64) -> Result<(), TestCaseError> {
        let sum = mix.real + mix.existing + mix.blended;
        let shares = Mixer::new(&mix, batch_size).batch(index);
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
            let mixer = Mixer::new(&Mix { real, existing, blended }, batch_size);
            let (this, next) = (mixer.batch(index), mixer.batch(index + 1));
            prop_assert_eq!(this.rows.iter().sum::<u32>(), batch_size);
            for source in 0..3 {
                prop_assert_eq!(this.before[source].wrapping_add(this.rows[source].into()), next.before[source]);
            }
        }
    }

    #[test]
    fn slots_come_in_source_order() {
        let shares = Shares { rows: [2, 1, 1], before: [0; 3] };
        let sources: Vec<_> = (0..4).map(|slot| shares.source(slot)).collect();
        assert_eq!(sources, [(Source::Real, 0), (Source::Real, 1), (Source::Existing, 0), (Source::Blended, 0)]);
    }
}
