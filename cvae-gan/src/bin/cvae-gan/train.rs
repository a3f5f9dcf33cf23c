//! `cvae-gan train`: E, G and D from the images of a data set, against a frozen recognizer.

use candle_core::{DType, Device};
use clap::Args;
use command::human::count;
use command::run_directory::Checkpoints;
use command::training::{Rhythm, RunFlags};
use command::{Context, Ending, Interrupt, RunDirectory};
use cvae_gan::identity_network;
use cvae_gan::{
    Budget, Error, Figures, IdentityNetwork, Learner, Overrides, Preset, Session, Settings, estimate, state,
};
use dataset::augment::Augmentation;
use dataset::{Dataset, OpenOptions};
use nets::Width;
use recognizer::{FolderSettings, FolderSource, Recognizer};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// Train a CVAE-GAN on the images of a data set
///
/// What is not given comes from the preset: the published recipe for the paper's widths, one for a
/// few cores and some ten thousand images otherwise, or a modern one. --budget chooses width, length
/// and preset for a machine and a time. --dry-run shows every setting as it came out, and what the
/// training will cost.
///
/// Checkpoints: of every written one the newest --keep are kept, older ones are deleted once a new
/// one has been read back.
#[derive(Args)]
pub(crate) struct Train {
    /// Images: a folder per identity, a tar of one, or demo
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    data: PathBuf,
    /// Identity network: a lightcnn-9 checkpoint or run of `recognizer train` on the same identities
    #[arg(long, value_name = "FILE|RUN", help_heading = "Input")]
    identity_weights: Option<PathBuf>,

    /// Channels: paper, small (a quarter of them) or tiny (an eighth) [default: small]
    #[arg(long, value_name = "WIDTH", help_heading = "Network")]
    width: Option<Width>,
    /// What it may cost, which chooses width, preset, length and device where they are not given: cpu-hour (two
    /// cores), gpu-10 or gpu-25 (minutes of one)
    #[arg(long, value_name = "BUDGET", help_heading = "Training")]
    budget: Option<Budget>,
    /// Recipe: paper, small-budget or modern [default: paper for the paper's widths, small-budget otherwise]
    #[arg(long, value_name = "PRESET", help_heading = "Training")]
    preset: Option<Preset>,
    /// Length of the training [unit: images seen] [default: paper 200 passes, others 60,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    images: Option<u64>,
    #[command(flatten)]
    overrides: Overrides,
    /// What computes: cpu or cuda:N [default: cpu]
    #[arg(long, value_name = "DEVICE", value_parser = nets::device::named, help_heading = "Training")]
    device: Option<String>,

    #[command(flatten)]
    run: RunFlags,
    /// Length between pictures [unit: images seen] [default: a twentieth of --images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    sample_every: Option<u64>,
    /// Largest file of a checkpoint, which is cut into several where it is larger [unit: million bytes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000), help_heading = "Output")]
    shard_mb: Option<u64>,
}

pub(crate) fn run(train: &Train, dry_run: bool, json: bool, context: &Context) -> Result<Ending, Error> {
    let device = nets::device::parse(train.device())?;
    let channels = train.overrides.channels.unwrap_or(1);
    // An image that doesn't decode is set aside now; found later, it would end the training.
    let options = OpenOptions { channels, decode_all: true, ..OpenOptions::default() };
    let data = Dataset::open(&train.data, &options)?;
    let settings = train.settings(&data)?;
    let rhythm = train.rhythm(settings.images);
    let resolved = train.resolved(&settings, &rhythm, context);
    for line in data.report().lines() {
        command::say(format!("{}: {line}", train.data.display()));
    }
    let mut source = source(&settings, data)?;

    if dry_run {
        let estimate =
            estimate::estimate(&settings, train.recognizer(&settings, &source, &device)?, &mut source, &device)?;
        if json {
            println!("{}", serde_json::json!({ "settings": settings, "estimate": estimate }));
        } else {
            let lines = estimate.lines().into_iter().map(|line| format!("# {line}\n"));
            print!("{}\n# Estimate\n{}", resolved.to_toml(), lines.collect::<String>());
        }
        return Ok(Ending::Done);
    }

    let (run, mut learner, gathered) = if train.run.resume.is_some() {
        let run = train.run.directory("", &resolved)?;
        let (learner, gathered) = train.resumed(&run, &settings, &mut source, &device, &context.interrupt)?;
        (run, learner, gathered)
    } else {
        let learner = train.started(&settings, &source, &device, &context.interrupt)?;
        (train.run.directory(&settings.model.to_string(), &resolved)?, learner, Figures::default())
    };
    command::say(format!(
        "{} {} with preset {}: {}",
        settings.model,
        settings.width,
        settings.preset,
        run.path().display()
    ));
    let shard_bytes = train.shard_mb.and_then(|million| NonZeroUsize::new(million as usize * 1_000_000));
    let session = Session { run: &run, interrupt: &context.interrupt, rhythm, shard_bytes };
    Ok(cvae_gan::train(&mut learner, &mut source, gathered, &session)?.report(&run, json))
}

impl Train {
    fn device(&self) -> &str {
        let of_budget = || self.budget.map_or("cpu", Budget::device);
        self.device.as_deref().unwrap_or_else(of_budget)
    }

    fn settings(&self, data: &Dataset) -> Result<Settings, Error> {
        let identities = data.identities().len();
        if identities < 2 {
            return Err(Error::Data {
                path: self.data.clone(),
                expected: "at least 2 identities to tell apart".to_owned(),
                found: identities.to_string(),
            });
        }
        let width = self.width.or(self.budget.map(Budget::width)).unwrap_or(Width::Small);
        let preset = self.preset.or(self.budget.map(Budget::preset)).unwrap_or(Preset::of_width(width));
        let usual = if preset == Preset::Paper { 200 * data.len() as u64 } else { 60_000 };
        let images = self.images.or(self.budget.map(Budget::images)).unwrap_or(usual);
        Settings::resolve(width, Some(preset), images, &self.overrides)
    }

    /// Ten pictures would miss how a training goes wrong; twenty show it.
    fn rhythm(&self, images: u64) -> Rhythm {
        let evaluate = self.sample_every.unwrap_or((images / 20).max(1));
        Rhythm { evaluate, ..self.run.rhythm(images) }
    }

    /// The command's settings with those of the preset filled in: what a run keeps, so that it
    /// takes no other flag to go on, and a later version of the preset doesn't change it.
    fn resolved(&self, settings: &Settings, rhythm: &Rhythm, context: &Context) -> command::Settings {
        let mut resolved = context.settings.clone();
        if let Some(budget) = self.budget {
            let why = format!("budget {budget}");
            resolved.fill("width", settings.width, &why);
            resolved.fill("preset", settings.preset, &why);
            resolved.fill("images", settings.images, &why);
            resolved.fill("device", self.device(), &why);
        }
        resolved.fill("device", self.device(), "usual");
        let why = format!("preset {}", settings.preset);
        // A table of plain values always has a JSON form.
        if let Ok(serde_json::Value::Object(table)) = serde_json::to_value(settings) {
            for (name, value) in &table {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                resolved.fill(name, text, &why);
            }
        }
        resolved.fill("sample-every", rhythm.evaluate, "of --images");
        self.run.fill(&mut resolved, rhythm);
        resolved
    }

    fn recognizer(
        &self,
        settings: &Settings,
        source: &FolderSource,
        device: &Device,
    ) -> Result<Option<Recognizer>, Error> {
        let Some(path) = self.identity_weights.as_ref().filter(|_| settings.needs_identity()) else { return Ok(None) };
        let verdict = settings.lambda_id * settings.identity_verdict > 0.0;
        identity_network::load(path, source.dataset(), verdict, device).map(Some)
    }

    fn started(
        &self,
        settings: &Settings,
        source: &FolderSource,
        device: &Device,
        interrupt: &Interrupt,
    ) -> Result<Learner, Error> {
        let dataset = source.dataset();
        let identity = match self.recognizer(settings, source, device)? {
            Some(recognizer) => Some(IdentityNetwork::of_dataset(recognizer, dataset, interrupt)?),
            None => None,
        };
        Learner::new(settings, dataset.identities().len(), identity, DType::F32, device)
    }

    fn resumed(
        &self,
        run: &RunDirectory,
        settings: &Settings,
        source: &mut FolderSource,
        device: &Device,
        interrupt: &Interrupt,
    ) -> Result<(Learner, Figures), Error> {
        let checkpoints: &Checkpoints = run.checkpoints();
        if checkpoints.list()?.is_empty() {
            command::say("no checkpoint yet; starting from the beginning");
            return Ok((self.started(settings, source, device, interrupt)?, Figures::default()));
        }
        let (_, checkpoint) = checkpoints.newest(|found| state::read(&found.path, device))?;
        let before = checkpoint.0.settings.clone();
        let (learner, gathered) = state::restore(settings, checkpoint, source, device)?;
        let seen = learner.images_seen();
        run.resume_at(seen)?;
        let rates = [
            ("learning-rate", before.learning_rate, settings.learning_rate),
            ("critic-learning-rate", before.critic_learning_rate, settings.critic_learning_rate),
        ];
        for (name, before, asked) in rates.into_iter().filter(|(_, before, asked)| before != asked) {
            command::say(format!("from {} images on with {name} {asked}, {before} before", count(seen)));
            run.change_setting(name, &asked.to_string(), &format!("{before} up to {seen} images seen"))?;
        }
        Ok((learner, gathered))
    }
}

fn source(settings: &Settings, data: Dataset) -> Result<FolderSource, Error> {
    let augmentation = Augmentation { flip: settings.flip, shift: 0 };
    let folder = FolderSettings { batch_size: settings.batch, seed: settings.seed, augmentation };
    Ok(FolderSource::new(Arc::new(data), folder)?)
}
