//! `cvae-gan train`: E, G and D from the images of a data set, against a frozen recognizer.

use crate::run_config;
use candle_core::{DType, Device};
use clap::Args;
use command::run_directory::Checkpoints;
use command::{Context, Interrupt, RunDirectory};
use cvae_gan::identity_network;
use cvae_gan::trainer::Rhythm;
use cvae_gan::{Error, Figures, IdentityNetwork, Learner, Overrides, Preset, Session, Settings, estimate, state};
use dataset::augment::Augmentation;
use dataset::{Dataset, OpenOptions};
use nets::Width;
use recognizer::{FolderSettings, FolderSource, Recognizer};
use std::path::PathBuf;
use std::sync::Arc;

/// Train a CVAE-GAN on the images of a data set
///
/// What is not given comes from the preset: the published recipe for the paper's widths, one for a
/// few cores and some ten thousand images otherwise. --dry-run shows every setting as it came out,
/// and what the training will cost.
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

    /// Channels: paper, small (a quarter of them) or tiny (an eighth)
    #[arg(long, value_name = "WIDTH", default_value_t = Width::Small, help_heading = "Network")]
    width: Width,
    /// Recipe: paper or small-budget [default: paper for the paper's widths, small-budget otherwise]
    #[arg(long, value_name = "PRESET", help_heading = "Training")]
    preset: Option<Preset>,
    /// Length of the training [unit: images seen] [default: paper 200 passes, small-budget 60,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    images: Option<u64>,
    #[command(flatten)]
    overrides: Overrides,
    /// What computes: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "Training")]
    device: String,

    /// New run directory [default: the next number in runs/]
    #[arg(long, value_name = "RUN", conflicts_with = "resume", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Go on with this run directory, with the settings it was started with; only both learning rates may be others
    #[arg(long, value_name = "RUN", help_heading = "Output")]
    resume: Option<PathBuf>,
    /// Length between lines of figures [unit: images seen] [default: a two-hundredth of --images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    log_every: Option<u64>,
    /// Length between pictures [unit: images seen] [default: a twentieth of --images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    sample_every: Option<u64>,
    /// Length between checkpoints [unit: images seen] [default: a tenth of --images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    checkpoint_every: Option<u64>,
    /// Newest checkpoints that are kept
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Output")]
    keep: u32,
}

pub(crate) fn run(train: &Train, dry_run: bool, json: bool, context: &Context) -> Result<(), Error> {
    let device = nets::device::parse(&train.device)?;
    let channels = train.overrides.channels.unwrap_or(1);
    // An image that doesn't decode is set aside now; found later, it would end the training.
    let options = OpenOptions { channels, decode_all: true, ..OpenOptions::default() };
    let data = Dataset::open(&train.data, &options)?;
    let settings = train.settings(&data)?;
    let config = run_config::text(&settings, context);
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
            print!("{config}\n# Estimate\n{}", lines.collect::<String>());
        }
        return Ok(());
    }

    let (run, mut learner, gathered) = match &train.resume {
        Some(resumed) => {
            let run = RunDirectory::open(resumed)?;
            let (learner, gathered) = train.resumed(&run, &settings, &mut source, &device, &context.interrupt)?;
            run.resume_at(learner.images_seen())?;
            for line in run_config::record_rates(run.path(), &settings, learner.images_seen())? {
                command::say(line);
            }
            (run, learner, gathered)
        }
        None => {
            let learner = train.started(&settings, &source, &device, &context.interrupt)?;
            let run = match &train.out {
                Some(out) => RunDirectory::create_at(out, &config)?,
                None => RunDirectory::create("runs", &settings.model.to_string(), &config)?,
            };
            (run, learner, Figures::default())
        }
    };
    command::say(format!(
        "{} {} with preset {}: {}",
        settings.model,
        settings.width,
        settings.preset,
        run.path().display()
    ));
    let session = Session { run: &run, interrupt: &context.interrupt, rhythm: train.rhythm(settings.images) };
    let outcome = cvae_gan::train(&mut learner, &mut source, gathered, &session)?;

    let seen = command::human::count(outcome.images_seen);
    if json {
        let object = serde_json::json!({
            "run": run.path(),
            "checkpoint": outcome.checkpoint,
            "images_seen": outcome.images_seen,
            "interrupted": outcome.interrupted,
        });
        println!("{object}");
    } else if outcome.interrupted {
        println!("stopped after {seen} images; go on with --resume {}", run.path().display());
    } else {
        println!("trained for {seen} images: {}", outcome.checkpoint.display());
    }
    Ok(())
}

impl Train {
    fn settings(&self, data: &Dataset) -> Result<Settings, Error> {
        let identities = data.identities().len();
        if identities < 2 {
            return Err(Error::Data {
                path: self.data.clone(),
                expected: "at least 2 identities to tell apart".to_owned(),
                found: identities.to_string(),
            });
        }
        let paper = self.preset.unwrap_or(Preset::of_width(self.width)) == Preset::Paper;
        let images = self.images.unwrap_or(if paper { 200 * data.len() as u64 } else { 60_000 });
        Settings::resolve(self.width, self.preset, images, &self.overrides)
    }

    fn rhythm(&self, images: u64) -> Rhythm {
        let usual = Rhythm::over(images);
        Rhythm {
            log: self.log_every.unwrap_or(usual.log),
            sample: self.sample_every.unwrap_or(usual.sample),
            checkpoint: self.checkpoint_every.unwrap_or(usual.checkpoint),
            keep: self.keep as usize,
        }
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
        state::restore(settings, checkpoint, source, device)
    }
}

fn source(settings: &Settings, data: Dataset) -> Result<FolderSource, Error> {
    let augmentation = Augmentation { flip: settings.flip, shift: 0 };
    let folder = FolderSettings { batch_size: settings.batch, seed: settings.seed, augmentation };
    Ok(FolderSource::new(Arc::new(data), folder)?)
}
