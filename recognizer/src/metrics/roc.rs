//! The trade between accepting impostors and rejecting genuine pairs.

use super::{MetricError, finite, need};
use serde::Serialize;

/// A rate that lets in fewer impostors than this is luck.
const IMPOSTORS_NEEDED: usize = 3;

/// Genuine and impostor scores, each sorted from the highest.
#[derive(Clone, Debug)]
pub struct Scores {
    genuine: Vec<f64>,
    impostor: Vec<f64>,
}

/// The share of genuine pairs accepted at a bounded share of accepted impostors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Acceptance {
    /// The bound that was asked for, in [0, 1].
    pub false_accept_rate: f64,
    /// Smallest threshold that keeps the bound; pairs with this score or more are accepted.
    pub threshold: f64,
    /// Share of genuine pairs accepted, in [0, 1].
    pub true_accept_rate: f64,
    /// Impostor pairs that the bound lets in. Below 3 the figure is luck.
    pub impostors_allowed: usize,
}

impl Scores {
    /// # Errors
    /// No genuine or no impostor score, or one that is not finite.
    pub fn new(mut genuine: Vec<f64>, mut impostor: Vec<f64>) -> Result<Self, MetricError> {
        need("a ROC curve", "genuine pairs", 1, genuine.len())?;
        need("a ROC curve", "impostor pairs", 1, impostor.len())?;
        finite("a ROC curve", genuine.iter().chain(&impostor).copied())?;
        genuine.sort_by(|left, right| right.total_cmp(left));
        impostor.sort_by(|left, right| right.total_cmp(left));
        Ok(Self { genuine, impostor })
    }

    /// The scores of labelled pairs.
    pub fn of_pairs<'a>(
        pairs: impl IntoIterator<Item = &'a super::verification::ScoredPair>,
    ) -> Result<Self, MetricError> {
        let (genuine, impostor): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|pair| pair.same);
        let score = |pairs: Vec<&super::verification::ScoredPair>| pairs.iter().map(|pair| pair.score).collect();
        Self::new(score(genuine), score(impostor))
    }

    /// The error rate where as many impostors are accepted as genuine pairs rejected, in [0, 1];
    /// between two points of the curve it is interpolated.
    pub fn equal_error_rate(&self) -> f64 {
        let mut before = (0.0, 1.0);
        for (false_accepts, true_accepts) in self.curve() {
            let here = (false_accepts, 1.0 - true_accepts);
            if here.0 >= here.1 {
                // The difference of the two rates goes from negative to not negative here.
                let (gap_before, gap_here) = (before.1 - before.0, here.0 - here.1);
                let whole = gap_before + gap_here;
                let part = if whole > 0.0 { gap_before / whole } else { 1.0 };
                return before.0 + part * (here.0 - before.0);
            }
            before = here;
        }
        // The last point of the curve accepts everything.
        1.0
    }

    /// The chance that a genuine pair scores above an impostor, ties counting half.
    pub fn area_under_curve(&self) -> f64 {
        let mut area = 0.0;
        let mut before = (0.0, 0.0);
        for here in self.curve() {
            area += (here.0 - before.0) * (here.1 + before.1) / 2.0;
            before = here;
        }
        area
    }

    /// True accept rate at the smallest threshold whose false accept rate keeps the bound.
    pub fn acceptance(&self, false_accept_rate: f64) -> Acceptance {
        let allowed = allowed(false_accept_rate, self.impostor.len());
        let lowest = self.genuine.last().copied().unwrap_or(0.0).min(self.impostor.last().copied().unwrap_or(0.0));
        // The first impostor that must stay out, and everything that scores no more, is rejected.
        let threshold = self.impostor.get(allowed).map_or(lowest, |score| score.next_up());
        Acceptance {
            false_accept_rate,
            threshold,
            true_accept_rate: share_from(&self.genuine, threshold),
            impostors_allowed: allowed.min(self.impostor.len()),
        }
    }

    /// [`Scores::acceptance`] at those rates that the number of impostors can tell.
    pub fn acceptances(&self, false_accept_rates: &[f64]) -> Vec<Acceptance> {
        let all = false_accept_rates.iter().map(|&rate| self.acceptance(rate));
        all.filter(|at| at.impostors_allowed >= IMPOSTORS_NEEDED).collect()
    }

    /// False and true accept rate at each distinct score, from the highest.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let (genuine, impostor) = (&self.genuine, &self.impostor);
        let (mut accepted_genuine, mut accepted_impostor) = (0, 0);
        let mut curve = Vec::new();
        loop {
            let threshold = match (genuine.get(accepted_genuine), impostor.get(accepted_impostor)) {
                (Some(&genuine), Some(&impostor)) => genuine.max(impostor),
                (Some(&score), None) | (None, Some(&score)) => score,
                (None, None) => return curve,
            };
            accepted_genuine += genuine[accepted_genuine..].iter().take_while(|&&score| score >= threshold).count();
            accepted_impostor += impostor[accepted_impostor..].iter().take_while(|&&score| score >= threshold).count();
            curve.push((
                accepted_impostor as f64 / impostor.len() as f64,
                accepted_genuine as f64 / genuine.len() as f64,
            ));
        }
    }
}

/// The threshold of [`Scores::acceptance`] over impostor scores too many to hold: only the highest
/// are kept, as many as the rate lets in.
#[derive(Clone, Debug)]
pub struct Threshold {
    allowed: usize,
    highest: Vec<f64>,
    /// Scores no higher can't matter any more.
    floor: f64,
}

impl Threshold {
    /// For so many impostor scores in all, none of them NaN.
    pub fn new(impostors: usize, false_accept_rate: f64) -> Self {
        Self { allowed: allowed(false_accept_rate, impostors), highest: Vec::new(), floor: f64::NEG_INFINITY }
    }

    /// Takes note of some scores.
    pub fn extend(&mut self, scores: impl IntoIterator<Item = f64>) {
        for score in scores {
            if score > self.floor {
                self.highest.push(score);
            }
            if self.highest.len() > 2 * (self.allowed + 1) {
                self.floor = self.first_outside().unwrap_or(self.floor);
            }
        }
    }

    /// Smallest threshold that keeps the rate; a score that reaches it is accepted. `None` where
    /// the rate lets in all scores.
    pub fn value(mut self) -> Option<f64> {
        self.first_outside().map(f64::next_up)
    }

    /// The highest score that must stay out; forgets what lies below.
    fn first_outside(&mut self) -> Option<f64> {
        if self.highest.len() <= self.allowed {
            return None;
        }
        let (_, &mut first, _) = self.highest.select_nth_unstable_by(self.allowed, |left, right| right.total_cmp(left));
        self.highest.truncate(self.allowed + 1);
        Some(first)
    }
}

/// Impostors that a rate lets in. A rate such as 0.3 of 10 must not lose one to rounding.
fn allowed(false_accept_rate: f64, impostors: usize) -> usize {
    (false_accept_rate * impostors as f64 + 1e-9).floor().max(0.0) as usize
}

fn share_from(descending: &[f64], threshold: f64) -> f64 {
    descending.partition_point(|&score| score >= threshold) as f64 / descending.len() as f64
}
