//! Shares that stay the same, in closed form.
//!
//! Every batch holds each source's share rounded down or up, and the totals never stray by a whole
//! row. Rounding each source's running total by itself would not do: the roundings of three
//! sources need not sum to the batch size. So a share is split into whole rows, which every batch
//! has, and a fraction. The fractions of the sources sum to 0, 1 or 2 rows; that many sources get
//! one row more. One extra row a batch is dealt by two nested running totals: the first source
//! takes it `round(n f1)` times in n batches, the second takes `round(m f2 / (f2 + f3))` of the m
//! times that are left. Two extra rows are one source that gets none.

use super::UNIT;

/// Deals rows to the sources by the same shares in every batch.
#[derive(Clone, Debug)]
pub(super) struct Constant {
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

impl Constant {
    /// Of shares in [`UNIT`]s that sum to whole rows.
    pub(super) fn new(shares: [u64; 3]) -> Self {
        let shares = shares.map(u128::from);
        let whole = shares.map(|share| (share / UNIT) as u64);
        let fractions = shares.map(|share| share % UNIT);
        let (extra, fractions) = match fractions.iter().sum::<u128>() / UNIT {
            0 => (Extra::None, fractions),
            1 => (Extra::OneGets, fractions),
            _ => (Extra::OneGoesWithout, fractions.map(|fraction| UNIT - fraction)),
        };
        Self { whole, fractions, extra }
    }

    /// Rows of each source in the first `batches` batches. Beyond 2^64 rows the count wraps, which
    /// the difference of two totals doesn't notice.
    pub(super) fn totals(&self, batches: u64) -> [u64; 3] {
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

/// `round(count * part / whole)`, 0 when `whole` is 0.
fn rounded(count: u64, part: u128, whole: u128) -> u64 {
    if whole == 0 {
        return 0;
    }
    ((2 * u128::from(count) * part + whole) / (2 * whole)) as u64
}
