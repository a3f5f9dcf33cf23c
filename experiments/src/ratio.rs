//! How many generated rows, and how few real images: accuracy over both.
//!
//! For each number of real images a generator and its identity network are trained on those images
//! alone, so that no arm knows more than it should.

use crate::error::Result;
use crate::gain::{self, Told, over_repetitions};
use crate::jobs::{Arm, Job};
use crate::report::{Bench, Generators, Report};
use crate::settings::Settings;
use crate::verification::similarity;
use crate::world::{Part, World};
use command::human::{count, percent};
use command::picture::Plot;
use recognizer::metrics::Features;
use recognizer::metrics::paired::Difference;
use serde::Serialize;

/// Everything that was measured.
#[derive(Serialize)]
struct Grid {
    pairs: usize,
    cells: Vec<Cell>,
}

/// One number of real images, one share of generated rows.
#[derive(Serialize)]
struct Cell {
    /// Of each person, at most; as [`Real::most`].
    real_images: usize,
    share: f64,
    /// Of each seed.
    accuracies: Vec<f64>,
    /// Over resampled people and seeds.
    accuracy: Difference,
    /// Over real rows alone, with as many real images; absent for these themselves.
    gain: Option<Told>,
}

/// How many real images there are.
#[derive(Clone, Copy)]
struct Real {
    part: Part,
    /// Of somebody who has many.
    most: usize,
}

fn reals(settings: &Settings, world: &World) -> Vec<Real> {
    let all = world.most_images();
    let mut counts: Vec<u32> = settings.real_images.iter().copied().filter(|&count| (count as usize) < all).collect();
    counts.sort_unstable();
    counts.dedup();
    let few = counts.into_iter().map(|count| Real { part: Part::Few(count), most: count as usize });
    few.chain([Real { part: Part::Training, most: all }]).collect()
}

fn arm(share: f64) -> Arm {
    if share == 0.0 { Arm::REAL } else { Arm::existing(share) }
}

/// The trainings.
///
/// # Errors
/// Settings that can't train.
pub fn jobs(settings: &Settings, world: &World) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for real in reals(settings, world) {
        for share in settings.ratio_shares() {
            for seed in settings.seeds() {
                let job = settings.arm_job(arm(share), settings.first_loss(), seed, real.part)?;
                jobs.push(Job::Recognizer(job));
            }
        }
    }
    Ok(jobs)
}

/// Trains what is missing, judges all.
///
/// # Errors
/// Whatever ends a training, Ctrl-C, pairs that are missing.
pub fn run(bench: &Bench<'_>) -> Result<Report> {
    let pairs = bench.world.pairs()?;
    let mut cells = Vec::new();
    for real in reals(bench.settings, bench.world) {
        let mut alone = None;
        for share in bench.settings.ratio_shares() {
            let features = features(bench, real, share)?;
            cells.push(cell(bench, real, share, &features, alone.as_deref())?);
            alone.get_or_insert(features);
        }
    }
    let grid = Grid { pairs: pairs.pairs(), cells };
    Ok(tell(bench, &grid))
}

fn features(bench: &Bench<'_>, real: Real, share: f64) -> Result<Vec<Features>> {
    let Bench { settings, world, .. } = bench;
    let of = |seed| {
        bench.pair_features(world.pairs()?, &settings.arm_job(arm(share), settings.first_loss(), seed, real.part)?)
    };
    settings.seeds().map(of).collect()
}

fn cell(bench: &Bench<'_>, real: Real, share: f64, features: &[Features], alone: Option<&[Features]>) -> Result<Cell> {
    let (pairs, similarity) = (bench.world.pairs()?, similarity(bench.settings.first_loss()));
    let judged = |first: &[Features]| -> Result<Vec<_>> {
        let both = first.iter().zip(features);
        both.map(|(first, second)| Ok(pairs.judged(first, second, similarity)?)).collect()
    };
    let own = judged(features)?;
    Ok(Cell {
        real_images: real.most,
        share,
        accuracies: own.iter().map(|judged| gain::right(judged)).collect(),
        accuracy: gain::share(&own)?,
        gain: alone.map(|alone| Told::of(&judged(alone)?)).transpose()?,
    })
}

fn tell(bench: &Bench<'_>, grid: &Grid) -> Report {
    let settings = bench.settings;
    let mut report = Report::new("Ratio: how many generated rows, how few real images?", grid);
    let reals = reals(settings, bench.world);
    let of = |real: Real| grid.cells.iter().filter(move |cell| cell.real_images == real.most);
    for real in &reals {
        let told = of(*real).filter_map(|cell| {
            let Told { gain, finding } = cell.gain.as_ref()?;
            Some(format!("{} of generated rows {} ({})", percent(cell.share), gain.points(), finding.word()))
        });
        let told: Vec<String> = told.collect();
        report.find(format!("{}: over real rows alone, {}", images(*real), told.join("; ")));
    }
    report.heading("Accuracy over the share of generated rows");
    report.text(format!(
        "On {} pairs of people whom nothing was trained on. {} {} trained for {} images each; generated rows are new images \
         of the same people, by a generator that saw as many real images as the recognizer. Intervals of 95 % are over \
         resampled people and seeds.",
        count(grid.pairs as u64),
        settings.arch,
        settings.width,
        count(settings.recognizer_images),
    ));
    let rows = grid.cells.iter().map(|cell| {
        let [gain, finding] = Told::cells(cell.gain.as_ref());
        let accuracy = over_repetitions(&cell.accuracies);
        [cell.real_images.to_string(), percent(cell.share), accuracy, gain::percent(&cell.accuracy), gain, finding]
    });
    let header = [
        "real images of each person",
        "generated rows",
        "accuracy",
        "interval",
        "gain over real rows alone",
        "finding",
    ];
    report.table(header, rows);

    curves(&mut report, settings, grid, &reals);
    let tests = grid.cells.iter().filter(|cell| cell.gain.is_some()).count();
    report.usual_cautions(bench, tests, Generators::Once);
    report.caution("all arms have equally many steps, so generated rows displace real ones");
    report
}

/// Accuracy over shares and, where there are several, over numbers of real images.
fn curves(report: &mut Report, settings: &Settings, grid: &Grid, reals: &[Real]) {
    let of = |real: Real| grid.cells.iter().filter(move |cell| cell.real_images == real.most);
    let title = "Telling strangers apart";
    let mut plot = Plot::new(title, "generated rows [%]", "accuracy [%], band 95 %");
    for real in reals {
        plot.band(images(*real), of(*real).map(|cell| (100.0 * cell.share, percents(cell), ends(cell))));
    }
    report.picture(
        "by-share",
        "Accuracy over the share of generated rows, a line for each number of real images",
        plot.render(),
    );
    if reals.len() > 1 {
        let mut plot = Plot::new(title, "real images of each person", "accuracy [%], band 95 %");
        for share in settings.ratio_shares() {
            let cells = grid.cells.iter().filter(|cell| cell.share == share);
            let name = format!("{} generated", percent(share));
            plot.band(name, cells.map(|cell| (cell.real_images as f64, percents(cell), ends(cell))));
        }
        report.picture(
            "by-real-images",
            "The same over the number of real images, a line for each share",
            plot.render(),
        );
    }
}

fn images(real: Real) -> String {
    match real.part {
        Part::Few(_) => format!("{} real images of each person", real.most),
        _ => format!("all real images (up to {})", real.most),
    }
}

fn percents(cell: &Cell) -> f64 {
    100.0 * cell.accuracy.mean
}

fn ends(cell: &Cell) -> (f64, f64) {
    let (low, high) = cell.accuracy.interval;
    (100.0 * low, 100.0 * high)
}
