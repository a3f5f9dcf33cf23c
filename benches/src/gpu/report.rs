//! What all parts said, as a table and as a file.

use crate::parts::{Outcome, Side};
use command::human::{Table, rate};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    io,
    path::Path,
};

/// What was said, in order.
#[derive(Default)]
pub(crate) struct Report {
    outcomes: Vec<Outcome>,
}

/// Best figures of one piece of work, by who computed in which numbers.
#[derive(Default)]
struct Row {
    here: Vec<(String, f64)>,
    torch: Vec<(String, f64)>,
}

impl Report {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Findings that are wrong, and runs here that failed or did not end.
    pub(crate) fn wrong(&self) -> usize {
        let here = || self.outcomes.iter().filter(|outcome| outcome.side == Side::Here);
        let wrong = here().flat_map(|outcome| &outcome.lines).filter(|line| line["right"] == json!(false)).count();
        wrong + here().filter(|outcome| outcome.failure.is_some()).count()
    }

    /// Everything, as one JSON document.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let parts = self.outcomes.iter().map(|outcome| {
            let side = if outcome.side == Side::Here { "here" } else { "torch" };
            json!({
                "side": side, "command": outcome.command, "numbers": outcome.numbers,
                "lines": outcome.lines, "failure": outcome.failure,
            })
        });
        let document = json!({ "parts": parts.collect::<Vec<_>>() });
        std::fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
    }

    fn rows(&self) -> BTreeMap<&str, Row> {
        let mut rows = BTreeMap::<&str, Row>::new();
        for outcome in &self.outcomes {
            for line in &outcome.lines {
                let (Some(work), Some(figure)) = (line["work"].as_str(), line["images_per_second"].as_f64()) else {
                    continue;
                };
                let row = rows.entry(work).or_default();
                match outcome.side {
                    Side::Here => row.here.push((outcome.numbers.clone(), figure)),
                    Side::Torch => row.torch.push((text(&line["mode"]), figure)),
                }
            }
        }
        // A tile is a generator's work too, and PyTorch knows it by that name.
        if let Some(torch) = rows.get("generator").map(|row| row.torch.clone())
            && let Some(tiles) = rows.get_mut("generator, tiles")
        {
            tiles.torch = torch;
        }
        rows
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn best(figures: &[(String, f64)]) -> Option<&(String, f64)> {
    figures.iter().max_by(|a, b| a.1.total_cmp(&b.1))
}

fn shown(figure: Option<&(String, f64)>) -> String {
    figure.map_or("-".to_owned(), |(how, figure)| format!("{} ({how})", rate(*figure)))
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut checks =
            Table::new(["held against f64 on the CPU", "findings", "wrong", "largest error over its bound"]);
        for outcome in &self.outcomes {
            let findings: Vec<_> = outcome.lines.iter().filter(|line| line["check"].is_string()).collect();
            if findings.is_empty() {
                continue;
            }
            let wrong: Vec<_> = findings.iter().filter(|line| line["right"] == json!(false)).collect();
            let over = |line: &&&Value| match (line["error"].as_f64(), line["bound"].as_f64()) {
                (Some(error), Some(bound)) if bound > 0.0 => error / bound,
                (Some(0.0), _) => 0.0,
                _ => f64::INFINITY,
            };
            let worst = findings.iter().max_by(|a, b| over(a).total_cmp(&over(b)));
            checks.row([
                format!(
                    "{} in {}",
                    outcome.command.split("--check ").nth(1).unwrap_or_default().split(' ').next().unwrap_or_default(),
                    outcome.numbers
                ),
                findings.len().to_string(),
                wrong.len().to_string(),
                worst.map_or("-".to_owned(), |line| format!("{:.2}: {}", over(&line), text(&line["check"]))),
            ]);
        }
        let mut speeds = Table::new(["images/s", "here", "torch's best", "ratio", "torch"]);
        for (work, row) in self.rows() {
            let (here, torch) = (best(&row.here), best(&row.torch));
            let ratio = here.zip(torch).map_or("-".to_owned(), |(here, torch)| format!("{:.2}", here.1 / torch.1));
            let all: Vec<String> = row.torch.iter().map(|(mode, figure)| format!("{mode} {}", rate(*figure))).collect();
            speeds.row([work.to_owned(), shown(here), shown(torch), ratio, all.join(", ")]);
        }
        writeln!(f, "{checks}\n{speeds}")?;
        for outcome in &self.outcomes {
            if let Some(failure) = &outcome.failure {
                writeln!(f, "{failure}: {}", outcome.command)?;
            }
            for line in &outcome.lines {
                if let (Some(mode), Some(failed)) = (line["mode"].as_str(), line["failed"].as_str()) {
                    writeln!(f, "torch {mode}, {}: {failed}", text(&line["work"]))?;
                }
                if line["right"] == json!(false) {
                    writeln!(f, "WRONG: {} in {}: error {}", text(&line["check"]), outcome.numbers, line["error"])?;
                }
            }
        }
        Ok(())
    }
}
