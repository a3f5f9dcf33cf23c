//! Both gradients of a convolution from one pass over its output's gradient, which need not exist as
//! a tensor: whoever calls writes it band by band.

use super::super::geometry::Geometry;
use super::super::kernel::{COLUMNS, Left, multiply};
use super::axis::Axis;
use super::filters::{Over, Panels, gather_filter};
use super::images::{Band, Places, gather_inputs, spread_inputs, spread_outputs};
use super::{Bands, class_of, fit, times_panels};
use crate::ops::element::Element;
use rayon::prelude::*;
use std::ops::Range;

/// Values at points that are held at once: 64 MiB in f32.
const VALUES: usize = 16 << 20;

/// What is computed of an output's gradient.
pub(in crate::ops) struct Gradients<T> {
    /// Empty if not wanted.
    pub(in crate::ops) x: Vec<T>,
    /// Empty if not wanted.
    pub(in crate::ops) w: Vec<T>,
    /// What `write` gave for each band, in order.
    pub(in crate::ops) notes: Vec<Vec<T>>,
}

/// The gradients of `x` for filters `w`, if given, and of the filters. `write` is called for each image
/// and range of its output's rows with room for their gradient, and may return a note.
pub(super) fn gradients<T: Element, A: Axis>(
    g: &Geometry,
    x: &[T],
    w: Option<&[T]>,
    wants_filters: bool,
    write: impl Fn(usize, Range<usize>, &mut [T]) -> Vec<T> + Sync,
) -> Gradients<T> {
    let panels = w.map(|w| Panels::new::<A>(g, Over::Filters, w));
    let mut dx = vec![T::ZERO; if panels.is_some() { x.len() } else { 0 }];
    let (points, padded) = (A::POINTS * A::POINTS, g.channels.next_multiple_of(COLUMNS));
    let mut sums = vec![T::ZERO; if wants_filters { points * g.filters * padded } else { 0 }];
    let mut notes = Vec::new();

    let bands: Vec<Band> = Bands::new(g).of(g, 1).collect();
    let room = |band: Band| (input_places(g, band), output_places(g, band));
    let (of_inputs, of_outputs) = room(bands[0]);
    let of_inputs = if wants_filters { of_inputs.len(points) } else { 0 };
    let of_outputs = of_outputs.len(A::CLASSES * A::CLASSES);
    let group = (VALUES / (bands.len() * (of_inputs + of_outputs))).clamp(1, g.batch);
    let mut factors = vec![T::ZERO; group * bands.len() * (of_inputs + of_outputs)];
    for first in (0..g.batch).step_by(group) {
        let images = first..g.batch.min(first + group);
        let factors = &mut factors[..images.len() * bands.len() * (of_inputs + of_outputs)];
        let of_bands = factors.par_chunks_mut(of_inputs + of_outputs).enumerate();
        notes.par_extend(of_bands.map_init(Vec::new, |dy: &mut Vec<T>, (nth, factors)| {
            let (image, band) = (first + nth / bands.len(), bands[nth % bands.len()]);
            let (inputs, outputs) = factors.split_at_mut(of_inputs);
            let output_rows = band.output_rows(g);
            let dy = fit(dy, output_rows.len() * g.out_width * g.filters);
            let note = write(image, output_rows, dy);
            let (input_places, output_places) = room(band);
            spread_outputs::<T, A>(g, band, dy, output_places, outputs);
            if wants_filters {
                let x = &x[image * g.image_len()..][..g.image_len()];
                spread_inputs::<T, A>(g, band, x, input_places, inputs);
            }
            note
        }));
        let factors = &*factors;
        if let Some(panels) = &panels {
            let dx = &mut dx[images.start * g.image_len()..images.end * g.image_len()];
            let images =
                dx.par_chunks_mut(g.image_len()).zip(factors.par_chunks(bands.len() * (of_inputs + of_outputs)));
            images.for_each_init(Vec::new, |m: &mut Vec<T>, (dx, factors)| {
                // Tiles of neighbouring bands overlap, so one task adds them in order.
                for (&band, factors) in bands.iter().zip(factors.chunks(of_inputs + of_outputs)) {
                    input_gradient::<T, A>(g, band, &factors[of_inputs..], panels, m, dx);
                }
            });
        }
        sums.par_chunks_mut(g.filters * padded).enumerate().for_each(|(point, sums)| {
            for (nth, factors) in factors.chunks(of_inputs + of_outputs).enumerate() {
                let (inputs, outputs) = factors.split_at(of_inputs);
                let (input_places, output_places) = room(bands[nth % bands.len()]);
                let outputs = &outputs[class_of::<A>(point) * output_places.point()..][..output_places.point()];
                let inputs = &inputs[point * input_places.point()..][..input_places.point()];
                for (panel, inputs) in inputs.chunks_exact(input_places.panel()).enumerate() {
                    let left = Left { values: outputs, rows: g.filters, row_stride: 1, term_stride: g.filters };
                    multiply(&mut sums[panel * COLUMNS..], padded, left, inputs, first + nth > 0);
                }
            }
        });
    }
    let mut dw = vec![T::ZERO; if wants_filters { g.filters * g.window() } else { 0 }];
    dw.par_chunks_mut(g.window()).enumerate().for_each(|(filter, w)| gather_filter::<T, A>(g, filter, &sums, w));
    Gradients { x: dx, w: dw, notes }
}

/// Adds a band's share of the images' gradient, from the factors of the output's gradient.
pub(super) fn input_gradient<T: Element, A: Axis>(
    g: &Geometry,
    band: Band,
    outputs: &[T],
    panels: &Panels<T>,
    m: &mut Vec<T>,
    dx: &mut [T],
) {
    let (tiles, points, of_outputs) = (band.tiles(g), A::POINTS * A::POINTS, output_places(g, band));
    for part in panels.parts(points * tiles) {
        let sums = Places::part(tiles, &part, g.channels);
        let m = fit(m, sums.len(points));
        for (point, m) in m.chunks_exact_mut(sums.point()).enumerate() {
            let outputs = &outputs[class_of::<A>(point) * of_outputs.point()..][..of_outputs.point()];
            times_panels(m, outputs, tiles, panels, point, part.clone(), false);
        }
        gather_inputs::<T, A>(g, band, m, sums, dx);
    }
}

fn input_places(g: &Geometry, band: Band) -> Places {
    Places::panels(band.tiles(g), g.channels)
}

/// Rows, which both products read: one along them, one across.
pub(super) fn output_places(g: &Geometry, band: Band) -> Places {
    Places::rows(band.tiles(g), g.filters)
}
