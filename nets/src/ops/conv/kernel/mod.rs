//! Matrix products out of registers: every value is one chain of fused multiply-adds over the terms
//! in order, wherever it lies and whatever lies beside it, so its bits depend on its row and column
//! alone. Nothing is packed here: who calls lays the right factor out in panels.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
mod pair;

use super::super::element::Element;
pub(super) use pair::Pair;
use std::sync::LazyLock;

/// Columns of a panel: two vectors of eight, or one of sixteen.
pub(super) const COLUMNS: usize = 16;

/// Products of such factors by a processor's vectors.
#[derive(Clone, Copy)]
struct Vectors<V> {
    /// Rows at once, at most.
    rows: usize,
    /// Whether the processor has what it needs.
    there: fn() -> bool,
    /// Of those rows.
    multiply: unsafe fn(&mut [f32], usize, Left<V>, &[V], bool),
}

/// The widest first.
#[cfg(target_arch = "x86_64")]
const KINDS: &[Vectors<f32>] = &[
    Vectors { rows: avx512::ROWS, there: avx512::there, multiply: avx512::rows },
    Vectors { rows: avx2::ROWS, there: avx2::there, multiply: avx2::rows },
];
#[cfg(not(target_arch = "x86_64"))]
const KINDS: &[Vectors<f32>] = &[];

/// Of pairs of bf16.
#[cfg(target_arch = "x86_64")]
const DOTS: &[Vectors<Pair>] =
    &[Vectors { rows: avx512_bf16::ROWS, there: avx512_bf16::there, multiply: avx512_bf16::rows }];
#[cfg(not(target_arch = "x86_64"))]
const DOTS: &[Vectors<Pair>] = &[];

/// What this processor has of these, the widest that gives, here, the bits of the definition.
static VECTORS: LazyLock<Option<Vectors<f32>>> = LazyLock::new(|| KINDS.iter().copied().find(|kind| kind.serves()));
static DOT: LazyLock<Option<Vectors<Pair>>> = LazyLock::new(|| DOTS.iter().copied().find(|kind| kind.serves()));

/// Whether products in f32 are fast here.
pub(super) fn is_fast() -> bool {
    VECTORS.is_some()
}

/// Whether this processor has dot products of bf16.
pub(super) fn has_dot() -> bool {
    DOT.is_some()
}

/// What a product multiplies and adds up: a number, or several at once.
trait Factor<Sum>: Copy {
    fn multiply_add(self, other: Self, sum: Sum) -> Sum;
    /// One of many different ones.
    fn example(nth: usize) -> Self;
}

impl<T: Element> Factor<T> for T {
    #[inline(always)]
    fn multiply_add(self, other: T, sum: T) -> T {
        Element::multiply_add(self, other, sum)
    }

    fn example(nth: usize) -> T {
        T::of((nth * 2654435761 % 1009) as f64 / 1009.0 - 0.5)
    }
}

impl<V: Factor<f32>> Vectors<V> {
    fn serves(&self) -> bool {
        (self.there)() && self.agrees()
    }

    /// Whether it computes what the definition does, for every number of rows.
    fn agrees(self) -> bool {
        (1..=self.rows).all(|rows| {
            let terms = 5;
            let values: Vec<V> = (0..rows * terms).map(V::example).collect();
            let panel: Vec<V> = (0..terms * COLUMNS).map(|nth| V::example(nth + 7)).collect();
            let left = Left { values: &values, rows, row_stride: terms, term_stride: 1 };
            [false, true].into_iter().all(|accumulate| {
                let mut fast: Vec<f32> = (0..rows * COLUMNS).map(f32::example).collect();
                let mut slow = fast.clone();
                // SAFETY: the processor was asked; all terms and rows are there.
                unsafe { (self.multiply)(&mut fast, COLUMNS, left, &panel, accumulate) };
                by_definition(&mut slow, COLUMNS, left, &panel, accumulate);
                fast == slow
            })
        })
    }

    /// All rows, so many at once as it takes.
    fn all_rows(self, result: &mut [f32], stride: usize, left: Left<V>, panel: &[V], accumulate: bool) {
        let mut first = 0;
        while first < left.rows {
            // Few rows at once have too few sums under way: the last ones are cut evenly.
            let rest = left.rows - first;
            let rows = if rest <= self.rows {
                rest
            } else if rest < 2 * self.rows - self.rows / 4 {
                rest.div_ceil(2)
            } else {
                self.rows
            };
            // SAFETY: this processor has what it takes; what `check` asserted holds for the last row and
            // term, so for all.
            unsafe {
                (self.multiply)(&mut result[first * stride..], stride, left.part(first, rows), panel, accumulate);
            }
            first += rows;
        }
    }
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
    check(result, stride, left, panel);
    if let (Some(values), Some(panel), Some(vectors)) = (T::as_f32(left.values), T::as_f32(panel), *VECTORS)
        && let Some(result) = T::as_f32_mut(result)
    {
        let left = Left { values, rows: left.rows, row_stride: left.row_stride, term_stride: left.term_stride };
        return vectors.all_rows(result, stride, left, panel, accumulate);
    }
    by_definition(result, stride, left, panel, accumulate);
}

/// As [`multiply`], of pairs of terms: the same bits as of their numbers in f32, each pair's second before its first.
pub(super) fn multiply_pairs(result: &mut [f32], stride: usize, left: Left<Pair>, panel: &[Pair], accumulate: bool) {
    check(result, stride, left, panel);
    match *DOT {
        Some(dot) => dot.all_rows(result, stride, left, panel, accumulate),
        None => by_definition(result, stride, left, panel, accumulate),
    }
}

fn check<S, V>(result: &[S], stride: usize, left: Left<V>, panel: &[V]) {
    let terms = panel.len() / COLUMNS;
    assert!(left.rows > 0 && terms > 0, "an empty product: this is a bug");
    let last = (left.rows - 1) * left.row_stride + (terms - 1) * left.term_stride;
    assert!(last < left.values.len(), "the left factor ends before its last row: this is a bug");
    assert!((left.rows - 1) * stride + COLUMNS <= result.len(), "a product has no room: this is a bug");
}

/// For other types and processors.
fn by_definition<S, V>(result: &mut [S], stride: usize, left: Left<V>, panel: &[V], accumulate: bool)
where
    S: Element,
    V: Factor<S>,
{
    for row in 0..left.rows {
        one_row(&mut result[row * stride..][..COLUMNS], left.part(row, 1), panel, accumulate);
    }
}

fn one_row<S, V>(result: &mut [S], left: Left<V>, panel: &[V], accumulate: bool)
where
    S: Element,
    V: Factor<S>,
{
    if !accumulate {
        result.fill(S::ZERO);
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
        // A kind that errs would be passed over in silence.
        assert!(KINDS.iter().filter(|kind| (kind.there)()).all(|kind| kind.agrees()));
        assert!(DOTS.iter().filter(|kind| (kind.there)()).all(|kind| kind.agrees()));
        let mut draws = Chance::new(1, "kernel").at(0, 0);
        for (rows, terms, stride) in [(1, 1, 16), (6, 7, 16), (13, 5, 40), (23, 3, 16), (11, 64, 32), (4, 3, 17)] {
            let mut random = |len: usize| (0..len).map(|_| draws.normal() as f32).collect::<Vec<_>>();
            let (values, panel, start) =
                (random(rows * terms), random(terms * COLUMNS), random(rows * stride + COLUMNS));
            for (row_stride, term_stride) in [(terms, 1), (1, rows)] {
                let left = Left { values: &values, rows, row_stride, term_stride };
                for accumulate in [false, true] {
                    let (mut fast, mut slow) = (start.clone(), start.clone());
                    multiply(&mut fast, stride, left, &panel, accumulate);
                    by_definition(&mut slow, stride, left, &panel, accumulate);
                    assert_eq!(fast, slow, "{rows} {terms} {stride} {accumulate}");
                }
            }
        }
    }
}
