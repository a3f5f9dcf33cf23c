//! Products of numbers of bf16, summed as the dot products of AVX-512 sum them: two terms at a time, the second of
//! them first. A product of two such numbers is exact in f32, so a chain of multiply-adds over terms in that order
//! gives the same bits on a processor without them.

use super::super::kernel::{self, COLUMNS, Left, Pair};
use super::{Matrix, Target};

/// Rows whose sums are under way before they are put where they belong.
const ROWS: usize = 48;

/// What terms are packed in: pairs for a processor that has dot products of them, one by one else.
pub(super) trait Packed: Copy {
    const NOTHING: Self;
    /// Terms of one.
    const TERMS: usize;

    /// Puts two neighbouring terms to where pair `pair` of a line belongs whose values lie `stride` apart.
    fn put(line: &mut [Self], pair: usize, stride: usize, first: f32, second: f32);

    /// The same with many pairs of a line that lies in one piece, from its first on.
    fn put_along(line: &mut [Self], pairs: &[[f32; 2]]);

    /// The same with pair `pair` of lines that lie beside each other.
    fn put_across(lines: &mut [Self], pair: usize, stride: usize, first: &[f32], second: &[f32]);

    fn multiply(result: &mut [f32], left: Left<Self>, panel: &[Self], accumulate: bool);
}

impl Packed for Pair {
    const NOTHING: Self = Pair::NOTHING;
    const TERMS: usize = 2;

    fn put(line: &mut [Self], pair: usize, stride: usize, first: f32, second: f32) {
        line[pair * stride] = Self::new(first, second);
    }

    fn put_along(line: &mut [Self], pairs: &[[f32; 2]]) {
        line.iter_mut().zip(pairs).for_each(|(place, &[first, second])| *place = Self::new(first, second));
    }

    fn put_across(lines: &mut [Self], pair: usize, stride: usize, first: &[f32], second: &[f32]) {
        let places = lines[pair * stride..].iter_mut().zip(first.iter().zip(second));
        places.for_each(|(place, (&first, &second))| *place = Self::new(first, second));
    }

    fn multiply(result: &mut [f32], left: Left<Self>, panel: &[Self], accumulate: bool) {
        kernel::multiply_pairs(result, COLUMNS, left, panel, accumulate);
    }
}

impl Packed for f32 {
    const NOTHING: Self = 0.0;
    const TERMS: usize = 1;

    fn put(line: &mut [Self], pair: usize, stride: usize, first: f32, second: f32) {
        (line[2 * pair * stride], line[(2 * pair + 1) * stride]) = (second, first);
    }

    fn put_along(line: &mut [Self], pairs: &[[f32; 2]]) {
        let places = line.as_chunks_mut::<2>().0.iter_mut().zip(pairs);
        places.for_each(|(place, &[first, second])| *place = [second, first]);
    }

    fn put_across(lines: &mut [Self], pair: usize, stride: usize, first: &[f32], second: &[f32]) {
        let lines = &mut lines[2 * pair * stride..];
        lines[..second.len()].copy_from_slice(second);
        lines[stride..][..first.len()].copy_from_slice(first);
    }

    fn multiply(result: &mut [f32], left: Left<Self>, panel: &[Self], accumulate: bool) {
        kernel::multiply(result, COLUMNS, left, panel, accumulate);
    }
}

impl Matrix<'_, f32> {
    /// Packs a line of each row's terms: line `n` begins at `n * apart`, its values lie `stride` apart. An odd last
    /// term has a zero beside it.
    fn pack<P: Packed>(self, packed: &mut [P], apart: usize, stride: usize) {
        let Self { values, rows, columns: terms, row_stride, column_stride, .. } = self;
        if column_stride == 1 {
            for row in 0..rows {
                let (line, packed) = (&values[row * row_stride..][..terms], &mut packed[row * apart..]);
                let (pairs, last) = line.as_chunks::<2>();
                match stride {
                    1 => P::put_along(packed, pairs),
                    _ => pairs.iter().enumerate().for_each(|(pair, &[a, b])| P::put(packed, pair, stride, a, b)),
                }
                if let &[last] = last {
                    P::put(packed, pairs.len(), stride, last, 0.0);
                }
            }
            return;
        }
        let term = |nth: usize| &values[nth * column_stride..][..rows];
        for pair in 0..terms.div_ceil(2) {
            let first = term(2 * pair);
            match (2 * pair + 1 < terms).then(|| term(2 * pair + 1)) {
                Some(second) if apart == 1 => P::put_across(packed, pair, stride, first, second),
                second => {
                    for (row, &first) in first.iter().enumerate() {
                        let second = second.map_or(0.0, |second| second[row]);
                        P::put(&mut packed[row * apart..], pair, stride, first, second);
                    }
                }
            }
        }
    }
}

impl Target<f32> {
    /// As [`Target::store_product`], of a share of its terms.
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn store_pairs(self, a: Matrix<f32>, b: Matrix<f32>, accumulate: bool) {
        // SAFETY: by the caller.
        unsafe {
            match kernel::has_dot() {
                true => self.store_packed::<Pair>(a, b, accumulate),
                false => self.store_packed::<f32>(a, b, accumulate),
            }
        }
    }

    /// # Safety
    /// As [`Target::store_product`].
    pub(super) unsafe fn store_packed<P: Packed>(self, a: Matrix<f32>, b: Matrix<f32>, accumulate: bool) {
        let length = a.columns.next_multiple_of(2) / P::TERMS;
        let mut left = vec![P::NOTHING; a.rows * length];
        a.pack(&mut left, length, 1);
        let mut panel = vec![P::NOTHING; length * COLUMNS];
        let mut sums = [0.0; ROWS * COLUMNS];
        for column in (0..b.columns).step_by(COLUMNS) {
            let columns = COLUMNS.min(b.columns - column);
            b.block(0, b.rows, column, columns).transposed().pack(&mut panel, 1, COLUMNS);
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
                let left = Left { values: &left[row * length..], rows, row_stride: length, term_stride: 1 };
                P::multiply(sums, left, &panel, accumulate);
                for (nth, sums) in sums.chunks_exact(COLUMNS).enumerate() {
                    // SAFETY: as above.
                    unsafe { place(nth).copy_from_nonoverlapping(sums.as_ptr(), columns) };
                }
            }
        }
    }
}
