//! What do they look like? (The paper's figures 1, 5 and 6.)

use crate::error::Result;
use crate::generation::SEED;
use crate::jobs::{Job, Variant};
use crate::report::{Bench, Report};
use crate::rows::BLENDING;
use crate::settings::Settings;
use crate::world::Part;
use candle_core::Tensor;
use command::picture::Grid;
use cvae_gan::blended_people::BlendedPeople;
use cvae_gan::{Trained, interpolate, random_latents};
use dataset::Dataset;
use dataset::blended::Parent;
use nets::pixels::IMAGE_SIZE;
use serde::Serialize;

/// People of a picture, and images in a line.
const PEOPLE: usize = 8;
const COLUMNS: usize = 8;
/// Real images that stand before generated ones.
const REAL: usize = 2;

/// What is shown, by name.
#[derive(Serialize)]
struct Shown {
    people: Vec<String>,
    pictures: Vec<&'static str>,
}

/// The trainings.
///
/// # Errors
/// Settings that can't train.
pub fn jobs(settings: &Settings) -> Result<Vec<Job>> {
    let generators =
        settings.variants().map(|variant| Ok(Job::Generator(settings.generator_job(variant, Part::Training)?)));
    generators.collect()
}

/// Trains what is missing, draws all.
///
/// # Errors
/// Whatever ends a training, Ctrl-C.
pub fn run(bench: &Bench<'_>) -> Result<Report> {
    let maker = |variant| bench.trainings.generator(&bench.settings.generator_job(variant, Part::Training)?);
    let ours = maker(Variant::Ours)?;
    let mut models = Vec::new();
    for variant in bench.settings.variants() {
        models.push((variant.name(), maker(variant)?));
    }
    let album =
        Album { data: &bench.world.training, trained: &ours.trained, blended_spread: bench.settings.blended_spread };
    let people = album.people();
    let names: Vec<String> = people.iter().map(|&person| album.name(person)).collect();

    let shown = Shown { people: names, pictures: vec!["samples", "blended", "models", "latents", "identities"] };
    let mut report = Report::new("Figures: what do the faces look like?", &shown);
    report.find(format!(
        "{} generators are shown, each at its whole training; people and latents are the first ones, not chosen",
        models.len()
    ));
    report.heading("Samples (the paper's figure 1)");
    report.picture(
        "samples",
        "A line for each person: two real images, then generated ones, a latent for each column",
        album.samples()?,
    );
    let caption =
        "People who don't exist: three real parents, the heaviest first, then images of the one blended from them";
    report.picture("blended", caption, album.blended()?);
    report.heading("Models (figure 5)");
    let trained: Vec<(&str, &Trained)> = models.iter().map(|(name, maker)| (*name, &*maker.trained)).collect();
    report.picture(
        "models",
        "A column for each person; below the real images the models, all from the same latents",
        album.models(&trained)?,
    );
    report.heading("Between two images, between two people (figure 6)");
    if let Some(picture) = album.between_images()? {
        let caption = "From one image of a person to another, through the means of their latents; the real images stand at the ends";
        report.picture("latents", caption, picture);
    }
    report.picture(
        "identities",
        "From one person to another with the latent held: pose and light should stay",
        album.between_people()?,
    );
    report.caution("pictures show what generators can do to those who look; `experiments generation` counts");
    Ok(report)
}

/// Pictures of one generator and the real images that it was trained on.
struct Album<'a> {
    data: &'a Dataset,
    trained: &'a Trained,
    blended_spread: f64,
}

impl Album<'_> {
    /// The first ones.
    fn people(&self) -> Vec<usize> {
        (0..self.data.identities().len().min(PEOPLE)).collect()
    }

    fn name(&self, person: usize) -> String {
        self.data.identities()[person].name.clone()
    }

    /// The `nth` real image of a person, counted round.
    fn real(&self, person: usize, nth: usize) -> Result<Vec<u8>> {
        let identity = &self.data.identities()[person];
        Ok(self.data.read(identity.first_image + nth % identity.images)?.into_pixels())
    }

    fn grid(&self, columns: usize) -> Result<Grid> {
        Ok(Grid::new(IMAGE_SIZE, self.data.channels(), columns)?)
    }

    fn latents(&self, count: usize) -> Result<Tensor> {
        Ok(random_latents(count, SEED, 0, self.trained.device())?)
    }

    fn samples(&self) -> Result<command::picture::Picture> {
        let captions = (0..REAL).map(|_| "real".to_owned()).chain((1..=COLUMNS - REAL).map(|nth| format!("z{nth}")));
        let rows = self.people().into_iter().map(|person| self.name(person));
        let mut grid =
            self.grid(COLUMNS)?.title("New images of existing people").column_captions(captions).row_captions(rows);
        let z = self.latents(COLUMNS - REAL)?;
        for person in self.people() {
            for nth in 0..REAL {
                grid.push(&self.real(person, nth)?)?;
            }
            let label = self.trained.person(person)?.repeat((COLUMNS - REAL, 1))?;
            grid.push(&self.trained.draw(&z, &label)?)?;
        }
        Ok(grid.render())
    }

    fn blended(&self) -> Result<command::picture::Picture> {
        let blended = BlendedPeople::new(BLENDING, (0..self.data.identities().len()).collect());
        let parents = blended.parents(0).len();
        let captions = (1..=parents).map(|nth| format!("parent {nth}"));
        let captions = captions.chain((1..=COLUMNS - parents).map(|nth| format!("z{nth}")));
        let mut grid = self.grid(COLUMNS)?.title("Images of blended people").column_captions(captions);
        let z = self.latents(COLUMNS - parents)?;
        let mut rows = Vec::new();
        for j in 0..PEOPLE as u32 {
            let of = blended.parents(j);
            rows.push(of.iter().map(|parent| format!("{:.2}", parent.weight)).collect::<Vec<_>>().join(" + "));
            for parent in &of {
                grid.push(&self.real(parent.identity as usize, 0)?)?;
            }
            let label = self.trained.mixture(&of, self.blended_spread)?.repeat((COLUMNS - parents, 1))?;
            grid.push(&self.trained.draw(&z, &label)?)?;
        }
        Ok(grid.row_captions(rows).render())
    }

    fn models(&self, models: &[(&str, &Trained)]) -> Result<command::picture::Picture> {
        let people = self.people();
        let names = people.iter().map(|&person| self.name(person));
        let rows = std::iter::once("real").chain(models.iter().flat_map(|(name, _)| [*name, ""]));
        let title = "The same people by each model";
        let mut grid = self.grid(people.len())?.title(title).column_captions(names).row_captions(rows);
        for &person in &people {
            grid.push(&self.real(person, 0)?)?;
        }
        let z = self.latents(2)?;
        for (_, trained) in models {
            for nth in 0..2 {
                for &person in &people {
                    grid.push(&trained.draw(&z.narrow(0, nth, 1)?, &trained.person(person)?)?)?;
                }
            }
        }
        Ok(grid.render())
    }

    /// `None` without an encoder.
    fn between_images(&self) -> Result<Option<command::picture::Picture>> {
        let between = (0..COLUMNS).map(|nth| format!("{:.2}", nth as f64 / (COLUMNS - 1) as f64));
        let captions = ["real".to_owned()].into_iter().chain(between).chain(["real".to_owned()]);
        let rows = self.people().into_iter().map(|person| self.name(person));
        let title = "From one image to another";
        let mut grid = self.grid(COLUMNS + 2)?.title(title).column_captions(captions).row_captions(rows);
        for person in self.people() {
            let (first, second) = (self.real(person, 0)?, self.real(person, 1)?);
            let (Some(from), Some(to)) = (self.trained.encode(&first)?, self.trained.encode(&second)?) else {
                return Ok(None);
            };
            let label = self.trained.person(person)?.repeat((COLUMNS, 1))?;
            grid.push(&first)?;
            grid.push(&self.trained.draw(&interpolate(&from, &to, COLUMNS)?, &label)?)?;
            grid.push(&second)?;
        }
        Ok(Some(grid.render()))
    }

    fn between_people(&self) -> Result<command::picture::Picture> {
        let between = (0..COLUMNS).map(|nth| format!("{:.2}", nth as f64 / (COLUMNS - 1) as f64));
        let captions = ["real".to_owned()].into_iter().chain(between).chain(["real".to_owned()]);
        let people = self.people();
        let next = |nth: usize| people[(nth + 1) % people.len()];
        let rows = people
            .iter()
            .enumerate()
            .map(|(nth, &person)| format!("{} to {}", self.name(person), self.name(next(nth))));
        let title = "From one person to another";
        let mut grid = self.grid(COLUMNS + 2)?.title(title).column_captions(captions).row_captions(rows);
        let z = self.latents(people.len())?;
        for (nth, &person) in people.iter().enumerate() {
            let steps = (0..COLUMNS).map(|step| {
                let weight = step as f32 / (COLUMNS - 1) as f32;
                let part = |person: usize, weight| Parent { identity: person as u32, weight };
                self.trained.mixture(&[part(person, 1.0 - weight), part(next(nth), weight)], 0.0)
            });
            let labels = Tensor::cat(&steps.collect::<cvae_gan::Result<Vec<_>>>()?, 0)?;
            grid.push(&self.real(person, 0)?)?;
            grid.push(&self.trained.draw(&z.narrow(0, nth, 1)?.repeat((COLUMNS, 1))?, &labels)?)?;
            grid.push(&self.real(next(nth), 0)?)?;
        }
        Ok(grid.render())
    }
}
