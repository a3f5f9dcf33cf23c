//! Matrix products out of registers: every value is one chain of fused multiply-adds over the terms
//! in order, wherever it lies and whatever lies beside it, so its bits depend on its row and column
//! alone. Nothing is packed here: who calls lays the right factor out in panels.

#[cfg(target_arch = "x86_64")]
mod avx2;

use super::super::element::Element;

/// Columns of a panel: two vectors of eight.
pub(super) const COLUMNS: usize = 16;

/// Rows whose sums fill twelve of sixteen vector registers, the most that leaves room for a panel's
/// row and a factor.
const ROWS: usize = 6;

/// Whether products in f32 are fast here.
pub(super) fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return avx2::there();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The left factor: value `(row, term)` lies at `row * row_stride + term * term_stride`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T> {
    pub(super) values: &'a [T],
    pub(super) rows: usize,
    pub(super) row_stride: usize,
    pub(super) term_stride: usize,
}

impl<'a, T> Left<'a, T> {
    /// A few rows of it.
    fn part(self, first: usize, rows: usize) -> Self {
        Self { values: &self.values[first * self.row_stride..], rows, ..self }
    }
}

/// `result = left panel`, or `result += left panel`: `panel (terms, 16)`, `result` rows of 16 that
/// begin `stride` apart.
pub(super) fn multiply<T: Element>(result: &mut [T], stride: usize, left: Left<T>, panel: &[T], accumulate: bool) {
    let terms = panel.len() / COLUMNS;
    assert!(left.rows > 0 && terms > 0, "an empty product: this is a bug");
    let last = (left.rows - 1) * left.row_stride + (terms - 1) * left.term_stride;
    assert!(last < left.values.len(), "the left factor ends before its last row: this is a bug");
    assert!((left.rows - 1) * stride + COLUMNS <= result.len(), "a product has no room: this is a bug");
    #[cfg(target_arch = "x86_64")]
    if let (Some(values), Some(panel), true) = (T::as_f32(left.values), T::as_f32(panel), is_fast())
        && let Some(result) = T::as_f32_mut(result)
    {
        let left = Left { values, rows: left.rows, row_stride: left.row_stride, term_stride: left.term_stride };
        let mut first = 0;
        while first < left.rows {
            // Few rows at once have too few sums under way: the last nine or less are cut evenly.
            let rows = match left.rows - first {
                rest @ 7..=9 => rest.div_ceil(2),
                rest => rest.min(ROWS),
            };
            // SAFETY: the processor was asked; the asserts hold for the last row and term, so for all.
            unsafe { avx2::rows(&mut result[first * stride..], stride, left.part(first, rows), panel, accumulate) }
            first += rows;
        }
        return;
    }
    for row in 0..left.rows {
        one_row(&mut result[row * stride..][..COLUMNS], left.part(row, 1), panel, accumulate);
    }
}

/// The definition, for other types and processors.
fn one_row<T: Element>(result: &mut [T], left: Left<T>, panel: &[T], accumulate: bool) {
    if !accumulate {
        result.fill(T::ZERO);
    }
    for (term, columns) in panel.chunks_exact(COLUMNS).enumerate() {
        let factor = left.values[term * left.term_stride];
        result.iter_mut().zip(columns).for_each(|(sum, &value)| *sum = factor.multiply_add(value, *sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    #[test]
    fn vectors_give_the_bits_of_the_definition() {
        let mut draws = Chance::new(1, "kernel").at(0, 0);
        for (rows, terms, stride) in [(1, 1, 16), (6, 7, 16), (13, 5, 40), (11, 64, 32), (4, 3, 17)] {
            let mut random = |len: usize| (0..len).map(|_| draws.normal() as f32).collect::<Vec<_>>();
            let (values, panel, start) =
                (random(rows * terms), random(terms * COLUMNS), random(rows * stride + COLUMNS));
            for (row_stride, term_stride) in [(terms, 1), (1, rows)] {
                let left = Left { values: &values, rows, row_stride, term_stride };
                for accumulate in [false, true] {
                    let (mut fast, mut slow) = (start.clone(), start.clone());
                    multiply(&mut fast, stride, left, &panel, accumulate);
                    for row in 0..rows {
                        one_row(&mut slow[row * stride..][..COLUMNS], left.part(row, 1), &panel, accumulate);
                    }
                    assert_eq!(fast, slow, "{rows} {terms} {stride} {accumulate}");
                }
            }
        }
    }
}
