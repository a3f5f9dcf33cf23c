//! The trainings that are compared: one recognizer, one length, three mixes.

use crate::Error;
use crate::serving::Serving;
use client::spec::{Blending, Channels, Mix};
use client::{Labels, ServerUrl, Spec, StreamSettings, StreamSource};
use command::{Interrupt, RunDirectory};
use nets::{LightCnnKind, Width};
use recognizer::train::{Rhythm, Session, TrainConfig};
use recognizer::{BatchSource, Recognizer};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Rows of a batch.
const BATCH: u32 = 32;
/// Batches looked at for the picture of the stream.
const SHOWN: u64 = 16;

/// How long, and how often.
pub(crate) struct Rehearsal {
    /// Length of each training, in images seen.
    pub(crate) images: u64,
    /// Trainings of each arm.
    pub(crate) seeds: u64,
}

/// What a recognizer trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arm {
    /// Images of the data set alone.
    RealOnly,
    /// Half of each batch are new images of the same people.
    Existing,
    /// Half of each batch are images of people blended from them.
    Blended,
}

impl Arm {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::RealOnly, Self::Existing, Self::Blended];

    fn mix(self) -> Mix {
        match self {
            Self::RealOnly => Mix { real: 1.0, existing: 0.0, blended: 0.0 },
            Self::Existing => Mix { real: 0.5, existing: 0.5, blended: 0.0 },
            Self::Blended => Mix { real: 0.5, existing: 0.0, blended: 0.5 },
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Self::RealOnly => "real-only",
            Self::Existing => "existing",
            Self::Blended => "blended",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RealOnly => "real only",
            Self::Existing => "+ existing people",
            Self::Blended => "+ blended people",
        })
    }
}

/// Trains one recognizer from the stream.
pub(crate) fn train(
    arm: Arm,
    seed: u64,
    rehearsal: &Rehearsal,
    server: &Serving,
    directory: &RunDirectory,
    interrupt: &Interrupt,
) -> Result<Recognizer, Error> {
    let mut source = connect(arm.mix(), seed, arm.slug(), server, interrupt)?;
    let mut config = TrainConfig::new(LightCnnKind::Nine, Width::Tiny, rehearsal.images, BATCH as usize);
    config.seed = seed;
    // A few hundred steps must do: twice the usual rate leaves the plateau of guessing in time.
    config.learning_rate *= 2.0;
    config.warm_up = rehearsal.images / 10;
    let name = format!("{}-{seed}", arm.slug());
    let run = RunDirectory::create_at(directory.path().join(&name), &format!("# {}\n", source.describe()))?;
    let device = nets::device::parse("cpu").map_err(recognizer::Error::from)?;
    let rhythm = Rhythm { evaluate: u64::MAX, checkpoint: u64::MAX, keep: 1, ..Rhythm::over(rehearsal.images) };
    let session = Session { run: &run, device: &device, interrupt, resume: false, pairs: None, rhythm };
    let outcome = recognizer::train(&config, &mut source, &session)?;
    if outcome.interrupted {
        return Err(Error::Interrupted(format!("{} images of `{name}`", outcome.images_seen)));
    }
    Ok(recognizer::load(&outcome.checkpoint, &device)?)
}

/// A picture of what the stream holds, people in lines by source.
pub(crate) fn show_stream(server: &Serving, directory: &RunDirectory, interrupt: &Interrupt) -> Result<PathBuf, Error> {
    let mix = Mix { real: 0.4, existing: 0.4, blended: 0.2 };
    let mut source = connect(mix, 7, "picture", server, interrupt)?;
    let mut album = client::probe::Album::new(BatchSource::class_names(&source), source.channels());
    for _ in 0..SHOWN {
        album.add(&source.next_received()?);
    }
    let path = directory.path().join("stream.png");
    album.picture("What the stream holds")?.save(&path)?;
    Ok(path)
}

/// Blended people are of three each and differ from one another as real people do; they are learned as those three.
fn connect(mix: Mix, seed: u64, trainer: &str, server: &Serving, interrupt: &Interrupt) -> Result<StreamSource, Error> {
    let blending = Blending { parents: 3, max_weight: 0.6, spread: 1.0, ..Blending::default() };
    let spec = Spec { channels: Some(Channels::Grey), blending, ..Spec::new(seed, BATCH, mix) };
    let url: ServerUrl = server.url().parse().map_err(Error::Address)?;
    let settings =
        StreamSettings { trainer: trainer.to_owned(), labels: Labels::Soft, ..StreamSettings::new(vec![url], spec) };
    Ok(StreamSource::connect(settings, interrupt)?)
}
