//! Takes the digests of an export again, from nothing but its files.

use super::place::{ExportPlace, Found};
use super::shards::Members;
use super::{ClassNames, folder, names::key, png, rows};
use crate::ledger::{Entry, Lines};
use crate::place::bundle_at;
use crate::{Error, Recipe, Result};
use command::{Error as Trouble, Interrupt, Progress};
use proto::digest::{Sequence, hex};
use std::io::Read;
use std::path::Path;

/// Longer than any image file of ours, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// Reads a finished export and compares every digest; gives its recipe and how many images there are.
///
/// # Errors
/// [`Error::Differs`] with the first batch or file that is not what it was; [`Error::Settings`] where no
/// finished export is; [`command::Error::Interrupted`].
pub fn check(place: &ExportPlace, interrupt: &Interrupt) -> Result<(Recipe, u64)> {
    let place = &place.as_found();
    let recipe = match place.look()? {
        Found::Finished(recipe) => *recipe,
        Found::Unfinished(_) => {
            return Err(Error::settings(
                "expected a finished export, found one that is not: the command that began it goes on with it",
            ));
        }
        Found::Nothing | Found::Foreign => {
            let at = place.recipe();
            return Err(Error::settings(format!("expected an export with its recipe {}, found none", at.display())));
        }
    };
    let rows = proto::rank_rows(recipe.spec.batch_size, recipe.range.rank, recipe.range.world_size).len();
    let mut files = Files {
        names: ClassNames::read(place.read_classes()?),
        channels: recipe.spec.channels.map_or(1, |channels| channels.count()),
        members: place.is_tar().then(|| Members::new(place)),
        place,
    };
    let progress = Progress::new("checking", recipe.range.count, "batches");
    let mut lines = Lines::open(&place.batches())?;
    let mut sequence = Sequence::new();
    let mut images = 0;
    for index in recipe.range.first..recipe.end() {
        if interrupt.requested() {
            return Err(Trouble::Interrupted.into());
        }
        let entry = lines.next_entry()?.filter(|entry| entry.index == index);
        let entry = entry.ok_or_else(|| differs(index, "an entry in the list of batches", "none"))?;
        let bundle = bundle_at(&recipe.origin.bundle, &recipe.takeovers, index);
        let digest = files.digest(&entry, rows, bundle)?;
        if hex(&digest) != entry.digest {
            return Err(differs(index, &format!("digest {}", entry.digest), &format!("{} of its files", hex(&digest))));
        }
        sequence.push(index, &digest);
        images += rows as u64;
        progress.advance(1);
    }
    progress.finish();
    let (wanted, found) = (&recipe.range.digest, sequence.hex());
    if *wanted != found {
        return Err(Error::Differs(format!("expected digest {wanted} over all batches, found {found} of the files")));
    }
    if !place.is_tar() {
        let found = folder::images(place.folder())?;
        if found != images {
            return Err(Error::Differs(format!("expected {images} images in the folders, found {found}")));
        }
    }
    Ok((recipe, images))
}

fn differs(index: u64, expected: &str, found: &str) -> Error {
    Error::Differs(format!("batch {index} differs: expected {expected}, found {found}"))
}

struct Files<'a> {
    place: &'a ExportPlace,
    names: ClassNames,
    channels: usize,
    members: Option<Members>,
}

impl Files<'_> {
    /// The digest of a batch's columns and of the pixels in its files.
    fn digest(&mut self, entry: &Entry, count: usize, bundle: &str) -> Result<[u8; 32]> {
        let index = entry.index;
        let columns = entry.columns.as_ref().ok_or_else(|| differs(index, "columns", "none"))?;
        if columns.labels.len() != count || columns.bundle_digest != bundle {
            let found = format!("{} of bundle {}", columns.labels.len(), columns.bundle_digest);
            return Err(differs(index, &format!("{count} rows of bundle {bundle}"), &found));
        }
        let provenance = match &self.members {
            Some(_) => rows::provenance(columns, &self.names),
            None => Vec::new(),
        };
        let mut pixels = Vec::new();
        for (row, &class) in columns.labels.iter().enumerate() {
            let key = key(index, columns.first_row.saturating_add(row as u32));
            let file = match &mut self.members {
                Some(members) => {
                    let file = members.next(&format!("{key}.png"))?;
                    let facts = [("cls", class.to_string()), ("json", provenance[row].clone())];
                    for (member, expected) in facts {
                        let found = members.next(&format!("{key}.{member}"))?;
                        if found != expected.as_bytes() {
                            let found = String::from_utf8_lossy(&found).into_owned();
                            return Err(Error::Differs(format!("{key}.{member}: expected {expected}, found {found}")));
                        }
                    }
                    file
                }
                None => read(&folder::path(self.place, &key, class, &self.names))?,
            };
            let row = png::decode(&file, self.channels);
            pixels.extend(row.map_err(|reason| Error::Differs(format!("{key}.png: {reason}")))?);
        }
        rows::digest(entry, pixels.into()).ok_or_else(|| differs(index, "columns", "none"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = command::open_file(path).map_err(Trouble::reading(path))?;
    file.take(LONGEST_FILE).read_to_end(&mut bytes).map_err(Trouble::reading(path))?;
    Ok(bytes)
}
