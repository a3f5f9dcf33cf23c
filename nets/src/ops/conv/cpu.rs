//! The three kinds on the CPU: windows unrolled into a matrix, then matrix products.
//!
//! How the work is cut depends on the geometry alone, never on the number of threads, and partial
//! sums are added in a fixed order: the result has the same bits on one core and on sixty-four.
//!
//! Where [`tiles`] suit, their algorithm takes fewer multiplications; here is what remains, in two
//! regimes. Where a batch unrolls into a small matrix (deep layers: few positions, many channels) it
//! is unrolled once and the product is cut into blocks of rows and columns. Where it would not fit
//! the caches (shallow layers: many positions) each task unrolls a strip of rows of one image into a
//! buffer that stays in its core's cache.

use super::super::element::{Element, Precision};
use super::geometry::{Geometry, Kind};
use super::product::{multiply, product};
use super::tiles;
use multiversion::multiversion;
use rayon::prelude::*;

/// Largest matrix, in values, that is unrolled for the whole batch at once.
const WHOLE_BATCH_VALUES: usize = 4 << 20;
/// Values of a strip's unrolled matrix: 1 MiB in f32, half of a usual second-level cache.
const STRIP_VALUES: usize = 256 << 10;
/// Partial filter gradients that are summed in order.
const PARTIAL_SUMS: usize = 8;

/// Computes a kind; the lengths of `a` and `b` are those of the geometry, and both have that precision.
pub(super) fn convolve<T: Element>(kind: Kind, g: &Geometry, precision: Precision, a: &[T], b: &[T]) -> Vec<T> {
    if tiles::suit(g) {
        return tiles::convolve(kind, g, a, b);
    }
    match kind {
        Kind::Forward => forward(g, precision, a, b),
        Kind::DataGradient => data_gradient(g, precision, a, b),
        Kind::FilterGradient => filter_gradient(g, precision, a, b),
    }
}

fn unrolls_at_once(g: &Geometry) -> bool {
    g.is_pointwise() || g.batch * g.positions() * g.window() <= WHOLE_BATCH_VALUES
}

/// Output rows of one strip.
pub(in crate::ops) fn strip_rows(g: &Geometry) -> usize {
    (STRIP_VALUES / (g.out_width * g.window())).clamp(1, g.out_height)
}

fn forward<T: Element>(g: &Geometry, precision: Precision, x: &[T], w: &[T]) -> Vec<T> {
    let mut y = vec![T::ZERO; g.batch * g.output_len()];
    let filters = precision.matrix(w, g.window()).transposed();
    if unrolls_at_once(g) {
        let columns = unroll_batch(g, x);
        multiply(&mut y, g.filters, precision.matrix(&columns, g.window()), filters);
        return y;
    }
    let rows = strip_rows(g);
    y.par_chunks_mut(g.output_len()).zip(x.par_chunks(g.image_len())).for_each(|(y, x)| {
        let strips = y.par_chunks_mut(rows * g.out_width * g.filters).enumerate();
        strips.for_each_init(Vec::new, |columns, (strip, y)| {
            let positions = y.len() / g.filters;
            columns.resize(positions * g.window(), T::ZERO);
            unroll(g, x, strip * rows, columns);
            product(y, g.filters, precision.matrix(columns, g.window()), filters, false);
        });
    });
    y
}

fn data_gradient<T: Element>(g: &Geometry, precision: Precision, y: &[T], w: &[T]) -> Vec<T> {
    let filters = precision.matrix(w, g.window());
    let mut x = vec![T::ZERO; g.batch * g.image_len()];
    if g.is_pointwise() {
        multiply(&mut x, g.channels, precision.matrix(y, g.filters), filters);
        return x;
    }
    let images = x.par_chunks_mut(g.image_len());
    if unrolls_at_once(g) {
        let mut columns = vec![T::ZERO; g.batch * g.positions() * g.window()];
        multiply(&mut columns, g.window(), precision.matrix(y, g.filters), filters);
        images.zip(columns.par_chunks(g.positions() * g.window())).for_each(|(x, columns)| roll(g, columns, 0, x));
        return x;
    }
    images
        .zip(y.par_chunks(g.output_len()))
        .for_each_init(Vec::new, |columns, (x, y)| data_gradient_of_image(g, precision, y, w, columns, x));
    x
}

/// Adds the data gradient of one image to it, on this thread; `columns` is a buffer.
pub(in crate::ops) fn data_gradient_of_image<T: Element>(
    g: &Geometry,
    precision: Precision,
    y: &[T],
    w: &[T],
    columns: &mut Vec<T>,
    x: &mut [T],
) {
    // Windows of neighbouring strips overlap, so one task adds the strips of an image in order.
    let rows = strip_rows(g);
    for (strip, y) in y.chunks(rows * g.out_width * g.filters).enumerate() {
        let positions = y.len() / g.filters;
        columns.resize(positions * g.window(), T::ZERO);
        product(columns, g.window(), precision.matrix(y, g.filters), precision.matrix(w, g.window()), false);
        roll(g, columns, strip * rows, x);
    }
}

fn filter_gradient<T: Element>(g: &Geometry, precision: Precision, x: &[T], y: &[T]) -> Vec<T> {
    let mut w = vec![T::ZERO; g.filters * g.window()];
    if unrolls_at_once(g) && w.len() > g.batch * g.positions() {
        // Deep layers: the filters are the large side, and every filter is one task's own.
        let columns = unroll_batch(g, x);
        multiply(
            &mut w,
            g.window(),
            precision.matrix(y, g.filters).transposed(),
            precision.matrix(&columns, g.window()),
        );
        return w;
    }
    // Shallow layers: the sum over positions is the large side, cut into a fixed number of parts.
    let rows = strip_rows(g);
    let strips_per_image = g.out_height.div_ceil(rows);
    let strips = g.batch * strips_per_image;
    let share = strips.div_ceil(PARTIAL_SUMS);
    let parts: Vec<Vec<T>> = (0..strips.div_ceil(share))
        .into_par_iter()
        .map(|part| {
            let mut w = vec![T::ZERO; g.filters * g.window()];
            let mut columns = Vec::new();
            for (nth, strip) in (part * share..strips.min((part + 1) * share)).enumerate() {
                let (image, first_row) = (strip / strips_per_image, strip % strips_per_image * rows);
                let positions = rows.min(g.out_height - first_row) * g.out_width;
                columns.resize(positions * g.window(), T::ZERO);
                unroll(g, &x[image * g.image_len()..][..g.image_len()], first_row, &mut columns);
                let y = &y[image * g.output_len() + first_row * g.out_width * g.filters..][..positions * g.filters];
                let (y, columns) =
                    (precision.matrix(y, g.filters).transposed(), precision.matrix(&columns, g.window()));
                product(&mut w, g.window(), y, columns, nth > 0);
            }
            w
        })
        .collect();
    for part in parts {
        add(&mut w, &part);
    }
    w
}

/// The unrolled windows of a whole batch, borrowed where they are the images themselves.
fn unroll_batch<'a, T: Element>(g: &Geometry, x: &'a [T]) -> std::borrow::Cow<'a, [T]> {
    if g.is_pointwise() {
        return x.into();
    }
    let mut columns = vec![T::ZERO; g.batch * g.positions() * g.window()];
    let images = x.par_chunks(g.image_len());
    columns.par_chunks_mut(g.positions() * g.window()).zip(images).for_each(|(columns, x)| unroll(g, x, 0, columns));
    columns.into()
}

/// Copies the windows of output rows from `first_row` on into the rows of `columns`.
#[multiversion(targets = "simd")]
pub(in crate::ops) fn unroll<T: Element>(g: &Geometry, x: &[T], first_row: usize, columns: &mut [T]) {
    let tap_row = g.size * g.channels;
    for (position, window) in columns.chunks_exact_mut(g.window()).enumerate() {
        let (out_y, out_x) = (first_row + position / g.out_width, position % g.out_width);
        for (tap_y, taps) in window.chunks_exact_mut(tap_row).enumerate() {
            let y = (out_y * g.stride + tap_y).wrapping_sub(g.padding);
            if y >= g.height {
                taps.fill(T::ZERO);
                continue;
            }
            let row = &x[y * g.width * g.channels..][..g.width * g.channels];
            let left = out_x * g.stride;
            if left >= g.padding && left - g.padding + g.size <= g.width {
                // The usual case: the window's row lies inside the image, in one piece.
                taps.copy_from_slice(&row[(left - g.padding) * g.channels..][..tap_row]);
                continue;
            }
            for (tap_x, values) in taps.chunks_exact_mut(g.channels).enumerate() {
                match (left + tap_x).checked_sub(g.padding) {
                    Some(x) if x < g.width => values.copy_from_slice(&row[x * g.channels..][..g.channels]),
                    _ => values.fill(T::ZERO),
                }
            }
        }
    }
}

/// Adds windows back to where they came from: the adjoint of [`unroll`].
#[multiversion(targets = "simd")]
pub(in crate::ops) fn roll<T: Element>(g: &Geometry, columns: &[T], first_row: usize, x: &mut [T]) {
    let tap_row = g.size * g.channels;
    for (position, window) in columns.chunks_exact(g.window()).enumerate() {
        let (out_y, out_x) = (first_row + position / g.out_width, position % g.out_width);
        for (tap_y, taps) in window.chunks_exact(tap_row).enumerate() {
            let y = (out_y * g.stride + tap_y).wrapping_sub(g.padding);
            if y >= g.height {
                continue;
            }
            let row = &mut x[y * g.width * g.channels..][..g.width * g.channels];
            let left = out_x * g.stride;
            if left >= g.padding && left - g.padding + g.size <= g.width {
                add(&mut row[(left - g.padding) * g.channels..][..tap_row], taps);
                continue;
            }
            for (tap_x, values) in taps.chunks_exact(g.channels).enumerate() {
                if let Some(x) = (left + tap_x).checked_sub(g.padding).filter(|&x| x < g.width) {
                    add(&mut row[x * g.channels..][..g.channels], values);
                }
            }
        }
    }
}

#[inline(always)]
fn add<T: Element>(sums: &mut [T], values: &[T]) {
    sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value);
}
