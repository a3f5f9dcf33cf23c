//! Products of numbers of bf16, summed as the dot products of AVX-512 sum them: two terms at a time, the second of
//! them first. A product of two such numbers is exact in f32, so a chain of multiply-adds over terms in that order
//! gives the same bits on a processor without them.

use super::super::kernel::{self, COLUMNS, Left, Pair};
use super::{Matrix, Target};

/// Rows whose sums are under way before they are put where they belong.
const ROWS: usize = 48;

impl Target<f32> {
    /// As [`Target::store_product`], of a share of its terms.
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn store_pairs(self, a: Matrix<f32>, b: Matrix<f32>, accumulate: bool) {
        // An odd last term has zeros beside it.
        let terms = a.columns.next_multiple_of(2);
        let mut left = vec![0.0; a.rows * terms];
        a.each(|row, term, value| left[row * terms + (term ^ 1)] = value);
        let dots = kernel::has_dot();
        let left_pairs = if dots { pairs_of_rows(&left) } else { Vec::new() };
        let mut panel = vec![0.0; terms * COLUMNS];
        let mut sums = [0.0; ROWS * COLUMNS];
        for column in (0..b.columns).step_by(COLUMNS) {
            let columns = COLUMNS.min(b.columns - column);
            let part = b.block(0, b.rows, column, columns);
            part.each(|term, column, value| panel[(term ^ 1) * COLUMNS + column] = value);
            let panel_pairs = if dots { pairs_of_panel(&panel) } else { Vec::new() };
            for row in (0..a.rows).step_by(ROWS) {
                let rows = ROWS.min(a.rows - row);
                // SAFETY: by the caller, these rows and columns are the target's, and nobody else's now.
                let place = |nth: usize| unsafe { self.first.add((row + nth) * self.row_stride + column) };
                if accumulate {
                    for (nth, sums) in sums.chunks_exact_mut(COLUMNS).take(rows).enumerate() {
                        // SAFETY: as above.
                        unsafe { place(nth).copy_to_nonoverlapping(sums.as_mut_ptr(), columns) };
                    }
                }
                let sums = &mut sums[..rows * COLUMNS];
                if dots {
                    let values = &left_pairs[row * terms / 2..];
                    let left = Left { values, rows, row_stride: terms / 2, term_stride: 1 };
                    kernel::multiply_pairs(sums, COLUMNS, left, &panel_pairs, accumulate);
                } else {
                    let left = Left { values: &left[row * terms..], rows, row_stride: terms, term_stride: 1 };
                    kernel::multiply(sums, COLUMNS, left, &panel, accumulate);
                }
                for (nth, sums) in sums.chunks_exact(COLUMNS).enumerate() {
                    // SAFETY: as above.
                    unsafe { place(nth).copy_from_nonoverlapping(sums.as_ptr(), columns) };
                }
            }
        }
    }
}

/// Rows of an even number of terms, which stand the second of a pair first.
fn pairs_of_rows(rows: &[f32]) -> Vec<Pair> {
    rows.chunks_exact(2).map(|pair| Pair::new(pair[1], pair[0])).collect()
}

/// Of a panel: the terms of a pair lie a row apart.
fn pairs_of_panel(panel: &[f32]) -> Vec<Pair> {
    let pairs = panel.chunks_exact(2 * COLUMNS).map(|rows| rows.split_at(COLUMNS));
    pairs
        .flat_map(|(second, first)| first.iter().zip(second).map(|(&first, &second)| Pair::new(first, second)))
        .collect()
}
