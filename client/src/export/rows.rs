//! A batch as files: its rows, what is known of each, and the entry from which, with the images, its
//! digest can be taken again.

use super::ClassNames;
use super::names::key;
use super::png;
use crate::ledger::Entry;
use crate::{Error, Received, Result};
use nets::pixels::IMAGE_SIZE;
use proto::{digest::hex, v1};
use rayon::prelude::*;
use serde::Serialize;

/// A row ready to be written.
pub(super) struct Row {
    /// Its file's name without an ending.
    pub(super) key: String,
    pub(super) class: u32,
    pub(super) png: Vec<u8>,
}

/// What is known of a row, for people and for programs that read one file at a time.
#[derive(Serialize)]
struct Provenance<'a> {
    batch: u64,
    row: u32,
    class: u32,
    name: String,
    source: &'static str,
    /// The dataset's image behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parents: Vec<Parent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latent_row: Option<u32>,
    #[serde(skip_serializing_if = "is_false")]
    replaced: bool,
    /// How much a generated row looks like whom it should show, where a filter measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f32>,
    #[serde(skip_serializing_if = "is_false")]
    doubtful: bool,
    bundle: &'a str,
}

#[derive(Serialize)]
struct Parent {
    class: u32,
    name: String,
    weight: f32,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The rows of a batch, packed by all cores.
pub(super) fn rows(received: &Received) -> Result<Vec<Row>> {
    let batch = &received.batch;
    let first = received.rest.first_row;
    let pack = |(row, pixels): (usize, &[u8])| {
        let png = png::encode(pixels, batch.channels).map_err(|error| packing(batch.index, &error.to_string()))?;
        Ok(Row { key: key(batch.index, first + row as u32), class: batch.labels[row], png })
    };
    batch.pixels.par_chunks_exact(IMAGE_SIZE * IMAGE_SIZE * batch.channels).enumerate().map(pack).collect()
}

fn packing(index: u64, reason: &str) -> Error {
    Error::Unwritable { what: format!("batch {index} as files"), reason: reason.to_owned() }
}

/// The entry of a batch: every column, whichever there are.
///
/// # Errors
/// Columns that don't come back as they were: a weight that is no number.
pub(super) fn entry(received: &Received) -> Result<Entry> {
    let columns = v1::Batch { provenance: Some(received.provenance.clone()), ..received.rest.clone() };
    let entry = Entry { index: received.batch.index, digest: hex(&received.digest), columns: Some(columns) };
    let read = serde_json::to_vec(&entry).and_then(|line| serde_json::from_slice::<Entry>(&line));
    let digest = read.ok().and_then(|read| digest(&read, received.batch.pixels.clone()));
    if digest != Some(received.digest) {
        return Err(packing(entry.index, "its columns can't be written as JSON"));
    }
    Ok(entry)
}

/// The digest of a batch of these columns and pixels; `None` without columns.
pub(super) fn digest(entry: &Entry, pixels: bytes::Bytes) -> Option<[u8; 32]> {
    let columns = entry.columns.clone()?;
    Some(proto::digest::batch(&v1::Batch { index: entry.index, pixels, ..columns }))
}

/// What is known of each row of a batch, as JSON.
pub(super) fn provenance(columns: &v1::Batch, names: &ClassNames) -> Vec<String> {
    let none = v1::Provenance::default();
    let provenance = columns.provenance.as_ref().unwrap_or(&none);
    let is_blended = |source: &&i32| **source == v1::Source::Blended as i32;
    let blended = columns.sources.iter().filter(is_blended).count().max(1);
    let parents = (provenance.parents.len() / blended).max(1);
    let weights = provenance.parent_weights.chunks(parents);
    let mut parents = provenance.parents.chunks(parents).zip(weights);
    let some = |column: &[u32], row: usize| column.get(row).copied().filter(|&value| value != proto::NONE);
    let of_row = |(row, (&class, source)): (usize, (&u32, &i32))| {
        let parents = if is_blended(&source) { parents.next() } else { None };
        let parent = |(&class, &weight): (&u32, &f32)| Parent { class, name: names.of(class), weight };
        let row_of = Provenance {
            batch: columns.index,
            row: columns.first_row + row as u32,
            class,
            name: names.of(class),
            source: match v1::Source::try_from(*source) {
                Ok(v1::Source::Existing) => "existing",
                Ok(v1::Source::Blended) => "blended",
                _ => "real",
            },
            image: some(&provenance.images, row),
            parents: parents
                .map(|(parents, weights)| parents.iter().zip(weights).map(parent).collect())
                .unwrap_or_default(),
            latent_row: some(&provenance.latent_rows, row),
            replaced: provenance.replaced_rows.contains(&(row as u32)),
            similarity: provenance.similarities.get(row).copied().filter(|_| *source != v1::Source::Real as i32),
            doubtful: provenance.doubtful_rows.contains(&(row as u32)),
            bundle: &columns.bundle_digest,
        };
        // A struct of numbers and texts always has a JSON form.
        serde_json::to_string(&row_of).unwrap_or_default()
    };
    columns.labels.iter().zip(&columns.sources).enumerate().map(of_row).collect()
}
