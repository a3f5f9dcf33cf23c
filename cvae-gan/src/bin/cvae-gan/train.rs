//! `cvae-gan train`: E, G and D from the images of a data set, against a frozen recognizer.

use candle_core::Device;
use clap::Args;
use command::training::{Rhythm, RunFlags};
use command::{Context, Ending, Interrupt};
use cvae_gan::identity_network;
use cvae_gan::{Budget, Error, Figures, Learner, Overrides, Preset, Session, Settings, estimate, start};
use dataset::{Dataset, OpenOptions};
use nets::Width;
use nets::device::{Place, parse_with_numbers};
use recognizer::{FolderSource, Recognizer};
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
    /// What computes: cpu or cuda:N, or either with /bf16 behind it for networks in bfloat16; weights, losses and
    /// penalty stay in f32 [default: cpu]
    #[arg(long, value_name = "DEVICE", value_parser = nets::device::named_with_numbers, help_heading = "Training")]
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
    let Place { device, numbers } = parse_with_numbers(train.device())?;
    let channels = train.overrides.channels.unwrap_or(1);
    // An image that doesn't decode is set aside now; found later, it would end the training.
    let options = OpenOptions { channels, decode_all: true, ..OpenOptions::default() };
    let data = Dataset::open(&train.data, &options)?;
    let settings = Settings { numbers, ..train.settings(&data)? };
    let rhythm = train.rhythm(settings.images);
    let resolved = train.resolved(&settings, &rhythm, context);
    for line in data.report().lines() {
        command::say(format!("{}: {line}", train.data.display()));
    }
    let mut source = start::source(&settings, Arc::new(data))?;

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
        let (learner, gathered) = match start::go_on(&run, &settings, &mut source, &device)? {
            Some(found) => found,
            None => {
                command::say("no checkpoint yet; starting from the beginning");
                (train.started(&settings, &source, &device, &context.interrupt)?, Figures::default())
            }
        };
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
        // What a run keeps is whole: what isn't in it came later.
        let resumed = self.run.resume.as_ref().map(|_| self.overrides.clone().of_older_run());
        Settings::resolve(width, Some(preset), images, resumed.as_ref().unwrap_or(&self.overrides))
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
            // What the networks compute in is named with the device.
            for (name, value) in table.iter().filter(|(name, _)| *name != "numbers") {
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
        start::begin(settings, self.recognizer(settings, source, device)?, source, device, interrupt)
    }
}
