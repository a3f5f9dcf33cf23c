//! `bench-instructions`: pieces of work of a fixed size, for a tool that counts instructions.
//!
//! Times of a busy machine say little about a change of a few percent; instructions hardly vary.
//! `benches/instructions.sh` runs this under Callgrind, which counts what [`counted`] calls and nothing
//! of the preparations, and holds the counts against kept ones.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use clap::{Parser, ValueEnum};
use command::{CommonArgs, Context};
use nets::{
    Conditioning, Generator, GeneratorConfig, Initialization, LATENT, LightCnnKind, Parameters, Width, chance::Chance,
    pixels,
};
use recognizer::{Batch, Source, TrainConfig, Trainer};
use server::{
    assemble,
    plan::{Planner, catalogue::Catalogue, spec},
};
use std::{error::Error, process::ExitCode, sync::Arc};

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

/// Do one piece of work, to have its instructions counted
#[derive(Parser)]
#[command(name = "bench-instructions", version)]
struct Cli {
    /// Which piece
    #[arg(value_enum)]
    work: Work,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    /// 16 images of the small generator, as bytes
    GeneratorTile,
    /// A training step of the small LightCNN-9 on 8 images
    RecognizerStep,
    /// A batch of 64 rows: planned, assembled with augmentation, digested
    Batch,
}

const CLASSES: usize = 64;

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> std::result::Result<(), Box<dyn Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        // All of the work on this thread: Callgrind looks for `counted` thread by thread.
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?;
        match cli.work {
            Work::GeneratorTile => generator_tile(),
            Work::RecognizerStep => recognizer_step(),
            Work::Batch => batch(),
        }
    })
}

/// What is counted, by this function's name.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}

fn generator_tile() -> std::result::Result<(), Box<dyn Error>> {
    let config = GeneratorConfig {
        channels: 1,
        width: Width::Small,
        classes: CLASSES,
        initialization: Initialization::FanIn,
        conditioning: Conditioning::Start,
    };
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    Generator::new(&config, parameters.var_builder())?;
    let weights = parameters.tensors()?.into_iter().collect();
    let generator = Generator::new(&config, VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu))?;
    let rows = 16;
    let mut draws = Chance::new(1, "bench/latents").at(0, 0);
    let z: Vec<f32> = (0..rows * LATENT).map(|_| draws.normal() as f32).collect();
    let z = Tensor::from_vec(z, (rows, LATENT), &Device::Cpu)?;
    let c = Tensor::full(1.0 / CLASSES as f32, (rows, CLASSES), &Device::Cpu)?;
    counted(|| generator.bytes(&z, &c)?.flatten_all()?.to_vec1::<u8>())?;
    Ok(())
}

fn recognizer_step() -> std::result::Result<(), Box<dyn Error>> {
    let rows = 8;
    let batch = Batch {
        rows,
        channels: 1,
        pixels: noise(rows).into(),
        labels: (0..rows as u32).collect(),
        sources: vec![Source::Real; rows],
        ..Batch::default()
    };
    let config = TrainConfig::new(LightCnnKind::Nine, Width::Small, 1 << 40, rows);
    let mut trainer = Trainer::new(&config, CLASSES, &Device::Cpu)?;
    counted(|| trainer.step(&batch).map(drop))?;
    Ok(())
}

fn batch() -> std::result::Result<(), Box<dyn Error>> {
    let rows = 64;
    let spec = Arc::new(spec::Spec {
        seed: 1,
        batch_size: rows,
        mix: spec::Mix { real: 0.5, existing: 0.3, blended: 0.2 },
        schedule: spec::Schedule::default(),
        sampling: spec::Sampling::ByImage,
        blending: spec::BlendingSpec {
            count: 16,
            parents: 2,
            alpha: 0.5,
            max_weight: 0.7,
            seed: 1,
            max_similarity: 0.0,
            spread: 0.0,
        },
        latent: spec::Latent::Prior { truncation: 0.0 },
        augmented: true,
        channels: 1,
        centres: None,
        filter: None,
    });
    let catalogue = Arc::new(Catalogue::new([20; CLASSES]));
    let planner = Planner::new(spec.clone(), catalogue, None);
    let image = noise(1);
    counted(|| -> std::result::Result<assemble::Batch, Box<dyn Error>> {
        let rows = planner.rows(0, 0..rows);
        let images = vec![&image[..]; rows.len()];
        let mut pixels = vec![0; rows.len() * image.len()];
        assemble::pixels(&spec, 0, &rows, &images, 1, &mut pixels)?;
        Ok(assemble::Batch { pixels: pixels.into(), ..assemble::Batch::planned(0, 0, &rows, "", "") }.seal())
    })?;
    Ok(())
}

/// Grey images of nothing.
fn noise(images: usize) -> Vec<u8> {
    let mut draws = Chance::new(1, "bench/pixels").at(0, 0);
    (0..images * pixels::IMAGE_SIZE * pixels::IMAGE_SIZE).map(|_| draws.below(256) as u8).collect()
}
