//! Which parts of the modern recipe earn their place?
//!
//! From the published recipe to the preset `modern`, one part more at a time, each with all that came
//! before it. Every recipe trains as many generators as there are seeds, and each of them a classifier
//! that sees nothing but its faces: what that one knows of held-out real faces counts, because it wants
//! both right faces and variety, where a judge of single images is content with one good face of each
//! person.

use crate::error::Result;
use crate::gain::{self, Finding, Told, over_repetitions};
use crate::generation::{SEED, over, recognized};
use crate::jobs::{Arm, GeneratorJob, Job, RecognizerJob};
use crate::report::{Bench, Generators, Report};
use crate::settings::Settings;
use crate::world::Part;
use command::human::count;
use command::picture::Intervals;
use cvae_gan::losses::reading::CriticLoss;
use cvae_gan::settings::{Augment, LabelCode};
use cvae_gan::{Overrides, Preset};
use nets::{Conditioning, Width};
use recognizer::generated::{self, known_classes};
use recognizer::metrics::identity::diversity;
use recognizer::metrics::paired::{Difference, JudgedPair};
use serde::Serialize;

/// Of the generators' weights and order: this and the repetition's number.
const GENERATOR_SEED: u64 = 200;

/// A part of the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ingredient {
    /// The losses as the paper prints them.
    Published,
    /// Losses that mean what they should: weights as shares of the pixel term's pull (the penalty's 10 and not 1, the
    /// divergence's 0.003 and not 0.01), batch means in eq. (4), a cosine in eq. (7) with verdict, inner layers and
    /// changed copies for the identity network, borrowed latents, labels of length 4, critics that come late.
    Repairs,
    /// The average of the weights is what is judged.
    Average,
    /// Critics see changed copies.
    Augmentation,
    /// G is told what a person looks like to the identity network, not only which one it is.
    Features,
    /// Latent and identity also as scales and shifts in every layer of G.
    Layers,
    /// Hinge and spectral norm in place of Wasserstein and gradient penalty, and critics that come earlier.
    Hinge,
    /// Critics judge an image as one of its person.
    Projection,
    /// The latent may say as much of an image as random latents can repeat, and hardly more.
    FreeNats,
    /// Deconvolutions make no checkerboards.
    Even,
}

impl Ingredient {
    /// In the order in which they are added.
    pub const ALL: [Self; 10] = [
        Self::Published,
        Self::Repairs,
        Self::Average,
        Self::Augmentation,
        Self::Features,
        Self::Layers,
        Self::Hinge,
        Self::Projection,
        Self::FreeNats,
        Self::Even,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Repairs => "+ repaired losses",
            Self::Average => "+ average of weights",
            Self::Augmentation => "+ changed copies",
            Self::Features => "+ identity features",
            Self::Layers => "+ identity in every layer",
            Self::Hinge => "+ hinge, spectral norm",
            Self::Projection => "+ projection",
            Self::FreeNats => "+ bounded latent",
            Self::Even => "+ even deconvolutions",
        }
    }

    /// Of its runs, and below its column.
    fn slug(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Repairs => "repairs",
            Self::Average => "average",
            Self::Augmentation => "copies",
            Self::Features => "features",
            Self::Layers => "layers",
            Self::Hinge => "hinge",
            Self::Projection => "projection",
            Self::FreeNats => "latent",
            Self::Even => "even",
        }
    }

    /// The recipe up to this part. What is no part of it (batch, rates, capacity) is `modern`'s in all.
    fn recipe(self, width: Width, images: u64, channels: usize, seed: u64) -> Result<cvae_gan::Settings> {
        let modern = Preset::Modern.settings(width, images);
        let has = |part| self >= part;
        let overrides = Overrides {
            channels: Some(channels),
            seed: Some(seed),
            capacity: Some(modern.capacity),
            initialization: Some(modern.initialization),
            batch: Some(modern.batch),
            learning_rate: Some(modern.learning_rate),
            critic_learning_rate: Some(modern.critic_learning_rate),
            average_half_life: Some(if has(Self::Average) { modern.average_half_life } else { 0 }),
            augment: Some(if has(Self::Augmentation) { modern.augment } else { Augment::None }),
            label_code: Some(if has(Self::Features) { modern.label_code } else { LabelCode::OneHot }),
            conditioning: Some(if has(Self::Layers) { modern.conditioning } else { Conditioning::Start }),
            critic_loss: Some(if has(Self::Hinge) { modern.critic_loss } else { CriticLoss::Wasserstein }),
            // They may come earlier where their slope is bounded.
            warm_up: has(Self::Hinge).then_some(modern.warm_up),
            projection: Some(has(Self::Projection) && modern.projection),
            even_deconvolutions: Some(has(Self::Even) && modern.even_deconvolutions),
            free_nats: Some(if has(Self::FreeNats) { modern.free_nats } else { 0.0 }),
            ..Overrides::default()
        };
        let preset = if has(Self::Repairs) { Preset::SmallBudget } else { Preset::Paper };
        Ok(cvae_gan::Settings::resolve(width, Some(preset), images, &overrides)?)
    }
}

/// Everything that was measured.
#[derive(Serialize)]
struct Found {
    people: usize,
    chance: f64,
    held_out_images: usize,
    /// A classifier trained on real rows alone, for equally many images.
    real_seeds: Vec<f64>,
    real: Difference,
    held_out: HeldOut,
    recipes: Vec<OfRecipe>,
}

/// Held-out real images before the judge, as many as generated ones: what perfection would have.
#[derive(Serialize)]
struct HeldOut {
    top1: Difference,
    frechet_distance: f64,
    kernel_distance: f64,
    /// Absent where nobody has two that are held out.
    spread_ratio: Option<f64>,
}

#[derive(Serialize)]
struct OfRecipe {
    up_to: Ingredient,
    /// On held-out real images, by classifiers that saw generated ones alone: of each seed, and over all.
    taught_seeds: Vec<f64>,
    taught: Difference,
    /// Against the recipe without this part.
    gain: Option<Told>,
    /// Of generated images before the judge.
    top1: Difference,
    /// Means over seeds.
    frechet_distance: f64,
    kernel_distance: f64,
    spread_ratio: f64,
    memorisation_ratio: f64,
}

fn generator_job(settings: &Settings, up_to: Ingredient, seed: u64) -> Result<GeneratorJob> {
    let Settings { generator_width, generator_images, channels, .. } = *settings;
    let recipe = up_to.recipe(generator_width, generator_images, channels, GENERATOR_SEED + seed)?;
    let recipe = cvae_gan::Settings { numbers: settings.numbers(), ..recipe };
    let identity = recipe.needs_identity().then(|| Box::new(settings.identity_job(Part::Training)));
    let name = format!("generator-ablation-{}-seed-{seed}", up_to.slug());
    Ok(GeneratorJob { name, settings: recipe, part: Part::Training, identity })
}

/// A classifier that sees a generator's faces alone.
fn pupil_job(settings: &Settings, up_to: Ingredient, seed: u64) -> Result<RecognizerJob> {
    let arm = Arm::existing(1.0);
    let job = settings.arm_job(arm, settings.first_loss(), seed, Part::Training)?;
    let name = format!("recognizer-ablation-{}-seed-{seed}", up_to.slug());
    Ok(RecognizerJob { name, generator: Some(Box::new(generator_job(settings, up_to, seed)?)), ..job })
}

fn real_job(settings: &Settings, seed: u64) -> Result<RecognizerJob> {
    settings.arm_job(Arm::REAL, settings.first_loss(), seed, Part::Training)
}

/// The trainings.
///
/// # Errors
/// Settings that can't train.
pub fn jobs(settings: &Settings) -> Result<Vec<Job>> {
    let mut jobs = vec![Job::Recognizer(settings.judge_job())];
    for seed in settings.seeds() {
        jobs.push(Job::Recognizer(real_job(settings, seed)?));
    }
    for up_to in Ingredient::ALL {
        for seed in settings.seeds() {
            jobs.push(Job::Recognizer(pupil_job(settings, up_to, seed)?));
        }
    }
    Ok(jobs)
}

/// Trains what is missing, judges all.
///
/// # Errors
/// Whatever ends a training, Ctrl-C, too few images for a figure.
pub fn run(bench: &Bench<'_>) -> Result<Report> {
    let Bench { settings, world, trainings } = bench;
    let names: Vec<String> = world.training.identities().iter().map(|identity| identity.name.clone()).collect();
    let judge = trainings.recognizer(&settings.judge_job())?;
    let known = known_classes(&judge, names.iter().map(String::as_str));
    let reference = bench.real_features(&judge, &world.training)?;
    let held_out = bench.real_features(&judge, &world.held_out)?;
    let test = |job: &RecognizerJob| -> Result<Vec<JudgedPair>> {
        let pupil = trainings.recognizer(job)?;
        recognized(&pupil, &bench.real_features(&pupil, &world.held_out)?, &names)
    };

    let by_real = settings.seeds().map(|seed| test(&real_job(settings, seed)?)).collect::<Result<Vec<_>>>()?;
    let mut recipes = Vec::new();
    let mut before: Option<Vec<Vec<JudgedPair>>> = None;
    let mut of_held_out = None;
    for up_to in Ingredient::ALL {
        let (mut taught, mut judged, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for seed in settings.seeds() {
            taught.push(test(&pupil_job(settings, up_to, seed)?)?);
            let maker = trainings.generator(&generator_job(settings, up_to, seed)?)?;
            let made = bench.made_features(&judge, &maker.trained, SEED)?;
            judged.push(recognized(&judge, &made, &names)?);
            let report = generated::judge(&judge, &known, &made, &reference, &held_out)?;
            of_held_out.get_or_insert((report.held_out.frechet_distance, report.held_out.kernel_distance));
            reports.push(report);
        }
        let mean =
            |figure: fn(&generated::Report) -> f64| reports.iter().map(figure).sum::<f64>() / reports.len() as f64;
        recipes.push(OfRecipe {
            up_to,
            taught_seeds: taught.iter().map(|judged| gain::right(judged)).collect(),
            taught: gain::share(&taught)?,
            gain: before.as_deref().map(|before| over(before, &taught)).transpose()?,
            top1: gain::share(&judged)?,
            frechet_distance: mean(|report| report.generated.frechet_distance),
            kernel_distance: mean(|report| report.generated.kernel_distance),
            spread_ratio: mean(|report| report.diversity.spread_ratio),
            memorisation_ratio: mean(|report| report.memorisation.ratio),
        });
        before = Some(taught);
    }
    let (frechet_distance, kernel_distance) = of_held_out.unwrap_or((f64::NAN, f64::NAN));
    let spread = diversity((held_out.features(), held_out.labels()), (reference.features(), reference.labels()));
    let found = Found {
        held_out: HeldOut {
            top1: gain::share(&[recognized(&judge, &held_out, &names)?])?,
            frechet_distance,
            kernel_distance,
            spread_ratio: spread.ok().map(|spread| spread.spread_ratio),
        },
        people: names.len(),
        chance: 1.0 / names.len() as f64,
        held_out_images: world.held_out.len(),
        real_seeds: by_real.iter().map(|judged| gain::right(judged)).collect(),
        real: gain::share(&by_real)?,
        recipes,
    };
    Ok(tell(bench, &found))
}

fn tell(bench: &Bench<'_>, found: &Found) -> Report {
    let mut report = Report::new("Ablation: which parts of the recipe earn their place?", found);
    for of in &found.recipes {
        if let Some(Told { gain, finding }) = &of.gain {
            report.find(format!("`{}`: {}, {}", of.up_to.name(), verdict(*finding), gain.points()));
        }
    }

    lessons(&mut report, bench.settings, found);
    let mut plot = Intervals::new("What classifiers learn from generated faces alone", "top-1 on real faces [%], 95 %");
    gain::column(&mut plot, "real rows", &found.real);
    found.recipes.iter().for_each(|of| gain::column(&mut plot, of.up_to.slug(), &of.taught));
    report.picture(
        "ablation",
        "Top-1 on held-out real images by what classifiers were taught by, each recipe with all parts to its left",
        plot.render(),
    );

    report.usual_cautions(bench, found.recipes.iter().filter(|of| of.gain.is_some()).count(), Generators::EachSeed);
    report.caution("parts are added in one order: a part may be worth more, or less, without those before it");
    report.caution(
        "batch, rates, widths of the critics and first weights are the same in all; what the paper prints for its own widths \
         isn't tried here",
    );
    report.caution("what helps in so short a training need not help in a long one, nor the other way round");
    report
}

fn lessons(report: &mut Report, settings: &Settings, found: &Found) {
    report.heading("What classifiers learn from generated faces alone");
    report.text(format!(
        "Each row has all parts of the rows above it. For each of {} seeds a generator (width {}) trained for {} images, and a \
         {} {} for {} images on nothing but its faces, new ones in each step; it is tested on {} held-out real images of the \
         same {} people. Intervals of 95 % over resampled people and seeds. Beside it, how often a judge that took no part \
         takes a generated image for whom it should show; FID and KID in its features to the training images, and those of \
         held-out real ones, as many; variety within a person, of real; and the distance to the nearest training image, of \
         that of held-out ones: well under 1 means copies.",
        settings.seeds,
        settings.generator_width,
        count(settings.generator_images),
        settings.arch,
        settings.width,
        count(settings.recognizer_images),
        count(found.held_out_images as u64),
        found.people,
    ));
    let real = [
        "real rows in place of generated ones".to_owned(),
        over_repetitions(&found.real_seeds),
        gain::percent(&found.real),
        "-".to_owned(),
        gain::percent(&found.held_out.top1),
        format!("{:.2}", found.held_out.frechet_distance),
        format!("{:.4}", found.held_out.kernel_distance),
        found.held_out.spread_ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        "1.00".to_owned(),
    ];
    let rows = found.recipes.iter().map(|of| {
        [
            of.up_to.name().to_owned(),
            over_repetitions(&of.taught_seeds),
            gain::percent(&of.taught),
            of.gain.as_ref().map_or("-".to_owned(), |told| told.gain.points()),
            gain::percent(&of.top1),
            format!("{:.2}", of.frechet_distance),
            format!("{:.4}", of.kernel_distance),
            format!("{:.2}", of.spread_ratio),
            format!("{:.2}", of.memorisation_ratio),
        ]
    });
    let header = [
        "recipe",
        "taught",
        "interval",
        "less the row above",
        "top-1 of its faces",
        "FID",
        "KID",
        "variety",
        "nearest",
    ];
    report.table(header, std::iter::once(real).chain(rows));
}

/// What is to be said of a part.
fn verdict(finding: Finding) -> &'static str {
    match finding {
        Finding::Better => "classifiers learn more with it",
        Finding::Worse => "classifiers learn less with it",
        Finding::Unclear => "no difference larger than its uncertainty",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_recipe_is_the_modern_preset_and_each_part_changes_something() -> Result<()> {
        for images in [1000, 500_000] {
            let of = |up_to: Ingredient| up_to.recipe(Width::Tiny, images, 3, 7);
            let modern = Preset::Modern.settings(Width::Tiny, images);
            let modern = cvae_gan::Settings { preset: Preset::SmallBudget, channels: 3, seed: 7, ..modern };
            assert_eq!(of(Ingredient::Even)?, modern);
            for pair in Ingredient::ALL.windows(2) {
                assert!(of(pair[0])? != of(pair[1])?, "{:?}", pair[1]);
            }
            let published = of(Ingredient::Published)?;
            assert_eq!((published.preset, published.lambda_kl, published.lambda_gp), (Preset::Paper, 0.01, 1.0));
        }
        Ok(())
    }
}
