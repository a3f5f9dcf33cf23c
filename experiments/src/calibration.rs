//! How long a plan will take, from a step of each kind.

use crate::error::Result;
use crate::jobs::{GeneratorJob, Job, RecognizerJob};
use crate::rows::Rows;
use crate::selection::tries;
use crate::trainings::Trainings;
use crate::world::World;
use candle_core::{DType, Device, Tensor};
use nets::{Generator, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters};
use recognizer::train::Trainer;
use recognizer::{Batch, BatchSource, Card, Recognizer, TrainConfig};
use std::collections::BTreeMap;
use std::time::Instant;

/// Steps that are measured after a first one, which finds its memory.
const STEPS: u32 = 2;
/// Generated rows whose time is taken.
const ROWS: usize = 32;

/// How long a training will take, and whether it is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Foretold {
    /// The training.
    pub line: String,
    /// Where it came to its end before.
    pub finished: bool,
    /// Of the whole training, without pictures, checkpoints and judging.
    pub seconds: f64,
}

/// Measures a step of each kind and reckons; trains nothing that stays.
///
/// # Errors
/// As a training's first step.
pub fn foretell(jobs: &[Job], world: &World, trainings: &Trainings<'_>) -> Result<Vec<Foretold>> {
    let mut known = Speeds { world, device: trainings.device(), seconds: BTreeMap::new() };
    let foretold = jobs.iter().map(|job| {
        trainings.go_on("reckoning")?;
        let seconds = match job {
            Job::Recognizer(job) => known.of_recognizer(job)?,
            Job::Generator(job) => known.of_generator(job)?,
        };
        Ok(Foretold { line: job.line(), finished: trainings.is_finished(job)?, seconds })
    });
    foretold.collect()
}

/// Seconds for an image, by what takes them.
struct Speeds<'a> {
    world: &'a World,
    device: &'a Device,
    seconds: BTreeMap<String, f64>,
}

impl Speeds<'_> {
    fn of_recognizer(&mut self, job: &RecognizerJob) -> Result<f64> {
        let RecognizerJob { config, recipe, part, generator, .. } = job;
        let learning = format!("{} {} {} {} {}", config.kind, config.width, recipe.batch, config.loss, config.numbers);
        let learn = self.measured(learning, |speeds| {
            let mut rows =
                Rows::new(speeds.world.part(*part)?, None, crate::rows::Recipe { share: 0.0, ..recipe.clone() })?;
            let batch = rows.next()?;
            learning_time(config, rows.classes(), &batch, speeds.device)
        })?;
        let make = match generator {
            Some(generator) if recipe.share > 0.0 => {
                let settings = &generator.settings;
                let key = format!("making, {} {} {:?}", settings.width, settings.channels, settings.conditioning);
                self.measured(key, |speeds| making_time(settings, speeds.world.people(), speeds.device))?
            }
            _ => 0.0,
        };
        // Batches are made beside the learning, on the same cores.
        let until = recipe.real_from.map_or(1.0, |batch| (batch * recipe.batch as u64) as f64 / config.images as f64);
        let made = recipe.share * until.min(1.0) * recipe.retries.map_or(1.0, tries);
        Ok(config.images as f64 * (learn + made * make))
    }

    fn of_generator(&mut self, job: &GeneratorJob) -> Result<f64> {
        let settings = &job.settings;
        let key = format!("generator {:?}", cvae_gan::Settings { seed: 0, ..settings.clone() });
        self.measured(key, |speeds| {
            let data = speeds.world.part(job.part)?;
            let mut source = cvae_gan::start::source(settings, data.clone())?;
            let recognizer = job.identity.as_deref().map(|identity| fresh(&identity.config, &data, speeds.device));
            let estimate = cvae_gan::estimate::estimate(settings, recognizer.transpose()?, &mut source, speeds.device)?;
            Ok(estimate.seconds / settings.images as f64)
        })
        .map(|of_image| of_image * settings.images as f64)
    }

    fn measured(&mut self, key: String, measure: impl FnOnce(&Self) -> Result<f64>) -> Result<f64> {
        if let Some(seconds) = self.seconds.get(&key) {
            return Ok(*seconds);
        }
        let seconds = measure(self)?;
        self.seconds.insert(key, seconds);
        Ok(seconds)
    }
}

fn learning_time(config: &TrainConfig, classes: usize, batch: &Batch, device: &Device) -> Result<f64> {
    let mut trainer = Trainer::new(config, classes, device)?;
    trainer.step(batch)?;
    let began = Instant::now();
    for _ in 0..STEPS {
        trainer.step(batch)?;
    }
    Ok(began.elapsed().as_secs_f64() / (f64::from(STEPS) * batch.rows as f64))
}

fn making_time(settings: &cvae_gan::Settings, people: usize, device: &Device) -> Result<f64> {
    let parameters = Parameters::new(1, DType::F32, device);
    let generator = Generator::new(&settings.generator_config(people), parameters.var_builder())?;
    let (z, c) =
        (Tensor::zeros((ROWS, LATENT), DType::F32, device)?, Tensor::zeros((ROWS, people), DType::F32, device)?);
    let draw = || generator.forward(&z, &c)?.sum_all()?.to_scalar::<f32>();
    draw()?;
    let began = Instant::now();
    draw()?;
    Ok(began.elapsed().as_secs_f64() / ROWS as f64)
}

/// A recognizer that has learned nothing; a step takes as long with it as with any other.
fn fresh(config: &TrainConfig, data: &dataset::Dataset, device: &Device) -> Result<Recognizer> {
    let class_names: Vec<String> = data.identities().iter().map(|identity| identity.name.clone()).collect();
    let shape = LightCnnConfig { kind: LightCnnKind::Nine, width: config.width, classes: class_names.len() };
    let parameters = Parameters::new(1, DType::F32, device);
    LightCnn::new(&shape, parameters.var_builder())?;
    let card = Card { config: shape, class_names, dataset: None, images_seen: 0 };
    Ok(Recognizer::new(card, parameters.tensors()?, device)?)
}
