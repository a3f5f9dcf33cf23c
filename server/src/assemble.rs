//! Rows back in plan order, augmented, in one buffer; then the digest over all of it.

use crate::{
    error::{Error, Result},
    plan::{Row, Source, spec::Spec},
};
use bytes::Bytes;
use dataset::augment;
use nets::{chance::Chance, pixels::IMAGE_SIZE};
use proto::{NONE, digest};

/// A finished batch, or a rank's rows of it, in columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Index in the stream.
    pub index: u64,
    /// Number of the first row within the global batch.
    pub first_row: u32,
    /// Class of each row.
    pub labels: Vec<u32>,
    /// Source of each row.
    pub sources: Vec<Source>,
    /// Image shown or encoded by each row, or [`NONE`].
    pub images: Vec<u32>,
    /// Parents of the blended rows.
    pub parents: Vec<u32>,
    /// Their weights.
    pub parent_weights: Vec<f32>,
    /// Latent counter of each row, or [`NONE`].
    pub latent_rows: Vec<u32>,
    /// Digest of the bundle that made it.
    pub bundle: String,
    /// Digest of the sampling table that shaped it, if any.
    pub table: String,
    /// Positions of rows whose planned image was damaged.
    pub replaced: Vec<u32>,
    /// Cosine of each row with the person it should show, 0 for real rows; none without a filter.
    pub similarities: Vec<f32>,
    /// Positions of rows of which no try reached the filter's bound.
    pub doubtful: Vec<u32>,
    /// Pixels, `rows x 128 x 128 x channels` bytes; none in a plan.
    pub pixels: Bytes,
    /// Content digest; none in a plan.
    pub digest: Bytes,
}

impl Batch {
    /// The columns of planned rows, without pixels.
    pub fn planned(index: u64, first_row: u32, rows: &[Row], bundle: &str, table: &str) -> Self {
        let blended = || rows.iter().filter(|row| row.source == Source::Blended).flat_map(|row| &row.parents);
        let latent_row = |row: &Row| if row.source == Source::Real { NONE } else { row.number };
        Self {
            index,
            first_row,
            labels: rows.iter().map(|row| row.label).collect(),
            sources: rows.iter().map(|row| row.source).collect(),
            images: rows.iter().map(|row| row.image.unwrap_or(NONE)).collect(),
            parents: blended().map(|parent| parent.identity).collect(),
            parent_weights: blended().map(|parent| parent.weight).collect(),
            latent_rows: rows.iter().map(latent_row).collect(),
            bundle: bundle.to_owned(),
            table: table.to_owned(),
            ..Self::default()
        }
    }

    /// Computes the content digest.
    pub fn seal(mut self) -> Self {
        let sources: Vec<i32> = self.sources.iter().map(|source| source.number()).collect();
        let columns = digest::Columns {
            index: self.index,
            first_row: self.first_row,
            labels: &self.labels,
            sources: &sources,
            images: &self.images,
            parents: &self.parents,
            parent_weights: &self.parent_weights,
            latent_rows: &self.latent_rows,
            replaced_rows: &self.replaced,
            similarities: &self.similarities,
            doubtful_rows: &self.doubtful,
            bundle_digest: &self.bundle,
            table_digest: &self.table,
            pixels: &self.pixels,
        };
        self.digest = Bytes::copy_from_slice(&columns.digest());
        self
    }
}

/// Puts rows into one buffer, which it fills: converts each from the bundle's channels to those asked
/// for and augments it with its own draws. `images` holds an image for each row.
///
/// # Errors
/// When the sizes don't fit, which is a bug.
pub fn pixels(
    spec: &Spec,
    index: u64,
    rows: &[Row],
    images: &[&[u8]],
    bundle_channels: usize,
    buffer: &mut [u8],
) -> Result<()> {
    let area = IMAGE_SIZE * IMAGE_SIZE;
    let (from, to) = (area * bundle_channels, area * spec.channels);
    if rows.len() != images.len() || buffer.len() != rows.len() * to || images.iter().any(|image| image.len() != from) {
        return Err(Error::Bug(format!("expected {} rows of {from} bytes to assemble", rows.len())));
    }
    let chance = Chance::new(spec.seed, "augmentation");
    let augmentation = if spec.augmented { augment::STANDARD } else { augment::NONE };
    // One after the other: batches are put together side by side, which costs less than rows would.
    for ((target, row), image) in buffer.chunks_exact_mut(to).zip(rows).zip(images) {
        let draws = &mut chance.at(index, row.number.into());
        if bundle_channels == spec.channels {
            augmentation.copy(image, target, spec.channels, draws);
        } else {
            // Shifts and flips move whole pixels, so they may as well follow the conversion.
            convert(image, bundle_channels, target, spec.channels)?;
            augmentation.apply(target, spec.channels, draws);
        }
    }
    Ok(())
}

/// Copies an image into as many channels or fewer.
pub(crate) fn convert(image: &[u8], from: usize, target: &mut [u8], to: usize) -> Result<()> {
    match (from, to) {
        _ if from == to => target.copy_from_slice(image),
        (3, 1) => dataset::to_grey(image, target),
        _ => return Err(Error::Bug(format!("cannot convert {from} channels to {to}"))),
    }
    Ok(())
}
