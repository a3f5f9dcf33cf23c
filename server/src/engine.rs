//! The one thread that owns the device and the generator.
//!
//! It takes a packed [`Tile`], computes it, hands the rows to whoever waits for them and takes the
//! next. Tiles have one fixed size, the last rows being padding: a row's numbers then come from
//! the same kernels at the same shapes, whoever shares the tile.
//!
//! When the generator fails, or panics, the engine ends: rows that were promised are dropped, which
//! their askers notice, and so is everything that is still queued.

pub mod weights;

use crate::{
    error::device_sentence,
    scheduler::{Gate, Tile, TileWork},
    telemetry::Telemetry,
};
use nets::{LATENT, pixels::IMAGE_SIZE};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::Receiver,
};

/// Makes rows of fixed size, a tile at a time. The server's is a bundle on a device; tests have
/// simpler ones.
pub trait RowGenerator: Send {
    /// Channels of the images: 1 or 3.
    fn channels(&self) -> usize;

    /// C, the length of a label.
    fn classes(&self) -> usize;

    /// `rows` images of 128 x 128 x channels bytes from `latents (rows, 256)` and `labels (rows,
    /// classes)`, non-negative with sum 1. A row depends on its own latent and label alone, and
    /// not on its position.
    ///
    /// # Errors
    /// When the device fails. The engine then ends.
    fn generate(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<Vec<u8>, GeneratorError>;

    /// `rows` encodings, mean then log-variance of the latent (512 numbers), of images.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    fn encode(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError>;
}

/// What a generator's failure says.
pub type GeneratorError = Box<dyn std::error::Error + Send + Sync>;

/// Runs until no more tiles come. Returns why, when the generator failed.
pub(crate) fn run(
    mut generator: Box<dyn RowGenerator>,
    tiles: Receiver<Tile>,
    gate: &Gate,
    telemetry: &Telemetry,
) -> Result<(), String> {
    loop {
        gate.engine_is_ready();
        let Ok(tile) = tiles.recv() else { return Ok(()) };
        // What the generator holds is not used again after a panic, so a broken state can't leak.
        let computed = catch_unwind(AssertUnwindSafe(|| compute(&mut *generator, &tile)));
        let reason = match computed {
            Ok(Ok(rows)) => {
                telemetry.tile_computed(tile.filled());
                tile.deliver(&rows);
                continue;
            }
            Ok(Err(error)) => device_sentence(&error),
            Err(panic) => panic_text(&*panic),
        };
        tracing::error!(reason, "the generator failed");
        gate.close(&reason);
        return Err(reason);
    }
}

/// The rows that a tile's computation gives.
pub(crate) enum Computed {
    /// Images, a row after the other.
    Pixels(Vec<u8>),
    /// Encodings, a row after the other.
    Encodings(Vec<f32>),
}

fn compute(generator: &mut dyn RowGenerator, tile: &Tile) -> Result<Computed, GeneratorError> {
    let image = IMAGE_SIZE * IMAGE_SIZE * generator.channels();
    let (computed, found, expected) = match &tile.work {
        TileWork::Generate { latents, labels } => {
            let pixels = generator.generate(tile.rows, latents, labels)?;
            let found = pixels.len();
            (Computed::Pixels(pixels), found, tile.rows * image)
        }
        TileWork::Encode { pixels } => {
            let encodings = generator.encode(tile.rows, pixels)?;
            let found = encodings.len();
            (Computed::Encodings(encodings), found, tile.rows * 2 * LATENT)
        }
    };
    if found != expected {
        return Err(format!("expected {expected} values for {} rows, found {found}", tile.rows).into());
    }
    Ok(computed)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("without a message"))
}
