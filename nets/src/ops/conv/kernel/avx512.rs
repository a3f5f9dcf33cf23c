//! The same in AVX-512 for f32: a panel's row is one vector, and a factor comes from memory with the
//! multiplication itself, so that twelve rows are under way at once.

use super::{COLUMNS, Left};
use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps};

/// Rows at once: more chains of sums than two units of four cycles' delay can work on.
pub(super) const ROWS: usize = 12;

/// Whether this processor has it.
pub(super) fn there() -> bool {
    std::is_x86_feature_detected!("avx512f")
}

/// The first `left.rows` rows, at most [`ROWS`].
///
/// # Safety
/// The processor must have AVX-512F; `left` must have as many terms as the panel, and `result` 16 columns
/// in each of its rows.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn rows(result: &mut [f32], stride: usize, left: Left<f32>, panel: &[f32], accumulate: bool) {
    // SAFETY: by the caller.
    unsafe {
        match left.rows {
            1 => block::<1>(result, stride, left, panel, accumulate),
            2 => block::<2>(result, stride, left, panel, accumulate),
            3 => block::<3>(result, stride, left, panel, accumulate),
            4 => block::<4>(result, stride, left, panel, accumulate),
            5 => block::<5>(result, stride, left, panel, accumulate),
            6 => block::<6>(result, stride, left, panel, accumulate),
            7 => block::<7>(result, stride, left, panel, accumulate),
            8 => block::<8>(result, stride, left, panel, accumulate),
            9 => block::<9>(result, stride, left, panel, accumulate),
            10 => block::<10>(result, stride, left, panel, accumulate),
            11 => block::<11>(result, stride, left, panel, accumulate),
            _ => block::<ROWS>(result, stride, left, panel, accumulate),
        }
    }
}

/// # Safety
/// As [`rows`], for `R` rows.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn block<const R: usize>(result: &mut [f32], stride: usize, left: Left<f32>, panel: &[f32], accumulate: bool) {
    let result = result.as_mut_ptr();
    let mut sums = [_mm512_setzero_ps(); R];
    // SAFETY: by the caller, all rows of the result and all terms of the factors are there.
    unsafe {
        if accumulate {
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(result.add(row * stride));
            }
        }
        let (factors, mut columns) = (left.values.as_ptr(), panel.as_ptr());
        for term in 0..panel.len() / COLUMNS {
            let vector = _mm512_loadu_ps(columns);
            for (row, sum) in sums.iter_mut().enumerate() {
                let factor = *factors.add(row * left.row_stride + term * left.term_stride);
                *sum = _mm512_fmadd_ps(_mm512_set1_ps(factor), vector, *sum);
            }
            columns = columns.add(COLUMNS);
        }
        for (row, sum) in sums.into_iter().enumerate() {
            _mm512_storeu_ps(result.add(row * stride), sum);
        }
    }
}
