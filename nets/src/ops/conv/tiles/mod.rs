//! Convolutions of 3x3 at stride 1 and 4x4 at stride 2 by fewer multiplications: images in tiles of
//! 2x2 outputs, each a short bilinear algorithm along both axes ([`axis`]).
//!
//! A tile's inputs and the filters are first mapped to their factors at a few points; at every
//! point the products over channels are a matrix product; the sums are mapped to outputs. Of 36
//! multiplications (3x3), or 64 (4x4, four phases of 2x2 each), 16 and 36 remain: 4/9 and 9/16. It
//! is the same function, with other roundings; all factors in the maps are 1 or 1/2, so they stay as
//! small as those of the plain sums. As the form is bilinear, the two gradients have the same
//! algorithm with its maps exchanged for their adjoints.
//!
//! Work is cut into bands of tiles by the geometry alone, and every sum is taken in a fixed order.

mod axis;
mod filters;
mod gradients;
mod images;
mod lanes;
mod panels;

use super::geometry::{Geometry, Kind};
use super::kernel::{self, COLUMNS, Left, multiply};
use crate::ops::element::Element;
use axis::{Axis, FourByTwo, OUTPUTS, Three};
use filters::{Over, Panels};
pub(in crate::ops) use gradients::Gradients;
use gradients::{gradients, input_gradient, output_places};
use images::{Band, Places, across, down, gather_outputs, spread_inputs, spread_outputs};
use rayon::prelude::*;
use std::ops::Range;

/// Outputs of a batch from which on the filters' map, of which it takes no part, is worth its time.
const POSITIONS: usize = 64;
/// Channels and filters from which on the maps cost less than the multiplications that they save.
const CHANNELS: usize = 8;
/// Tiles of a band: enough that the filters' factors, which are read once a band, are not waited for, and
/// few enough for the cache.
const TILES: usize = 64;
/// Values of the sums that are gathered at once: 128 KiB in f32.
const SUMS: usize = 32 << 10;

/// Whether tiles are the faster way.
pub(in crate::ops) fn suit(g: &Geometry) -> bool {
    matches!((g.size, g.stride), (3, 1) | (4, 2))
        && g.batch * g.positions() >= POSITIONS
        && g.channels.min(g.filters) >= CHANNELS
        && kernel::is_fast()
}

/// A kind over a geometry that suits.
pub(super) fn convolve<T: Element>(kind: Kind, g: &Geometry, a: &[T], b: &[T]) -> Vec<T> {
    match g.stride {
        1 => by_axis::<T, Three>(kind, g, a, b),
        _ => by_axis::<T, FourByTwo>(kind, g, a, b),
    }
}

fn by_axis<T: Element, A: Axis>(kind: Kind, g: &Geometry, a: &[T], b: &[T]) -> Vec<T> {
    match kind {
        Kind::Forward if panels::suit::<A>(g) => panels::convolve::<T, A>(g, Over::Channels, a, b),
        Kind::DataGradient if panels::suit::<A>(g) => panels::convolve::<T, A>(g, Over::Filters, a, b),
        Kind::Forward => forward::<T, A>(g, a, b),
        Kind::DataGradient => data_gradient::<T, A>(g, a, b),
        Kind::FilterGradient => filter_gradient::<T, A>(g, a, b),
    }
}

/// How a batch is cut: so many images a group, each in bands of so many rows of tiles.
struct Bands {
    images: usize,
    rows: usize,
}

impl Bands {
    fn new(g: &Geometry) -> Self {
        let images = (TILES / (down(g) * across(g))).clamp(1, g.batch);
        let rows = (TILES / across(g)).clamp(1, down(g));
        Self { images, rows }
    }

    /// The bands of a group of so many images, top to bottom.
    fn of(&self, g: &Geometry, images: usize) -> impl Iterator<Item = Band> {
        let (rows, down) = (self.rows, down(g));
        (0..down).step_by(rows).map(move |first_row| Band { images, first_row, rows: rows.min(down - first_row) })
    }
}

fn forward<T: Element, A: Axis>(g: &Geometry, x: &[T], w: &[T]) -> Vec<T> {
    let panels = Panels::new::<A>(g, Over::Channels, w);
    let mut y = vec![T::ZERO; g.batch * g.output_len()];
    let bands = Bands::new(g);
    let groups = y.par_chunks_mut(bands.images * g.output_len()).zip(x.par_chunks(bands.images * g.image_len()));
    groups.for_each(|(y, x)| {
        let images = x.len() / g.image_len();
        let strips = y.par_chunks_mut(images * OUTPUTS * bands.rows * g.out_width * g.filters).enumerate();
        strips.for_each_init(Buffers::default, |buffers, (nth, y)| {
            let first_row = nth * bands.rows;
            let band = Band { images, first_row, rows: bands.rows.min(down(g) - first_row) };
            forward_band::<T, A>(g, band, x, &panels, buffers, y);
        });
    });
    y
}

/// The output's rows of a band.
fn forward_band<T: Element, A: Axis>(
    g: &Geometry,
    band: Band,
    x: &[T],
    panels: &Panels<T>,
    buffers: &mut Buffers<T>,
    y: &mut [T],
) {
    let (tiles, classes) = (band.tiles(g), A::CLASSES * A::CLASSES);
    let inputs = Places::rows(tiles, g.channels);
    let v = fit(&mut buffers.v, inputs.len(A::POINTS * A::POINTS));
    spread_inputs::<T, A>(g, band, x, inputs, v);
    for part in panels.parts(classes * tiles) {
        let sums = Places::part(tiles, &part, g.filters);
        let m = fit(&mut buffers.m, sums.len(classes));
        // Class by class: the sums of one stay in the first-level cache.
        for (class, m) in m.chunks_exact_mut(sums.point()).enumerate() {
            for point in (0..A::POINTS * A::POINTS).filter(|&point| class_of::<A>(point) == class) {
                let v = &v[point * inputs.point()..][..inputs.point()];
                times_panels(m, v, tiles, panels, point, part.clone(), !is_first_of_class::<A>(point));
            }
        }
        gather_outputs::<T, A>(g, band, m, sums, y);
    }
}

fn data_gradient<T: Element, A: Axis>(g: &Geometry, y: &[T], w: &[T]) -> Vec<T> {
    let panels = Panels::new::<A>(g, Over::Filters, w);
    let mut x = vec![T::ZERO; g.batch * g.image_len()];
    let bands = Bands::new(g);
    let groups = x.par_chunks_mut(bands.images * g.image_len()).zip(y.par_chunks(bands.images * g.output_len()));
    groups.for_each_init(Buffers::default, |Buffers { v, m }, (x, y)| {
        let images = x.len() / g.image_len();
        for band in bands.of(g, images) {
            let places = output_places(g, band);
            let v = fit(v, places.len(A::CLASSES * A::CLASSES));
            let first = band.output_rows(g).start * g.out_width * g.filters;
            let len = images * band.output_rows(g).len() * g.out_width * g.filters;
            spread_outputs::<T, A>(g, band, &y[first..][..len], places, v);
            input_gradient::<T, A>(g, band, v, &panels, m, x);
        }
    });
    x
}

fn filter_gradient<T: Element, A: Axis>(g: &Geometry, x: &[T], y: &[T]) -> Vec<T> {
    let row = g.out_width * g.filters;
    let copy = |image: usize, rows: Range<usize>, dy: &mut [T]| {
        dy.copy_from_slice(&y[(image * g.out_height + rows.start) * row..(image * g.out_height + rows.end) * row]);
        Vec::new()
    };
    gradients::<T, A>(g, x, None, true, copy).w
}

/// A 3x3 convolution whose output is taken strip by strip.
pub(in crate::ops) struct Strips<'a, T> {
    g: &'a Geometry,
    panels: Panels<T>,
}

impl<'a, T: Element> Strips<'a, T> {
    pub(in crate::ops) fn new(g: &'a Geometry, w: &[T]) -> Self {
        assert!((g.size, g.stride) == (3, 1), "strips of another convolution than 3x3: this is a bug");
        Self { g, panels: Panels::new::<Three>(g, Over::Channels, w) }
    }

    /// The rows of one image's output from `first_row`, a multiple of [`strip_rows`], on.
    pub(in crate::ops) fn strip(&self, x: &[T], first_row: usize, buffers: &mut Buffers<T>, y: &mut [T]) {
        let rows = (y.len() / (self.g.out_width * self.g.filters)).div_ceil(OUTPUTS);
        let band = Band { images: 1, first_row: first_row / OUTPUTS, rows };
        forward_band::<T, Three>(self.g, band, x, &self.panels, buffers, y);
    }
}

/// Output rows of a strip.
pub(in crate::ops) fn strip_rows(g: &Geometry) -> usize {
    OUTPUTS * Bands::new(g).rows
}

/// [`gradients`] of a 3x3 convolution.
pub(in crate::ops) fn gradients_of_three<T: Element>(
    g: &Geometry,
    x: &[T],
    w: Option<&[T]>,
    wants_filters: bool,
    write: impl Fn(usize, Range<usize>, &mut [T]) -> Vec<T> + Sync,
) -> Gradients<T> {
    gradients::<T, Three>(g, x, w, wants_filters, write)
}

/// `m (tiles, columns of a part)`, set or increased by the product of `v (tiles, terms)` with a part of the
/// panels of a point.
fn times_panels<T: Element>(
    m: &mut [T],
    v: &[T],
    tiles: usize,
    panels: &Panels<T>,
    point: usize,
    part: Range<usize>,
    accumulate: bool,
) {
    let (columns, terms) = (part.len() * COLUMNS, v.len() / tiles);
    for (nth, panel) in part.enumerate() {
        let left = Left { values: v, rows: tiles, row_stride: terms, term_stride: 1 };
        multiply(&mut m[nth * COLUMNS..], columns, left, panels.at(point, panel), accumulate);
    }
}

/// The class of a point of both axes.
fn class_of<A: Axis>(point: usize) -> usize {
    let (row, column) = (point / A::POINTS, point % A::POINTS);
    row % A::CLASSES * A::CLASSES + column % A::CLASSES
}

/// Whether no point before is of its class.
fn is_first_of_class<A: Axis>(point: usize) -> bool {
    point / A::POINTS < A::CLASSES && point % A::POINTS < A::CLASSES
}

/// Scratch memory of one task.
pub(in crate::ops) struct Buffers<T> {
    v: Vec<T>,
    m: Vec<T>,
}

impl<T> Default for Buffers<T> {
    fn default() -> Self {
        Self { v: Vec::new(), m: Vec::new() }
    }
}

/// The first `len` values of a buffer that grows as needed and keeps what was in it.
pub(in crate::ops) fn fit<T: Element>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
    &mut buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;
    use crate::gradient_check::random;
    use proptest::prelude::*;

    /// Geometries of both axes: odd extents, every padding that fits, channels that fill no vector.
    fn geometries() -> impl Strategy<Value = Geometry> {
        (prop::bool::ANY, 1..4usize, 3..26usize, 3..26usize, 0..3usize, 1..20usize, 1..36usize).prop_map(
            |(three, batch, height, width, padding, channels, filters)| {
                let (size, stride) = if three { (3, 1) } else { (4, 2) };
                let (height, width) = (height.max(size), width.max(size));
                let out = |extent: usize| (extent + 2 * padding - size) / stride + 1;
                let (out_height, out_width) = (out(height), out(width));
                Geometry { batch, height, width, channels, filters, out_height, out_width, size, stride, padding }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn every_kind_equals_its_slow_reference_on_any_geometry(g in geometries(), seed in 0..1000u64) {
            let values = |dims: [usize; 4], seed| -> Vec<f64> {
                random(&dims, seed).and_then(|t| t.flatten_all()?.to_vec1()).expect("values on the CPU")
            };
            let dims = |kind| g.result_dims(kind);
            let (x, w, y) = (
                values(dims(Kind::DataGradient), seed),
                values(dims(Kind::FilterGradient), seed + 1),
                values(dims(Kind::Forward), seed + 2),
            );
            for (kind, a, b) in [(Kind::Forward, &x, &w), (Kind::DataGradient, &y, &w), (Kind::FilterGradient, &x, &y)] {
                let slow = reference::convolve(kind, &g, a, b);
                let largest = slow.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
                let worst = |fast: &[f64]| fast.iter().zip(&slow).map(|(f, s)| (f - s).abs()).fold(0.0, f64::max);
                let found = worst(&convolve(kind, &g, a, b));
                prop_assert!(found < 1e-13 * largest, "{kind:?}: {found}");
                let in_panels = match (kind, g.stride) {
                    (Kind::FilterGradient, _) => None,
                    (Kind::Forward, 1) => Some(panels::convolve::<f64, Three>(&g, Over::Channels, a, b)),
                    (Kind::Forward, _) => Some(panels::convolve::<f64, FourByTwo>(&g, Over::Channels, a, b)),
                    (Kind::DataGradient, 1) => Some(panels::convolve::<f64, Three>(&g, Over::Filters, a, b)),
                    (Kind::DataGradient, _) => Some(panels::convolve::<f64, FourByTwo>(&g, Over::Filters, a, b)),
                };
                prop_assert!(in_panels.is_none_or(|found| found == convolve(kind, &g, a, b)), "{kind:?} in panels");
                let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
                let fast = convolve(kind, &g, &single(a), &single(b)).into_iter().map(f64::from).collect::<Vec<_>>();
                let found = worst(&fast);
                prop_assert!(found < 1e-5 * largest, "{kind:?} in f32: {found}");
            }
        }
    }
}
