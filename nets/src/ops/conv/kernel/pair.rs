//! Two numbers of bf16 side by side, as a dot product takes them.

use super::Factor;
use half::bf16;

/// Two neighbouring terms: the first in the low half, the second in the high one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(in super::super) struct Pair(pub(super) u32);

impl Pair {
    /// Two zeros.
    pub(in super::super) const NOTHING: Self = Self(0);

    /// Of two numbers that bf16 has.
    pub(in super::super) fn new(first: f32, second: f32) -> Self {
        let (first, second) = (first.to_bits(), second.to_bits());
        debug_assert!((first | second) & 0xffff == 0, "numbers that bf16 hasn't: this is a bug");
        Self(first >> 16 | second & 0xffff_0000)
    }

    fn first(self) -> f32 {
        f32::from_bits(self.0 << 16)
    }

    fn second(self) -> f32 {
        f32::from_bits(self.0 & 0xffff_0000)
    }
}

impl Factor<f32> for Pair {
    /// What `VDPBF16PS` computes: the second terms' product is added first, and each sum is rounded to the nearest.
    /// (It takes numbers below the smallest normal one, 1.2e-38, for zero.)
    fn multiply_add(self, other: Self, sum: f32) -> f32 {
        let sum = self.second().mul_add(other.second(), sum);
        self.first().mul_add(other.first(), sum)
    }

    fn example(nth: usize) -> Self {
        let number = |nth: usize| bf16::from_f32(f32::example(nth)).to_f32();
        Self::new(number(nth), number(nth + 500))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{COLUMNS, Left, multiply, multiply_pairs};
    use super::*;

    #[test]
    fn pairs_give_the_bits_of_their_numbers_second_first() {
        let (rows, pairs) = (13, 9);
        let left: Vec<Pair> = (0..rows * pairs).map(Pair::example).collect();
        let panel: Vec<Pair> = (0..pairs * COLUMNS).map(|nth| Pair::example(nth + 3)).collect();
        let numbers: Vec<f32> = left.iter().flat_map(|pair| [pair.second(), pair.first()]).collect();
        let columns: Vec<f32> = panel
            .chunks_exact(COLUMNS)
            .flat_map(|row| row.iter().map(|pair| pair.second()).chain(row.iter().map(|pair| pair.first())))
            .collect();
        for accumulate in [false, true] {
            let mut found: Vec<f32> = (0..rows * COLUMNS).map(f32::example).collect();
            let mut expected = found.clone();
            let of_pairs = Left { values: &left, rows, row_stride: pairs, term_stride: 1 };
            multiply_pairs(&mut found, COLUMNS, of_pairs, &panel, accumulate);
            let of_numbers = Left { values: &numbers, rows, row_stride: 2 * pairs, term_stride: 1 };
            multiply(&mut expected, COLUMNS, of_numbers, &columns, accumulate);
            assert_eq!(found, expected);
        }
    }
}
