//! `recognizer evaluate`: figures on pairs.

use clap::Args;
use command::human::{Table, percent};
use command::{Context, Progress};
use recognizer::evaluate::PairFigures;
use recognizer::metrics::Features;
use recognizer::{Error, PairSet, Recognizer};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Judge a recognizer on pairs of faces: the same person, or not?
#[derive(Args)]
pub(crate) struct Evaluate {
    /// Recognizer: a checkpoint or a run directory
    #[arg(long, value_name = "FILE|RUN", help_heading = "Input")]
    weights: PathBuf,
    /// Pairs: a folder or tar with pairs.txt, or demo:held-out
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pairs: PathBuf,
    /// Another recognizer: is the difference more than luck?
    #[arg(long, value_name = "FILE|RUN", help_heading = "Input")]
    against: Option<PathBuf>,
    /// What computes: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "Everywhere")]
    device: String,
}

/// Seed of the bootstrap: its intervals are the same each time.
const SEED: u64 = 1;

pub(crate) fn run(evaluate: &Evaluate, json: bool, context: &Context) -> Result<(), Error> {
    let device = nets::device::parse(&evaluate.device)?;
    let recognizer = recognizer::load(&evaluate.weights, &device)?;
    let pairs = PairSet::open(&evaluate.pairs)?;
    if pairs.folds_overlap() {
        command::say("an identity stands in two folds: the standard error is too small");
    }
    let features = embed(&recognizer, &pairs, context)?;
    let evaluation = pairs.judge(&features)?;
    let comparison = match &evaluate.against {
        Some(other) => {
            let other = embed(&recognizer::load(other, &device)?, &pairs, context)?;
            Some(pairs.compare(&other, &features, SEED)?)
        }
        None => None,
    };

    if json {
        let card = &recognizer.card;
        let mut object = json!({
            "weights": evaluate.weights,
            "architecture": card.config.kind,
            "width": card.config.width,
            "classes": card.config.classes,
            "images_seen": card.images_seen,
            "accuracy": evaluation.cosine.verification.accuracy,
            "standard_error": evaluation.cosine.verification.standard_error,
            "pairs": evaluation.pairs,
            "cosine": evaluation.cosine,
            "euclidean": evaluation.euclidean,
        });
        if let Some(comparison) = &comparison {
            object["against"] = json!({ "weights": evaluate.against, "gain": comparison });
        }
        println!("{object}");
        return Ok(());
    }
    let mut table =
        Table::new(["", "accuracy", "equal error rate", "area under curve", "true accepts at false accepts"]);
    row(&mut table, "cosine", &evaluation.cosine);
    row(&mut table, "Euclidean", &evaluation.euclidean);
    println!("{} on {} pairs\n{table}", name(&evaluate.weights, &recognizer), evaluation.pairs);
    if let (Some(comparison), Some(other)) = (comparison, &evaluate.against) {
        let difference = comparison.difference;
        println!(
            "{:+.2} points over {} (95 % of resampled people: {:+.2} to {:+.2}; McNemar p = {:.2e})",
            100.0 * difference.mean,
            other.display(),
            100.0 * difference.interval.0,
            100.0 * difference.interval.1,
            comparison.mcnemar.p_value,
        );
    }
    Ok(())
}

fn embed(recognizer: &Recognizer, pairs: &PairSet, context: &Context) -> Result<Features, Error> {
    let progress = Progress::new("embedding", pairs.images() as u64, "images");
    let features = pairs.embed(&recognizer.network, recognizer.device(), |images| progress.advance(images))?;
    if context.interrupt.requested() {
        return Err(command::Error::Interrupted.into());
    }
    Ok(features)
}

fn row(table: &mut Table, similarity: &str, figures: &PairFigures) {
    let verification = &figures.verification;
    let acceptance: Vec<String> = figures
        .acceptance
        .iter()
        .map(|at| format!("{} at {}", percent(at.true_accept_rate), at.false_accept_rate))
        .collect();
    table.row([
        similarity.to_owned(),
        format!("{:.2} +- {:.2} %", 100.0 * verification.accuracy, 100.0 * verification.standard_error),
        percent(figures.equal_error_rate),
        format!("{:.4}", figures.area_under_curve),
        acceptance.join(", "),
    ]);
}

fn name(path: &Path, recognizer: &Recognizer) -> String {
    let card = &recognizer.card;
    format!("{} ({} {}, {} classes)", path.display(), card.config.kind, card.config.width, card.config.classes)
}
