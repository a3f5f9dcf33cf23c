//! Learning curves as a picture beside the figures they are drawn from.

use crate::error::Result;
use crate::evaluate::Evaluation;
use command::RunDirectory;
use command::picture::Plot;
use command::run_directory::read_stats;

/// Names of the figures of an evaluation, as `stats.jsonl` and TensorBoard have them.
const COSINE: &str = "pairs_cosine";
const COSINE_ERROR: &str = "pairs_cosine_standard_error";
const EUCLIDEAN: &str = "pairs_euclidean";
const EQUAL_ERROR: &str = "pairs_equal_error_rate";

pub(super) fn pair_figures(evaluation: &Evaluation) -> [(&'static str, f64); 4] {
    [
        (COSINE, evaluation.cosine.verification.accuracy),
        (COSINE_ERROR, evaluation.cosine.verification.standard_error),
        (EUCLIDEAN, evaluation.euclidean.verification.accuracy),
        (EQUAL_ERROR, evaluation.cosine.equal_error_rate),
    ]
}

/// Whether the figures of an evaluation at this place have been written down.
pub(super) fn has_pair_figures(run: &RunDirectory, images_seen: u64) -> Result<bool> {
    let stats = read_stats(run.path())?;
    Ok(stats.iter().rev().any(|(seen, figures)| *seen == images_seen && figures.contains_key(COSINE)))
}

/// Writes `loss.png` and `accuracy.png` from all of the run's figures, also those before a resume.
pub(super) fn draw(run: &RunDirectory) -> Result<()> {
    let stats = read_stats(run.path())?;
    let series = |name: &str| -> Vec<(f64, f64)> {
        let value = |figures: &serde_json::Map<String, serde_json::Value>| figures.get(name)?.as_f64();
        stats.iter().filter_map(|(seen, figures)| Some((*seen as f64, value(figures)?))).collect()
    };
    let mut loss = Plot::new("Loss in training", "images seen", "nats");
    loss.line("softmax", series("softmax"));
    let mut accuracy = Plot::new("Accuracy", "images seen", "share right");
    accuracy.line("training rows, with dropout", series("train_accuracy"));
    for (label, name) in [("pairs, cosine", COSINE), ("pairs, Euclidean", EUCLIDEAN)] {
        let points = series(name);
        if !points.is_empty() {
            accuracy.line(label, points);
        }
    }
    loss.render().save(run.path().join("loss.png"))?;
    accuracy.render().save(run.path().join("accuracy.png"))?;
    Ok(())
}
