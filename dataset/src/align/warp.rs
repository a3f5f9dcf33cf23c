//! 128 x 128 pixels of a photograph, by a similarity.

use nets::pixels::{IMAGE_SIZE, luma};
use rayon::prelude::*;

use super::geometry::Similarity;
use crate::decode::Photograph;
use crate::image::Image;

/// Samples along each side of a target pixel at most: beyond it, a face would be thousands of pixels
/// wide, and sees no difference.
const MOST_SAMPLES: usize = 32;

/// The aligned face, and which share of it lies outside the photograph, where the nearest pixel is
/// repeated.
///
/// Each target pixel is the mean of samples at most one source pixel apart, all over its own area, each
/// sample interpolated between the four nearest pixels: so what is made smaller doesn't alias, and what
/// is made larger is smooth. Values are rounded once, after the conversion to grey.
pub(super) fn warp(photograph: &Photograph, to_aligned: &Similarity, channels: usize) -> (Image, f64) {
    let back = to_aligned.inverse();
    let samples = (back.scale().ceil() as usize).clamp(1, MOST_SAMPLES);
    let mut pixels = vec![0; IMAGE_SIZE * IMAGE_SIZE * channels];
    let outside: usize = pixels
        .par_chunks_mut(IMAGE_SIZE * channels)
        .enumerate()
        .map(|(y, row)| {
            let mut outside = 0;
            for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                let (rgb, beyond) = mean(photograph, &back, [x, y], samples);
                outside += beyond;
                match pixel {
                    [grey] => *grey = luma(rgb).round_ties_even() as u8,
                    rgb_of => rgb_of.iter_mut().zip(rgb).for_each(|(to, from)| *to = from.round_ties_even() as u8),
                }
            }
            outside
        })
        .sum();
    let share = outside as f64 / (IMAGE_SIZE * IMAGE_SIZE * samples * samples) as f64;
    (Image { channels, pixels }, share)
}

/// The mean over one target pixel, and how many of its samples lie outside.
fn mean(photograph: &Photograph, back: &Similarity, [x, y]: [usize; 2], samples: usize) -> ([f64; 3], usize) {
    let (mut sums, mut outside) = ([0.0; 3], 0);
    let offset = |nth: usize| (nth as f64 + 0.5) / samples as f64 - 0.5;
    for down in 0..samples {
        for across in 0..samples {
            let at = back.apply([x as f64 + offset(across), y as f64 + offset(down)]);
            let inside = |at: f64, length: usize| (-0.5..=length as f64 - 0.5).contains(&at);
            outside += usize::from(!inside(at[0], photograph.width()) || !inside(at[1], photograph.height()));
            sums.iter_mut().zip(sample(photograph, at)).for_each(|(sum, value)| *sum += value);
        }
    }
    (sums.map(|sum| sum / (samples * samples) as f64), outside)
}

/// Interpolated between the four nearest pixels; beyond the edges they are repeated.
fn sample(photograph: &Photograph, [x, y]: [f64; 2]) -> [f64; 3] {
    let held = |at: f64, length: usize| {
        let at = at.clamp(0.0, (length - 1) as f64);
        let first = at as usize;
        (first, (first + 1).min(length - 1), at - first as f64)
    };
    let (left, right, across) = held(x, photograph.width());
    let (top, bottom, down) = held(y, photograph.height());
    let pixel =
        |x: usize, y: usize, channel: usize| f64::from(photograph.rgb()[(y * photograph.width() + x) * 3 + channel]);
    std::array::from_fn(|channel| {
        let upper = pixel(left, top, channel) * (1.0 - across) + pixel(right, top, channel) * across;
        let lower = pixel(left, bottom, channel) * (1.0 - across) + pixel(right, bottom, channel) * across;
        upper * (1.0 - down) + lower * down
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::geometry::EYES;

    /// A similarity of this scale, about the eyes' place.
    fn scaled(scale: f64) -> Similarity {
        let at = |x: f64, y: f64| [x, y].map(|value| (value / scale) as f32);
        let (eyes, mouth) = (EYES[1], EYES[1] + 48.0);
        Similarity::of_landmarks(&[at(44.0, eyes), at(84.0, eyes), at(64.0, 60.0), at(50.0, mouth), at(78.0, mouth)])
            .expect("an upright face")
    }

    fn photograph(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Photograph {
        Photograph::of(image::RgbImage::from_fn(width, height, |x, y| image::Rgb(pixel(x, y))))
    }

    #[test]
    fn an_aligned_face_stays_as_it_is() {
        let photograph = photograph(128, 128, |x, y| [x as u8, y as u8, (x * y) as u8]);
        let (image, outside) = warp(&photograph, &scaled(1.0), 3);
        assert_eq!((image.pixels.as_slice(), outside), (photograph.rgb(), 0.0));
        let (grey, _) = warp(&photograph, &scaled(1.0), 1);
        assert_eq!(grey, image.to_grey());
    }

    #[test]
    fn what_is_made_smaller_is_averaged() {
        // Columns of one pixel, black and white.
        let (image, _) = warp(&photograph(600, 600, |x, _| [255 * (x % 2) as u8; 3]), &scaled(0.25), 3);
        // The first column lies half outside, where the black edge is repeated.
        let rows = image.pixels.chunks_exact(128 * 3);
        assert!(rows.flat_map(|row| &row[3..]).all(|value| (126..=129).contains(value)));
    }

    #[test]
    fn beyond_the_edge_its_pixels_are_repeated_and_counted() {
        let (image, outside) = warp(&photograph(64, 128, |_, y| [y as u8; 3]), &scaled(1.0), 1);
        assert!((outside - 0.5).abs() < 0.01, "{outside}");
        assert!((0..128).all(|y| image.pixels[y * 128 + 127] == y as u8));
    }
}
