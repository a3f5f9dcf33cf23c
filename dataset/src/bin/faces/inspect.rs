//! `faces inspect`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use command::human::{self, Table};
use command::{Interrupt, Progress};
use dataset::pairs::Pairs;
use dataset::{Dataset, Error, OpenOptions};
use rayon::prelude::*;
use serde::Serialize;

use crate::{Failure, sheet};

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// A folder per identity, a tar of one, or demo
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Check structure and size of the files only, not every pixel
    #[arg(long, help_heading = "Input")]
    quick: bool,
    /// Names of identities to leave out, as training and serving would
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Input")]
    withhold: Vec<String>,
    /// Also draw an overview of some images into a PNG
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    sheet: Option<PathBuf>,
}

/// Everything that `--json` prints.
#[derive(Serialize)]
struct Findings {
    path: PathBuf,
    digest: String,
    identities: usize,
    images: usize,
    images_per_identity: PerIdentity,
    /// Ranges of images an identity, and how many identities fall into each.
    histogram: Vec<(String, usize)>,
    report: dataset::Report,
    damaged: Vec<Damaged>,
    /// `null` when the pixels weren't looked at.
    decoded_images_per_second: Option<f64>,
    /// `null` when the set has none.
    pairs: Option<PairFindings>,
    pairs_error: Option<String>,
}

#[derive(Serialize)]
struct PerIdentity {
    fewest: usize,
    median: usize,
    mean: f64,
    most: usize,
}

#[derive(Serialize)]
struct Damaged {
    path: String,
    reason: String,
}

#[derive(Serialize)]
struct PairFindings {
    folds: usize,
    pairs: usize,
    folds_share_identities: bool,
}

pub(crate) fn run(args: &InspectArgs, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let options = OpenOptions { channels: 3, withheld: args.withhold.clone(), ..OpenOptions::default() };
    let set = Dataset::open(&args.path, &options)?;
    let mut findings = look(&set);
    if !args.quick {
        decode_all(&set, interrupt, &mut findings)?;
    }
    if let Some(path) = &args.sheet {
        sheet::save(&set, path)?;
    }
    if json {
        let text = serde_json::to_string_pretty(&findings).map_err(std::io::Error::from);
        println!("{}", text.map_err(command::Error::writing("standard output"))?);
    } else {
        print(&findings);
    }
    Ok(())
}

fn look(set: &Dataset) -> Findings {
    let mut counts: Vec<usize> =
        set.identities().iter().map(|identity| identity.images).filter(|&images| images > 0).collect();
    counts.sort_unstable();
    let (pairs, pairs_error) = match Pairs::of(set) {
        Ok(pairs) => {
            let found = PairFindings {
                folds: pairs.folds.len(),
                pairs: pairs.len(),
                folds_share_identities: !pairs.folds_are_disjoint(set),
            };
            (Some(found), None)
        }
        Err(Error::NoPairs { .. }) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    Findings {
        path: set.path().into(),
        digest: set.digest().into(),
        identities: counts.len(),
        images: set.len(),
        images_per_identity: PerIdentity {
            fewest: counts.first().copied().unwrap_or(0),
            median: counts.get(counts.len() / 2).copied().unwrap_or(0),
            mean: set.len() as f64 / counts.len().max(1) as f64,
            most: counts.last().copied().unwrap_or(0),
        },
        histogram: histogram(&counts),
        report: set.report().clone(),
        damaged: Vec::new(),
        decoded_images_per_second: None,
        pairs,
        pairs_error,
    }
}

/// Counts in ranges that grow roughly by the factor two: 1, 2-4, 5-9, 10-19, 20-49, 50-99 ...
fn histogram(counts: &[usize]) -> Vec<(String, usize)> {
    let starts = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, usize::MAX];
    let ranges = starts.windows(2).map(|range| {
        let held = counts.iter().filter(|count| (range[0]..range[1]).contains(count)).count();
        let name = match (range[0], range[1]) {
            (1, _) => "1".to_owned(),
            (from, usize::MAX) => format!("{from} and more"),
            (from, to) => format!("{from} to {}", to - 1),
        };
        (name, held)
    });
    ranges.filter(|(_, held)| *held > 0).collect()
}

fn decode_all(set: &Dataset, interrupt: &Interrupt, findings: &mut Findings) -> Result<(), Failure> {
    let progress = Progress::new("decoding", set.len() as u64, "images");
    let started = Instant::now();
    let damaged: Result<Vec<Option<Damaged>>, Failure> = (0..set.len())
        .into_par_iter()
        .map(|image| {
            if interrupt.requested() {
                return Err(Failure::Interrupted);
            }
            let outcome = set.read(image);
            progress.advance(1);
            Ok(outcome.err().map(|error| Damaged { path: set.image_path(image).into(), reason: error.to_string() }))
        })
        .collect();
    findings.damaged = damaged?.into_iter().flatten().collect();
    findings.decoded_images_per_second = Some(set.len() as f64 / started.elapsed().as_secs_f64());
    progress.finish();
    Ok(())
}

fn print(findings: &Findings) {
    let count = |value: usize| human::count(value as u64);
    let per = &findings.images_per_identity;
    let mut table = Table::new(["data set".to_owned(), findings.path.display().to_string()]);
    table.row(["digest", &findings.digest]);
    table.row(["identities".to_owned(), count(findings.identities)]);
    table.row(["images".to_owned(), count(findings.images)]);
    table.row(["stored in colour".to_owned(), count(findings.report.colour_images)]);
    table.row([
        "images an identity".to_owned(),
        format!("{} to {}, median {}, mean {:.1}", per.fewest, per.most, per.median, per.mean),
    ]);
    for (range, held) in &findings.histogram {
        table.row([format!("  with {range}"), count(*held)]);
    }
    match (&findings.pairs, &findings.pairs_error) {
        (Some(pairs), _) => {
            let shared = if pairs.folds_share_identities { ", folds share identities" } else { ", identity-disjoint" };
            table.row(["pairs".to_owned(), format!("{} in {} folds{shared}", count(pairs.pairs), pairs.folds)]);
        }
        (None, Some(error)) => {
            table.row(["pairs".to_owned(), format!("unusable: {error}")]);
        }
        (None, None) => {}
    }
    println!("{table}");
    for line in findings.report.lines() {
        println!("set aside: {line}");
    }
    for Damaged { reason, .. } in &findings.damaged {
        println!("damaged: {reason}");
    }
}
