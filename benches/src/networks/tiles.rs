//! The generator as a server on a GPU runs it: tiles captured as a graph, two under way, numbers going
//! there and bytes coming back.

use crate::{
    CLASSES,
    clock::{Clock, Figures},
};
use candle_core::{Device, Result};
use candle_nn::VarBuilder;
use nets::{Conditioning, Generator, GeneratorConfig, Initialization, LATENT, Parameters, Width, device::Pipeline};

pub(crate) fn measure(clock: &Clock, width: Width, figures: &mut Figures) -> Result<()> {
    let work = "generator, tiles";
    let Device::Cuda(device) = clock.device else { return Ok(()) };
    if !clock.wants(work) {
        return Ok(());
    }
    let (rows, dtype) = (clock.batch, clock.dtype);
    let config = GeneratorConfig {
        channels: 1,
        width,
        classes: CLASSES,
        initialization: Initialization::FanIn,
        conditioning: Conditioning::Start,
    };
    let parameters = Parameters::new(1, dtype, clock.device);
    Generator::new(&config, parameters.var_builder())?;
    let weights = parameters.tensors()?.into_iter().collect();
    let generator = Generator::new(&config, VarBuilder::from_tensors(weights, dtype, clock.device))?;
    let shapes = [&[rows, LATENT][..], &[rows, CLASSES]];
    let mut pipeline =
        Pipeline::new(device, &shapes, rows * 128 * 128, move |inputs| generator.bytes(&inputs[0], &inputs[1]))?;
    if let Some(reason) = pipeline.uncaptured() {
        eprintln!("the tile is not captured as a graph: {reason}");
    }
    let z: Vec<f32> = (0..rows * LATENT).map(|nth| (nth % 17) as f32 / 8.0 - 1.0).collect();
    let c = vec![1.0 / CLASSES as f32; rows * CLASSES];
    pipeline.begin(&[&z, &c])?;
    clock.step(figures, work, || -> Result<()> {
        pipeline.begin(&[&z, &c])?;
        pipeline.finish().map(drop)
    })
}
