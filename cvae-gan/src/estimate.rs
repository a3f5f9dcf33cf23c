//! What a training will cost, from a step of each kind and a checkpoint.

use crate::Result;
use crate::figures::Figures;
use crate::identity_network::IdentityNetwork;
use crate::learner::Learner;
use crate::settings::Settings;
use crate::state::to_checkpoint;
use candle_core::{DType, Device, Tensor};
use nets::FEATURE;
use recognizer::{Batch, BatchSource, FolderSource, Recognizer};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Time and memory of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Scalar parameters of E and G.
    pub parameters: usize,
    /// Scalar parameters of the critics.
    pub critic_parameters: usize,
    /// Largest memory of this process while it made the steps and the checkpoint, where the system
    /// says.
    pub memory_bytes: Option<u64>,
    /// Size of a checkpoint.
    pub checkpoint_bytes: u64,
    /// Images a second before the critics take part; None where they do from the start.
    pub warm_up_rate: Option<f64>,
    /// Images a second with all terms.
    pub rate: f64,
    /// Of the whole training, without pictures and checkpoints.
    pub seconds: f64,
}

/// Makes steps and a checkpoint of this training, throws them away, and reckons.
///
/// # Errors
/// As a training's first step.
pub fn estimate(
    settings: &Settings,
    recognizer: Option<Recognizer>,
    source: &mut FolderSource,
    device: &Device,
) -> Result<Estimate> {
    let classes = source.classes();
    let identity = recognizer.map(|recognizer| {
        // Where the centres lie costs nothing to a step.
        let centres = Tensor::zeros((classes, FEATURE), DType::F32, device)?;
        let Recognizer { card, weights, .. } = recognizer;
        IdentityNetwork::new(card.config, card.class_names, weights, centres, DType::F32, device)
    });
    let mut learner = Learner::new(settings, classes, identity.transpose()?, DType::F32, device)?;
    let batch = source.next()?;

    let mut rate_at = |images_seen| measure(&mut learner, &batch, images_seen).map(|(rate, _)| rate);
    let warm_up_rate = (settings.warm_up > 0 && settings.has_critics()).then(|| rate_at(0)).transpose()?;
    let rate = rate_at(settings.warm_up)?;
    let checkpoint_bytes = write_in_memory(&learner, source)?;

    let (parameters, critic_parameters) = learner.parameter_counts();
    let warm_up = settings.warm_up.min(settings.images);
    let warm = warm_up_rate.map_or(0.0, |rate| warm_up as f64 / rate);
    let rest = if warm_up_rate.is_some() { settings.images - warm_up } else { settings.images };
    Ok(Estimate {
        parameters,
        critic_parameters,
        memory_bytes: peak_memory(),
        checkpoint_bytes,
        warm_up_rate,
        rate,
        seconds: warm + rest as f64 / rate,
    })
}

/// Images a second at one place of a training: over all steps from one of E and G to the next.
/// Also gives the figures of those steps.
pub(crate) fn measure(learner: &mut Learner, batch: &Batch, images_seen: u64) -> Result<(f64, Figures)> {
    learner.images_seen = images_seen;
    let steps = if learner.critics_active() { learner.settings.critic_steps } else { 1 };
    let mut step = |nth: u64| {
        (learner.steps, learner.images_seen) = (nth, images_seen);
        learner.step(batch)
    };
    // The first step of E and G measures pulls too, which few steps do.
    step(steps - 1)?;
    let mut figures = Figures::default();
    let started = Instant::now();
    for nth in steps..2 * steps {
        figures.merge(&step(nth)?);
    }
    Ok(((steps * batch.rows as u64) as f64 / started.elapsed().as_secs_f64(), figures))
}

impl Estimate {
    /// For people, one line each.
    pub fn lines(&self) -> Vec<String> {
        use command::human::{bytes, count, duration, rate};
        let speed = match self.warm_up_rate {
            Some(warm_up) => format!("{} images/s without critics, {} with", rate(warm_up), rate(self.rate)),
            None => format!("{} images/s", rate(self.rate)),
        };
        let memory = self.memory_bytes.map_or("not known on this system".to_owned(), bytes);
        vec![
            format!(
                "parameters: {} of E and G, {} of the critics",
                count(self.parameters as u64),
                count(self.critic_parameters as u64)
            ),
            format!("memory: {memory}"),
            format!("checkpoint: {}", bytes(self.checkpoint_bytes)),
            format!("speed now: {speed}"),
            format!("time: {}", duration(Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX))),
        ]
    }
}

/// Makes a checkpoint and its second copy, which reading it back takes; gives its length.
fn write_in_memory(learner: &Learner, source: &FolderSource) -> Result<u64> {
    let checkpoint = to_checkpoint(learner, &Figures::default(), source)?;
    let bytes = checkpoint.to_bytes()?;
    Ok(std::hint::black_box(bytes.clone()).len() as u64)
}

/// The largest resident memory of this process so far. Linux tells it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}
