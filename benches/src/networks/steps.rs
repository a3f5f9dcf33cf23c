//! Whole steps of training, with all that a training does in each: pixels to tensors, losses, gradients,
//! optimizers, averages, figures.

use crate::{
    CLASSES,
    clock::{Clock, Figures},
};
use candle_core::{DType, Device, Tensor};
use cvae_gan::{IdentityNetwork, Learner, Preset, Settings};
use nets::device_check::Finding;
use nets::{Capacity, FEATURE, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Width, chance::Chance};
use recognizer::{Batch, Source, TrainConfig, Trainer};
use std::{error::Error, time::Duration};

/// So long a training that its schedule stands still.
const IMAGES: u64 = 1 << 40;

pub(crate) fn measure(clock: &Clock, width: Width, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let batch = noise(clock.batch);
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine] {
        let work = format!("{kind} step");
        if clock.wants(&work) {
            let config = TrainConfig::new(kind, width, IMAGES, batch.rows);
            let mut trainer = Trainer::new(&config, CLASSES, clock.device)?;
            trainer.compute_in(clock.dtype);
            clock.step(figures, &work, || -> Result<(), Box<dyn Error>> {
                trainer.step(&batch)?;
                Ok(())
            })?;
        }
    }
    // The published recipe, and the one after it.
    for (work, preset) in [("cvae-gan step", Preset::Paper), ("modern step", Preset::Modern)] {
        if !clock.wants(work) {
            continue;
        }
        let mut learner = learner(preset, width, batch.rows, clock)?;
        clock.step(figures, work, || -> Result<(), Box<dyn Error>> {
            learner.step(&batch)?;
            Ok(())
        })?;
    }
    Ok(())
}

/// Steps of a training that is held against itself: one with what every 25th measures, and those after it.
const STEPS: usize = 6;
/// Images of each.
const ROWS: usize = 8;

/// Takes the first steps of trainings twice. Whatever differs in one bit shows in the figures of the steps behind it;
/// errors are shares of steps that differ.
pub(crate) fn again(device: &Device, dtype: DType, width: Width) -> Result<Vec<Finding>, Box<dyn Error>> {
    let clock = Clock { batch: ROWS, budget: Duration::ZERO, only: "", device, dtype };
    let batch = noise(ROWS);
    let recognizer = || -> Result<Vec<String>, Box<dyn Error>> {
        let mut trainer =
            Trainer::new(&TrainConfig::new(LightCnnKind::TwentyNine, width, IMAGES, ROWS), CLASSES, device)?;
        trainer.compute_in(dtype);
        (0..STEPS).map(|_| Ok(format!("{:?}", trainer.step(&batch)?))).collect()
    };
    let gan = |preset: Preset| -> Result<Vec<String>, Box<dyn Error>> {
        let mut learner = learner(preset, width, ROWS, &clock)?;
        (0..STEPS).map(|_| Ok(format!("{:?}", learner.step(&batch)?))).collect()
    };
    Ok(vec![
        twice("lightcnn-29", recognizer)?,
        twice("cvae-gan", || gan(Preset::Paper))?,
        twice("modern cvae-gan", || gan(Preset::Modern))?,
    ])
}

fn twice(name: &str, training: impl Fn() -> Result<Vec<String>, Box<dyn Error>>) -> Result<Finding, Box<dyn Error>> {
    let (first, second) = (training()?, training()?);
    let differing = first.iter().zip(&second).filter(|(first, second)| first != second).count();
    let what = format!("{name}, {STEPS} steps taken twice");
    Ok(Finding { what, error: differing as f64 / STEPS as f64, bound: 0.0 })
}

/// A training with critics of 512 channels at most, past the images that it sees without critics.
fn learner(preset: Preset, width: Width, rows: usize, clock: &Clock) -> Result<Learner, Box<dyn Error>> {
    let usual = preset.settings(width, IMAGES);
    let settings = Settings { capacity: Capacity::Compact, warm_up: 0, ramp: 0, batch: rows, ..usual };
    let identity = Some(identity(width, clock)?);
    let mut learner = Learner::new(&settings, CLASSES, identity, DType::F32, clock.device)?;
    learner.compute_in(clock.dtype)?;
    Ok(learner)
}

/// Grey images of nothing, each of another class.
fn noise(rows: usize) -> Batch {
    let mut draws = Chance::new(1, "bench/pixels").at(0, 0);
    Batch {
        rows,
        channels: 1,
        pixels: (0..rows * 128 * 128).map(|_| draws.below(256) as u8).collect(),
        labels: (0..rows).map(|row| (row % CLASSES) as u32).collect(),
        sources: vec![Source::Real; rows],
        ..Batch::default()
    }
}

/// A frozen LightCNN-9 of fresh weights.
fn identity(width: Width, clock: &Clock) -> Result<IdentityNetwork, Box<dyn Error>> {
    let config = LightCnnConfig { kind: LightCnnKind::Nine, width, classes: CLASSES };
    let parameters = Parameters::new(2, DType::F32, clock.device);
    LightCnn::new(&config, parameters.var_builder())?;
    let names = (0..CLASSES).map(|class| class.to_string()).collect();
    let centres = Tensor::full(1.0 / (FEATURE as f32).sqrt(), (CLASSES, FEATURE), clock.device)?;
    Ok(IdentityNetwork::new(config, names, parameters.tensors()?, centres, DType::F32, clock.device)?)
}
