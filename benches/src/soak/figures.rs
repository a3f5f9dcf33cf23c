//! What a soak says.

use command::human::{self, Table};
use serde::Serialize;

/// Everything that was measured. `--json` prints it as it is.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    trainers: usize,
    /// How long all of them read.
    seconds: f64,
    images_per_second: f64,
    /// Images that the trainer with the fewest, and the one with the most, was sent.
    fewest_images: u64,
    most_images: u64,
    /// Jain's index of fairness, (sum x)^2 / (n sum x^2): 1 when all were sent equally many.
    jain: f64,
    memory: Memory,
    /// Of each pair of windows: what the others were sent with the stalled one, by what they were sent
    /// without it.
    ratios: Vec<f64>,
    /// Their median; 1 when a stalled trainer costs nothing.
    stalled_ratio: f64,
}

/// The server's resident memory.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Memory {
    looks: Vec<u64>,
}

impl Memory {
    pub(crate) fn look(&mut self, resident_bytes: u64) {
        self.looks.push(resident_bytes);
    }

    fn most(&self) -> u64 {
        self.looks.iter().copied().max().unwrap_or(0)
    }

    /// Mean of the last quarter by the mean of the second one. Above 1, memory grows.
    fn growth(&self) -> f64 {
        let quarter = self.looks.len() / 4;
        let mean = |looks: &[u64]| looks.iter().map(|&look| look as f64).sum::<f64>() / looks.len().max(1) as f64;
        match quarter {
            0 => 1.0,
            _ => mean(&self.looks[3 * quarter..]) / mean(&self.looks[quarter..2 * quarter]),
        }
    }
}

impl Figures {
    pub(crate) fn new(seconds: f64, served: Vec<u64>, memory: Memory, ratios: Vec<f64>) -> Self {
        let sum: f64 = served.iter().map(|&images| images as f64).sum();
        Self {
            trainers: served.len(),
            seconds,
            images_per_second: sum / seconds,
            fewest_images: served.iter().copied().min().unwrap_or(0),
            most_images: served.iter().copied().max().unwrap_or(0),
            jain: jain(&served),
            memory,
            stalled_ratio: median(&ratios),
            ratios,
        }
    }
}

fn jain(served: &[u64]) -> f64 {
    let sum: f64 = served.iter().map(|&images| images as f64).sum();
    let squares: f64 = served.iter().map(|&images| (images as f64).powi(2)).sum();
    sum * sum / (served.len() as f64 * squares)
}

/// 1 where there is nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 1.0,
        count => (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0,
    }
}

/// The form for people.
impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = human::rate(self.images_per_second);
        let mut table = Table::new(["all together", &format!("{rate} images/s for {:.0} s", self.seconds)]);
        table
            .row(["trainers", &self.trainers.to_string()])
            .row([
                "images of each",
                &format!("{} to {}", human::count(self.fewest_images), human::count(self.most_images)),
            ])
            .row(["Jain's index", &format!("{:.5}", self.jain)])
            .row(["server's memory", &format!("{} at most", human::bytes(self.memory.most()))])
            .row(["its growth", &format!("{:.4} (last quarter by second one)", self.memory.growth())])
            .row([
                "with one stalled",
                &format!("{:.4} of the rate without it (median of {} pairs)", self.stalled_ratio, self.ratios.len()),
            ]);
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_have_index_one_and_one_of_four_who_has_all_has_a_quarter() {
        assert_eq!(jain(&[7, 7, 7]), 1.0);
        assert_eq!(jain(&[12, 0, 0, 0]), 0.25);
        assert!((jain(&[1, 2]) - 0.9).abs() < 1e-12);
    }

    #[test]
    fn memory_that_doubles_shows_and_memory_that_is_flat_does_not() {
        let memory = |looks: &[u64]| Memory { looks: looks.to_vec() };
        assert_eq!(memory(&[9, 5, 5, 5, 5]).growth(), 1.0);
        assert_eq!(memory(&[1, 2, 3, 4]).growth(), 2.0);
        assert_eq!(memory(&[]).growth(), 1.0);
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
    }
}
