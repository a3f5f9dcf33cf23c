//! Who verifies strangers best, and how sure one can be of it.

use crate::Error;
use crate::arms::Arm;
use command::RunDirectory;
use command::atomic_file::write_atomically;
use command::human::Table;
use command::picture::Intervals;
use recognizer::evaluate::Comparison;
use recognizer::metrics::Features;
use recognizer::metrics::paired::Difference;
use recognizer::{Evaluation, PairSet, Recognizer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;

/// Hears every recognizer, then decides.
pub(crate) struct Judge {
    pairs: PairSet,
    heard: BTreeMap<(Arm, u64), (Features, Evaluation)>,
}

impl Judge {
    /// With the pairs of drawn people that nobody trained on.
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Self { pairs: PairSet::open("demo:held-out")?, heard: BTreeMap::new() })
    }

    /// Takes a recognizer's features of the held-out faces.
    pub(crate) fn hear(&mut self, arm: Arm, seed: u64, recognizer: &Recognizer) -> Result<(), Error> {
        let features = self.pairs.embed(&recognizer.network, recognizer.device(), |_| {})?;
        let evaluation = self.pairs.judge(&features)?;
        command::say(format!("{arm}: {}", accuracy(&evaluation)));
        self.heard.insert((arm, seed), (features, evaluation));
        Ok(())
    }

    /// Compares each arm with real rows alone, seed by seed and over all seeds.
    pub(crate) fn decide(self) -> Result<Verdict, Error> {
        let arms: Result<_, Error> = Arm::ALL.into_iter().map(|arm| self.decide_on(arm)).collect();
        Ok(Verdict { pairs: self.pairs.pairs(), arms: arms? })
    }

    fn decide_on(&self, arm: Arm) -> Result<ArmVerdict, Error> {
        let (mut seeds, mut repetitions) = (Vec::new(), Vec::new());
        for ((_, seed), (features, evaluation)) in self.heard.iter().filter(|((heard, _), _)| *heard == arm) {
            let real_only = self.heard.get(&(Arm::RealOnly, *seed)).filter(|_| arm != Arm::RealOnly);
            let against = match real_only {
                Some((real, _)) => {
                    repetitions.push((real, features));
                    Some(self.pairs.compare(real, features, *seed)?)
                }
                None => None,
            };
            seeds.push(Judged { seed: *seed, evaluation: evaluation.clone(), against_real_only: against });
        }
        let gain = if repetitions.is_empty() { None } else { Some(self.pairs.gain(&repetitions, 1)?) };
        Ok(ArmVerdict { arm, seeds, gain })
    }
}

/// All figures; `--json` prints them as they are, and where else to look.
#[derive(Serialize)]
pub(crate) struct Verdict {
    /// Held-out pairs that all were judged on.
    pairs: usize,
    arms: Vec<ArmVerdict>,
}

#[derive(Serialize)]
struct ArmVerdict {
    arm: Arm,
    seeds: Vec<Judged>,
    /// Over real rows alone: over all seeds, people and seeds resampled.
    gain: Option<Difference>,
}

#[derive(Serialize)]
struct Judged {
    seed: u64,
    evaluation: Evaluation,
    against_real_only: Option<Comparison>,
}

impl Verdict {
    /// One line of JSON: the figures, where their files are, and where metrics were served.
    pub(crate) fn report(&self, directory: &Path, metrics: &str) -> String {
        #[derive(Serialize)]
        struct Report<'a> {
            #[serde(flatten)]
            verdict: &'a Verdict,
            directory: &'a Path,
            metrics: &'a str,
        }
        json(&Report { verdict: self, directory, metrics })
    }

    /// `verdict.json`, `verdict.txt` and `accuracy.png`.
    pub(crate) fn save(&self, directory: &RunDirectory) -> Result<(), Error> {
        let write = |name: &str, text: String| {
            write_atomically(directory.path().join(name), |file| file.write_all(text.as_bytes()))
        };
        write("verdict.json", json(self))?;
        write("verdict.txt", self.to_string())?;
        let title = "Telling strangers apart, a point for each seed";
        let mut plot = Intervals::new(title, "held-out accuracy [%] +- standard error over folds");
        for arm in &self.arms {
            let points = arm.seeds.iter().map(|judged| {
                let verification = &judged.evaluation.cosine.verification;
                (100.0 * verification.accuracy, 100.0 * verification.standard_error)
            });
            plot.column(arm.arm.to_string(), points);
        }
        Ok(plot.render().save(directory.path().join("accuracy.png"))?)
    }

    fn conclusion(&self) -> String {
        let seeds = self.arms.first().map_or(0, |arm| arm.seeds.len());
        let clear = |gain: &Difference| gain.interval.0 > 0.0 || gain.interval.1 < 0.0;
        let told = |arm: &ArmVerdict| {
            let gain = arm.gain.filter(clear)?;
            Some(format!("{} {}", arm.arm, points(&gain)))
        };
        let sure: Vec<String> = self.arms.iter().filter_map(told).collect();
        let found = if sure.is_empty() {
            "No difference here is larger than its uncertainty.".to_owned()
        } else {
            format!("Larger than its uncertainty: {}.", sure.join("; "))
        };
        let caution = if seeds < 3 {
            " A training this short shows the mechanism and can't settle whether generated faces help; \
             `demo --full` takes three seeds and more images."
        } else {
            ""
        };
        format!("{found}{caution}")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(["trained on", "seed", "held-out accuracy", "difference to real only (95 % interval)"]);
        for arm in &self.arms {
            for judged in &arm.seeds {
                let difference = judged.against_real_only.map_or_else(String::new, |c| points(&c.difference));
                table.row([arm.arm.to_string(), judged.seed.to_string(), accuracy(&judged.evaluation), difference]);
            }
            if arm.seeds.len() > 1 {
                let accuracies = arm.seeds.iter().map(|judged| judged.evaluation.cosine.verification.accuracy);
                let (mean, deviation) = mean_and_deviation(&accuracies.collect::<Vec<_>>());
                let accuracy = format!("{:.1} %, sd {:.1} over seeds", 100.0 * mean, 100.0 * deviation);
                let gain = arm.gain.as_ref().map_or_else(String::new, points);
                table.row([arm.arm.to_string(), "all".to_owned(), accuracy, gain]);
            }
        }
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "Accuracy on {} pairs of drawn people that nobody trained on, by LFW's protocol (10 folds, cosine); the \
             interval is over resampled people and, where there are several, seeds.",
            command::human::count(self.pairs as u64)
        )?;
        writeln!(f, "{}", self.conclusion())
    }
}

fn json(figures: &impl Serialize) -> String {
    // Plain structs of numbers and names always have a JSON form.
    serde_json::to_string(figures).unwrap_or_default()
}

/// Of at least two values; the deviation is a sample's (n - 1).
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

fn accuracy(evaluation: &Evaluation) -> String {
    let verification = &evaluation.cosine.verification;
    format!("{:.1} +- {:.1} %", 100.0 * verification.accuracy, 100.0 * verification.standard_error)
}

fn points(difference: &Difference) -> String {
    let (low, high) = difference.interval;
    format!("{:+.1} points ({:+.1} to {:+.1})", 100.0 * difference.mean, 100.0 * low, 100.0 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conclusion(existing: (f64, f64), blended: (f64, f64)) -> String {
        let arm = |arm, interval: Option<(f64, f64)>| {
            let gain = |interval: (f64, f64)| Difference {
                mean: (interval.0 + interval.1) / 2.0,
                standard_error: 0.01,
                interval,
            };
            ArmVerdict { arm, seeds: Vec::new(), gain: interval.map(gain) }
        };
        let arms = vec![arm(Arm::RealOnly, None), arm(Arm::Existing, Some(existing)), arm(Arm::Blended, Some(blended))];
        Verdict { pairs: 6000, arms }.conclusion()
    }

    #[test]
    fn what_is_larger_than_its_uncertainty_is_told_with_its_sign() {
        let told = conclusion((0.01, 0.05), (-0.04, -0.02));
        let expected = "Larger than its uncertainty: + existing people +3.0 points (+1.0 to +5.0); \
                        + blended people -3.0 points (-4.0 to -2.0).";
        assert!(told.starts_with(expected), "{told}");
    }

    #[test]
    fn what_may_be_luck_is_not_told() {
        let told = conclusion((-0.01, 0.05), (0.01, 0.03));
        assert!(told.starts_with("Larger than its uncertainty: + blended people +2.0 points"), "{told}");
        assert!(!told.contains("existing"), "{told}");
        let told = conclusion((-0.01, 0.05), (-0.03, 0.0));
        assert!(told.starts_with("No difference here is larger than its uncertainty."), "{told}");
    }

    #[test]
    fn the_spread_over_seeds_is_a_samples() {
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), (2.0, 2f64.sqrt()));
    }
}
