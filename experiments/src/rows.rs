//! The batches of an arm: real rows and generated ones, mixed in this process.
//!
//! A stream of a server holds the same kinds of rows, by the same rules: new images of existing
//! people under their own class, images of [`dataset::blended`] people under classes of their own
//! behind all others, latents of the prior. Nothing here goes over gRPC, since what is compared is
//! what recognizers learn from rows, however they came; for the same reason no guard of the server's is
//! at work, and its filter's like ([`Selector`]) only where it is what is compared.
//!
//! Batch n is a function of `(data, generator, recipe, n)`: an arm that was killed goes on with the
//! same bits.

use crate::selection::Selector;
use candle_core::Tensor;
use cvae_gan::Trained;
use dataset::Dataset;
use dataset::augment::{STANDARD, brighten};
use dataset::blended::{Blended, Parent, Rule, order};
use nets::LATENT;
use nets::chance::Chance;
use nets::pixels::IMAGE_SIZE;
use rayon::prelude::*;
use recognizer::{Batch, BatchSource, FolderSettings, FolderSource, Labels, Mixture, Part, Source, SourceError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Seed of blended people, the same in all arms.
pub(crate) const BLENDING: u64 = 1;
/// Shares are counted in millionths, so that totals are exact.
const MILLION: u64 = 1_000_000;

/// Whom generated rows show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// The people of the data.
    Existing,
    /// So many people blended of three of them each.
    Blended {
        /// How many.
        people: u32,
        /// What their rows are learned as.
        #[serde(default, skip_serializing_if = "Labels::is_hard")]
        labels: Labels,
        /// How far they are led away from the average person ([`dataset::blended::label`]).
        #[serde(default, skip_serializing_if = "is_zero")]
        spread: f64,
    },
}

/// Where generated rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supply {
    /// Each is new.
    Online,
    /// A fixed set of so many images of each person, another one for each seed. It isn't kept but
    /// made again: the same bits.
    Offline {
        /// Of each person.
        images: u32,
    },
}

/// What batches are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Rows of a batch.
    pub batch: usize,
    /// Of order, latents and augmentation.
    pub seed: u64,
    /// Share of generated rows, 0 to 1; of all batches, and of each but for one row.
    pub share: f64,
    /// Whom they show.
    pub whom: Whom,
    /// Whether they come again.
    pub supply: Supply,
    /// Most that a row is brightened or darkened by.
    pub brightness: f64,
    /// From this batch on all rows are real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_from: Option<u64>,
    /// Generated rows of existing people that the maker's selector refuses are made again so often at most, each
    /// time of another latent; then the try that lies nearest to its bounds is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Whom {
    /// How far they are led away from the average person.
    fn spread(self) -> f64 {
        match self {
            Self::Existing => 0.0,
            Self::Blended { spread, .. } => spread,
        }
    }
}

/// What makes the generated rows.
#[derive(Clone)]
pub struct Maker {
    /// Of the data's people, in its order.
    pub trained: Arc<Trained>,
    /// Digest of its checkpoint.
    pub digest: String,
    /// What judges its rows, for recipes with retries.
    pub selector: Option<Arc<Selector>>,
}

/// A stream of an arm.
pub struct Rows {
    recipe: Recipe,
    real: FolderSource,
    maker: Option<Maker>,
    blended: Blended,
    next: u64,
}

/// A generated row before it is made.
struct Plan {
    source: Source,
    /// Whom it shows: a class of the data, or one behind those.
    label: u32,
    /// Of the data, the heaviest first.
    parents: Vec<Parent>,
    /// Where its latent is drawn: the purpose, the index and the row.
    draws: (&'static str, u64, u64),
}

impl Plan {
    /// The row as one of several classes, those of its parents.
    fn mixture(&self, row: usize) -> Mixture {
        let part = |&Parent { identity, weight }: &Parent| Part { class: identity, weight };
        Mixture { row: row as u32, parts: self.parents.iter().map(part).collect() }
    }

    /// The standard normal latent of a try.
    fn latent(&self, seed: u64, attempt: u32) -> Vec<f32> {
        let (purpose, index, row) = self.draws;
        let chance = match attempt {
            0 => Chance::new(seed, purpose),
            _ => Chance::new(seed, &format!("{purpose}, try {attempt}")),
        };
        let mut values = vec![0.0; LATENT];
        chance.at(index, row).normals(&mut values);
        values.into_iter().map(|value| value as f32).collect()
    }
}

impl Recipe {
    /// Real rows alone.
    pub fn real(batch: usize, seed: u64, brightness: f64) -> Self {
        Self {
            batch,
            seed,
            share: 0.0,
            whom: Whom::Existing,
            supply: Supply::Online,
            brightness,
            real_from: None,
            retries: None,
        }
    }

    /// Generated rows in all batches before batch `index`.
    fn generated_before(&self, index: u64) -> u64 {
        let share = (self.share * MILLION as f64).round() as u128;
        let index = index.min(self.real_from.unwrap_or(u64::MAX));
        (u128::from(index) * self.batch as u128 * share / u128::from(MILLION)) as u64
    }
}

impl Rows {
    /// A stream from batch 0. Without a share of generated rows it takes no maker.
    ///
    /// # Errors
    /// A share of rows without anything that makes them, a maker of other people or channels.
    pub fn new(data: Arc<Dataset>, maker: Option<Maker>, recipe: Recipe) -> Result<Self, SourceError> {
        let names: Vec<&String> = data.identities().iter().map(|identity| &identity.name).collect();
        let fits = |maker: &Maker| {
            maker.trained.channels == data.channels() && maker.trained.names.iter().eq(names.iter().copied())
        };
        if recipe.share > 0.0 && !maker.as_ref().is_some_and(fits) {
            return Err(SourceError::Settings(
                "expected a generator of the data's people and channels for generated rows, found none".to_owned(),
            ));
        }
        let selects = recipe.whom == Whom::Existing && maker.as_ref().is_some_and(|maker| maker.selector.is_some());
        if recipe.share > 0.0 && recipe.retries.is_some() && !selects {
            let what = "expected existing people and an identity network to select generated rows by";
            return Err(SourceError::Settings(what.to_owned()));
        }
        let identities = data.identities().len() as u32;
        // Rows are augmented here, alike whether they are real or not.
        let settings =
            FolderSettings { batch_size: recipe.batch, seed: recipe.seed, augmentation: dataset::augment::NONE };
        let real = FolderSource::new(data, settings)?;
        Ok(Self { recipe, real, maker, blended: Blended::new(Rule::usual(BLENDING), identities), next: 0 })
    }

    fn identities(&self) -> u64 {
        self.real.dataset().identities().len() as u64
    }

    /// The `nth` generated row of the stream, which is row `row` of batch `index`.
    fn plan(&self, nth: u64, index: u64, row: u64) -> Plan {
        let seed = self.recipe.seed;
        let (source, label, parents, turn) = match self.recipe.whom {
            Whom::Existing => {
                let people = self.identities();
                let purpose = format!("existing identities, round {}", nth / people);
                let person = Chance::new(seed, &purpose).permutation(people).get(nth % people);
                (Source::Existing, person, vec![Parent::alone(person as u32)], nth / people)
            }
            Whom::Blended { people, .. } => {
                let people = u64::from(people);
                let j = order(seed, nth / people, people).get(nth % people);
                (Source::Blended, self.identities() + j, self.blended.parents(j as u32), nth / people)
            }
        };
        let draws = match self.recipe.supply {
            Supply::Online => ("latent", index, row),
            Supply::Offline { images } => ("experiments/fixed set", label, turn % u64::from(images.max(1))),
        };
        Plan { source, label: label as u32, parents, draws }
    }

    /// The images of planned rows, one after another.
    fn make(&self, plans: &[Plan]) -> Result<Vec<u8>, SourceError> {
        let (Some(maker), false) = (&self.maker, plans.is_empty()) else { return Ok(Vec::new()) };
        let draw = |rows: &[usize], attempt: u32| self.draw(maker, rows.iter().map(|&row| &plans[row]), attempt);
        let made = match (self.recipe.retries, &maker.selector) {
            (Some(retries), Some(selector)) => {
                let people: Vec<usize> = plans.iter().map(|plan| plan.label as usize).collect();
                selector.select(&people, retries, draw)
            }
            _ => draw(&(0..plans.len()).collect::<Vec<_>>(), 0),
        };
        made.map_err(SourceError::other)
    }

    fn draw<'a>(
        &self,
        maker: &Maker,
        plans: impl Iterator<Item = &'a Plan> + Clone,
        attempt: u32,
    ) -> cvae_gan::Result<Vec<u8>> {
        let (trained, seed) = (&maker.trained, self.recipe.seed);
        let latents: Vec<f32> = plans.clone().flat_map(|plan| plan.latent(seed, attempt)).collect();
        let labels = trained.labels(plans.map(|plan| plan.parents.as_slice()), self.recipe.whom.spread())?;
        let z = Tensor::from_vec(latents, (labels.dim(0)?, LATENT), trained.device())?;
        trained.draw(&z, &labels)
    }
}

impl BatchSource for Rows {
    fn classes(&self) -> usize {
        let blended = match self.recipe.whom {
            Whom::Blended { people, labels: Labels::Hard, .. } if self.recipe.share > 0.0 => people as usize,
            _ => 0,
        };
        self.identities() as usize + blended
    }

    fn channels(&self) -> usize {
        self.real.channels()
    }

    fn batch_size(&self) -> usize {
        self.recipe.batch
    }

    fn next(&mut self) -> Result<Batch, SourceError> {
        let (index, rows, channels) = (self.next, self.recipe.batch, self.channels());
        let before = self.recipe.generated_before(index);
        let made = (self.recipe.generated_before(index + 1) - before) as usize;
        let row_bytes = IMAGE_SIZE * IMAGE_SIZE * channels;

        // Real rows first: their order within a batch is nothing to a network without batch statistics.
        let real_before = index * rows as u64 - before;
        let images = self.real.images(real_before..real_before + (rows - made) as u64);
        let mut pixels = vec![0u8; images.len() * row_bytes];
        let filled: dataset::Result<()> = pixels
            .par_chunks_exact_mut(row_bytes)
            .zip(&images)
            .map(|(pixels, &image)| self.real.read_into(image, pixels))
            .collect();
        filled.map_err(SourceError::other)?;
        let class = |&image: &usize| self.real.dataset().image_identity(image) as u32;
        let mut labels: Vec<u32> = images.iter().map(class).collect();
        let mut sources = vec![Source::Real; images.len()];

        // Generated rows.
        let plans: Vec<Plan> =
            (0..made as u64).map(|nth| self.plan(before + nth, index, images.len() as u64 + nth)).collect();
        pixels.extend(self.make(&plans)?);
        let soft = matches!(self.recipe.whom, Whom::Blended { labels: Labels::Soft, .. });
        let mixtures: Vec<Mixture> = match soft {
            true => plans.iter().enumerate().map(|(nth, plan)| plan.mixture(images.len() + nth)).collect(),
            false => Vec::new(),
        };
        let heaviest = |plan: &Plan| plan.parents.first().map_or(plan.label, |parent| parent.identity);
        labels.extend(plans.iter().map(|plan| if soft { heaviest(plan) } else { plan.label }));
        sources.extend(plans.iter().map(|plan| plan.source));

        // The standard augmentation, the same for all: flip, shift, brightness.
        let moves = Chance::new(self.recipe.seed, "experiments/augment");
        let lights = Chance::new(self.recipe.seed, "experiments/brightness");
        pixels.par_chunks_exact_mut(row_bytes).enumerate().for_each(|(row, pixels)| {
            STANDARD.apply(pixels, channels, &mut moves.at(index, row as u64));
            brighten(pixels, self.recipe.brightness, &mut lights.at(index, row as u64));
        });
        self.next += 1;
        Ok(Batch { index, rows, channels, pixels: pixels.into(), labels, sources, mixtures })
    }

    fn place(&self) -> serde_json::Value {
        serde_json::json!({
            "kind": "experiments rows",
            "dataset": self.real.dataset().digest(),
            "generator": self.maker.as_ref().map(|maker| &maker.digest),
            "selector": self.maker.as_ref().and_then(|maker| maker.selector.as_ref()).map(|selector| selector.digest()),
            "recipe": self.recipe,
            "next": self.next,
        })
    }

    fn resume(&mut self, place: &serde_json::Value) -> Result<(), SourceError> {
        let (mut found, mut here) = (place.clone(), self.place());
        let next = found.get_mut("next").map(serde_json::Value::take).and_then(|next| next.as_u64());
        here["next"].take();
        let Some(next) = next.filter(|_| found == here) else {
            return Err(SourceError::Place(format!("expected a place in the stream {here}, found {found}")));
        };
        self.next = next;
        Ok(())
    }

    fn describe(&self) -> String {
        let people = match self.recipe.whom {
            Whom::Existing => "the same people".to_owned(),
            Whom::Blended { people, labels, spread } => {
                let learned = if labels.is_hard() { "" } else { ", learned as those they are blended from" };
                let led = if is_zero(&spread) { String::new() } else { format!(", at a spread of {spread}") };
                format!("{people} blended people{learned}{led}")
            }
        };
        let supply = match self.recipe.supply {
            Supply::Online => "new ones each time".to_owned(),
            Supply::Offline { images } => format!("of a fixed set of {images} each"),
        };
        let real = self.real.describe();
        let Recipe { share, real_from, retries, .. } = self.recipe;
        if share == 0.0 {
            return real;
        }
        let until = real_from.map_or(String::new(), |batch| format!(", until batch {batch}"));
        let selected = if retries.is_some() { ", selected" } else { "" };
        format!("{real}; {} images of {people}, {supply}{selected}{until}", command::human::percent(share))
    }

    fn class_names(&self) -> Vec<String> {
        self.real.class_names()
    }

    fn dataset_digest(&self) -> Option<String> {
        self.real.dataset_digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Rows of four drawn people. What is planned takes no maker.
    fn rows(whom: Whom, supply: Supply) -> Rows {
        let data = Dataset::open("demo:identities=4,images=2", &dataset::OpenOptions::default()).unwrap();
        let recipe = Recipe { whom, supply, ..Recipe::real(8, 3, 0.0) };
        Rows::new(Arc::new(data), None, recipe).unwrap()
    }

    /// Different latents of each class among the first `count` generated rows.
    fn latents(rows: &Rows, count: u64) -> Vec<usize> {
        let mut seen = vec![BTreeSet::new(); 9];
        for nth in 0..count {
            let plan = rows.plan(nth, nth / 8, nth % 8);
            seen[plan.label as usize].insert(plan.latent(3, 0).iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        }
        seen.iter().map(BTreeSet::len).collect()
    }

    #[test]
    fn online_no_image_comes_twice_and_offline_each_person_has_so_many() {
        let offline = Supply::Offline { images: 3 };
        assert_eq!(latents(&rows(Whom::Existing, Supply::Online), 40), [10, 10, 10, 10, 0, 0, 0, 0, 0]);
        assert_eq!(latents(&rows(Whom::Existing, offline), 40), [3, 3, 3, 3, 0, 0, 0, 0, 0]);
        assert_eq!(
            latents(&rows(Whom::Blended { people: 5, labels: Labels::Hard, spread: 0.0 }, offline), 40),
            [0, 0, 0, 0, 3, 3, 3, 3, 3]
        );
    }

    #[test]
    fn blended_people_are_those_of_a_stream_with_the_same_blending() {
        let blended = Blended::new(Rule::usual(BLENDING), 4);
        let rows = rows(Whom::Blended { people: 5, labels: Labels::Hard, spread: 0.0 }, Supply::Online);
        for nth in 0..10 {
            let plan = rows.plan(nth, 0, nth);
            assert_eq!(plan.parents, blended.parents(plan.label - 4));
            assert!(plan.parents.iter().all(|parent| parent.weight <= 0.6 + 1e-6));
        }
    }

    #[test]
    fn after_the_last_generated_row_all_are_real() {
        let recipe = Recipe { share: 0.5, real_from: Some(3), ..Recipe::real(8, 3, 0.0) };
        assert_eq!([0, 1, 3, 4, 1000].map(|index| recipe.generated_before(index)), [0, 4, 12, 12, 12]);
    }

    #[test]
    fn shares_are_exact_over_all_batches() {
        let recipe = Recipe { share: 0.3, ..Recipe::real(8, 3, 0.0) };
        assert_eq!([0, 1, 2, 10, 1_000_000].map(|index| recipe.generated_before(index)), [0, 2, 4, 24, 2_400_000]);
    }
}
