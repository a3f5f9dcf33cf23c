//! A report for people.

use super::{Against, Report, Templates};
use command::human::{Table, percent};
use std::fmt::Write;

impl Report {
    /// A table of the generated images, called `name`, beside held-out real ones, and a line on
    /// variety and memorisation, then sets of them.
    pub fn table(&self, name: &str) -> String {
        let header = [
            "",
            "images",
            "top-1",
            "inception score",
            "FID",
            "KID",
            "own cosine",
            "margin",
            "recognized as themselves",
        ];
        let mut table = Table::new(header);
        table.row(row(name, &self.generated));
        table.row(row("held-out real", &self.held_out));
        let mut sets = Table::new(["templates", "images in each", "people", "rank 1", "same person", "known person"]);
        for (name, figures) in [(name, &self.generated), ("held-out real", &self.held_out)] {
            for templates in &figures.templates {
                sets.row(set_row(name, templates));
            }
        }
        let mut text = table.to_string();
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "\nspread within identities {:.2} of real; nearest real image {:.2} times as far as for held-out ones",
            self.diversity.spread_ratio, self.memorisation.ratio
        );
        if !self.generated.templates.is_empty() {
            let _ = write!(text, "\n{sets}");
        }
        text
    }
}

fn row(name: &str, figures: &Against) -> [String; 9] {
    [
        name.to_owned(),
        figures.answers.images.to_string(),
        figures.answers.top1.map_or("-".to_owned(), percent),
        format!("{:.3}", figures.answers.inception_score),
        format!("{:.3}", figures.frechet_distance),
        format!("{:.4}", figures.kernel_distance),
        format!("{:.3}", figures.identity.own_cosine),
        format!("{:+.3}", figures.identity.margin),
        percent(figures.identity.consistency),
    ]
}

/// "Same person" is the share accepted at a rate of false accepts, "known person" the share found at
/// a rate of unknown people taken for somebody.
fn set_row(name: &str, figures: &Templates) -> [String; 6] {
    let at = |share: f64, rate: f64| format!("{} at {rate}", percent(share));
    let joined = |shares: Vec<String>| if shares.is_empty() { "-".to_owned() } else { shares.join(", ") };
    [
        name.to_owned(),
        figures.images.to_string(),
        figures.identities.to_string(),
        percent(figures.rank1),
        joined(figures.verification.iter().map(|to| at(to.true_accept_rate, to.false_accept_rate)).collect()),
        joined(figures.identification.iter().map(|to| at(to.true_positive_rate, to.false_positive_rate)).collect()),
    ]
}
