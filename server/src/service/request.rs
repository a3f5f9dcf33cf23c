//! Requests, checked and made domain values. Nothing that comes from outside is trusted.
//!
//! Here are the streams and what they have in common with the others; [`spec`] reads what a batch is made
//! of, [`policy`] by which weights and sampling tables, [`single`] what asks for a few images, [`report`]
//! what trainers tell.

mod policy;
mod report;
mod single;
mod spec;

pub(super) use report::report;
pub(super) use single::{FaceOf, LatentOf, faces, images};

use crate::{
    bundles::{Loaded, declared::Wanted, followers::Joining},
    error::{Error, Result, quoted},
    plan::{self, Planner, blending::Blending, centres::Centres, spec::Spec},
    served::Served,
};
use policy::{bundles, tables};
use proto::{limits, v1};
use spec::spec;
use std::{ops::Range, sync::Arc};

/// Indices are kept below half of what 64 bits hold, so that sums of them never overflow.
const MAX_INDEX: u64 = 1 << 63;

/// A checked place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) indices: Range<u64>,
    pub(super) rows: Range<u32>,
    pub(super) rank: u32,
    pub(super) world_size: u32,
    /// Batches, 0 for no end, as asked.
    pub(super) count: u64,
}

/// A checked request.
pub(super) struct Asked {
    pub(super) planner: Planner,
    pub(super) spec_digest: [u8; 32],
    pub(super) place: Place,
    pub(super) wanted: Joining,
}

/// A stream's planner and place, and what it wants to be made by.
pub(super) fn stream(served: &Served, request: v1::StreamRequest) -> Result<Asked> {
    let expected = request.expected.unwrap_or_default();
    expect("a dataset with digest", &expected.dataset_digest, &served.dataset_digest, DATASET_REMEDY)?;
    expect("numerics class", &expected.numerics, &served.numerics, NUMERICS_REMEDY)?;
    if ![0, plan::VERSION].contains(&expected.plan_version) {
        let (expected, found) = (expected.plan_version.to_string(), plan::VERSION.to_string());
        let remedy = "run the server's version that the stream was begun with";
        return Err(Error::Expectation { what: "plan version", expected, found, remedy });
    }
    let mut spec = spec(served, request.spec)?;
    // Before the place, which is within a batch.
    spec.check_batch()?;
    let place = place(request.place.unwrap_or_default(), spec.batch_size)?;
    let bundles = bundles(served, request.bundle, place.indices.start)?;
    let centres = centres(served, &spec, &bundles, place.indices.start)?;
    spec.centres = centres.as_ref().map(|centres| centres.digest().to_owned());
    spec.check(&served.catalogue, centres.as_ref(), served.channels, bundles.can_encode(served))?;
    let (tables, steered) = tables(served, &spec, request.tables, place.indices.start)?;
    let wanted = Joining { bundles, tables, steered };
    let spec_digest = spec.digest();
    let planner = Planner::new(Arc::new(spec), served.catalogue.clone(), centres);
    Ok(Asked { planner, spec_digest, place, wanted })
}

/// The class centres that a spec asks for: those it names, or else those of the bundle of batch `first`.
fn centres(served: &Served, spec: &Spec, bundles: &Wanted<Arc<Loaded>>, first: u64) -> Result<Option<Arc<Centres>>> {
    if !spec.asks_who_is_near() {
        return Ok(None);
    }
    let begun_with = bundles.at(first, served);
    let digest = spec.centres.as_deref().unwrap_or(begun_with.centres.digest());
    served.bundles.centres(digest).map(Some)
}

/// What the classes of a stream are asked for.
pub(super) struct Classes {
    pub(super) spec: Spec,
    pub(super) blending: Blending,
    /// Classes of the page, all of which there are.
    pub(super) page: Range<u32>,
    /// Makes the first batch.
    pub(super) bundle: Arc<Loaded>,
}

/// The largest page of a stream with a guard, which takes a millisecond for each person.
const GUARDED_PAGE: u32 = 256;

/// A page of classes.
pub(super) fn classes(served: &Served, request: v1::ManifestRequest) -> Result<Classes> {
    let mut spec = spec(served, request.spec)?;
    let bundles = bundles(served, request.bundle, 0)?;
    let centres = centres(served, &spec, &bundles, 0)?;
    spec.centres = centres.as_ref().map(|centres| centres.digest().to_owned());
    spec.check(&served.catalogue, centres.as_ref(), served.channels, bundles.can_encode(served))?;
    let (first, all) = (request.first_class, spec.classes(served.catalogue.identities()));
    if first > all {
        return Err(Error::OutOfRange(format!("expected a first class of at most {all}, found {first}")));
    }
    let is_guarded = spec.has_blended() && spec.blending.max_similarity > 0.0;
    let most = if is_guarded { GUARDED_PAGE } else { limits::MAX_MANIFEST };
    let count = request.count.min(most).min(all - first);
    let blending = Blending::new(&spec, served.catalogue.clone(), centres);
    Ok(Classes { spec, blending, page: first..first + count, bundle: bundles.at(0, served) })
}

fn channels(served: &Served, format: i32) -> Result<usize> {
    match v1::PixelFormat::try_from(format) {
        Ok(v1::PixelFormat::Unspecified) => Ok(served.channels),
        Ok(v1::PixelFormat::Grey) => Ok(1),
        Ok(v1::PixelFormat::Rgb) => Ok(3),
        Err(_) => Err(unknown("a pixel format", format)),
    }
}

fn place(wire: v1::Place, batch_size: u32) -> Result<Place> {
    let (rank, world_size) = (wire.rank, wire.world_size.max(1));
    if world_size > batch_size {
        return Err(Error::Request(format!(
            "expected a world size of at most the batch size {batch_size}, found {world_size}"
        )));
    }
    if rank >= world_size {
        return Err(Error::Request(format!("expected a rank below the world size {world_size}, found {rank}")));
    }
    let end = match wire.count {
        0 => Some(MAX_INDEX),
        count => wire.first_index.checked_add(count),
    };
    let Some(end) = end.filter(|&end| end <= MAX_INDEX && wire.first_index < MAX_INDEX) else {
        return Err(Error::Request(format!(
            "expected indices below 2^63, found {} batches from index {}",
            wire.count, wire.first_index
        )));
    };
    Ok(Place {
        indices: wire.first_index..end,
        rows: proto::rank_rows(batch_size, rank, world_size),
        rank,
        world_size,
        count: wire.count,
    })
}

/// A trainer's name, which may be empty.
pub(super) fn trainer(name: &str) -> Result<&str> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.len() > limits::MAX_TRAINER_NAME || !name.chars().all(allowed) {
        let max = limits::MAX_TRAINER_NAME;
        return Err(Error::Request(format!(
            "expected a trainer name of at most {max} letters, digits, `-`, `_` and `.`, found {:?}",
            quoted(name)
        )));
    }
    Ok(name)
}

const DATASET_REMEDY: &str = "serve the dataset that the stream was begun with";
const NUMERICS_REMEDY: &str =
    "generated pixels may differ in the last bit; ask a server of that class, or ask without naming one to accept it";

/// Whether what the trainer names, if anything, is what is served.
fn expect(what: &'static str, expected: &str, found: &str, remedy: &'static str) -> Result<()> {
    if expected.is_empty() || expected == found {
        return Ok(());
    }
    Err(Error::Expectation { what, expected: quoted(expected), found: found.into(), remedy })
}

fn unknown(what: &str, found: i32) -> Error {
    Error::Request(format!("expected {what} that this server knows, found number {found}"))
}
