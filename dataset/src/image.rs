//! One image: 128 x 128 bytes, grey or RGB, rows from the top.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use nets::pixels::IMAGE_SIZE;

/// Pixels of one face image, `(height, width, channel)` in `0..=255`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub(crate) channels: usize,
    pub(crate) pixels: Vec<u8>,
}

impl Image {
    /// Takes `128 * 128 * channels` bytes in HWC order; `None` when the length doesn't fit or
    /// `channels` is neither 1 nor 3.
    pub fn new(channels: usize, pixels: Vec<u8>) -> Option<Self> {
        let fits = matches!(channels, 1 | 3) && pixels.len() == IMAGE_SIZE * IMAGE_SIZE * channels;
        fits.then_some(Self { channels, pixels })
    }

    /// 1 for grey, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// `128 * 128 * channels` bytes in HWC order.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes themselves.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Grey by [`nets::pixels::luma`], rounded half to even; a grey image stays as it is.
    pub fn to_grey(&self) -> Self {
        if self.channels == 1 {
            return self.clone();
        }
        let mut pixels = vec![0; self.pixels.len() / 3];
        to_grey(&self.pixels, &mut pixels);
        Self { channels: 1, pixels }
    }

    /// The image in 1 or 3 channels; grey becomes RGB of three equal values.
    pub fn into_channels(self, channels: usize) -> Self {
        match (self.channels, channels) {
            (3, 1) => self.to_grey(),
            (1, 3) => Self { channels: 3, pixels: self.pixels.iter().flat_map(|&value| [value; 3]).collect() },
            _ => self,
        }
    }

    /// A PNG file.
    pub fn to_png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive);
        self.encode(encoder);
        file
    }

    /// A JPEG file of the given quality, `1..=100`.
    pub fn to_jpeg(&self, quality: u8) -> Vec<u8> {
        let mut file = Vec::new();
        self.encode(JpegEncoder::new_with_quality(&mut file, quality.clamp(1, 100)));
        file
    }

    fn encode(&self, encoder: impl ImageEncoder) {
        let colour = if self.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        encoder
            .write_image(&self.pixels, IMAGE_SIZE as u32, IMAGE_SIZE as u32, colour)
            .expect("an image of known size encodes into memory; a failure is a bug");
    }
}

/// Grey of RGB pixels, as [`Image::to_grey`] makes it; the target has a byte for each three.
pub fn to_grey(rgb: &[u8], target: &mut [u8]) {
    for (target, rgb) in target.iter_mut().zip(rgb.as_chunks::<3>().0) {
        *target = grey(*rgb);
    }
}

/// Grey of an RGB pixel, rounded half to even.
///
/// The weights have three decimals, so going through whole thousandths makes the rounding exact:
/// without it, a true tie could fall to the wrong side by the last bit of a sum.
pub(crate) fn grey(rgb: [u8; 3]) -> u8 {
    let thousandths = (nets::pixels::luma(rgb.map(f64::from)) * 1000.0).round();
    (thousandths / 1000.0).round_ties_even() as u8
}
