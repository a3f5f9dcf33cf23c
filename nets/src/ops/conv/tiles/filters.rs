//! Filters to their factors at the points, laid out in panels, and a gradient's sums back.

use super::super::geometry::Geometry;
use super::super::kernel::COLUMNS;
use super::axis::{Axis, MOST, along_both};
use super::{SUMS, lanes::Lanes};
use crate::ops::element::Element;
use multiversion::multiversion;
use rayon::prelude::*;
use std::ops::Range;

/// What is summed over, and so what a panel's columns are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Channels, as a convolution does: columns are filters.
    Channels,
    /// Filters, as its adjoint does: columns are channels.
    Filters,
}

/// The filters' factors at every point: `(panels, points, terms, 16)`.
pub(super) struct Panels<T> {
    values: Vec<T>,
    terms: usize,
    points: usize,
    count: usize,
}

impl<T: Element> Panels<T> {
    pub(super) fn new<A: Axis>(g: &Geometry, over: Over, w: &[T]) -> Self {
        let (terms, columns) = match over {
            Over::Channels => (g.channels, g.filters),
            Over::Filters => (g.filters, g.channels),
        };
        let (points, count) = (A::POINTS * A::POINTS, columns.div_ceil(COLUMNS));
        let mut values = vec![T::ZERO; count * points * terms * COLUMNS];
        values
            .par_chunks_mut(points * terms * COLUMNS)
            .enumerate()
            .for_each(|(nth, panel)| spread_filters::<T, A>(g, over, nth * COLUMNS, w, panel));
        Self { values, terms, points, count }
    }

    /// Ranges of panels whose sums, of so many values a column, are gathered together.
    pub(super) fn parts(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (count, panels) = (self.count, (SUMS / (rows * COLUMNS)).max(1));
        (0..count).step_by(panels).map(move |first| first..count.min(first + panels))
    }

    /// `(terms, 16)`.
    pub(super) fn at(&self, point: usize, panel: usize) -> &[T] {
        let len = self.terms * COLUMNS;
        &self.values[(panel * self.points + point) * len..][..len]
    }
}

/// Terms whose taps are brought together at once: a cache line of f32.
const TERMS: usize = 16;

/// One panel, `(points, terms, 16)`, of the columns from `first` on.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn spread_filters<T: Element, A: Axis>(g: &Geometry, over: Over, first: usize, w: &[T], panel: &mut [T]) {
    let taps = A::TAPS * A::TAPS;
    let (terms, columns) = match over {
        Over::Channels => (g.channels, COLUMNS.min(g.filters - first)),
        Over::Filters => (g.filters, COLUMNS.min(g.channels - first)),
    };
    let mut gathered = [[[T::ZERO; COLUMNS]; TERMS]; 16];
    for first_term in (0..terms).step_by(TERMS) {
        let count = TERMS.min(terms - first_term);
        for (tap, gathered) in gathered[..taps].iter_mut().enumerate() {
            match over {
                Over::Channels => {
                    for column in 0..columns {
                        let from = &w[((first + column) * taps + tap) * g.channels + first_term..][..count];
                        gathered.iter_mut().zip(from).for_each(|(term, &value)| term[column] = value);
                    }
                }
                Over::Filters => {
                    for (term, row) in gathered[..count].iter_mut().enumerate() {
                        let from = &w[((first_term + term) * taps + tap) * g.channels + first..][..columns];
                        *row = Lanes::load(from).0;
                    }
                }
            }
        }
        for term in 0..count {
            let mut plane = [[Lanes::ZERO; MOST]; MOST];
            for tap in 0..taps {
                plane[tap / A::TAPS][tap % A::TAPS] = Lanes(gathered[tap][term]);
            }
            along_both(A::taps, (A::TAPS, A::POINTS), &mut plane);
            for (row, line) in plane[..A::POINTS].iter().enumerate() {
                for (column, lanes) in line[..A::POINTS].iter().enumerate() {
                    let point = row * A::POINTS + column;
                    lanes.store(&mut panel[(point * terms + first_term + term) * COLUMNS..][..COLUMNS]);
                }
            }
        }
    }
}

/// Sums at every point, `(points, filters, padded channels)`, to the gradient of one filter.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn gather_filter<T: Element, A: Axis>(g: &Geometry, filter: usize, m: &[T], w: &mut [T]) {
    let padded = g.channels.next_multiple_of(COLUMNS);
    for channel in (0..g.channels).step_by(COLUMNS) {
        let mut plane = [[Lanes::<T, COLUMNS>::ZERO; MOST]; MOST];
        for (row, line) in plane[..A::POINTS].iter_mut().enumerate() {
            for (column, lanes) in line[..A::POINTS].iter_mut().enumerate() {
                let point = row * A::POINTS + column;
                *lanes = Lanes::load(&m[(point * g.filters + filter) * padded + channel..][..COLUMNS]);
            }
        }
        along_both(A::taps_adjoint, (A::POINTS, A::TAPS), &mut plane);
        for tap in 0..A::TAPS * A::TAPS {
            let end = (channel + COLUMNS).min(g.channels);
            plane[tap / A::TAPS][tap % A::TAPS].store(&mut w[tap * g.channels + channel..tap * g.channels + end]);
        }
    }
}
