//! The same in AVX2 and FMA for f32. Written out, because the compiler splits the portable loop's
//! sums into pieces of vectors, at a quarter of the speed.

use super::{COLUMNS, Left};
use std::arch::x86_64::{
    __m256, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

/// Rows whose sums fill twelve of sixteen vector registers, the most that leaves room for a panel's
/// row and a factor.
pub(super) const ROWS: usize = 6;

/// Whether this processor has both.
pub(super) fn there() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}

/// The first `left.rows` rows, at most [`ROWS`].
///
/// # Safety
/// The processor must have AVX2 and FMA; `left` must have as many terms as the panel, and `result`
/// 16 columns in each of its rows.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn rows(result: &mut [f32], stride: usize, left: Left<f32>, panel: &[f32], accumulate: bool) {
    // SAFETY: by the caller.
    unsafe {
        match left.rows {
            1 => block::<1>(result, stride, left, panel, accumulate),
            2 => block::<2>(result, stride, left, panel, accumulate),
            3 => block::<3>(result, stride, left, panel, accumulate),
            4 => block::<4>(result, stride, left, panel, accumulate),
            5 => block::<5>(result, stride, left, panel, accumulate),
            _ => block::<ROWS>(result, stride, left, panel, accumulate),
        }
    }
}

/// # Safety
/// As [`rows`], for `R` rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn block<const R: usize>(result: &mut [f32], stride: usize, left: Left<f32>, panel: &[f32], accumulate: bool) {
    let result = result.as_mut_ptr();
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    // SAFETY: by the caller, all rows of the result and all terms of the factors are there.
    unsafe {
        if accumulate {
            for (row, sums) in sums.iter_mut().enumerate() {
                *sums = halves(result.add(row * stride));
            }
        }
        let (factors, mut columns) = (left.values.as_ptr(), panel.as_ptr());
        for term in 0..panel.len() / COLUMNS {
            let [low, high] = halves(columns);
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = _mm256_broadcast_ss(&*factors.add(row * left.row_stride + term * left.term_stride));
                sums[0] = _mm256_fmadd_ps(factor, low, sums[0]);
                sums[1] = _mm256_fmadd_ps(factor, high, sums[1]);
            }
            columns = columns.add(COLUMNS);
        }
        for (row, [low, high]) in sums.into_iter().enumerate() {
            _mm256_storeu_ps(result.add(row * stride), low);
            _mm256_storeu_ps(result.add(row * stride + COLUMNS / 2), high);
        }
    }
}

/// # Safety
/// 16 values must be there to read.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn halves(values: *const f32) -> [__m256; 2] {
    // SAFETY: by the caller.
    unsafe { [_mm256_loadu_ps(values), _mm256_loadu_ps(values.add(COLUMNS / 2))] }
}
