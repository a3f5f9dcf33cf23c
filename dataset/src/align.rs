//! Photographs to faces in LightCNN's geometry: a folder of one, of any size, becomes a folder of the
//! other, each file in the same place.
//!
//! A photograph passes through these files in order:
//!
//! 1. `plan` lists the folder and leaves out what an earlier run has done: [`Plan`];
//! 2. `run` reads photographs and has their faces found, one a thread;
//! 3. `choose` says whose face it is when there are several: [`Take`];
//! 4. [`geometry`] turns five landmarks into a similarity, and `warp` fills 128 x 128 pixels by it;
//! 5. `journal` keeps a line for each photograph in `alignment.jsonl`, from which the next run goes on;
//!    `summary` counts them.

mod choose;
pub mod geometry;
mod journal;
mod plan;
mod run;
mod summary;
mod warp;

pub use choose::Take;
pub use journal::{AlignedFace, Outcome, Record};
pub use plan::Plan;
pub use summary::Summary;

use std::path::Path;

use nets::mtcnn::DetectorSettings;

use crate::decode::{LARGEST_PHOTOGRAPH, Photograph};
use crate::error::{Error, Result};
use crate::source::read_folder;
use crate::write::Encoding;

/// What is looked for, and what is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlignOptions {
    /// What counts as a candidate for a face.
    pub detector: DetectorSettings,
    /// What a face needs of the detector's last network, in `0..=1`.
    pub min_probability: f32,
    /// Whose face is taken when there are several.
    pub take: Take,
    /// 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Format of the files.
    pub encoding: Encoding,
    /// Larger photographs are set aside, before they are unpacked.
    pub max_pixels: u64,
}

impl Default for AlignOptions {
    fn default() -> Self {
        Self {
            detector: DetectorSettings::default(),
            min_probability: 0.9,
            take: Take::Largest,
            channels: 3,
            encoding: Encoding::Png,
            max_pixels: 64_000_000,
        }
    }
}

/// The pixels of a photograph, upright: width, height, and three bytes for each pixel.
///
/// # Errors
/// When the file can't be read, or is no whole JPEG or PNG of at most `max_pixels`.
pub fn read_photograph(path: &Path, max_pixels: u64) -> Result<(usize, usize, Vec<u8>)> {
    let bytes = read_folder(path, LARGEST_PHOTOGRAPH).map_err(Error::io(path))?;
    let photograph = bytes.and_then(|bytes| Photograph::decode(&bytes, max_pixels));
    let photograph = photograph.map_err(|flaw| Error::Image { path: path.display().to_string(), flaw })?;
    Ok((photograph.width(), photograph.height(), photograph.into_rgb()))
}
