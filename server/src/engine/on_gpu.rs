//! A generator's tiles on a GPU: one shape, captured once, two under way.

use super::GeneratorError;
use bytes::Bytes;
use candle_core::CudaDevice;
use nets::{Generator, LATENT, device::Pipeline, pixels::IMAGE_SIZE};
use std::sync::Arc;

/// Extents of a tile.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) classes: usize,
    pub(super) channels: usize,
}

/// The tiles of one generator; captured when the first comes.
#[derive(Default)]
pub(super) struct Tiles(Option<(Shape, Pipeline)>);

impl Tiles {
    /// Begins with a tile; there must be fewer than two under way.
    pub(super) fn begin(
        &mut self,
        device: &CudaDevice,
        generator: &Arc<Generator>,
        shape: Shape,
        latents: &[f32],
        labels: &[f32],
    ) -> Result<(), GeneratorError> {
        if self.0.as_ref().is_none_or(|(captured, _)| *captured != shape) {
            self.0 = Some((shape, pipeline(device, generator.clone(), shape)?));
        }
        match &mut self.0 {
            Some((_, pipeline)) => Ok(pipeline.begin(&[latents, labels])?),
            None => Err("no tile was captured: this is a bug".into()),
        }
    }

    /// Waits for the tile that was begun first.
    pub(super) fn finish(&mut self) -> Result<Bytes, GeneratorError> {
        match &mut self.0 {
            Some((_, pipeline)) => Ok(pipeline.finish()?),
            None => Err("no tile was begun: this is a bug".into()),
        }
    }
}

/// Latents and labels to bytes, those of `generate`: the same kernels at the same shapes.
fn pipeline(device: &CudaDevice, generator: Arc<Generator>, shape: Shape) -> candle_core::Result<Pipeline> {
    let Shape { rows, classes, channels } = shape;
    let bytes = rows * IMAGE_SIZE * IMAGE_SIZE * channels;
    let pipeline = Pipeline::new(device, &[&[rows, LATENT], &[rows, classes]], bytes, move |inputs| {
        let [z, c] = inputs else { candle_core::bail!("expected latents and labels: this is a bug") };
        generator.bytes(z, c)
    })?;
    if let Some(reason) = pipeline.uncaptured() {
        tracing::warn!(reason, "tiles are computed without a CUDA graph, which takes the host longer");
    }
    Ok(pipeline)
}
