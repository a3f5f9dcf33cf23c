//! Images and outputs, tile by tile, to their factors at the points, and sums at the points back.

use super::super::geometry::Geometry;
use super::super::kernel::COLUMNS;
use super::axis::{Axis, MOST, OUTPUTS, along_both};
use super::lanes::Lanes;
use crate::ops::element::Element;
use multiversion::multiversion;
use std::ops::Range;

/// Channels at once: a vector of 256 bits in f32.
const LANES: usize = 8;

/// Rows of tiles of one image, or whole images.
#[derive(Clone, Copy)]
pub(super) struct Band {
    pub(super) images: usize,
    pub(super) first_row: usize,
    pub(super) rows: usize,
}

impl Band {
    pub(super) fn tiles(self, g: &Geometry) -> usize {
        self.images * self.rows * across(g)
    }

    /// Rows of the output that its tiles cover.
    pub(super) fn output_rows(self, g: &Geometry) -> Range<usize> {
        OUTPUTS * self.first_row..g.out_height.min(OUTPUTS * (self.first_row + self.rows))
    }

    /// Image, row and column of each tile, in reading order.
    fn places(self, g: &Geometry) -> impl Iterator<Item = (usize, usize, usize)> {
        let (rows, across) = (self.rows, across(g));
        (0..self.tiles(g))
            .map(move |tile| (tile / (rows * across), self.first_row + tile / across % rows, tile % across))
    }
}

/// Rows of tiles of an image.
pub(super) fn down(g: &Geometry) -> usize {
    g.out_height.div_ceil(OUTPUTS)
}

/// Columns of tiles of an image.
pub(super) fn across(g: &Geometry) -> usize {
    g.out_width.div_ceil(OUTPUTS)
}

/// Where a value at a point lies: `(points, tiles, channels)`, or panels of 16 channels.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// The channels that are here.
    first: usize,
    channels: usize,
    point: usize,
    tile: usize,
    panel: usize,
}

impl Places {
    /// `(points, tiles, channels)`.
    pub(super) fn rows(tiles: usize, channels: usize) -> Self {
        Self { first: 0, channels, point: tiles * channels, tile: channels, panel: COLUMNS }
    }

    /// `(points, panels, tiles, 16)`.
    pub(super) fn panels(tiles: usize, channels: usize) -> Self {
        let panel = tiles * COLUMNS;
        Self { first: 0, channels, point: channels.div_ceil(COLUMNS) * panel, tile: COLUMNS, panel }
    }

    /// `(points, tiles, channels of a part)`: whole panels, of which channels that are not there are left
    /// unread.
    pub(super) fn part(tiles: usize, panels: &Range<usize>, channels: usize) -> Self {
        let (tile, first) = (panels.len() * COLUMNS, panels.start * COLUMNS);
        Self { first, channels: channels.min(first + tile), point: tiles * tile, tile, panel: COLUMNS }
    }

    /// Where each vector of channels begins.
    #[inline(always)]
    fn vectors(self) -> impl Iterator<Item = usize> {
        (self.first..self.channels).step_by(LANES)
    }

    /// Values of so many points.
    pub(super) fn len(self, points: usize) -> usize {
        self.point * points
    }

    /// Values between two points.
    pub(super) fn point(self) -> usize {
        self.point
    }

    /// Values between two panels.
    pub(super) fn panel(self) -> usize {
        self.panel
    }

    /// The vector from `channel` on, shorter where the channels end.
    #[inline(always)]
    fn range(self, point: usize, tile: usize, channel: usize) -> Range<usize> {
        let place = (channel - self.first) / COLUMNS * self.panel + channel % COLUMNS;
        let first = point * self.point + tile * self.tile + place;
        first..first + LANES.min(self.channels - channel)
    }
}

/// The images' factors at every point.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn spread_inputs<T: Element, A: Axis>(g: &Geometry, band: Band, x: &[T], places: Places, v: &mut [T]) {
    for (tile, place) in band.places(g).enumerate() {
        let pixels = input_pixels::<A>(g, place);
        for channel in places.vectors() {
            let mut plane = load(x, &pixels, A::INPUTS, channel, g.channels);
            along_both(A::inputs, (A::INPUTS, A::POINTS), &mut plane);
            for (row, line) in plane[..A::POINTS].iter().enumerate() {
                for (column, lanes) in line[..A::POINTS].iter().enumerate() {
                    lanes.store(&mut v[places.range(row * A::POINTS + column, tile, channel)]);
                }
            }
        }
    }
}

/// The outputs' factors at every class of points: `y` holds the band's rows alone.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn spread_outputs<T: Element, A: Axis>(g: &Geometry, band: Band, y: &[T], places: Places, v: &mut [T]) {
    for (tile, place) in band.places(g).enumerate() {
        let pixels = output_pixels(g, band, place);
        for filter in places.vectors() {
            let mut plane = load(y, &pixels, OUTPUTS, filter, g.filters);
            along_both(A::outputs, (OUTPUTS, A::CLASSES), &mut plane);
            for (row, line) in plane[..A::CLASSES].iter().enumerate() {
                for (column, lanes) in line[..A::CLASSES].iter().enumerate() {
                    lanes.store(&mut v[places.range(row * A::CLASSES + column, tile, filter)]);
                }
            }
        }
    }
}

/// Sums at every class of points to outputs: `y` holds the band's rows alone.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn gather_outputs<T: Element, A: Axis>(g: &Geometry, band: Band, m: &[T], places: Places, y: &mut [T]) {
    for (tile, place) in band.places(g).enumerate() {
        let pixels = output_pixels(g, band, place);
        for filter in places.vectors() {
            let mut plane = [[Lanes::ZERO; MOST]; MOST];
            for (row, line) in plane[..A::CLASSES].iter_mut().enumerate() {
                for (column, lanes) in line[..A::CLASSES].iter_mut().enumerate() {
                    *lanes = Lanes::<T, LANES>::load(&m[places.range(row * A::CLASSES + column, tile, filter)]);
                }
            }
            along_both(A::outputs_adjoint, (A::CLASSES, OUTPUTS), &mut plane);
            for (line, pixels) in plane[..OUTPUTS].iter().zip(&pixels) {
                for (lanes, &pixel) in line[..OUTPUTS].iter().zip(pixels) {
                    if pixel != OUTSIDE {
                        lanes.store(&mut y[pixel + filter..pixel + (filter + LANES).min(g.filters)]);
                    }
                }
            }
        }
    }
}

/// Adds sums at every point to the images, whose tiles overlap.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn gather_inputs<T: Element, A: Axis>(g: &Geometry, band: Band, m: &[T], places: Places, x: &mut [T]) {
    for (tile, place) in band.places(g).enumerate() {
        let pixels = input_pixels::<A>(g, place);
        for channel in places.vectors() {
            let mut plane = [[Lanes::ZERO; MOST]; MOST];
            for (row, line) in plane[..A::POINTS].iter_mut().enumerate() {
                for (column, lanes) in line[..A::POINTS].iter_mut().enumerate() {
                    *lanes = Lanes::<T, LANES>::load(&m[places.range(row * A::POINTS + column, tile, channel)]);
                }
            }
            along_both(A::inputs_adjoint, (A::POINTS, A::INPUTS), &mut plane);
            for (line, pixels) in plane[..A::INPUTS].iter().zip(&pixels) {
                for (&lanes, &pixel) in line[..A::INPUTS].iter().zip(pixels) {
                    if pixel != OUTSIDE {
                        let sums = &mut x[pixel + channel..pixel + (channel + LANES).min(g.channels)];
                        (Lanes::load(sums) + lanes).store(sums);
                    }
                }
            }
        }
    }
}

/// Where the pixels of a tile begin.
type Pixels = [[usize; MOST]; MOST];

/// Of a pixel that is not there: zero to read, nothing to write.
const OUTSIDE: usize = usize::MAX;

#[inline(always)]
fn input_pixels<A: Axis>(g: &Geometry, (image, row, column): (usize, usize, usize)) -> Pixels {
    let from = |tile: usize, at: usize| (OUTPUTS * A::STRIDE * tile + at).wrapping_sub(g.padding);
    let pixel = |y: usize, x: usize| ((image * g.height + y) * g.width + x) * g.channels;
    pixels(
        A::INPUTS,
        |at| Some(from(row, at)).filter(|&y| y < g.height),
        |at| Some(from(column, at)).filter(|&x| x < g.width),
        pixel,
    )
}

/// In the band's own rows: all of an image's where it holds several images.
#[inline(always)]
fn output_pixels(g: &Geometry, band: Band, (image, row, column): (usize, usize, usize)) -> Pixels {
    let rows = band.output_rows(g);
    let pixel = |y: usize, x: usize| ((image * rows.len() + y - rows.start) * g.out_width + x) * g.filters;
    pixels(
        OUTPUTS,
        |at| Some(OUTPUTS * row + at).filter(|y| rows.contains(y)),
        |at| Some(OUTPUTS * column + at).filter(|&x| x < g.out_width),
        pixel,
    )
}

#[inline(always)]
fn pixels(
    extent: usize,
    row: impl Fn(usize) -> Option<usize>,
    column: impl Fn(usize) -> Option<usize>,
    pixel: impl Fn(usize, usize) -> usize,
) -> Pixels {
    let mut pixels = [[OUTSIDE; MOST]; MOST];
    for (at_y, line) in pixels[..extent].iter_mut().enumerate() {
        for (at_x, place) in line[..extent].iter_mut().enumerate() {
            if let (Some(y), Some(x)) = (row(at_y), column(at_x)) {
                *place = pixel(y, x);
            }
        }
    }
    pixels
}

#[inline(always)]
fn load<T: Element>(
    values: &[T],
    pixels: &Pixels,
    extent: usize,
    channel: usize,
    channels: usize,
) -> [[Lanes<T, LANES>; MOST]; MOST] {
    let mut plane = [[Lanes::ZERO; MOST]; MOST];
    for (line, pixels) in plane[..extent].iter_mut().zip(pixels) {
        for (lanes, &pixel) in line[..extent].iter_mut().zip(pixels) {
            if pixel != OUTSIDE {
                *lanes = Lanes::load(&values[pixel + channel..pixel + (channel + LANES).min(channels)]);
            }
        }
    }
    plane
}
