//! The trade between accepting impostors and rejecting genuine pairs.

use super::{MetricError, finite, need};
use serde::Serialize;

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
    /// Impostor pairs that the bound lets in. Below about 3 the figure is luck.
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
        // A bound such as 0.3 of 10 must not lose an impostor to rounding.
        let allowed = (false_accept_rate * self.impostor.len() as f64 + 1e-9).floor().max(0.0) as usize;
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

fn share_from(descending: &[f64], threshold: f64) -> f64 {
    descending.partition_point(|&score| score >= threshold) as f64 / descending.len() as f64
}
