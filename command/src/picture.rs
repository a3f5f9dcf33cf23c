//! Pictures for people, as PNG: captioned [`Grid`]s of images, [`Plot`]s of curves, and
//! [`Intervals`], values with their uncertainty.
//!
//! Text is drawn with Ubuntu Light, which is compiled in (Latin, Greek and Cyrillic letters;
//! others appear as boxes); nothing is looked up on the system.

mod grid;
mod intervals;
mod plot;
mod text;

use std::io::{Cursor, Write};
use std::path::Path;

pub use grid::Grid;
pub use intervals::Intervals;
pub use plot::Plot;

use crate::Result;
use crate::atomic_file::write_atomically;

/// An RGB raster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    raster: image::RgbImage,
}

impl Picture {
    /// Pixels.
    pub fn width(&self) -> u32 {
        self.raster.width()
    }

    /// Pixels.
    pub fn height(&self) -> u32 {
        self.raster.height()
    }

    /// Rows of RGB bytes, from the top.
    pub fn pixels(&self) -> &[u8] {
        self.raster.as_raw()
    }

    /// The encoded file.
    pub fn to_png(&self) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        // Encoding RGB into memory has no way to fail.
        if let Err(error) = self.raster.write_to(&mut bytes, image::ImageFormat::Png) {
            tracing::error!("encoding a picture failed: {error}; this is a bug");
        }
        bytes.into_inner()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`crate::Error::Replace`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let png = self.to_png();
        write_atomically(path, |file| file.write_all(&png))
    }
}
