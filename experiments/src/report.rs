//! A report: what was found, in tables and figures, and all that it takes to find it again.

mod bench;
mod provenance;

pub use bench::Bench;
pub use provenance::Provenance;

use crate::error::Result;
use command::atomic_file::write_atomically;
use command::picture::Picture;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Names of a report's files beside its figures.
pub const MARKDOWN: &str = "report.md";
const JSON: &str = "report.json";

/// What an experiment found.
pub struct Report {
    title: String,
    /// Sentences, the most important first, without full stops.
    findings: Vec<String>,
    parts: Vec<Part>,
    /// What keeps the findings from saying more.
    caveats: Vec<String>,
    /// All figures.
    figures: Value,
}

/// How often a generator was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generators {
    /// For all seeds of what learns from it.
    Once,
    /// With each seed.
    EachSeed,
}

enum Part {
    Heading(String),
    Text(String),
    Table { header: Vec<String>, rows: Vec<Vec<String>> },
    Picture { name: String, caption: String, picture: Picture },
}

impl Report {
    /// A report of `figures`, any plain struct, with nothing said about them yet.
    pub fn new(title: impl Into<String>, figures: &impl Serialize) -> Self {
        // Plain structs of numbers and names always have a JSON form.
        let figures = serde_json::to_value(figures).unwrap_or_default();
        Self { title: title.into(), findings: Vec::new(), parts: Vec::new(), caveats: Vec::new(), figures }
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What was found.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Adds a sentence to what was found, without its full stop.
    pub fn find(&mut self, sentence: impl Into<String>) {
        self.findings.push(capital(sentence.into()));
    }

    /// Adds a sentence on what the findings don't say, without its full stop.
    pub fn caution(&mut self, sentence: impl Into<String>) {
        self.caveats.push(capital(sentence.into()));
    }

    /// Adds what every comparison of trainings leaves open: `tests` differences at 95 %, repeated with seeds, of
    /// generators that were trained once or with each seed.
    pub fn usual_cautions(&mut self, bench: &Bench<'_>, tests: usize, generators: Generators) {
        if tests > 1 {
            self.caution(format!(
                "{tests} differences are tested at 95 % each: were nothing different at all, one in twenty would still seem \
                 to be, and the best of several looks better than it is"
            ));
        }
        match bench.settings.seeds {
            1 => self.caution("with a single seed the luck of a training is in no interval"),
            2..=4 => self.caution(
                "so few seeds show little of the luck of trainings: where they disagree the true interval is wider than the \
                 one that is given",
            ),
            _ => {}
        }
        if generators == Generators::Once {
            self.caution("a generator was trained once: its own luck is in no interval");
        }
        self.caution_of_drawn_faces(bench);
    }

    /// Adds what drawn faces can't show, where the data are drawn.
    pub fn caution_of_drawn_faces(&mut self, bench: &Bench<'_>) {
        if bench.world.training.drawn().is_some() {
            self.caution("drawn faces show the mechanism; they are no evidence on photographs");
        }
    }

    /// Begins a section.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Heading(text.into()));
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Text(text.into()));
    }

    /// Adds a table.
    pub fn table<const N: usize>(&mut self, header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        let header = header.map(str::to_owned).to_vec();
        self.parts.push(Part::Table { header, rows: rows.into_iter().map(|row| row.to_vec()).collect() });
    }

    /// Adds a picture; `name` is its file's, without ending.
    pub fn picture(&mut self, name: &str, caption: impl Into<String>, picture: Picture) {
        self.parts.push(Part::Picture { name: format!("{name}.png"), caption: caption.into(), picture });
    }

    /// Writes `report.md`, `report.json` and the pictures into a folder; gives the Markdown's place.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn save(&self, folder: &Path, provenance: &Provenance) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).map_err(command::Error::writing(folder))?;
        for part in &self.parts {
            if let Part::Picture { name, picture, .. } = part {
                picture.save(folder.join(name))?;
            }
        }
        let json = serde_json::to_string_pretty(&self.to_json(provenance)).unwrap_or_default();
        write_atomically(folder.join(JSON), |file| writeln!(file, "{json}"))?;
        let markdown = folder.join(MARKDOWN);
        let text = self.to_markdown(provenance);
        write_atomically(&markdown, |file| file.write_all(text.as_bytes()))?;
        Ok(markdown)
    }

    /// All of it for programs.
    pub fn to_json(&self, provenance: &Provenance) -> Value {
        serde_json::json!({
            "title": self.title,
            "findings": self.findings,
            "caveats": self.caveats,
            "figures": self.figures,
            "provenance": provenance,
        })
    }

    /// All of it for people.
    pub fn to_markdown(&self, provenance: &Provenance) -> String {
        let mut text = format!("# {}\n\n", self.title);
        // Writing to a string can't fail.
        for finding in &self.findings {
            let _ = writeln!(text, "- {finding}.");
        }
        for part in &self.parts {
            let _ = match part {
                Part::Heading(heading) => writeln!(text, "\n## {heading}"),
                Part::Text(words) => writeln!(text, "\n{words}"),
                Part::Table { header, rows } => writeln!(text, "\n{}", markdown_table(header, rows)),
                Part::Picture { name, caption, .. } => writeln!(text, "\n![{caption}]({name})\n\n*{caption}*"),
            };
        }
        if !self.caveats.is_empty() {
            let _ = writeln!(text, "\n## What this doesn't say\n");
            for caveat in &self.caveats {
                let _ = writeln!(text, "- {caveat}.");
            }
        }
        let _ = writeln!(text, "\n{}", provenance.to_markdown());
        text
    }
}

/// A sentence begins with a capital, also where it was put together.
fn capital(mut sentence: String) -> String {
    if let Some(first) = sentence.get(..1).map(str::to_uppercase) {
        sentence.replace_range(..1, &first);
    }
    sentence
}

/// Rows that are also aligned where they are read as plain text.
pub(crate) fn markdown_table(header: &[String], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = std::iter::once(header).chain(rows.iter().map(Vec::as_slice));
            cells.filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        })
        .collect();
    let line = |cells: &[String]| {
        let padded = widths.iter().enumerate().map(|(column, width)| {
            let cell = cells.get(column).map_or("", String::as_str).replace('|', "/");
            format!("{cell:width$}")
        });
        format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>();
    let lines = std::iter::once(line(header)).chain([line(&rule)]).chain(rows.iter().map(|row| line(row)));
    lines.collect::<Vec<_>>().join("\n")
}
