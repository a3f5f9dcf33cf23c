//! Which part of a stream, for the commands that read one from its beginning to its end.

use clap::Args;
use client::flags::StreamFlags;
use client::{Error, Recipe, StreamSettings, StreamSource};
use command::Context;

#[derive(Args)]
pub(crate) struct Range {
    #[command(flatten)]
    pub(crate) stream: StreamFlags,
    /// Seed of the stream
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Stream")]
    pub(crate) seed: u64,
    /// Batches to read
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1 << 40), help_heading = "Stream")]
    batches: u64,
    /// Index of the first batch
    #[arg(long, value_name = "INDEX", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1 << 61), help_heading = "Stream")]
    first: u64,
}

impl Range {
    /// What flags or recipe say, and the recipe.
    pub(crate) fn settings(&self, context: &Context) -> Result<(StreamSettings, Option<Recipe>), Error> {
        let settings = self.stream.settings(self.seed)?;
        Ok(match self.stream.recipe(&context.settings)? {
            Some(recipe) => (recipe.settings(settings), Some(recipe)),
            None => (StreamSettings { first: self.first, end: Some(self.first + self.batches), ..settings }, None),
        })
    }
}

/// Finds a server that sends the stream, made from what the recipe says, if there is one.
pub(crate) fn connect(
    settings: StreamSettings,
    recipe: Option<&Recipe>,
    context: &Context,
) -> Result<StreamSource, Error> {
    let accepted = settings.accepted.clone();
    let source = StreamSource::connect(settings, &context.interrupt)?;
    recipe.map_or(Ok(()), |recipe| recipe.compare(&source.current_place().origin, &accepted))?;
    Ok(source)
}
