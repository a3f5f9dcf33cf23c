//! A part of a photograph in another size: what PyTorch calls adaptive average pooling, or
//! interpolation by area. Larger too, where windows are of one pixel or overlap.

use rayon::prelude::*;
use std::ops::Range;

/// An RGB photograph: bytes in rows from the top.
#[derive(Clone, Copy)]
pub struct Raster<'a> {
    rgb: &'a [u8],
    width: usize,
    height: usize,
}

impl<'a> Raster<'a> {
    /// `None` where the bytes are not three for each pixel.
    pub fn new(rgb: &'a [u8], width: usize, height: usize) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(3)?;
        (bytes == rgb.len()).then_some(Self { rgb, width, height })
    }

    /// In pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// In pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The whole of it.
    pub fn whole(&self) -> Region {
        Region { left: 0, top: 0, right: self.width, bottom: self.height }
    }
}

/// Pixels from `left` up to `right` and from `top` up to `bottom`, both without the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Behind the last column.
    pub right: usize,
    /// Behind the last row.
    pub bottom: usize,
}

/// Rows `rows` of a region brought to `height` x `width` pixels: the mean over each pixel's window, from
/// bytes to the networks' `(x - 127.5) / 128`; HWC.
///
/// # Panics
/// When the region is empty or reaches beyond the photograph.
pub fn resample(raster: Raster, region: Region, [height, width]: [usize; 2], rows: Range<usize>) -> Vec<f32> {
    let Region { left, top, right, bottom } = region;
    assert!(left < right && right <= raster.width && top < bottom && bottom <= raster.height, "{region:?}");
    let columns: Vec<Range<usize>> = (0..width).map(|at| window(at, right - left, width)).collect();
    let mut values = vec![0.0; rows.len() * width * 3];
    values.par_chunks_mut((width * 3).max(1)).zip(rows).for_each(|(values, row)| {
        let lines = window(row, bottom - top, height);
        for (value, columns) in values.as_chunks_mut::<3>().0.iter_mut().zip(&columns) {
            let mut sums = [0u64; 3];
            for line in lines.clone() {
                let start = ((top + line) * raster.width + left + columns.start) * 3;
                for pixel in raster.rgb[start..][..columns.len() * 3].as_chunks::<3>().0 {
                    sums.iter_mut().zip(pixel).for_each(|(sum, &byte)| *sum += u64::from(byte));
                }
            }
            *value = sums.map(|sum| {
                let mean = sum as f32 / lines.len() as f32 / columns.len() as f32;
                (mean - 127.5) * 0.007_812_5
            });
        }
    });
    values
}

/// What falls to the place `at` of `places` when `length` pixels are shared among them.
fn window(at: usize, length: usize, places: usize) -> Range<usize> {
    at * length / places..((at + 1) * length).div_ceil(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything_and_never_nothing() {
        for (length, places) in [(7, 3), (3, 7), (1, 24), (24, 24), (1000, 71)] {
            let windows: Vec<Range<usize>> = (0..places).map(|at| window(at, length, places)).collect();
            assert_eq!((windows[0].start, windows[places - 1].end), (0, length));
            assert!(windows.iter().all(|window| !window.is_empty()), "{length} to {places}");
            assert!(windows.windows(2).all(|pair| pair[1].start <= pair[0].end), "{length} to {places}");
        }
    }

    #[test]
    fn strips_of_rows_are_rows_of_the_whole() {
        let rgb: Vec<u8> = (0..9 * 7 * 3).map(|at| (at * 37 % 251) as u8).collect();
        let raster = Raster::new(&rgb, 9, 7).expect("three bytes a pixel");
        let whole = resample(raster, raster.whole(), [5, 4], 0..5);
        assert_eq!(whole[4 * 3..][..2 * 4 * 3], resample(raster, raster.whole(), [5, 4], 1..3));
        assert!(Raster::new(&rgb, 9, 8).is_none());
    }
}
