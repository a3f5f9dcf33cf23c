//! The dot product of bf16: two terms of a panel's sixteen columns in one instruction, so half as many as in f32.

use super::{COLUMNS, Left, Pair};
use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_storeu_ps,
};
use std::mem::transmute;

/// As in f32.
pub(super) const ROWS: usize = 12;

/// Whether this processor has it.
pub(super) fn there() -> bool {
    std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512bf16")
}

/// The first `left.rows` rows, at most [`ROWS`].
///
/// # Safety
/// The processor must have AVX512_BF16; `left` must have as many pairs as the panel, and `result` 16 columns in each
/// of its rows.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn rows(result: &mut [f32], stride: usize, left: Left<Pair>, panel: &[Pair], accumulate: bool) {
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
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn block<const R: usize>(result: &mut [f32], stride: usize, left: Left<Pair>, panel: &[Pair], accumulate: bool) {
    let result = result.as_mut_ptr();
    let mut sums = [_mm512_setzero_ps(); R];
    // SAFETY: by the caller, all rows of the result and all pairs of the factors are there; any bits are a `__m512bh`.
    unsafe {
        if accumulate {
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(result.add(row * stride));
            }
        }
        let (factors, mut columns) = (left.values.as_ptr(), panel.as_ptr());
        for pair in 0..panel.len() / COLUMNS {
            let vector = transmute::<__m512i, __m512bh>(_mm512_loadu_si512(columns.cast()));
            for (row, sum) in sums.iter_mut().enumerate() {
                let Pair(factor) = *factors.add(row * left.row_stride + pair * left.term_stride);
                let factor = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(factor as i32));
                *sum = _mm512_dpbf16_ps(*sum, factor, vector);
            }
            columns = columns.add(COLUMNS);
        }
        for (row, sum) in sums.into_iter().enumerate() {
            _mm512_storeu_ps(result.add(row * stride), sum);
        }
    }
}
