//! Proves a replay: what was read once is what a server makes of the same part of the stream. Only
//! digests are sent for it.

use crate::attempts::{Attempts, Failure};
use crate::contact::{description, request, within};
use crate::fetch::{BATCH, HEADER, ROW};
use crate::ledger::Lines;
use crate::place::{Change, bundle_at};
use crate::{Error, Recipe, Result, ServerUrl, StreamSettings};
use command::{Interrupt, Progress};
use proto::digest::{Sequence, hex};
use proto::v1::{self, stream_response::Message};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// What the batches of a range should come out as.
pub enum Expected<'a> {
    /// Each of these digests, in order from the range's first batch on.
    Each(&'a [[u8; 32]]),
    /// Those of a list, which has a line for each batch.
    Listed(Lines<std::fs::File>),
    /// The recipe's digest over all of them.
    Together,
}

/// Holds the batches of a recipe as one server makes them against what they should be. `settings` say
/// how patient to be, what may differ, and who asks.
///
/// # Errors
/// [`Error::Differs`] with the first batch that is another; [`Error::OtherPlace`] when the server's
/// dataset, weights or numerics are others; a server that can't be asked; [`Error::Stopped`].
pub fn against(
    server: &ServerUrl,
    recipe: &Recipe,
    mut expected: Expected<'_>,
    settings: &StreamSettings,
    interrupt: &Interrupt,
) -> Result<()> {
    let settings = recipe.settings(StreamSettings { servers: vec![server.clone()], ..settings.clone() });
    let progress = Progress::new("verifying", recipe.range.count, "batches");
    let mut sequence = Sequence::new();
    let compare = |index: u64, found: &[u8; 32]| {
        let wanted = match &mut expected {
            Expected::Each(digests) => digests.get((index - recipe.range.first) as usize).map(hex),
            Expected::Listed(lines) => Some(listed(lines, index)?),
            Expected::Together => None,
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != hex(found)) {
            let found = hex(found);
            return Err(Error::Differs(format!(
                "batch {index} differs: expected digest {wanted}, found {found} at {server}"
            )));
        }
        sequence.push(index, found);
        progress.advance(1);
        Ok(())
    };
    // One thread is enough for a few bytes a batch.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Threads)?;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    interrupt.on_request(move || stopper.cancel());
    let read = read(server, recipe, &settings, compare);
    runtime.block_on(stop.run_until_cancelled(read)).unwrap_or(Err(Error::Stopped))?;
    progress.finish();
    let (wanted, found) = (&recipe.range.digest, sequence.hex());
    if *wanted != found {
        let (first, last) = (recipe.range.first, recipe.end() - 1);
        return Err(Error::Differs(format!(
            "batches {first} to {last} differ: expected digest {wanted} over all of them, found {found} at {server}"
        )));
    }
    Ok(())
}

/// The list of batches that lies beside a recipe, if there is one: a difference can then be told to the
/// batch.
///
/// # Errors
/// A list that can't be read.
pub fn beside(recipe: &Path) -> Result<Expected<'static>> {
    let name = recipe.file_name().and_then(|name| name.to_str());
    let list = name.and_then(|name| name.strip_suffix(crate::recorded::RECIPE));
    let list = list.map(|stem| recipe.with_file_name(format!("{stem}{}", crate::recorded::BATCHES)));
    match list.filter(|list| list.is_file()) {
        Some(list) => Ok(Expected::Listed(Lines::open(&list)?)),
        None => Ok(Expected::Together),
    }
}

/// The digest that a list has of a batch.
fn listed(lines: &mut Lines<std::fs::File>, index: u64) -> Result<String> {
    loop {
        match lines.next_entry()? {
            // A training's list may begin earlier.
            Some(entry) if entry.index < index => {}
            Some(entry) if entry.index == index => return Ok(entry.digest),
            _ => {
                return Err(Error::Differs(format!(
                    "expected batch {index} in the list beside the recipe, found none"
                )));
            }
        }
    }
}

/// Why a server's digests end early.
enum Trouble {
    /// It can be asked again.
    Server(Failure),
    /// It has given another digest.
    Verdict(Error),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

async fn read(
    server: &ServerUrl,
    recipe: &Recipe,
    settings: &StreamSettings,
    mut compare: impl FnMut(u64, &[u8; 32]) -> Result<()>,
) -> Result<()> {
    let mut attempts = Attempts::new([server.to_string()], settings.patience.at_first);
    let mut next = recipe.range.first;
    while next < recipe.end() {
        let failure = match part(server, recipe, settings, &mut attempts, &mut next, &mut compare).await {
            Ok(()) => continue,
            Err(Trouble::Verdict(error)) => return Err(error),
            Err(Trouble::Server(failure)) => failure,
        };
        attempts.recover(failure, settings.silent).await?;
    }
    Ok(())
}

/// Reads from `next` on, as far as the server comes.
async fn part(
    server: &ServerUrl,
    recipe: &Recipe,
    settings: &StreamSettings,
    attempts: &mut Attempts,
    next: &mut u64,
    compare: &mut impl FnMut(u64, &[u8; 32]) -> Result<()>,
) -> Result<(), Trouble> {
    let mut client = server.connect(&settings.access, settings.connector.as_ref()).await?;
    let asked = request(settings, None, None, *next, recipe.end() - *next);
    let mut stream = within(HEADER, client.verify(asked)).await?.into_inner();
    let description = description(within(HEADER, stream.message()).await?, settings, *next)?;
    let bundle = |index: u64| bundle_at(&recipe.origin.bundle, &recipe.takeovers, index);
    let expected = crate::place::Origin { bundle: bundle(*next).to_owned(), ..recipe.origin.clone() };
    expected.refuse(&description.origin, &settings.accepted).map_err(|reason| {
        Trouble::Verdict(Error::OtherPlace(format!("the server at {server} can't make this stream: {reason}")))
    })?;
    let first = *next;
    while *next < recipe.end() {
        let message = within(BATCH + ROW * settings.spec.batch_size, stream.message()).await?;
        let batch = match message.and_then(|message| message.message) {
            Some(Message::Batch(batch)) => batch,
            // It has sent its part, and may be asked for the next one.
            Some(Message::Farewell(_)) if *next > first => return Ok(()),
            Some(Message::Farewell(_)) => return Err(Failure::Passing("the server is ending".to_owned()).into()),
            Some(_) => {
                return Err(Failure::Lasting("expected the digest of a batch, found another message".into()).into());
            }
            None => return Err(Failure::Passing("the stream ended early".to_owned()).into()),
        };
        let digest = digest(&batch, *next, bundle(*next), settings).map_err(Failure::Lasting)?;
        attempts.succeeded();
        compare(*next, &digest).map_err(Trouble::Verdict)?;
        *next += 1;
    }
    Ok(())
}

/// The digest that a message names, which must be that of batch `index`, of a rank's rows and by the
/// bundle with a digest.
fn digest(batch: &v1::Batch, index: u64, bundle: &str, settings: &StreamSettings) -> Result<[u8; 32], String> {
    let rows = proto::rank_rows(settings.spec.batch_size, settings.rank, settings.world_size);
    let (expected, found) = ((index, rows.start, rows.len() as u32), (batch.index, batch.first_row, batch.rows));
    if expected != found {
        return Err(format!(
            "expected batch {} from row {} on with {} rows, found batch {} from row {} on with {}",
            expected.0, expected.1, expected.2, found.0, found.1, found.2
        ));
    }
    if batch.bundle_digest != bundle && !settings.accepted.contains(&Change::Bundle) {
        return Err(format!("batch {index}: expected one of bundle {bundle}, found one of {}", batch.bundle_digest));
    }
    let found = batch.digest.len();
    <[u8; 32]>::try_from(&*batch.digest)
        .map_err(|_| format!("batch {index}: expected a digest of 32 bytes, found {found}"))
}
