//! Do generated faces help to tell strangers apart? (The paper's table 2.)
//!
//! Recognizers of one shape train for equally many steps with equal standard augmentation (flip,
//! shift, brightness): on real rows alone, with new images of existing people, with images of blended
//! people; the generated rows new in each step (online) or of a fixed set (offline). All are judged on
//! pairs of people whom neither they nor the generator nor its identity network saw.

use crate::error::Result;
use crate::gain::{self, Finding, Told, over_repetitions};
use crate::jobs::{Arm, Job};
use crate::report::{Bench, Generators, Report};
use crate::rows::{Supply, Whom};
use crate::settings::Settings;
use crate::world::{Part, World};
use command::human::count;
use command::picture::Intervals;
use recognizer::Labels;
use recognizer::evaluate::PairFigures;
use recognizer::flags::LossName;
use recognizer::metrics::Features;
use recognizer::metrics::verification::Similarity;
use serde::Serialize;

/// The arms, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Which {
    None,
    ExistingOnline,
    BlendedOnline,
    ExistingOffline,
    BlendedOffline,
}

/// What is compared: the second against the first.
const COMPARISONS: [(Which, Which); 6] = [
    (Which::None, Which::ExistingOnline),
    (Which::None, Which::BlendedOnline),
    (Which::None, Which::ExistingOffline),
    (Which::None, Which::BlendedOffline),
    (Which::ExistingOffline, Which::ExistingOnline),
    (Which::BlendedOffline, Which::BlendedOnline),
];

impl Which {
    const ALL: [Self; 5] =
        [Self::None, Self::ExistingOnline, Self::BlendedOnline, Self::ExistingOffline, Self::BlendedOffline];

    fn name(self, labels: Labels) -> &'static str {
        match (self, labels) {
            (Self::None, _) => "real rows alone",
            (Self::ExistingOnline, _) => "+ existing, online",
            (Self::BlendedOnline, Labels::Hard) => "+ blended, online",
            (Self::BlendedOnline, Labels::Soft) => "+ blended (soft), online",
            (Self::ExistingOffline, _) => "+ existing, offline",
            (Self::BlendedOffline, Labels::Hard) => "+ blended, offline",
            (Self::BlendedOffline, Labels::Soft) => "+ blended (soft), offline",
        }
    }

    fn arm(self, settings: &Settings, people: u32) -> Arm {
        let offline = Supply::Offline { images: settings.offline_images };
        let blended = Whom::Blended { people, labels: settings.blended_labels, spread: settings.blended_spread };
        let share = settings.synthetic_share;
        match self {
            Self::None => Arm::REAL,
            Self::ExistingOnline => Arm::existing(share),
            Self::BlendedOnline => Arm { whom: blended, ..Arm::existing(share) },
            Self::ExistingOffline => Arm { supply: offline, ..Arm::existing(share) },
            Self::BlendedOffline => Arm { whom: blended, supply: offline, ..Arm::existing(share) },
        }
    }
}

/// Everything that was measured.
#[derive(Serialize)]
struct Table {
    pairs: usize,
    folds_overlap: bool,
    losses: Vec<OfLoss>,
}

#[derive(Serialize)]
struct OfLoss {
    loss: &'static str,
    similarity: Similarity,
    blended_labels: Labels,
    arms: Vec<OfArm>,
    comparisons: Vec<Compared>,
}

#[derive(Serialize)]
struct OfArm {
    arm: Which,
    /// A training each.
    seeds: Vec<PairFigures>,
}

#[derive(Serialize)]
struct Compared {
    arm: Which,
    against: Which,
    #[serde(flatten)]
    told: Told,
}

/// The trainings.
///
/// # Errors
/// Settings that can't train.
pub fn jobs(settings: &Settings, world: &World) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for loss in settings.distinct_losses() {
        for which in Which::ALL {
            for seed in settings.seeds() {
                let arm = which.arm(settings, blended_people(settings, world));
                jobs.push(Job::Recognizer(settings.arm_job(arm, loss, seed, Part::Training)?));
            }
        }
    }
    Ok(jobs)
}

fn blended_people(settings: &Settings, world: &World) -> u32 {
    settings.blended_people.unwrap_or(world.people() as u32)
}

/// How a recognizer of this loss compares features.
pub(crate) fn similarity(loss: LossName) -> Similarity {
    match loss {
        LossName::Softmax => Similarity::Cosine,
        LossName::Centre => Similarity::Euclidean,
    }
}

/// Trains what is missing, judges all.
///
/// # Errors
/// Whatever ends a training, Ctrl-C, pairs that are missing.
pub fn run(bench: &Bench<'_>) -> Result<Report> {
    let pairs = bench.world.pairs()?;
    let losses = bench.settings.distinct_losses().into_iter().map(|loss| of_loss(bench, loss));
    let table =
        Table { pairs: pairs.pairs(), folds_overlap: pairs.folds_overlap(), losses: losses.collect::<Result<_>>()? };
    Ok(tell(bench, &table))
}

fn of_loss(bench: &Bench<'_>, loss: LossName) -> Result<OfLoss> {
    let Bench { settings, world, .. } = bench;
    let (pairs, similarity) = (world.pairs()?, similarity(loss));
    let mut heard: Vec<(Which, Vec<Features>)> = Vec::new();
    for which in Which::ALL {
        let arm = which.arm(settings, blended_people(settings, world));
        let features = |seed| bench.pair_features(pairs, &settings.arm_job(arm, loss, seed, Part::Training)?);
        heard.push((which, settings.seeds().map(features).collect::<Result<_>>()?));
    }
    let arms = heard.iter().map(|(arm, seeds)| {
        let judged = seeds.iter().map(|features| {
            let evaluation = pairs.judge(features)?;
            Ok(if similarity == Similarity::Cosine { evaluation.cosine } else { evaluation.euclidean })
        });
        Ok(OfArm { arm: *arm, seeds: judged.collect::<Result<_>>()? })
    });
    let of = |which| heard.iter().filter(move |(arm, _)| *arm == which).flat_map(|(_, seeds)| seeds);
    let comparisons = COMPARISONS.into_iter().map(|(against, arm)| {
        let both = of(against).zip(of(arm));
        let judged = both.map(|(first, second)| Ok(pairs.judged(first, second, similarity)?));
        Ok(Compared { arm, against, told: Told::of(&judged.collect::<Result<Vec<_>>>()?)? })
    });
    Ok(OfLoss {
        loss: match loss {
            LossName::Softmax => "softmax",
            LossName::Centre => "centre",
        },
        similarity,
        blended_labels: settings.blended_labels,
        arms: arms.collect::<Result<_>>()?,
        comparisons: comparisons.collect::<Result<_>>()?,
    })
}

fn word(similarity: Similarity) -> &'static str {
    match similarity {
        Similarity::Cosine => "cosine",
        Similarity::Euclidean => "Euclidean",
    }
}

fn tell(bench: &Bench<'_>, table: &Table) -> Report {
    let settings = bench.settings;
    let mut report = Report::new("Verification: do generated faces help to tell strangers apart?", table);
    for of in &table.losses {
        findings(&mut report, of, table.losses.len() > 1);
    }
    report.heading("Accuracy");
    report.text(format!(
        "On {} pairs of people whom nothing was trained on, by LFW's protocol: the threshold of each fold is that which \
         does best on the others. {} {} trained for {} images each in batches of {}, {} of them generated in the arms \
         with generated rows; all rows are flipped, shifted and brightened alike.",
        count(table.pairs as u64),
        settings.arch,
        settings.width,
        count(settings.recognizer_images),
        settings.batch,
        command::human::percent(settings.synthetic_share),
    ));
    let rows = table.losses.iter().flat_map(|of| of.arms.iter().map(move |arm| accuracy_row(of, arm)));
    report.table(["recognizer", "trained on", "accuracy", "equal error rate", "AUC", "of each seed"], rows);
    if settings.blended_spread != 0.0 {
        report.text(format!(
            "Blended people are led away from the average person by a spread of {}: 1 keeps the variance of one person.",
            settings.blended_spread
        ));
    }
    if !settings.blended_labels.is_hard() {
        report.text("Rows of blended people are learned as the people they are blended from, each by its weight.");
    }
    report.heading("Differences");
    report.text(
        "In points of accuracy, the first less the second, on the same pairs with the same seeds. The interval of 95 % is \
         over resampled people and seeds. McNemar's test counts the pairs that only one of the two called rightly \
         (first : second), pooled over seeds.",
    );
    let rows =
        table.losses.iter().flat_map(|of| of.comparisons.iter().map(move |compared| difference_row(of, compared)));
    report.table(["recognizer", "first", "second", "difference", "McNemar", "finding"], rows);
    for of in &table.losses {
        pictures(&mut report, of);
    }
    cautions(&mut report, bench, table);
    report
}

/// A sentence for each difference that is larger than its uncertainty, and one for all others.
fn findings(report: &mut Report, of: &OfLoss, several: bool) {
    let judged = if several { format!("{}: ", recognizer_name(of)) } else { String::new() };
    let (clear, unclear): (Vec<&Compared>, Vec<&Compared>) =
        of.comparisons.iter().partition(|compared| compared.told.finding != Finding::Unclear);
    for Compared { arm, against, told } in clear {
        report.find(format!("{judged}{}", told.gain.sentence(&of.quoted(*arm), &of.quoted(*against))));
    }
    let told = unclear.iter().map(|Compared { arm, against, told }| {
        format!("{} less {}, {}", of.quoted(*arm), of.quoted(*against), told.gain.points())
    });
    let told: Vec<String> = told.collect();
    if !told.is_empty() {
        report.find(format!("{judged}no difference larger than its uncertainty: {}", told.join("; ")));
    }
}

impl OfLoss {
    fn name(&self, which: Which) -> &'static str {
        which.name(self.blended_labels)
    }

    fn quoted(&self, which: Which) -> String {
        match which {
            Which::None => self.name(which).to_owned(),
            which => format!("`{}`", self.name(which)),
        }
    }
}

fn recognizer_name(of: &OfLoss) -> String {
    format!("{} loss, {}", of.loss, word(of.similarity))
}

fn accuracy_row(of: &OfLoss, arm: &OfArm) -> [String; 6] {
    let mean = |figure: fn(&PairFigures) -> f64| arm.seeds.iter().map(figure).sum::<f64>() / arm.seeds.len() as f64;
    let accuracies: Vec<f64> = arm.seeds.iter().map(|seed| seed.verification.accuracy).collect();
    let each = accuracies.iter().map(|accuracy| format!("{:.1}", 100.0 * accuracy));
    [
        recognizer_name(of),
        of.name(arm.arm).to_owned(),
        over_repetitions(&accuracies),
        command::human::percent(mean(|seed| seed.equal_error_rate)),
        format!("{:.3}", mean(|seed| seed.area_under_curve)),
        each.collect::<Vec<_>>().join(", "),
    ]
}

fn difference_row(of: &OfLoss, compared: &Compared) -> [String; 6] {
    let Compared { arm, against, told: Told { gain, finding } } = compared;
    let (arm, against) = (of.name(*arm).to_owned(), of.name(*against).to_owned());
    [recognizer_name(of), arm, against, gain.points(), gain.mcnemar(), finding.word().to_owned()]
}

fn pictures(report: &mut Report, of: &OfLoss) {
    let slug = if of.similarity == Similarity::Cosine { "cosine" } else { "euclidean" };
    let title = format!("Telling strangers apart: {}", recognizer_name(of));
    let mut plot = Intervals::new(&title, "accuracy [%] +- standard error over folds");
    for arm in &of.arms {
        let percent = |figures: &PairFigures| {
            (100.0 * figures.verification.accuracy, 100.0 * figures.verification.standard_error)
        };
        plot.column(of.name(arm.arm), arm.seeds.iter().map(percent));
    }
    let caption = format!("Accuracy of {}: a point for each seed, a dash at their mean", recognizer_name(of));
    report.picture(&format!("accuracy-{slug}"), caption, plot.render());

    let mut plot = Intervals::new(&title, "gain over real rows alone [points], 95 %");
    plot.level(0.0);
    for Compared { arm, told, .. } in of.comparisons.iter().filter(|compared| compared.against == Which::None) {
        gain::column(&mut plot, of.name(*arm), &told.gain.difference);
    }
    let caption = format!("What each arm gains over real rows alone, {}", recognizer_name(of));
    report.picture(&format!("gain-{slug}"), caption, plot.render());
}

fn cautions(report: &mut Report, bench: &Bench<'_>, table: &Table) {
    let tests = table.losses.len() * COMPARISONS.len();
    report.usual_cautions(bench, tests, Generators::Once);
    report.caution(
        "all arms have equally many steps, so generated rows displace real ones; a longer training may rank them differently",
    );
    report.caution(
        "the generator, its identity network and the recognizers learned from the same training images and no others",
    );
    if table.losses.iter().any(|of| of.similarity == Similarity::Euclidean) {
        report.caution("the centre loss is a stand-in for the paper's Concentrate Loss, whose formula isn't known");
    }
    if table.folds_overlap {
        report.caution("some people stand in two folds, so the folds are not independent");
    }
}
