//! What does a classifier learn from generated faces alone, and does identity hide in the latent?
//!
//! GAN-train: trained on generated rows, tested on held-out real images, which shows what variety is
//! missing. GAN-test: trained on real rows, tested on generated images, which shows precision. And a
//! real face drawn again under another's name should show whom the name says: E isn't told who is in
//! an image, but nothing keeps it from writing that into the latent.

use crate::error::Result;
use crate::gain::{self, Finding, Gain, Told, over_repetitions};
use crate::generation::{SEED, over, recognized};
use crate::jobs::{Arm, Job, Variant};
use crate::report::{Bench, Generators, Report};
use crate::settings::Settings;
use crate::world::Part;
use command::Progress;
use command::human::{count, percent};
use command::picture::Intervals;
use cvae_gan::judge::Trial;
use recognizer::metrics::paired::{Difference, JudgedPair};
use serde::Serialize;

/// What a classifier is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum On {
    Real,
    Generated,
    Both,
}

impl On {
    const ALL: [Self; 3] = [Self::Real, Self::Generated, Self::Both];

    fn name(self) -> &'static str {
        match self {
            Self::Real => "real rows",
            Self::Generated => "generated rows",
            Self::Both => "both",
        }
    }

    fn arm(self, settings: &Settings) -> Arm {
        let existing = |share| Arm::existing(share);
        match self {
            Self::Real => Arm::REAL,
            Self::Generated => existing(1.0),
            Self::Both => existing(settings.synthetic_share),
        }
    }
}

/// Everything that was measured.
#[derive(Serialize)]
struct Found {
    people: usize,
    chance: f64,
    held_out_images: usize,
    generated_images: usize,
    classifiers: Vec<Classifier>,
    redrawn: Option<Redrawn>,
}

#[derive(Serialize)]
struct Classifier {
    trained_on: On,
    /// Top-1 on held-out real images: of each seed, and over all.
    on_real_seeds: Vec<f64>,
    on_real: Difference,
    /// Against one that is trained on real rows.
    gain: Option<Told>,
    /// Top-1 on generated images.
    on_generated_seeds: Vec<f64>,
    on_generated: Difference,
}

/// Real images under another's name.
#[derive(Serialize)]
struct Redrawn {
    images: usize,
    /// Nearest to the person asked for, as all should be.
    as_asked: Difference,
    /// Nearest to the person in the image, as none should be.
    as_encoded: Difference,
    /// The first less the second.
    difference: Gain,
}

/// The trainings.
///
/// # Errors
/// Settings that can't train.
pub fn jobs(settings: &Settings) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for on in On::ALL {
        for seed in settings.seeds() {
            jobs.push(Job::Recognizer(settings.arm_job(
                on.arm(settings),
                settings.first_loss(),
                seed,
                Part::Training,
            )?));
        }
    }
    jobs.push(Job::Recognizer(settings.judge_job()));
    Ok(jobs)
}

/// Trains what is missing, tests all.
///
/// # Errors
/// Whatever ends a training, Ctrl-C.
pub fn run(bench: &Bench<'_>) -> Result<Report> {
    let Bench { settings, world, trainings } = bench;
    let names: Vec<String> = world.training.identities().iter().map(|identity| identity.name.clone()).collect();
    let maker = trainings.generator(&settings.generator_job(Variant::Ours, Part::Training)?)?;
    let mut classifiers: Vec<Classifier> = Vec::new();
    let mut by_real: Option<Vec<Vec<JudgedPair>>> = None;
    for on in On::ALL {
        let (mut on_real, mut on_generated) = (Vec::new(), Vec::new());
        for seed in settings.seeds() {
            let job = settings.arm_job(on.arm(settings), settings.first_loss(), seed, Part::Training)?;
            let recognizer = trainings.recognizer(&job)?;
            let held_out = bench.real_features(&recognizer, &world.held_out)?;
            on_real.push(recognized(&recognizer, &held_out, &names)?);
            let made = bench.made_features(&recognizer, &maker.trained, SEED)?;
            on_generated.push(recognized(&recognizer, &made, &names)?);
        }
        classifiers.push(Classifier {
            trained_on: on,
            on_real_seeds: on_real.iter().map(|judged| gain::right(judged)).collect(),
            on_real: gain::share(&on_real)?,
            gain: by_real.as_deref().map(|by_real| over(by_real, &on_real)).transpose()?,
            on_generated_seeds: on_generated.iter().map(|judged| gain::right(judged)).collect(),
            on_generated: gain::share(&on_generated)?,
        });
        by_real.get_or_insert(on_real);
    }
    let found = Found {
        people: names.len(),
        chance: 1.0 / names.len() as f64,
        held_out_images: world.held_out.len(),
        generated_images: names.len() * settings.per_identity as usize,
        classifiers,
        redrawn: redrawn(bench, &maker.trained)?,
    };
    Ok(tell(bench, &found))
}

/// `None` without an encoder.
fn redrawn(bench: &Bench<'_>, trained: &cvae_gan::Trained) -> Result<Option<Redrawn>> {
    let Some(encoder) = &trained.encoder else { return Ok(None) };
    let Bench { settings, world, trainings } = bench;
    let judge = trainings.recognizer(&settings.judge_job())?;
    let reference = bench.real_features(&judge, &world.training)?;
    let centres = reference.features().class_centres(reference.labels(), world.people())?;
    let trial = Trial {
        trained,
        judge: &judge,
        dataset: &world.held_out,
        held_out: None,
        per_identity: settings.per_identity as usize,
        blended: 0,
        blended_spread: 0.0,
        seed: SEED,
    };
    let progress = Progress::new("drawing under other names", world.held_out.len() as u64, "images");
    let images = trial.redrawn(encoder, &centres, &progress, trainings.interrupt())?;
    progress.finish();
    let judged: Vec<JudgedPair> = images
        .iter()
        .map(|image| JudgedPair {
            identities: (image.encoded as u32, image.encoded as u32),
            first: image.nearest == image.encoded,
            second: image.nearest == image.asked,
        })
        .collect();
    let other: Vec<JudgedPair> = judged.iter().map(|image| JudgedPair { second: image.first, ..*image }).collect();
    Ok(Some(Redrawn {
        images: judged.len(),
        as_asked: gain::share(std::slice::from_ref(&judged))?,
        as_encoded: gain::share(&[other])?,
        difference: Gain::of(&[judged])?,
    }))
}

fn tell(bench: &Bench<'_>, found: &Found) -> Report {
    let settings = bench.settings;
    let mut report = Report::new("GAN-train and GAN-test: what do generated faces teach?", found);
    for classifier in &found.classifiers {
        if let Some(Told { gain, .. }) = &classifier.gain {
            let of = format!("a classifier trained on {}", classifier.trained_on.name());
            let chance = percent(found.chance);
            report.find(format!(
                "on held-out real images, {}; it is right about {}, chance is {chance}",
                gain.sentence(&of, "one trained on real rows"),
                gain::percent(&classifier.on_real),
            ));
        }
    }
    if let Some(redrawn) = &found.redrawn {
        report.find(redrawn_sentence(redrawn, found.chance));
    }

    report.heading("Classifiers");
    report.text(format!(
        "{} {} trained for {} images each, on real rows, on new images of the same people made in each step, and on both ({} \
         generated). Top-1 on {} held-out real images and on {} generated ones that no training saw; intervals of 95 % over \
         resampled people and seeds. Trained on generated and tested on real is GAN-train; trained on real and tested on \
         generated is GAN-test.",
        settings.arch,
        settings.width,
        count(settings.recognizer_images),
        percent(settings.synthetic_share),
        count(found.held_out_images as u64),
        count(found.generated_images as u64),
    ));
    let rows = found.classifiers.iter().map(|of| {
        let [gain, finding] = Told::cells(of.gain.as_ref());
        let (on_real, on_generated) = (gain::percent(&of.on_real), gain::percent(&of.on_generated));
        [of.trained_on.name().to_owned(), over_repetitions(&of.on_real_seeds), on_real, gain, finding, on_generated]
    });
    let header = ["trained on", "on real", "interval", "less one trained on real rows", "finding", "on generated"];
    report.table(header, rows);
    let mut plot = Intervals::new("What classifiers learn, tested on held-out real images", "top-1 [%], 95 %");
    for of in &found.classifiers {
        gain::column(&mut plot, format!("trained on {}", of.trained_on.name()), &of.on_real);
    }
    report.picture("gan-train", "Top-1 on held-out real images by what classifiers were trained on", plot.render());

    if let Some(redrawn) = &found.redrawn {
        under_another_name(&mut report, redrawn, found.chance);
    }
    let tests = found.classifiers.iter().filter(|of| of.gain.is_some()).count();
    report.usual_cautions(bench, tests, Generators::Once);
    report.caution("classifiers here know the people whom they are tested on; strangers are the matter of `experiments verification`");
    report.caution("a judge that recognizes few real images says little of generated ones");
    report
}

fn under_another_name(report: &mut Report, redrawn: &Redrawn, chance: f64) {
    report.heading("Real faces under another's name");
    report.text(format!(
        "{} held-out images were encoded, and drawn again from the mean of their latent under the name of somebody else, \
         chosen by chance. Before the judge of `experiments generation`, to whose real images do they lie nearest?",
        count(redrawn.images as u64)
    ));
    let rows = [
        ["the person asked for".to_owned(), gain::percent(&redrawn.as_asked)],
        ["the person in the image".to_owned(), gain::percent(&redrawn.as_encoded)],
        ["the first less the second".to_owned(), redrawn.difference.points()],
        ["chance".to_owned(), percent(chance)],
    ];
    report.table(["nearest to", "share"], rows);
}

/// What the intervals allow to say of identity in the latent.
fn redrawn_sentence(redrawn: &Redrawn, chance: f64) -> String {
    let (asked, encoded) = (gain::percent(&redrawn.as_asked), gain::percent(&redrawn.as_encoded));
    let carries = if redrawn.as_encoded.interval.0 > chance {
        "the latent carries identity, for that is more than chance"
    } else {
        "that the latent carries identity can't be told, for chance lies within that"
    };
    let rules = match redrawn.difference.finding() {
        Finding::Better => "the label outweighs the latent",
        Finding::Worse => "the latent outweighs the label",
        Finding::Unclear => "which of label and latent outweighs the other can't be told",
    };
    format!(
        "of real faces drawn again under another's name, {asked} lie nearest to the person asked for and {encoded} to the one \
         in the image: {rules}, and {carries} ({})",
        percent(chance)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use recognizer::metrics::paired::McNemar;

    fn sentence(asked: (f64, f64), encoded: (f64, f64), difference: (f64, f64)) -> String {
        let of =
            |interval: (f64, f64)| Difference { mean: (interval.0 + interval.1) / 2.0, standard_error: 0.01, interval };
        let gain = Gain {
            difference: of(difference),
            mcnemar: McNemar { only_first: 0, only_second: 0, p_value: 1.0 },
            repetitions: Vec::new(),
        };
        let redrawn = Redrawn { images: 10, as_asked: of(asked), as_encoded: of(encoded), difference: gain };
        redrawn_sentence(&redrawn, 0.03)
    }

    #[test]
    fn identity_in_the_latent_is_told_only_above_chance() {
        let told = sentence((0.7, 0.8), (0.01, 0.05), (0.6, 0.75));
        assert!(
            told.contains("the label outweighs the latent") && told.contains("can't be told, for chance"),
            "{told}"
        );
        let told = sentence((0.1, 0.2), (0.5, 0.6), (-0.5, -0.3));
        assert!(told.contains("the latent outweighs the label") && told.contains("carries identity, for"), "{told}");
        let told = sentence((0.1, 0.2), (0.1, 0.2), (-0.1, 0.1));
        assert!(told.contains("which of label and latent outweighs the other can't be told"), "{told}");
    }
}
