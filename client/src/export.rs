//! A part of a stream as files: a folder for each class, or tars in WebDataset's form.
//!
//! 1. [`ExportPlace`] says where the files lie, and looks what is there already: nothing, an export
//!    that was begun, a finished one; anything else is not touched.
//! 2. [`run`] reads batches; `rows` makes files of them, under [`ClassNames`]; `folder` or `shards`
//!    writes them, and then the list of batches ([`crate::ledger`]) has one more. So an export that was
//!    killed goes on behind the last batch of the list, and ends as the same files.
//! 3. The recipe is written last, over all batches.
//! 4. [`check`] takes every digest again from the files alone.
//!
//! Beside the images lie `recipe.toml`, `batches.jsonl` (a line for each batch: its digest and every
//! column) and `classes.txt` (a line for each class, in order). Memory is that of one batch. Images are
//! not synced one by one, as they can be made again; [`check`] tells whether a power cut cost any.

mod check;
mod folder;
mod names;
mod place;
mod png;
mod rows;
mod shards;

use crate::ledger::Ledger;
use crate::place::{Place, Takeover};
use crate::{Error, Recipe, Result, StreamSettings, StreamSource};
use command::{Interrupt, Progress};
use place::{Found, Unfinished};
use recognizer::BatchSource;
use serde::Serialize;
use shards::{Division, Shards};

pub use check::check;
pub use names::ClassNames;
pub use place::ExportPlace;

/// What an export came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exported {
    /// Batches that are there.
    pub batches: u64,
    /// Images that are there.
    pub images: u64,
    /// Bytes written by this command.
    pub bytes: u64,
    /// Over all batches, once they are all there.
    pub digest: Option<String>,
    /// The recipe, once they are all there.
    pub recipe: Option<std::path::PathBuf>,
    /// Whether it was stopped before its end; the same command goes on.
    pub interrupted: bool,
}

/// Writes what the settings ask for, from their first batch up to their end, or goes on with it. With
/// the recipe that the settings are of, it must come out as that says.
///
/// # Errors
/// A place that holds something else; servers that can't be read; a disk that is full. What is there
/// then is an export that was begun. [`Error::Differs`] for a finished one whose files are not what its
/// recipe says.
pub fn run(
    place: &ExportPlace,
    settings: StreamSettings,
    recipe: Option<&Recipe>,
    interrupt: &Interrupt,
) -> Result<Exported> {
    let end = settings.end.ok_or_else(|| Error::settings("expected an end of the range to export, found none"))?;
    let (first, count) = (settings.first, end.saturating_sub(settings.first));
    let rows = settings.rows();
    let begun = match place.look()? {
        Found::Nothing => None,
        Found::Foreign => return Err(place.foreign()),
        Found::Unfinished(unfinished) => {
            compare(&settings, &unfinished.place, unfinished.count, place, unfinished.shard_images)?;
            Some(unfinished.place)
        }
        Found::Finished(recipe) => {
            compare(&settings, &recipe_place(&recipe), recipe.range.count, place, place.shard_images())?;
            command::say("this export is finished already; its files are read again");
            check(place, interrupt)?;
            return Ok(Exported {
                batches: count,
                images: count * rows as u64,
                bytes: 0,
                digest: Some(recipe.range.digest),
                recipe: Some(place.recipe()),
                interrupted: false,
            });
        }
    };
    let accepted = settings.accepted.clone();
    let mut source = StreamSource::connect(settings, interrupt)?;
    recipe.map_or(Ok(()), |recipe| recipe.compare(&source.current_place().origin, &accepted))?;
    if begun.is_none() {
        place.begin(&Unfinished { place: source.current_place(), count, shard_images: place.shard_images() })?;
    }
    let mut bundles = Vec::<Takeover>::new();
    let mut ledger = Ledger::open(&place.batches(), end, |entry| {
        let bundle = entry.columns.as_ref().map(|columns| &columns.bundle_digest);
        if let Some(bundle) = bundle.filter(|bundle| bundles.last().is_none_or(|last| last.bundle != **bundle)) {
            bundles.push(Takeover { first: entry.index, bundle: bundle.clone() });
        }
    })?;
    place.sweep()?;
    if let (Some(begun), Some(next)) = (begun, ledger.next()) {
        go_on(&mut source, begun, bundles, next)?;
    }
    let names = ClassNames::new(&source.class_names(), source.classes());
    place.write_classes(&names)?;
    let wanted = Wanted { first, count, rows };
    let exported = write(place, &names, &mut source, &mut ledger, wanted, interrupt)?;
    let digests = recipe.map(|recipe| &recipe.range.digest).zip(exported.digest.as_ref());
    if let Some((expected, found)) = digests.filter(|(expected, found)| expected != found) {
        return Err(Error::Differs(format!(
            "the export differs from the recipe: expected digest {expected} over all batches, found {found}"
        )));
    }
    Ok(exported)
}

/// The batches to write.
#[derive(Clone, Copy)]
struct Wanted {
    first: u64,
    count: u64,
    rows: usize,
}

/// Writes what is not there yet.
fn write(
    place: &ExportPlace,
    names: &ClassNames,
    source: &mut StreamSource,
    ledger: &mut Ledger,
    Wanted { first, count, rows }: Wanted,
    interrupt: &Interrupt,
) -> Result<Exported> {
    let written = |ledger: &Ledger| ledger.range().map_or(0, |(_, count)| count);
    let mut shards = match place.is_tar() {
        true => Some(Shards::open(place, Division::new(place, rows), written(ledger))?),
        false => None,
    };
    if let Some(stop) = source.stopper() {
        interrupt.on_request(stop);
    }
    let progress = Progress::new("exporting", count, "batches");
    progress.start_at(written(ledger));
    let mut bytes = 0;
    while written(ledger) < count && !interrupt.requested() {
        let received = match source.next_received() {
            Err(Error::Stopped) => break,
            received => received?,
        };
        let (entry, files) = (rows::entry(&received)?, rows::rows(&received)?);
        bytes += match (&mut shards, &entry.columns) {
            (Some(shards), Some(columns)) => {
                shards.write(received.batch.index - first, &files, &rows::provenance(columns, names))?
            }
            _ => folder::write(place, &files, names)?,
        };
        // From now on it is there.
        ledger.push(&entry)?;
        progress.advance(1);
    }
    progress.finish();
    let batches = written(ledger);
    let mut exported = Exported {
        batches,
        images: batches * rows as u64,
        bytes,
        digest: None,
        recipe: None,
        interrupted: batches < count,
    };
    if batches == count {
        shards.as_mut().map_or(Ok(()), Shards::finish)?;
        ledger.sync()?;
        place.finish(&Recipe::of(&source.current_place(), first, count, ledger.digest()))?;
        (exported.digest, exported.recipe) = (Some(ledger.digest()), Some(place.recipe()));
    }
    Ok(exported)
}

/// Brings a stream behind the last batch that is there. `bundles` are those that made the batches, each
/// from its first one on.
fn go_on(source: &mut StreamSource, begun: Place, mut bundles: Vec<Takeover>, next: u64) -> Result<()> {
    let bundle = if bundles.is_empty() { begun.origin.bundle.clone() } else { bundles.remove(0).bundle };
    let origin = crate::place::Origin { bundle, ..begun.origin.clone() };
    let place = Place { origin, takeovers: bundles, next, ..begun };
    let place = serde_json::to_value(place).unwrap_or_default();
    match source.resume(&place) {
        Ok(()) => Ok(()),
        Err(recognizer::SourceError::Other(error)) => match error.downcast::<Error>() {
            Ok(error) => Err(*error),
            Err(error) => Err(Error::OtherPlace(error.to_string())),
        },
        Err(error) => Err(Error::OtherPlace(error.to_string())),
    }
}

/// Where the batches of a recipe begin.
fn recipe_place(recipe: &Recipe) -> Place {
    Place {
        kind: crate::place::Kind::Stream,
        spec: recipe.spec.clone(),
        labels: crate::Labels::Hard,
        rank: recipe.range.rank,
        world_size: recipe.range.world_size,
        origin: recipe.origin.clone(),
        takeovers: recipe.takeovers.clone(),
        tables: recipe.tables.clone(),
        next: recipe.range.first,
    }
}

/// Refuses to go on with, or take for finished, an export of something else.
fn compare(
    settings: &StreamSettings,
    found: &Place,
    found_count: u64,
    place: &ExportPlace,
    shard_images: Option<u64>,
) -> Result<()> {
    let at = place.recipe();
    let other = |expected: String, found: String| {
        let folder = at.parent().unwrap_or(&at).display();
        Error::settings(format!(
            "expected {expected} as asked for, found an export of {found} in {folder}; choose another --out"
        ))
    };
    if let Some(difference) = settings.spec.difference(&found.spec) {
        let crate::spec::Difference { setting, left, right } = difference;
        return Err(other(format!("{setting} {left}"), format!("{setting} {right}")));
    }
    let range = |first: u64, count: u64, rank: u32, world: u32| {
        format!("{count} batches from {first} on for rank {rank} of {world}")
    };
    let count = settings.end.unwrap_or(u64::MAX) - settings.first;
    let expected = range(settings.first, count, settings.rank, settings.world_size);
    let found_range = range(found.next, found_count, found.rank, found.world_size);
    if expected != found_range {
        return Err(other(expected, found_range));
    }
    if shard_images != place.shard_images() {
        let images =
            |images: Option<u64>| images.map_or("one tar".to_owned(), |images| format!("{images} images a tar"));
        return Err(other(images(place.shard_images()), images(shard_images)));
    }
    if let Some(bundle) = settings.bundle.first()
        && bundle != found.origin.bundle
    {
        return Err(other(format!("bundle {bundle}"), format!("bundle {}", found.origin.bundle)));
    }
    Ok(())
}
