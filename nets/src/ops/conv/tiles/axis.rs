//! The short convolutions of one axis: two outputs, by fewer multiplications than taps times outputs.
//!
//! An [`Axis`] names three linear maps into a few *points*, such that the sum over outputs `o` and
//! taps `t` of `y[o] w[t] x[stride o + t]` is the sum over points of `outputs(y) taps(w) inputs(x)`.
//! Any one of the three is then had from the other two through the adjoint of its own map.

use super::lanes::Lanes;
use crate::ops::element::Element;

/// As many as any axis has of anything; what an axis does not use is zero.
pub(super) const MOST: usize = 6;

/// Values along one axis.
pub(super) type Line<T, const N: usize> = [Lanes<T, N>; MOST];

/// Outputs of a tile along an axis.
pub(super) const OUTPUTS: usize = 2;

/// A bilinear algorithm for two outputs.
pub(super) trait Axis {
    const STRIDE: usize;
    const TAPS: usize;
    /// Inputs that two outputs see.
    const INPUTS: usize = Self::STRIDE + Self::TAPS;
    /// Multiplications.
    const POINTS: usize;
    /// Points differ in their outputs' factor only up to here: point `p` shares that of `p % CLASSES`.
    const CLASSES: usize;

    fn inputs<T: Element, const N: usize>(x: Line<T, N>) -> Line<T, N>;
    fn inputs_adjoint<T: Element, const N: usize>(m: Line<T, N>) -> Line<T, N>;
    fn taps<T: Element, const N: usize>(w: Line<T, N>) -> Line<T, N>;
    fn taps_adjoint<T: Element, const N: usize>(m: Line<T, N>) -> Line<T, N>;
    fn outputs<T: Element, const N: usize>(y: Line<T, N>) -> Line<T, N>;
    fn outputs_adjoint<T: Element, const N: usize>(m: Line<T, N>) -> Line<T, N>;
}

/// Three taps at stride 1: four multiplications in place of six (Winograd's F(2,3)).
pub(super) struct Three;

impl Axis for Three {
    const STRIDE: usize = 1;
    const TAPS: usize = 3;
    const POINTS: usize = 4;
    const CLASSES: usize = 4;

    #[inline(always)]
    fn inputs<T: Element, const N: usize>([a, b, c, d, ..]: Line<T, N>) -> Line<T, N> {
        line([a - c, b + c, c - b, b - d])
    }

    #[inline(always)]
    fn inputs_adjoint<T: Element, const N: usize>([a, b, c, d, ..]: Line<T, N>) -> Line<T, N> {
        line([a, b - c + d, b + c - a, Lanes::ZERO - d])
    }

    #[inline(always)]
    fn taps<T: Element, const N: usize>([a, b, c, ..]: Line<T, N>) -> Line<T, N> {
        let (ends, middle) = ((a + c).half(), b.half());
        line([a, ends + middle, ends - middle, c])
    }

    #[inline(always)]
    fn taps_adjoint<T: Element, const N: usize>([a, b, c, d, ..]: Line<T, N>) -> Line<T, N> {
        let ends = (b + c).half();
        line([a + ends, (b - c).half(), ends + d])
    }

    #[inline(always)]
    fn outputs<T: Element, const N: usize>([a, b, ..]: Line<T, N>) -> Line<T, N> {
        line([a, a + b, a - b, Lanes::ZERO - b])
    }

    #[inline(always)]
    fn outputs_adjoint<T: Element, const N: usize>([a, b, c, d, ..]: Line<T, N>) -> Line<T, N> {
        line([a + (b + c), b - c - d])
    }
}

/// Four taps at stride 2: even and odd taps each see every other input, two taps at stride 1, by
/// three multiplications in place of four.
pub(super) struct FourByTwo;

impl Axis for FourByTwo {
    const STRIDE: usize = 2;
    const TAPS: usize = 4;
    const POINTS: usize = 6;
    const CLASSES: usize = 3;

    #[inline(always)]
    fn inputs<T: Element, const N: usize>([a, b, c, d, e, f]: Line<T, N>) -> Line<T, N> {
        [a - c, c, c - e, b - d, d, d - f]
    }

    #[inline(always)]
    fn inputs_adjoint<T: Element, const N: usize>([a, b, c, d, e, f]: Line<T, N>) -> Line<T, N> {
        [a, d, b - a + c, e - d + f, Lanes::ZERO - c, Lanes::ZERO - f]
    }

    #[inline(always)]
    fn taps<T: Element, const N: usize>([a, b, c, d, ..]: Line<T, N>) -> Line<T, N> {
        [a, a + c, c, b, b + d, d]
    }

    #[inline(always)]
    fn taps_adjoint<T: Element, const N: usize>([a, b, c, d, e, f]: Line<T, N>) -> Line<T, N> {
        line([a + b, d + e, b + c, e + f])
    }

    #[inline(always)]
    fn outputs<T: Element, const N: usize>([a, b, ..]: Line<T, N>) -> Line<T, N> {
        line([a, a + b, Lanes::ZERO - b])
    }

    #[inline(always)]
    fn outputs_adjoint<T: Element, const N: usize>([a, b, c, ..]: Line<T, N>) -> Line<T, N> {
        line([a + b, b - c])
    }
}

#[inline(always)]
fn line<T: Element, const N: usize, const M: usize>(values: [Lanes<T, N>; M]) -> Line<T, N> {
    let mut line = [Lanes::ZERO; MOST];
    line[..M].copy_from_slice(&values);
    line
}

/// Applies a map along both axes: `from` values in each direction to `to`.
#[inline(always)]
pub(super) fn along_both<T: Element, const N: usize>(
    map: impl Fn(Line<T, N>) -> Line<T, N>,
    (from, to): (usize, usize),
    plane: &mut [Line<T, N>; MOST],
) {
    for row in &mut plane[..from] {
        *row = map(*row);
    }
    // Loops, because a closure that isn't inlined is compiled without the vectors of who calls it.
    for column in 0..to {
        let mut values = [Lanes::ZERO; MOST];
        for (value, row) in values[..from].iter_mut().zip(plane.iter()) {
            *value = row[column];
        }
        for (row, value) in plane[..to].iter_mut().zip(map(values)) {
            row[column] = value;
        }
    }
}
