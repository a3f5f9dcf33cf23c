//! `cvae-gan evaluate`: figures of faces made.

use clap::Args;
use command::human::{count, percent};
use command::{Interrupt, Progress};
use cvae_gan::judge::{Trial, took_part};
use cvae_gan::{Error, Trained};
use dataset::{Dataset, OpenOptions};
use std::path::PathBuf;

/// Judge faces made by a recognizer that took no part in training
///
/// Each figure stands beside that of real images of the same people, as many: of --held-out, or of
/// one half of --data against the other. Where there is an encoder, real images are also drawn again
/// under another's name: none should be recognized as whom the image showed.
#[derive(Args)]
pub(crate) struct Evaluate {
    /// A run directory, a checkpoint or an exported bundle
    #[arg(value_name = "RUN|FILE")]
    weights: PathBuf,
    /// The judge: a recognizer's checkpoint or run, best trained on --data with another network or seed
    #[arg(long, value_name = "FILE|RUN", help_heading = "Input")]
    judge: PathBuf,
    /// The images it was trained on
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    data: PathBuf,
    /// Images of the same people that neither it nor the judge was trained on
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    held_out: Option<PathBuf>,
    /// Images made of each identity
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=10_000), help_heading = "Input")]
    per_identity: u32,
    /// Judge also so many identities that are blended of three others: are they new people, each one person?
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000), help_heading = "Input")]
    blended: u32,
    /// How far these are led away from the average person: 0 not at all, 1 to the variance of one person
    #[arg(long, value_name = "POWER", default_value_t = 0.0, value_parser = dataset::blended::label::parse_spread, help_heading = "Input")]
    blended_spread: f64,
    /// Of the latents
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Input")]
    seed: u64,
    /// What computes: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named, help_heading = "Everywhere")]
    device: String,
}

pub(crate) fn run(evaluate: &Evaluate, json: bool, interrupt: &Interrupt) -> Result<(), Error> {
    let device = nets::device::parse(&evaluate.device)?;
    let trained = Trained::open(&evaluate.weights, &device)?;
    let recognizer = recognizer::load(&evaluate.judge, &device)?;
    let options = OpenOptions { channels: trained.channels, decode_all: true, ..OpenOptions::default() };
    let open = |path: &PathBuf| Dataset::open(path, &options);
    let data = open(&evaluate.data)?;
    let held_out = evaluate.held_out.as_ref().map(open).transpose()?;
    let took_part = took_part(&trained, &recognizer)?;
    if took_part {
        command::say("the judge is the network that training was steered by: its figures flatter");
    }

    let trial = Trial {
        trained: &trained,
        judge: &recognizer,
        dataset: &data,
        held_out: held_out.as_ref(),
        per_identity: evaluate.per_identity as usize,
        blended: evaluate.blended as usize,
        blended_spread: evaluate.blended_spread,
        seed: evaluate.seed,
    };
    let progress = Progress::new("judging", trial.images(), "images");
    let verdict = trial.run(&progress, interrupt)?;
    progress.finish();

    if json {
        let object = serde_json::json!({
            "weights": evaluate.weights.display().to_string(),
            "images_seen": trained.images_seen,
            "identities": trained.names.len(),
            "chance": 1.0 / trained.names.len() as f64,
            "judge": evaluate.judge.display().to_string(),
            "judge_architecture": recognizer.card.config.kind,
            "judge_took_part": took_part,
            "images": verdict.images,
            "swapped": verdict.swapped,
            "blended": verdict.blended,
        });
        println!("{object}");
        return Ok(());
    }
    println!(
        "{} after {} images seen, judged by {} ({} {}); chance is {}",
        evaluate.weights.display(),
        count(trained.images_seen),
        evaluate.judge.display(),
        recognizer.card.config.kind,
        recognizer.card.config.width,
        percent(1.0 / trained.names.len() as f64)
    );
    println!("{}", verdict.text());
    Ok(())
}
