//! What one way gains over another, and the words for it: they follow from the interval.

use crate::error::Result;
use command::picture::Intervals;
use recognizer::metrics::paired::{self, Difference, JudgedPair, McNemar};
use serde::Serialize;

/// Of the bootstrap: rounds, and its key.
const ROUNDS: u64 = 2000;
const SEED: u64 = 1;

/// One way of doing something against another, over all repetitions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// Of both, people and repetitions resampled together.
    pub difference: Difference,
    /// Over the calls of all repetitions, pooled. The same pairs come in each of them and share
    /// people, so its chance is too small; the interval is what counts.
    pub mcnemar: McNemar,
    /// The difference in each repetition.
    pub repetitions: Vec<f64>,
}

/// What an interval of 95 % allows to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// All of it lies above nothing.
    Better,
    /// All of it lies below.
    Worse,
    /// Nothing is in it.
    Unclear,
}

impl Gain {
    /// Of judged pairs or images of each repetition, the second way less the first.
    ///
    /// # Errors
    /// Fewer than two people.
    pub fn of(repetitions: &[Vec<JudgedPair>]) -> Result<Self> {
        let all = || repetitions.iter().flatten();
        let calls = |who: fn(&JudgedPair) -> bool| all().map(who).collect::<Vec<bool>>();
        let gain = |judged: &Vec<JudgedPair>| {
            let sum: i64 = judged.iter().map(|pair| i64::from(pair.second) - i64::from(pair.first)).sum();
            sum as f64 / judged.len() as f64
        };
        Ok(Self {
            difference: paired::bootstrap(repetitions, ROUNDS, SEED)?,
            mcnemar: paired::mcnemar(&calls(|pair| pair.first), &calls(|pair| pair.second))?,
            repetitions: repetitions.iter().map(gain).collect(),
        })
    }

    /// What may be said.
    pub fn finding(&self) -> Finding {
        let (low, high) = self.difference.interval;
        if low > 0.0 {
            Finding::Better
        } else if high < 0.0 {
            Finding::Worse
        } else {
            Finding::Unclear
        }
    }

    /// `+1.3 points (+0.4 to +2.2)`.
    pub fn points(&self) -> String {
        points(&self.difference)
    }

    /// A sentence, without its full stop: `of` against `than`.
    pub fn sentence(&self, of: &str, than: &str) -> String {
        let points = self.points();
        match self.finding() {
            Finding::Better => format!("{of} does better than {than}: {points}"),
            Finding::Worse => format!("{of} does worse than {than}: {points}"),
            Finding::Unclear => {
                format!("between {of} and {than} there is no difference larger than its uncertainty: {points}")
            }
        }
    }

    /// McNemar's figures in a cell.
    pub fn mcnemar(&self) -> String {
        let McNemar { only_first, only_second, p_value } = self.mcnemar;
        let p = if p_value < 0.001 { "< 0.001".to_owned() } else { format!("{p_value:.3}") };
        format!("{only_second} : {only_first}, p {p}")
    }
}

impl Finding {
    /// In a cell.
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Unclear => "not told apart",
        }
    }
}

/// A gain and what may be said of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// What may be said.
    pub finding: Finding,
    /// The figures.
    #[serde(flatten)]
    pub gain: Gain,
}

impl Told {
    /// As [`Gain::of`].
    ///
    /// # Errors
    /// Fewer than two people.
    pub fn of(repetitions: &[Vec<JudgedPair>]) -> Result<Self> {
        let gain = Gain::of(repetitions)?;
        Ok(Self { finding: gain.finding(), gain })
    }

    /// Points and finding in a table, where there is something to compare with.
    pub fn cells(told: Option<&Self>) -> [String; 2] {
        match told {
            Some(Self { gain, finding }) => [gain.points(), finding.word().to_owned()],
            None => ["-".to_owned(), "-".to_owned()],
        }
    }
}

/// The share of right calls of the second way.
pub fn right(judged: &[JudgedPair]) -> f64 {
    judged.iter().filter(|pair| pair.second).count() as f64 / judged.len() as f64
}

/// A share of right calls over repetitions, people and repetitions resampled together.
///
/// # Errors
/// Fewer than two people.
pub fn share(repetitions: &[Vec<JudgedPair>]) -> Result<Difference> {
    let right = |judged: &Vec<JudgedPair>| -> Vec<JudgedPair> {
        judged.iter().map(|pair| JudgedPair { first: false, ..*pair }).collect()
    };
    let right: Vec<_> = repetitions.iter().map(right).collect();
    Ok(paired::bootstrap(&right, ROUNDS, SEED)?)
}

/// `+1.3 points (+0.4 to +2.2)`.
pub fn points(difference: &Difference) -> String {
    let (low, high) = difference.interval;
    format!("{:+.1} points ({:+.1} to {:+.1})", 100.0 * difference.mean, 100.0 * low, 100.0 * high)
}

/// `43.1 % (40.2 to 45.7)`.
pub fn percent(share: &Difference) -> String {
    let (low, high) = share.interval;
    format!("{:.1} % ({:.1} to {:.1})", 100.0 * share.mean, 100.0 * low, 100.0 * high)
}

/// A column of a plot in percent or points: the mean and the ends of its interval.
pub fn column(plot: &mut Intervals, name: impl Into<String>, difference: &Difference) {
    let (low, high) = difference.interval;
    plot.spans(name, [(100.0 * difference.mean, (100.0 * low, 100.0 * high))]);
}

/// `43.1 %, sd 0.6`; of a single value no deviation is known.
pub fn over_repetitions(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return format!("{:.1} %", 100.0 * mean);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{:.1} %, sd {:.1}", 100.0 * mean, 100.0 * (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gain(mean: f64, interval: (f64, f64)) -> Gain {
        Gain {
            difference: Difference { mean, standard_error: 0.01, interval },
            mcnemar: McNemar { only_first: 2, only_second: 9, p_value: 0.065 },
            repetitions: vec![mean],
        }
    }

    #[test]
    fn words_never_go_beyond_the_interval() {
        let told = |mean, interval| gain(mean, interval).sentence("existing people", "real rows alone");
        assert_eq!(
            told(0.013, (0.004, 0.022)),
            "existing people does better than real rows alone: +1.3 points (+0.4 to +2.2)"
        );
        assert_eq!(
            told(-0.03, (-0.05, -0.001)),
            "existing people does worse than real rows alone: -3.0 points (-5.0 to -0.1)"
        );
        for interval in [(-0.001, 0.05), (0.0, 0.05), (-0.05, 0.0)] {
            let told = told(0.02, interval);
            assert!(told.contains("no difference larger than its uncertainty"), "{told}");
        }
    }

    #[test]
    fn a_gain_is_that_of_the_second_over_all_repetitions() -> Result<()> {
        let pair = |person, first, second| JudgedPair { identities: (person, person), first, second };
        // Of four people, in two repetitions, the second is right about all, the first about half.
        let judged: Vec<JudgedPair> = (0..4).map(|person| pair(person, person % 2 == 0, true)).collect();
        let gain = Gain::of(&[judged.clone(), judged.clone()])?;
        assert_eq!((gain.difference.mean, gain.repetitions.clone()), (0.5, vec![0.5, 0.5]));
        assert_eq!((gain.mcnemar.only_first, gain.mcnemar.only_second), (0, 4));
        assert_eq!(share(&[judged])?.mean, 1.0);
        Ok(())
    }

    #[test]
    fn the_spread_over_repetitions_is_a_samples() {
        assert_eq!(over_repetitions(&[0.5]), "50.0 %");
        assert_eq!(over_repetitions(&[0.4, 0.6]), "50.0 %, sd 14.1");
    }
}
