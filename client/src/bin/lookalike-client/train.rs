//! `lookalike-client train`: a recognizer from a stream of real and generated faces.

use crate::range;
use clap::Args;
use client::flags::StreamFlags;
use client::recorded::Recorded;
use client::spec::{Channels, Sampling};
use client::{Error, Labels, Patience, Recipe, StreamSource};
use command::{Context, Ending};
use recognizer::flags::TrainFlags;
use recognizer::{BatchSource, Session};

/// Train a recognizer online, from a server's stream
#[derive(Args)]
pub(crate) struct Train {
    #[command(flatten)]
    stream: StreamFlags,
    /// Seed of the stream alone, to train other weights on the same batches [default: --seed]
    #[arg(long, value_name = "SEED", help_heading = "Stream")]
    stream_seed: Option<u64>,
    /// What blended rows are learned as: hard, people with a class of their own, or soft, the people they are blended from, each by its weight
    #[arg(
        long,
        value_name = "KIND",
        default_value = "hard",
        value_enum,
        hide_possible_values = true,
        help_heading = "Training"
    )]
    labels: Labels,
    #[command(flatten)]
    flags: TrainFlags,
}

pub(crate) fn run(train: &Train, json: bool, context: &Context) -> Result<Ending, Error> {
    let flags = &train.flags;
    let mut settings = train.stream.settings(train.stream_seed.unwrap_or(flags.seed))?;
    let recipe = recipe(train, context)?;
    if let Some(recipe) = &recipe {
        settings = recipe.settings(settings);
    } else if matches!(settings.spec.sampling, Sampling::ByLoss(_)) && settings.trainer.is_empty() {
        return Err(Error::settings(
            "expected --trainer NAME with --sampling by-loss, found none: servers know by it whose losses are reported",
        ));
    }
    settings.labels = train.labels;
    let rows = settings.rows();
    let config = flags.config(rows)?;
    // LightCNN sees grey, so more would be sent for nothing.
    settings.spec.channels.get_or_insert(Channels::Grey);
    let end = settings.first + config.images.div_ceil(rows.max(1) as u64);
    if let Some(recipe) = recipe.as_ref().filter(|recipe| recipe.end() < end) {
        return Err(Error::settings(format!(
            "expected at most the {} images of the recipe as --images, found {}",
            recipe.range.count * rows as u64,
            config.images
        )));
    }
    settings.end = Some(end);
    if flags.run.resume.is_some() && train.stream.patience.is_none() {
        // The server once was there: that it is away now is a restart rather than a wrong address.
        settings.patience = Patience::always(settings.patience.later);
    }
    let device = nets::device::parse_with_numbers(&flags.device).map_err(recognizer::Error::from)?.device;
    let pairs = flags.pair_set(&context.interrupt)?;
    let source = range::connect(settings, recipe.as_ref(), context)?;
    command::say(format!("{} {}, {} loss, from {}", config.kind, config.width, config.loss, source.describe()));

    let run = flags.run.directory("online", &flags.resolved(&context.settings, &config))?;
    let mut source = Recorded::new(source, run.path())?;
    let session = Session {
        run: &run,
        device: &device,
        interrupt: &context.interrupt,
        resume: flags.run.resume.is_some(),
        pairs: pairs.as_ref(),
        rhythm: flags.rhythm(),
    };
    let began = std::time::Instant::now();
    let outcome = recognizer::train(&config, &mut source, &session)?;
    say_waits(source.stream(), began.elapsed().as_secs_f64());
    Ok(outcome.report(&run, json))
}

/// The recipe to train by. A run that goes on has its flags from its settings file, where those that
/// nobody gave stand too.
fn recipe(train: &Train, context: &Context) -> Result<Option<Recipe>, Error> {
    match (&train.stream.recipe, &train.flags.run.resume) {
        (Some(path), Some(_)) => Recipe::read(path).map(Some),
        _ => train.stream.recipe(&context.settings),
    }
}

/// Whether the trainer or the server was the slower one.
fn say_waits(source: &StreamSource, seconds: f64) {
    let waits = source.waits();
    let milliseconds = |share| 1000.0 * waits.quantile(share);
    command::say(format!(
        "waited for batches {} of the time: {:.1} ms median, {:.1} ms for 99 of 100",
        command::human::percent(waits.total() / seconds.max(1e-9)),
        milliseconds(0.5),
        milliseconds(0.99)
    ));
}
