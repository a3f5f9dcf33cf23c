//! How should a trainer take generated rows?
//!
//! The generator and its rows' share are the same in all arms; what differs is what the recognizer makes of them:
//! all at full weight, less weight for each, none towards the end, only those that look like their person, and all
//! three together. Judged on pairs of strangers, as in [`crate::verification`].

use crate::error::Result;
use crate::gain::{self, Told, over_repetitions};
use crate::jobs::{Arm, Job, RETRIES, RecognizerJob, Usage};
use crate::report::{Bench, Generators, Report};
use crate::selection::{ABOVE, BELOW, tries};
use crate::settings::Settings;
use crate::verification::similarity;
use crate::world::Part;
use command::human::{count, percent};
use command::picture::Intervals;
use recognizer::metrics::Features;
use recognizer::metrics::paired::{Difference, JudgedPair};
use serde::Serialize;

/// A way to take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// Not at all.
    RealAlone,
    /// As if they were real.
    Plain,
    Weighted,
    RealLast,
    Selected,
    AllThree,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::RealAlone, Self::Plain, Self::Weighted, Self::RealLast, Self::Selected, Self::AllThree];

    fn name(self, settings: &Settings) -> String {
        match self {
            Self::RealAlone => "real rows alone".to_owned(),
            Self::Plain => "generated ones as they come".to_owned(),
            Self::Weighted => format!("each at weight {}", settings.generated_weight),
            Self::RealLast => format!("none in the last {}", percent(settings.real_last)),
            Self::Selected => "selected".to_owned(),
            Self::AllThree => "all three".to_owned(),
        }
    }

    /// Below its column.
    fn slug(self) -> &'static str {
        match self {
            Self::RealAlone => "real alone",
            Self::Plain => "plain",
            Self::Weighted => "weighted",
            Self::RealLast => "real last",
            Self::Selected => "selected",
            Self::AllThree => "all three",
        }
    }

    fn arm(self, settings: &Settings) -> Arm {
        let all = self == Self::AllThree;
        let usage = Usage {
            weighted: all || self == Self::Weighted,
            real_last: all || self == Self::RealLast,
            selected: all || self == Self::Selected,
        };
        match self {
            Self::RealAlone => Arm::REAL,
            _ => Arm { usage, ..Arm::existing(settings.synthetic_share) },
        }
    }

    /// Whether it is what others are held against: no generated rows, or all as they are made.
    fn is_base(self) -> bool {
        matches!(self, Self::RealAlone | Self::Plain)
    }

    fn job(self, settings: &Settings, seed: u64) -> Result<RecognizerJob> {
        settings.arm_job(self.arm(settings), settings.first_loss(), seed, Part::Training)
    }
}

/// Everything that was measured.
#[derive(Serialize)]
struct Found {
    pairs: usize,
    ways: Vec<OfWay>,
}

#[derive(Serialize)]
struct OfWay {
    way: Way,
    /// Of each seed.
    accuracies: Vec<f64>,
    /// Over resampled people and seeds.
    accuracy: Difference,
    /// Over real rows alone.
    over_real: Option<Told>,
    /// Over generated ones as they come.
    over_plain: Option<Told>,
}

/// The trainings.
///
/// # Errors
/// Settings that can't train.
pub fn jobs(settings: &Settings) -> Result<Vec<Job>> {
    let all = Way::ALL.into_iter().flat_map(|way| settings.seeds().map(move |seed| (way, seed)));
    all.map(|(way, seed)| Ok(Job::Recognizer(way.job(settings, seed)?))).collect()
}

/// Trains what is missing, judges all.
///
/// # Errors
/// Whatever ends a training, Ctrl-C, pairs that are missing.
pub fn run(bench: &Bench<'_>) -> Result<Report> {
    let Bench { settings, world, .. } = bench;
    let (pairs, similarity) = (world.pairs()?, similarity(settings.first_loss()));
    let heard: Vec<(Way, Vec<Features>)> = Way::ALL
        .into_iter()
        .map(|way| {
            let of = |seed| bench.pair_features(pairs, &way.job(settings, seed)?);
            Ok((way, settings.seeds().map(of).collect::<Result<_>>()?))
        })
        .collect::<Result<_>>()?;
    let judged = |first: &[Features], second: &[Features]| -> Result<Vec<Vec<JudgedPair>>> {
        first.iter().zip(second).map(|(first, second)| Ok(pairs.judged(first, second, similarity)?)).collect()
    };
    let over = |base: Way, features: &[Features]| {
        let first = heard.iter().find(|(way, _)| *way == base);
        first.map(|(_, first)| Told::of(&judged(first, features)?)).transpose()
    };
    let ways = heard.iter().map(|(way, features)| {
        let own = judged(features, features)?;
        Ok(OfWay {
            way: *way,
            accuracies: own.iter().map(|judged| gain::right(judged)).collect(),
            accuracy: gain::share(&own)?,
            over_real: if *way == Way::RealAlone { None } else { over(Way::RealAlone, features)? },
            over_plain: if way.is_base() { None } else { over(Way::Plain, features)? },
        })
    });
    let found = Found { pairs: pairs.pairs(), ways: ways.collect::<Result<_>>()? };
    Ok(tell(bench, &found))
}

fn tell(bench: &Bench<'_>, found: &Found) -> Report {
    let settings = bench.settings;
    let mut report = Report::new("Usage: how should a trainer take generated rows?", found);
    for of in found.ways.iter().filter(|of| matches!(of.way, Way::Plain | Way::AllThree)) {
        if let Some(Told { gain, .. }) = &of.over_real {
            report.find(gain.sentence(&format!("`{}`", of.way.name(settings)), "real rows alone"));
        }
    }
    for of in &found.ways {
        if let Some(Told { gain, .. }) = &of.over_plain {
            report.find(gain.sentence(&format!("`{}`", of.way.name(settings)), "generated ones as they come"));
        }
    }

    report.heading("Accuracy");
    report.text(format!(
        "On {} pairs of people whom nothing was trained on, by LFW's protocol. {} {} trained for {} images each in batches \
         of {}, {} of them generated (new images of the people of the data) but in the first row. *Weighted*: in the loss a \
         generated row counts {} where a real one counts 1, and the loss is the mean by these weights. *None in the last \
         {}*: from there on all rows are real. *Selected*: rows that the identity network finds less like their person than \
         {} of what the generator makes of it, or more than {}, are made again, {RETRIES} times at most. Intervals of 95 % over resampled people and seeds.",
        count(found.pairs as u64),
        settings.arch,
        settings.width,
        count(settings.recognizer_images),
        settings.batch,
        percent(settings.synthetic_share),
        settings.generated_weight,
        percent(settings.real_last),
        percent(1.0 - BELOW),
        percent(1.0 - ABOVE),
    ));
    let rows = found.ways.iter().map(|of| {
        let [real, of_real] = Told::cells(of.over_real.as_ref());
        let [plain, of_plain] = Told::cells(of.over_plain.as_ref());
        let (seeds, interval) = (over_repetitions(&of.accuracies), gain::percent(&of.accuracy));
        [of.way.name(settings), seeds, interval, real, of_real, plain, of_plain]
    });
    let header =
        ["generated rows", "accuracy", "interval", "less real alone", "finding", "less as they come", "finding"];
    report.table(header, rows);

    let mut plot = Intervals::new("Ways to take generated rows", "accuracy on pairs of strangers [%], 95 %");
    for of in &found.ways {
        gain::column(&mut plot, of.way.slug(), &of.accuracy);
    }
    report.picture("usage", "Accuracy by what recognizers make of generated rows", plot.render());

    let of = |way: &OfWay| usize::from(way.over_real.is_some()) + usize::from(way.over_plain.is_some());
    report.usual_cautions(bench, found.ways.iter().map(of).sum(), Generators::Once);
    report.caution("weight, share and bounds are each tried at one value; others may rank the ways differently");
    report.caution(format!(
        "all ways have equally many steps and rows; a selected row costs {:.1} times the generator's work, and each try a look \
         by the identity network",
        tries(RETRIES)
    ));
    report
}
