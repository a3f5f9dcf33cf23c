//! What is trained: every training of the experiments, by name.
//!
//! Two experiments that need the same training name it alike and share it. A job is a function of the
//! settings alone, so that a plan can list all of them before anything runs.

use crate::error::Result;
use crate::rows::{Recipe, Supply, Whom};
use crate::settings::Settings;
use crate::world::Part;
use command::human::count;
use cvae_gan::Overrides;
use cvae_gan::settings::Model;
use nets::LightCnnKind;
use recognizer::TrainConfig;
use recognizer::flags::LossName;

/// Of weights and order of what is no arm: identity networks, generators, judges. Arms have others.
const IDENTITY_SEED: u64 = 101;
const GENERATOR_SEED: u64 = 102;
const JUDGE_SEED: u64 = 103;
const INCEPTION_SEED: u64 = 104;

/// A recognizer to be trained.
#[derive(Clone, Debug)]
pub struct RecognizerJob {
    /// Of its run directory.
    pub name: String,
    /// How.
    pub config: TrainConfig,
    /// On which images.
    pub part: Part,
    /// In which batches.
    pub recipe: Recipe,
    /// What makes the generated rows, if there are any.
    pub generator: Option<Box<GeneratorJob>>,
}

/// A generator to be trained.
#[derive(Clone, Debug)]
pub struct GeneratorJob {
    /// Of its run directory.
    pub name: String,
    /// How.
    pub settings: cvae_gan::Settings,
    /// On which images.
    pub part: Part,
    /// Its identity network, where it needs one.
    pub identity: Option<Box<RecognizerJob>>,
}

/// Any training.
#[derive(Clone, Debug)]
pub enum Job {
    /// Of a recognizer.
    Recognizer(RecognizerJob),
    /// Of a generator.
    Generator(GeneratorJob),
}

/// The models of the paper's table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Variant {
    /// All terms.
    Ours,
    /// Without L_id. What G is told of an identity stays the same.
    #[value(name = "without-l-id")]
    WithoutIdentity,
    /// G and D alone.
    Cgan,
    /// E and G, by pixels and divergence alone.
    Cvae,
}

/// What a recognizer's batches hold beside real rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arm {
    /// Share of generated rows.
    pub share: f64,
    /// Whom they show.
    pub whom: Whom,
    /// Whether they come again.
    pub supply: Supply,
    /// How they are taken.
    pub usage: Usage,
}

/// How a recognizer takes generated rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// They count less than real ones.
    pub weighted: bool,
    /// None come towards the end.
    pub real_last: bool,
    /// Those that are unlike their person, or too like it, are made again.
    pub selected: bool,
}

/// How often a row is made again where rows are selected.
pub(crate) const RETRIES: u32 = 4;

impl Variant {
    /// In the order of the table.
    pub const ALL: [Self; 4] = [Self::Ours, Self::WithoutIdentity, Self::Cgan, Self::Cvae];

    /// In a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::WithoutIdentity => "ours without L_id",
            Self::Cgan => "CGAN",
            Self::Cvae => "CVAE",
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::WithoutIdentity => "without-identity-term",
            Self::Cgan => "cgan",
            Self::Cvae => "cvae",
        }
    }

    fn model(self) -> Model {
        match self {
            Self::Ours | Self::WithoutIdentity => Model::CvaeGan,
            Self::Cgan => Model::Cgan,
            Self::Cvae => Model::Cvae,
        }
    }
}

impl Arm {
    /// Real rows alone.
    pub const REAL: Self = Self::existing(0.0);

    /// New images of the people of the data, a share of the rows.
    pub const fn existing(share: f64) -> Self {
        let usage = Usage { weighted: false, real_last: false, selected: false };
        Self { share, whom: Whom::Existing, supply: Supply::Online, usage }
    }

    fn slug(self) -> String {
        if self.share == 0.0 {
            return "real".to_owned();
        }
        let whom = match self.whom {
            Whom::Existing => "existing".to_owned(),
            Whom::Blended { labels, spread, .. } => {
                let labels = if labels.is_hard() { "" } else { "-soft" };
                let spread = if spread == 0.0 { String::new() } else { format!("-spread-{spread}") };
                format!("blended{labels}{spread}")
            }
        };
        let supply = match self.supply {
            Supply::Online => "online",
            Supply::Offline { .. } => "offline",
        };
        let Usage { weighted, real_last, selected } = self.usage;
        let usage = [(weighted, "-weighted"), (real_last, "-real-last"), (selected, "-selected")];
        let usage: String = usage.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
        format!("{whom}-{}-{supply}{usage}", self.share)
    }
}

impl Job {
    /// Of its run directory.
    pub fn name(&self) -> &str {
        match self {
            Self::Recognizer(job) => &job.name,
            Self::Generator(job) => &job.name,
        }
    }

    /// Length, in images seen.
    pub fn images(&self) -> u64 {
        match self {
            Self::Recognizer(job) => job.config.images,
            Self::Generator(job) => job.settings.images,
        }
    }

    /// Seed of its weights.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Recognizer(job) => job.config.seed,
            Self::Generator(job) => job.settings.seed,
        }
    }

    /// Of everything that decides its outcome beside the images, so that a plan is another one where a preset or a
    /// constant is.
    pub fn fingerprint(&self) -> String {
        blake3::hash(format!("{self:?}").as_bytes()).to_hex()[..8].to_owned()
    }

    /// What it takes first, then itself.
    pub fn with_needs(self) -> Vec<Self> {
        let mut jobs = match &self {
            Self::Recognizer(RecognizerJob { generator: Some(generator), .. }) => {
                Self::Generator((**generator).clone()).with_needs()
            }
            Self::Generator(GeneratorJob { identity: Some(identity), .. }) => {
                Self::Recognizer((**identity).clone()).with_needs()
            }
            _ => Vec::new(),
        };
        jobs.push(self);
        jobs
    }

    /// One line: what is trained on what for how long.
    pub fn line(&self) -> String {
        let length = format!("{} images", count(self.images()));
        match self {
            Self::Recognizer(RecognizerJob { name, config, recipe, .. }) => {
                let made = (recipe.share > 0.0).then(|| format!(", {} of them generated", percent(recipe.share)));
                let made = made.unwrap_or_default();
                let until = recipe.real_from.map_or(String::new(), |batch| format!(" until step {batch}"));
                let weight = match config.generated_weight {
                    1.0 => String::new(),
                    weight => format!(" at weight {weight}"),
                };
                let selected = if recipe.retries.is_some() { ", selected" } else { "" };
                let made = format!("{made}{until}{weight}{selected}");
                format!(
                    "{name}: {} {}, {} loss, seed {}, {length}{made}",
                    config.kind, config.width, config.loss, config.seed
                )
            }
            Self::Generator(GeneratorJob { name, settings, .. }) => {
                let beyond = settings.beyond_preset().join(", ");
                let beyond = if beyond.is_empty() { beyond } else { format!(" with {beyond}") };
                format!(
                    "{name}: {} {}, preset {}{beyond}, seed {}, {length}",
                    settings.model, settings.width, settings.preset, settings.seed
                )
            }
        }
    }
}

fn percent(share: f64) -> String {
    command::human::percent(share)
}

/// Jobs with all that they need, each once, in an order in which they can be done.
pub fn in_order(jobs: impl IntoIterator<Item = Job>) -> Vec<Job> {
    let mut ordered: Vec<Job> = Vec::new();
    for job in jobs.into_iter().flat_map(Job::with_needs) {
        if !ordered.iter().any(|other| other.name() == job.name()) {
            ordered.push(job);
        }
    }
    ordered
}

fn of_part(name: &str, part: Part) -> String {
    match part {
        Part::Training | Part::Others => name.to_owned(),
        Part::Few(images) => format!("{name}-of-{images}-images"),
    }
}

impl Settings {
    /// The network that a generator's identities are judged by while it trains.
    pub fn identity_job(&self, part: Part) -> RecognizerJob {
        let config =
            TrainConfig::new(LightCnnKind::Nine, self.identity_width, self.identity_images, self.batch as usize);
        let config = TrainConfig { seed: IDENTITY_SEED, numbers: self.numbers(), ..config };
        self.real_job(of_part("identity-network", part), config, part)
    }

    /// Takes no part in any other training.
    pub fn judge_job(&self) -> RecognizerJob {
        let config = TrainConfig::new(self.judge_arch, self.judge_width, self.judge_images, self.batch as usize);
        self.real_job("judge".to_owned(), TrainConfig { seed: JUDGE_SEED, ..config }, Part::Training)
    }

    /// Knows other people than the data's.
    pub fn inception_job(&self) -> RecognizerJob {
        let config = TrainConfig::new(self.judge_arch, self.judge_width, self.judge_images, self.batch as usize);
        self.real_job("inception-network".to_owned(), TrainConfig { seed: INCEPTION_SEED, ..config }, Part::Others)
    }

    fn real_job(&self, name: String, config: TrainConfig, part: Part) -> RecognizerJob {
        let recipe = Recipe::real(self.batch as usize, config.seed, self.brightness);
        RecognizerJob { name, config, part, recipe, generator: None }
    }

    /// A generator of the paper's table 1, by the preset that was chosen, or that of its width.
    ///
    /// # Errors
    /// Settings that can't train.
    pub fn generator_job(&self, variant: Variant, part: Part) -> Result<GeneratorJob> {
        let preset = self.preset();
        let model = variant.model();
        let given = Overrides::named(self.generator_set.iter().map(String::as_str))?.of_model(model);
        let mut overrides =
            Overrides { model: Some(model), channels: Some(self.channels), seed: Some(GENERATOR_SEED), ..given };
        if variant == Variant::WithoutIdentity {
            overrides.lambda_id = Some(0.0);
            // One thing is changed at a time.
            overrides.label_code = Some(self.generator_job(Variant::Ours, part)?.settings.label_code);
        }
        let settings =
            cvae_gan::Settings::resolve(self.generator_width, Some(preset), self.generator_images, &overrides)?;
        let settings = cvae_gan::Settings { numbers: self.numbers(), ..settings };
        let identity = settings.needs_identity().then(|| Box::new(self.identity_job(part)));
        Ok(GeneratorJob { name: of_part(&format!("generator-{}", variant.slug()), part), settings, part, identity })
    }

    /// A recognizer of an arm.
    ///
    /// # Errors
    /// A generator whose settings can't train.
    pub fn arm_job(&self, arm: Arm, loss: LossName, seed: u64, part: Part) -> Result<RecognizerJob> {
        let generator = (arm.share > 0.0).then(|| self.generator_job(Variant::Ours, part).map(Box::new)).transpose()?;
        let Arm { share, whom, supply, usage } = arm;
        let mut config = self.config(loss, seed);
        if usage.weighted {
            config.generated_weight = self.generated_weight;
        }
        let steps = config.images.div_ceil(u64::from(self.batch));
        let real_from =
            usage.real_last.then(|| (((1.0 - self.real_last) * steps as f64).round() as u64).min(steps - 1));
        let retries = usage.selected.then_some(RETRIES);
        let word = match loss {
            LossName::Softmax => "softmax",
            LossName::Centre => "centre",
        };
        Ok(RecognizerJob {
            name: of_part(&format!("recognizer-{word}-{}-seed-{seed}", arm.slug()), part),
            config,
            part,
            recipe: Recipe {
                share,
                whom,
                supply,
                real_from,
                retries,
                ..Recipe::real(self.batch as usize, seed, self.brightness)
            },
            generator,
        })
    }
}
