//! Products of matrices, whole on this thread or in blocks on all of them.
//!
//! A value's bits depend on its row and column alone. The sums are the matrix library's, but where both factors
//! are known to be numbers of bf16: those go in [`pairs`] of terms, as a processor's dot products take them.

mod pairs;

use super::super::element::{Element, Precision};
use super::kernel;
use rayon::prelude::*;

/// Rows and columns of one block of a large product.
const BLOCK_ROWS: usize = 256;
const BLOCK_COLUMNS: usize = 128;
/// Terms of a sum that the matrix library adds up at once. It would choose their number itself by the
/// size of the caches and of the product; up to this one it always takes all.
const TERMS: usize = 512;

/// A row-major matrix, perhaps read as its transpose: one of the strides is 1.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    precision: Precision,
}

impl Precision {
    /// Values of this precision, row by row.
    pub(in crate::ops) fn matrix<T>(self, values: &[T], columns: usize) -> Matrix<'_, T> {
        let rows = values.len() / columns;
        Matrix { values, rows, columns, row_stride: columns, column_stride: 1, precision: self }
    }
}

impl<'a, T> Matrix<'a, T> {
    pub(in crate::ops) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Rows and columns from the given ones on; the extents say how many are meant.
    fn block(self, row: usize, rows: usize, column: usize, columns: usize) -> Self {
        let values = &self.values[row * self.row_stride + column * self.column_stride..];
        Self { values, rows, columns, ..self }
    }
}

impl<'a, T: Element> Matrix<'a, T> {
    /// The same, if its values are f32 that bf16 has.
    fn as_bf16(self) -> Option<Matrix<'a, f32>> {
        let Self { rows, columns, row_stride, column_stride, precision, .. } = self;
        let values = T::as_f32(self.values).filter(|_| precision == Precision::Bf16)?;
        Some(Matrix { values, rows, columns, row_stride, column_stride, precision })
    }
}

/// `result = a b`, blocks of it in parallel.
pub(super) fn multiply<T: Element>(result: &mut [T], columns: usize, a: Matrix<T>, b: Matrix<T>) {
    let rows = a.rows;
    let blocks_across = columns.div_ceil(BLOCK_COLUMNS);
    let blocks_down = rows.div_ceil(BLOCK_ROWS);
    let blocks = blocks_down * blocks_across;
    let target = Target { first: result.as_mut_ptr(), row_stride: columns };
    assert!(result.len() == rows * columns, "a product of {rows}x{columns} needs as many values: this is a bug");
    (0..blocks).into_par_iter().for_each(|block| {
        // Blocks of like heights: a last one of few rows would be summed by another kernel, and a
        // row's bits would depend on its place in the batch.
        let row_of = |block: usize| block * rows / blocks_down;
        let (row, column) = (row_of(block / blocks_across), block % blocks_across * BLOCK_COLUMNS);
        let height = row_of(block / blocks_across + 1) - row;
        let width = BLOCK_COLUMNS.min(columns - column);
        let (a, b) = (a.block(row, height, 0, a.columns), b.block(0, b.rows, column, width));
        // SAFETY: blocks tile the result without overlap, so no two tasks write one value.
        unsafe { target.at(row, column).store_product(a, b, false) }
    });
}

/// `result = a b`, or `result += a b`, on this thread.
pub(in crate::ops) fn product<T: Element>(
    result: &mut [T],
    columns: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    accumulate: bool,
) {
    assert!(result.len() == a.rows * columns && columns == b.columns, "product of unfitting matrices: this is a bug");
    let target = Target { first: result.as_mut_ptr(), row_stride: columns };
    // SAFETY: the target is exclusively borrowed and has the product's extents.
    unsafe { target.store_product(a, b, accumulate) }
}

/// Where a block of a product goes.
#[derive(Clone, Copy)]
struct Target<T> {
    first: *mut T,
    row_stride: usize,
}

// SAFETY: a target is only written through `store_product`, whose callers keep blocks disjoint.
unsafe impl<T: Send> Send for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Target<T> {}

impl<T: Element> Target<T> {
    /// # Safety
    /// The position must lie inside the target.
    unsafe fn at(self, row: usize, column: usize) -> Self {
        // SAFETY: by the caller.
        Self { first: unsafe { self.first.add(row * self.row_stride + column) }, ..self }
    }

    /// # Safety
    /// `a.rows` x `b.columns` values from `first` on must be writable and not touched by others.
    unsafe fn store_product(self, a: Matrix<T>, b: Matrix<T>, accumulate: bool) {
        assert!(a.columns == b.rows, "product over {} and {} terms: this is a bug", a.columns, b.rows);
        let share = a.columns.div_ceil(a.columns.div_ceil(TERMS).max(1)).max(1);
        for first in (0..a.columns).step_by(share) {
            let terms = share.min(a.columns - first);
            let (a, b) = (a.block(0, a.rows, first, terms), b.block(first, terms, 0, b.columns));
            if let (Some(a), Some(b)) = (a.as_bf16(), b.as_bf16())
                && kernel::is_fast()
            {
                let target = Target { first: self.first.cast::<f32>(), row_stride: self.row_stride };
                // SAFETY: by the caller; values that can be read as f32 are.
                unsafe { target.store_pairs(a, b, accumulate || first > 0) };
                continue;
            }
            // SAFETY: extents and strides describe the slices they were made from.
            unsafe {
                gemm::gemm(
                    a.rows,
                    b.columns,
                    terms,
                    self.first,
                    1,
                    self.row_stride as isize,
                    accumulate || first > 0,
                    a.values.as_ptr(),
                    a.column_stride as isize,
                    a.row_stride as isize,
                    b.values.as_ptr(),
                    b.column_stride as isize,
                    b.row_stride as isize,
                    T::ONE,
                    T::ONE,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use half::bf16;

    #[test]
    fn numbers_of_bf16_are_summed_in_pairs_the_second_first() {
        if !kernel::is_fast() {
            return;
        }
        let mut draws = Chance::new(1, "pairs").at(0, 0);
        let mut random = |len: usize| (0..len).map(|_| bf16::from_f64(draws.normal()).to_f32()).collect::<Vec<_>>();
        for (rows, terms, columns) in [(1, 1, 1), (5, 25, 7), (50, 2, 16), (97, 1025, 33), (300, 64, 150)] {
            let (a, b, start) = (random(rows * terms), random(terms * columns), random(rows * columns));
            let transpose = |values: &[f32], columns: usize| -> Vec<f32> {
                (0..values.len())
                    .map(|nth| values[nth % (values.len() / columns) * columns + nth / (values.len() / columns)])
                    .collect()
            };
            let expected = |accumulate: bool| -> Vec<f32> {
                let sum = |nth: usize| {
                    let (row, column) = (nth / columns, nth % columns);
                    let order = (0..terms.next_multiple_of(2)).map(|term| term ^ 1).filter(|&term| term < terms);
                    let first = if accumulate { start[nth] } else { 0.0 };
                    order.fold(first, |sum, term| a[row * terms + term].mul_add(b[term * columns + column], sum))
                };
                (0..rows * columns).map(sum).collect()
            };
            let (turned_a, turned_b) = (transpose(&a, terms), transpose(&b, columns));
            let ways_of_a = [Precision::Bf16.matrix(&a, terms), Precision::Bf16.matrix(&turned_a, rows).transposed()];
            let ways_of_b =
                [Precision::Bf16.matrix(&b, columns), Precision::Bf16.matrix(&turned_b, terms).transposed()];
            for (a, b) in ways_of_a.into_iter().flat_map(|a| ways_of_b.map(|b| (a, b))) {
                for accumulate in [false, true] {
                    let mut found = start.clone();
                    product(&mut found, columns, a, b, accumulate);
                    assert_eq!(found, expected(accumulate), "{rows} {terms} {columns} {accumulate}");
                    // Also one by one, where this processor takes pairs.
                    found.copy_from_slice(&start);
                    let (Some(a), Some(b)) = (a.as_bf16(), b.as_bf16()) else { unreachable!("bf16, above") };
                    let target = Target { first: found.as_mut_ptr(), row_stride: columns };
                    if terms <= TERMS {
                        // SAFETY: the target has the product's extents.
                        unsafe { target.store_packed::<f32>(a, b, accumulate) };
                        assert_eq!(found, expected(accumulate), "{rows} {terms} {columns} {accumulate}, one by one");
                    }
                }
                let mut found = start.clone();
                multiply(&mut found, columns, a, b);
                assert_eq!(found, expected(false), "{rows} {terms} {columns}, in blocks");
            }
        }
    }
}
