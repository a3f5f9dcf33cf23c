//! Deep layers, whose filters' factors would fill the caches many times over: each panel's are made,
//! used for the whole batch, and forgotten.

use super::super::geometry::Geometry;
use super::super::kernel::{COLUMNS, Left, multiply};
use super::axis::Axis;
use super::filters::{Over, spread_filters};
use super::images::{Band, Places, across, down, gather_inputs, gather_outputs, spread_inputs, spread_outputs};
use super::{Buffers, TILES, class_of, fit, is_first_of_class};
use crate::ops::element::Element;
use rayon::prelude::*;

/// Factors of all filters from which on this is the faster way: 8 MiB in f32.
const FACTORS: usize = 2 << 20;

pub(super) fn suit<A: Axis>(g: &Geometry) -> bool {
    A::POINTS * A::POINTS * g.channels * g.filters >= FACTORS
}

/// A convolution of images `a`, or its adjoint of outputs `a`.
pub(super) fn convolve<T: Element, A: Axis>(g: &Geometry, over: Over, a: &[T], w: &[T]) -> Vec<T> {
    let (points, classes) = (A::POINTS * A::POINTS, A::CLASSES * A::CLASSES);
    // The result's channels are those of one panel, until all are brought together.
    let (terms, columns, factors, sums, len, narrow) = match over {
        Over::Channels => (g.channels, g.filters, points, classes, g.image_len(), Geometry { filters: COLUMNS, ..*g }),
        Over::Filters => (g.filters, g.channels, classes, points, g.output_len(), Geometry { channels: COLUMNS, ..*g }),
    };
    let result_len = match over {
        Over::Channels => narrow.output_len(),
        Over::Filters => narrow.image_len(),
    };
    let images = (TILES / (down(g) * across(g))).clamp(1, g.batch);
    let band = |images: usize| Band { images, first_row: 0, rows: down(g) };

    let group = band(images).tiles(g) * terms * factors;
    let mut v = vec![T::ZERO; g.batch.div_ceil(images) * group];
    v.par_chunks_mut(group).zip(a.par_chunks(images * len)).for_each(|(v, a)| {
        let band = band(a.len() / len);
        let places = Places::rows(band.tiles(g), terms);
        match over {
            Over::Channels => spread_inputs::<T, A>(g, band, a, places, v),
            Over::Filters => spread_outputs::<T, A>(g, band, a, places, v),
        }
    });

    let mut parts = vec![T::ZERO; columns.div_ceil(COLUMNS) * g.batch * result_len];
    let panels = parts.par_chunks_mut(g.batch * result_len).enumerate();
    panels.for_each_init(Buffers::default, |buffers: &mut Buffers<T>, (nth, part)| {
        let panel = fit(&mut buffers.v, points * terms * COLUMNS);
        spread_filters::<T, A>(g, over, nth * COLUMNS, w, panel);
        for (v, part) in v.chunks(group).zip(part.chunks_mut(images * result_len)) {
            let band = band(part.len() / result_len);
            let (of_v, of_m) = (Places::rows(band.tiles(g), terms), Places::part(band.tiles(g), &(0..1), COLUMNS));
            let m = fit(&mut buffers.m, of_m.len(sums));
            for (point, panel) in panel.chunks_exact(terms * COLUMNS).enumerate() {
                let class = class_of::<A>(point);
                let (factor, sum, accumulate) = match over {
                    Over::Channels => (point, class, !is_first_of_class::<A>(point)),
                    Over::Filters => (class, point, false),
                };
                let values = &v[factor * of_v.point()..][..of_v.point()];
                let left = Left { values, rows: band.tiles(g), row_stride: terms, term_stride: 1 };
                multiply(&mut m[sum * of_m.point()..][..of_m.point()], COLUMNS, left, panel, accumulate);
            }
            match over {
                Over::Channels => gather_outputs::<T, A>(&narrow, band, m, of_m, part),
                Over::Filters => gather_inputs::<T, A>(&narrow, band, m, of_m, part),
            }
        }
    });
    bring_together(&parts, columns, g.batch * result_len)
}

/// `(panels, positions, 16)` to `(positions, columns)`.
fn bring_together<T: Element>(parts: &[T], columns: usize, part: usize) -> Vec<T> {
    let mut result = vec![T::ZERO; part / COLUMNS * columns];
    result.par_chunks_mut(columns * TILES).enumerate().for_each(|(nth, rows)| {
        for (row, values) in rows.chunks_exact_mut(columns).enumerate() {
            let position = (nth * TILES + row) * COLUMNS;
            for (values, part) in values.chunks_mut(COLUMNS).zip(parts.chunks_exact(part)) {
                values.copy_from_slice(&part[position..][..values.len()]);
            }
        }
    });
    result
}
