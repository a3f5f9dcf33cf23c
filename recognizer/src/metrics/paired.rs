//! Do two recognizers differ, or was it luck? Both are asked about the same pairs, so the test is
//! paired: pairs on which they agree say nothing.

use super::{MetricError, even, mean, need};
use nets::chance::Chance;
use serde::Serialize;

/// McNemar's exact test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Pairs that only the first called rightly.
    pub only_first: u64,
    /// Pairs that only the second called rightly.
    pub only_second: u64,
    /// Two-sided chance of so uneven a split, were both equally good.
    pub p_value: f64,
}

/// Compares two recognizers' calls on the same pairs ([`super::verification::calls`]).
///
/// # Errors
/// Different numbers of calls.
pub fn mcnemar(first: &[bool], second: &[bool]) -> Result<McNemar, MetricError> {
    even("a paired test", ("calls of the first", first.len()), ("of the second", second.len()))?;
    let count = |who: (bool, bool)| first.iter().zip(second).filter(|&(&f, &s)| (f, s) == who).count() as u64;
    let (only_first, only_second) = (count((true, false)), count((false, true)));
    Ok(McNemar { only_first, only_second, p_value: sign_test(only_first, only_second) })
}

/// Twice the smaller tail of Binomial(n, 1/2), at most 1.
fn sign_test(heads: u64, tails: u64) -> f64 {
    let tosses = heads + tails;
    // Logarithms, since 2^-n underflows for the thousands of pairs that are usual.
    let mut log_term = -(tosses as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=heads.min(tails) {
        tail += libm::exp(log_term);
        log_term += libm::log((tosses - k) as f64) - libm::log((k + 1) as f64);
    }
    (2.0 * tail).min(1.0)
}

/// A pair that two recognizers judged, and whom it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedPair {
    /// The identities of its two images; equal for a genuine pair.
    pub identities: (u32, u32),
    /// Whether the first recognizer called it rightly.
    pub first: bool,
    /// Whether the second did.
    pub second: bool,
}

/// The second recognizer's accuracy less the first's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// On the pairs as they are, in [-1, 1].
    pub mean: f64,
    /// Standard deviation over resampled sets of people.
    pub standard_error: f64,
    /// 2.5 % and 97.5 % quantiles over resampled sets of people.
    pub interval: (f64, f64),
}

/// Bootstrap over people, not pairs: pairs that share a face are not independent, and a test that
/// forgets this is too sure. Each round draws identities with replacement; a pair counts as often
/// as its identities were drawn (the product of both, for two people).
///
/// Where each recognizer was trained several times, with other seeds, `trainings` holds the judged
/// pairs of each repetition, and each round draws repetitions as well: their luck is part of the
/// uncertainty. A function of `seed`, like everything random here.
///
/// # Errors
/// Fewer than two identities or two rounds.
pub fn bootstrap(trainings: &[Vec<JudgedPair>], rounds: u64, seed: u64) -> Result<Difference, MetricError> {
    const FIGURE: &str = "a bootstrap over identities";
    let pairs = || trainings.iter().flatten();
    let mut identities: Vec<u32> = pairs().flat_map(|pair| [pair.identities.0, pair.identities.1]).collect();
    identities.sort_unstable();
    identities.dedup();
    need(FIGURE, "identities", 2, identities.len())?;
    need(FIGURE, "rounds", 2, rounds as usize)?;
    let position = |identity| identities.partition_point(|&other| other < identity);
    let positions: Vec<Vec<(usize, usize, f64)>> = trainings
        .iter()
        .map(|pairs| {
            let place = |pair: &JudgedPair| (position(pair.identities.0), position(pair.identities.1), pair.gain());
            pairs.iter().map(place).collect()
        })
        .collect();
    let chance = Chance::new(seed, "bootstrap/identities");
    let mut differences: Vec<f64> = Vec::new();
    for round in 0..rounds {
        let mut draws = chance.at(round, 0);
        let mut times = vec![0u32; identities.len()];
        for _ in 0..identities.len() {
            times[draws.below(identities.len() as u64) as usize] += 1;
        }
        let (mut gain, mut weight) = (0.0, 0.0);
        for _ in 0..positions.len() {
            for &(left, right, pair_gain) in &positions[draws.below(positions.len() as u64) as usize] {
                let copies = f64::from(if left == right { times[left] } else { times[left] * times[right] });
                gain += copies * pair_gain;
                weight += copies;
            }
        }
        // A round that drew no pair says nothing.
        if weight > 0.0 {
            differences.push(gain / weight);
        }
    }
    need(FIGURE, "rounds that drew a pair", 2, differences.len())?;
    differences.sort_by(f64::total_cmp);
    let centre = mean(differences.iter().copied());
    let squares: f64 = differences.iter().map(|value| (value - centre).powi(2)).sum();
    let quantile = |share: f64| differences[((differences.len() - 1) as f64 * share).round() as usize];
    Ok(Difference {
        mean: mean(pairs().map(JudgedPair::gain)),
        standard_error: (squares / (differences.len() as f64 - 1.0)).sqrt(),
        interval: (quantile(0.025), quantile(0.975)),
    })
}

impl JudgedPair {
    /// 1 where only the second was right, -1 where only the first was, else 0.
    fn gain(&self) -> f64 {
        f64::from(u8::from(self.second)) - f64::from(u8::from(self.first))
    }
}
