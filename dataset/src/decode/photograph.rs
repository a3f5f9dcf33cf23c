//! Photographs: of any size within a bound, in RGB.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use nets::mtcnn::Raster;

use super::header::structure;
use super::{Flaw, LARGEST_UNPACKED, Most, unpack, wrong_count};

/// Larger files are refused unread: the largest cameras' photographs take less.
pub(crate) const LARGEST_PHOTOGRAPH: u64 = 256 << 20;

/// RGB pixels of a whole photograph, upright.
pub(crate) struct Photograph {
    image: RgbImage,
}

impl Photograph {
    /// Decodes a whole file of at most `most` pixels, turned upright as its EXIF orientation says; grey
    /// becomes RGB of three equal values.
    pub(crate) fn decode(file: &[u8], most: u64) -> Result<Self, Flaw> {
        let (header, width, height) = structure(file)?;
        let pixels = u64::from(width) * u64::from(height);
        if pixels > most {
            return Err(Flaw::TooManyPixels { width, height, most });
        }
        if pixels == 0 {
            return Err(Flaw::Damaged { detail: "a picture without pixels".into() });
        }
        let bytes = pixels.saturating_mul(8).saturating_add(LARGEST_UNPACKED);
        let (stored, pixels) =
            unpack(file, &header, 3, Most { width: width as usize, height: height as usize, bytes })?;
        let rgb = match stored {
            1 => pixels.iter().flat_map(|&value| [value; 3]).collect(),
            _ => pixels,
        };
        let image = RgbImage::from_raw(width, height, rgb).ok_or_else(wrong_count)?;
        if image.as_raw().len() != width as usize * height as usize * 3 {
            return Err(wrong_count());
        }
        if header.orientation == Orientation::NoTransforms {
            return Ok(Self { image });
        }
        let mut turned = DynamicImage::ImageRgb8(image);
        turned.apply_orientation(header.orientation);
        Ok(Self { image: turned.into_rgb8() })
    }

    #[cfg(test)]
    pub(crate) fn of(image: RgbImage) -> Self {
        Self { image }
    }

    /// In pixels.
    pub(crate) fn width(&self) -> usize {
        self.image.width() as usize
    }

    /// In pixels.
    pub(crate) fn height(&self) -> usize {
        self.image.height() as usize
    }

    /// Three bytes for each pixel, in rows from the top.
    pub(crate) fn rgb(&self) -> &[u8] {
        self.image.as_raw()
    }

    /// The bytes themselves.
    pub(crate) fn into_rgb(self) -> Vec<u8> {
        self.image.into_raw()
    }

    /// As the detector takes it.
    pub(crate) fn raster(&self) -> Raster<'_> {
        Raster::new(self.rgb(), self.width(), self.height()).expect("three bytes for each pixel; else a bug")
    }
}
