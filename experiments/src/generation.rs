//! How good are the faces themselves? (The paper's table 1.)
//!
//! Generators of four models train for equally many images. Their faces, and as many held-out real
//! ones, come before a judge that took no part in making them.

use crate::error::Result;
use crate::gain::{self, Gain, Told};
use crate::jobs::{Job, Variant};
use crate::report::{Bench, Report};
use crate::settings::Settings;
use crate::world::{Part, World};
use command::human::{count, percent};
use command::picture::Intervals;
use recognizer::generated::{self, Labelled, known_classes};
use recognizer::metrics::identity::{Diversity, diversity};
use recognizer::metrics::paired::{Difference, JudgedPair};
use recognizer::{Recognizer, classify};
use serde::Serialize;

/// Of the latents that faces are made of.
pub(crate) const SEED: u64 = 1;

/// Everything that was measured.
#[derive(Serialize)]
struct Table {
    people: usize,
    chance: f64,
    /// Held-out real images before the judge.
    real: Real,
    models: Vec<OfModel>,
    /// Classes of the network of the inception score, and whether they are the judge's.
    inception_classes: usize,
    inception_by_judge: bool,
}

#[derive(Serialize)]
struct Real {
    images: usize,
    top1: Difference,
    inception_score: f64,
    /// Of held-out images over those of training; absent where nobody has two that are held out.
    diversity: Option<Diversity>,
}

#[derive(Serialize)]
struct OfModel {
    model: &'static str,
    images: usize,
    /// Over resampled people.
    top1: Difference,
    /// Against ours, by the same people; absent for ours.
    against_ours: Option<Gain>,
    /// As many as the held-out ones.
    inception_score: f64,
    report: generated::Report,
}

/// The trainings.
///
/// # Errors
/// Settings that can't train.
pub fn jobs(settings: &Settings, world: &World) -> Result<Vec<Job>> {
    let judges = [Some(settings.judge_job()), world.others.as_ref().map(|_| settings.inception_job())];
    let generators =
        settings.variants().map(|variant| Ok(Job::Generator(settings.generator_job(variant, Part::Training)?)));
    judges.into_iter().flatten().map(|job| Ok(Job::Recognizer(job))).chain(generators).collect()
}

/// For each image whether a recognizer takes it for the person of its label.
pub(crate) fn recognized(recognizer: &Recognizer, images: &Labelled, names: &[String]) -> Result<Vec<JudgedPair>> {
    let known = known_classes(recognizer, names.iter().map(String::as_str));
    let answers = classify(&recognizer.network, recognizer.device(), images.features())?;
    let best = |row: &Vec<f32>| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let judged = answers.iter().zip(images.labels()).map(|(row, &label)| {
        let own = known.get(label as usize).copied().flatten();
        let right = own.is_some() && best(row) == own.map(|class| class as usize);
        JudgedPair { identities: (label, label), first: false, second: right }
    });
    Ok(judged.collect())
}

/// The same images before two judges, or two sets that show the same people in the same order.
fn against(first: &[JudgedPair], second: &[JudgedPair]) -> Vec<JudgedPair> {
    first.iter().zip(second).map(|(first, second)| JudgedPair { first: first.second, ..*second }).collect()
}

/// What classifiers gain over others on the same images, seed by seed.
pub(crate) fn over(first: &[Vec<JudgedPair>], second: &[Vec<JudgedPair>]) -> Result<Told> {
    let both = first.iter().zip(second).map(|(first, second)| against(first, second));
    Told::of(&both.collect::<Vec<_>>())
}

/// Trains what is missing, judges all.
///
/// # Errors
/// Whatever ends a training, Ctrl-C, too few images for a figure.
pub fn run(bench: &Bench<'_>) -> Result<Report> {
    let Bench { settings, world, trainings } = bench;
    let judge = trainings.recognizer(&settings.judge_job())?;
    let inception = world.others.as_ref().map(|_| trainings.recognizer(&settings.inception_job())).transpose()?;
    let names: Vec<String> = world.training.identities().iter().map(|identity| identity.name.clone()).collect();
    let known = known_classes(&judge, names.iter().map(String::as_str));
    let reference = bench.real_features(&judge, &world.training)?;
    let held_out = bench.real_features(&judge, &world.held_out)?;

    let (score_network, by_judge) = inception.as_ref().map_or((&judge, true), |network| (network, false));
    let strangers = vec![None; names.len()];
    let score = |images: &Labelled, size: usize| -> Result<f64> {
        Ok(generated::answers(score_network, &images.thinned(size)?, &strangers)?.inception_score)
    };
    let real_for_score =
        if by_judge { held_out.clone() } else { bench.real_features(score_network, &world.held_out)? };
    let size = held_out.labels().len().min(names.len() * settings.per_identity as usize);

    let mut models: Vec<OfModel> = Vec::new();
    let mut ours = Vec::new();
    for variant in settings.variants() {
        let maker = trainings.generator(&settings.generator_job(variant, Part::Training)?)?;
        let made = bench.made_features(&judge, &maker.trained, SEED)?;
        let judged = recognized(&judge, &made, &names)?;
        let for_score =
            if by_judge { made.clone() } else { bench.made_features(score_network, &maker.trained, SEED)? };
        let against_ours = match variant {
            Variant::Ours => None,
            _ => Some(Gain::of(&[against(&ours, &judged)])?),
        };
        models.push(OfModel {
            model: variant.name(),
            images: judged.len(),
            top1: gain::share(std::slice::from_ref(&judged))?,
            against_ours,
            inception_score: score(&for_score, size)?,
            report: generated::judge(&judge, &known, &made, &reference, &held_out)?,
        });
        if variant == Variant::Ours {
            ours = judged;
        }
    }
    let table = Table {
        people: names.len(),
        chance: 1.0 / names.len() as f64,
        real: Real {
            images: held_out.labels().len(),
            top1: gain::share(&[recognized(&judge, &held_out, &names)?])?,
            inception_score: score(&real_for_score, size)?,
            diversity: diversity((held_out.features(), held_out.labels()), (reference.features(), reference.labels()))
                .ok(),
        },
        models,
        inception_classes: score_network.card.config.classes,
        inception_by_judge: by_judge,
    };
    Ok(tell(bench, &table))
}

fn tell(bench: &Bench<'_>, table: &Table) -> Report {
    let settings = bench.settings;
    let mut report = Report::new("Generation: how good are the faces?", table);
    findings(&mut report, table);
    precision(&mut report, settings, table);
    variety(&mut report, table);

    let mut plot = Intervals::new("Recognized as whom they should show", "top-1 [%], 95 %");
    gain::column(&mut plot, "held-out real", &table.real.top1);
    table.models.iter().for_each(|model| gain::column(&mut plot, model.model, &model.top1));
    report.picture("top-1", "Share of images that the judge takes for the person they should show", plot.render());

    report.caution("each model was trained once: its luck is in no interval");
    report.caution(
        "top-1 measures precision alone: a generator that makes one good image of each person has the best (`experiments gan-train` \
         shows what is missing)",
    );
    report.caution("FID and KID with so few images are of use beside those of real images alone");
    report.caution(
        "the baselines follow the same recipe: CGAN without encoder, CVAE without critics and identity term, and what G is told \
         of an identity is the same but for the CVAE, which is told its number alone",
    );
    report.caution_of_drawn_faces(bench);
    report
}

fn findings(report: &mut Report, table: &Table) {
    let ours = table.models.iter().find(|model| model.against_ours.is_none());
    if let Some(ours) = ours {
        report.find(format!(
            "the judge takes {} of our faces for the person that they should show, and {} of held-out real ones; chance is {}",
            gain::percent(&ours.top1),
            gain::percent(&table.real.top1),
            percent(table.chance)
        ));
    }
    for model in &table.models {
        if let Some(gain) = &model.against_ours {
            report.find(format!("recognized by the judge, {}", gain.sentence(&format!("`{}`", model.model), "ours")));
        }
    }
    if let Some(ours) = ours {
        let figures = &ours.report;
        report.find(format!(
            "in face features ours lie at KID {:.4} of the training images, held-out real ones at {:.4}, as many; their variety \
             within a person is {:.2} of real, and they lie {:.2} times as far from the nearest training image as held-out \
             ones do",
            figures.generated.kernel_distance,
            figures.held_out.kernel_distance,
            figures.diversity.spread_ratio,
            figures.memorisation.ratio,
        ));
    }
}

/// Right faces.
fn precision(report: &mut Report, settings: &Settings, table: &Table) {
    report.heading("Before a judge that took no part");
    report.text(format!(
        "The judge is a {} {}, trained for {} images on the same real images as the generators. Each model trained for {} \
         images (width {}, preset {}) and made {} images of each of {} people; real ones are {} images on which nothing was trained. \
         Top-1 is over all of them, its interval of 95 % over resampled people; the other figures take as many of either. The \
         inception score is of a network with {} classes{}.",
        settings.judge_arch,
        settings.judge_width,
        count(settings.judge_images),
        count(settings.generator_images),
        settings.generator_width,
        settings.recipe(),
        settings.per_identity,
        table.people,
        count(table.real.images as u64),
        table.inception_classes,
        if table.inception_by_judge {
            ", the judge itself, which knows these people: give --inception-data for one that doesn't"
        } else {
            " who are other people"
        },
    ));
    let header = ["", "top-1", "inception score", "FID", "KID", "own cosine", "margin", "recognized as themselves"];
    report.table(header, table_rows(table));
    report.text(
        "FID and KID are to the training images, in the judge's features; those of held-out real images, as many, are what \
         perfection would have. Own cosine and margin are to the centres of real images; \"recognized as themselves\" is the \
         share nearer to the own centre than one stranger's image in a thousand.",
    );
}

/// Different ones.
fn variety(report: &mut Report, table: &Table) {
    report.heading("Variety, and copies");
    let of_real = |figure: fn(&Diversity) -> f64| {
        table.real.diversity.as_ref().map_or("-".to_owned(), |diversity| format!("{:.2}", figure(diversity)))
    };
    let real = [
        "held-out real".to_owned(),
        of_real(|diversity| diversity.spread_ratio),
        of_real(|diversity| diversity.distance_ratio),
        "1.00".to_owned(),
    ];
    let rows = table.models.iter().map(|OfModel { model, report, .. }| {
        [
            (*model).to_owned(),
            format!("{:.2}", report.diversity.spread_ratio),
            format!("{:.2}", report.diversity.distance_ratio),
            format!("{:.2}", report.memorisation.ratio),
        ]
    });
    let header = [
        "",
        "spread within a person, of real",
        "distance within a person, of real",
        "distance to the nearest training image, of held-out",
    ];
    report.table(header, std::iter::once(real).chain(rows));
    report.text("Below 0.5 of real, variety has collapsed; well under 1 in the last column means copies.");
}

fn table_rows(table: &Table) -> Vec<[String; 8]> {
    let row = |name: &str, top1: &Difference, score: f64, figures: &generated::Against| {
        [
            name.to_owned(),
            gain::percent(top1),
            format!("{score:.2}"),
            format!("{:.2}", figures.frechet_distance),
            format!("{:.4}", figures.kernel_distance),
            format!("{:.3}", figures.identity.own_cosine),
            format!("{:+.3}", figures.identity.margin),
            percent(figures.identity.consistency),
        ]
    };
    let real = table
        .models
        .first()
        .map(|model| row("held-out real", &table.real.top1, table.real.inception_score, &model.report.held_out));
    let models = table.models.iter().map(|OfModel { model, top1, inception_score, report, .. }| {
        row(model, top1, *inception_score, &report.generated)
    });
    real.into_iter().chain(models).collect()
}
