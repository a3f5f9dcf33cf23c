//! A report for people.

use super::{Against, Report};
use command::human::{Table, percent};
use std::fmt::Write;

impl Report {
    /// A table of the generated images, called `name`, beside held-out real ones, and a line on
    /// variety and memorisation.
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
        let mut text = table.to_string();
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "\nspread within identities {:.2} of real; nearest real image {:.2} times as far as for held-out ones",
            self.diversity.spread_ratio, self.memorisation.ratio
        );
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
