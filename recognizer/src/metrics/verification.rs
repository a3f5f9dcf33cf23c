//! The protocol of Labeled Faces in the Wild: are these two images of one person?
//!
//! Ten folds with no identity in common. The threshold of a fold is the one that does best on the
//! other nine, so no fold is judged by a threshold that saw it. (Huang et al. 2007, "restricted".)

use super::features::{cosine, distance};
use super::{MetricError, even, finite, mean, need};
use serde::{Deserialize, Serialize};

/// How alike two features are; larger is more alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// Cosine of the angle between them, in [-1, 1].
    Cosine,
    /// Negative distance between them as they are, not normalised.
    Euclidean,
}

impl Similarity {
    /// The score of one pair. Zero vectors have cosine 0 with everything.
    pub fn score(self, left: &[f32], right: &[f32]) -> f64 {
        match self {
            Self::Cosine => cosine(left, right),
            Self::Euclidean => -distance(left, right),
        }
    }
}

/// A pair after scoring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredPair {
    /// Larger is more alike.
    pub score: f64,
    /// Whether both images show one person.
    pub same: bool,
}

/// What the protocol reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// Mean over the folds, in [0, 1].
    pub accuracy: f64,
    /// Standard deviation over the folds (n - 1) divided by the square root of their number.
    pub standard_error: f64,
    /// In the order of the file.
    pub folds: Vec<Fold>,
}

/// One fold, judged by the others' threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fold {
    /// Pairs with this score or more are called the same person.
    pub threshold: f64,
    /// Share of the fold's pairs called rightly, in [0, 1].
    pub accuracy: f64,
}

/// Runs the protocol over folds in file order.
///
/// # Errors
/// Fewer than two folds, an empty fold, a score that is not finite.
pub fn verify(folds: &[Vec<ScoredPair>]) -> Result<Verification, MetricError> {
    const FIGURE: &str = "verification";
    need(FIGURE, "folds", 2, folds.len())?;
    need(FIGURE, "pairs in each fold", 1, folds.iter().map(Vec::len).min().unwrap_or(0))?;
    finite(FIGURE, folds.iter().flatten().map(|pair| pair.score))?;
    let judged: Vec<Fold> = (0..folds.len())
        .map(|held_out| {
            let others = folds.iter().enumerate().filter(|&(fold, _)| fold != held_out);
            let threshold = best_threshold(others.flat_map(|(_, pairs)| pairs).copied().collect());
            Fold { threshold, accuracy: accuracy(&folds[held_out], threshold) }
        })
        .collect();
    let count = judged.len() as f64;
    let accuracy = mean(judged.iter().map(|fold| fold.accuracy));
    let squares: f64 = judged.iter().map(|fold| (fold.accuracy - accuracy).powi(2)).sum();
    let standard_error = (squares / (count - 1.0)).sqrt() / count.sqrt();
    Ok(Verification { accuracy, standard_error, folds: judged })
}

/// For each pair in order, whether the protocol called it rightly: what [`super::paired`] compares.
pub fn calls(folds: &[Vec<ScoredPair>], verification: &Verification) -> Result<Vec<bool>, MetricError> {
    even("verification", ("folds", folds.len()), ("thresholds", verification.folds.len()))?;
    let judged = folds.iter().zip(&verification.folds);
    Ok(judged.flat_map(|(pairs, fold)| pairs.iter().map(|pair| is_right(pair, fold.threshold))).collect())
}

/// Share of pairs called rightly at a threshold.
pub fn accuracy(pairs: &[ScoredPair], threshold: f64) -> f64 {
    mean(pairs.iter().map(|pair| f64::from(u8::from(is_right(pair, threshold)))))
}

fn is_right(pair: &ScoredPair, threshold: f64) -> bool {
    (pair.score >= threshold) == pair.same
}

/// The threshold with the highest accuracy, among the midpoints of neighbouring distinct scores
/// and one beyond either end. Of several equally good ones the middle one is taken, so that no
/// fold profits from the luck of an edge.
fn best_threshold(mut pairs: Vec<ScoredPair>) -> f64 {
    pairs.sort_by(|left, right| left.score.total_cmp(&right.score));
    // Below all scores every pair is called the same.
    let mut right = pairs.iter().filter(|pair| pair.same).count();
    let mut candidates = vec![(pairs.first().map_or(0.0, |pair| pair.score - 1.0), right)];
    for (position, pair) in pairs.iter().enumerate() {
        if pair.same {
            right -= 1;
        } else {
            right += 1;
        }
        match pairs.get(position + 1) {
            Some(next) if next.score == pair.score => {}
            Some(next) => candidates.push((pair.score.midpoint(next.score), right)),
            None => candidates.push((pair.score + 1.0, right)),
        }
    }
    let best = candidates.iter().map(|&(_, right)| right).max().unwrap_or(0);
    candidates.retain(|&(_, right)| right == best);
    candidates[(candidates.len() - 1) / 2].0
}
