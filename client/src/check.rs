//! What a server sends, held against what was asked for. A server is another program, perhaps of
//! another version or behind a proxy: nothing it says is taken on trust.

use crate::place::{Origin, Takeover, short};
use crate::spec::{Difference, Filter, Spec};
use crate::tables::{self, TableTakeover};
use crate::{Received, StreamSettings};
use bytes::Bytes;
use nets::pixels::IMAGE_SIZE;
use prost::Message;
use proto::{digest, limits, v1};
use recognizer::{Batch, Source};

/// Indices lie below this.
pub(crate) const MAX_INDEX: u64 = 1 << 63;

/// Bytes of a digest or of a numerics class, at most: each is kept as long as its stream.
const LONGEST_WORD: usize = 1024;

/// What a server says a stream is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    /// Every default written out.
    pub(crate) spec: Spec,
    /// With the bundle that makes the first batch.
    pub(crate) origin: Origin,
    /// What takes over later, as far as it is declared.
    pub(crate) takeovers: Vec<Takeover>,
    /// Sampling tables from the one on that shapes the first batch.
    pub(crate) tables: Vec<TableTakeover>,
    /// The server's name for the spec.
    pub(crate) spec_digest: Bytes,
    /// C, the identities of the dataset.
    pub(crate) identities: u32,
    pub(crate) classes: u32,
    pub(crate) channels: usize,
}

/// Reads the header of a stream that was asked for from index `first`.
pub(crate) fn header(header: v1::StreamHeader, asked: &StreamSettings, first: u64) -> Result<Description, String> {
    let spec = header.spec.ok_or("expected a spec in the header, found none")?;
    let spec = Spec::try_from(spec)?;
    if let Some(Difference { setting, left, right }) = asked.spec.difference(&spec) {
        return Err(format!("expected {setting} {left} as asked for, found {right} in the header"));
    }
    let place = header.place.unwrap_or_default();
    if (place.first_index, place.rank, place.world_size) != (first, asked.rank, asked.world_size) {
        return Err(format!(
            "expected batch {first} for rank {} of {}, found batch {} for rank {} of {} in the header",
            asked.rank, asked.world_size, place.first_index, place.rank, place.world_size
        ));
    }
    let channels = spec.channels.map_or(0, |channels| channels.count());
    let image = header.image.unwrap_or_default();
    let found = [image.height, image.width, image.channels];
    if found != [IMAGE_SIZE as u32, IMAGE_SIZE as u32, channels as u32] {
        let [height, width, found] = found;
        return Err(format!(
            "expected images of {IMAGE_SIZE} x {IMAGE_SIZE} x {channels}, found {height} x {width} x {found}"
        ));
    }
    if header.identities > limits::MAX_IDENTITIES {
        let (most, found) = (limits::MAX_IDENTITIES, header.identities);
        return Err(format!("expected at most {most} identities, found {found}"));
    }
    let blended = if spec.has_blended() { spec.blending.count.unwrap_or(0) } else { 0 };
    let classes = u64::from(header.identities) + u64::from(blended);
    if u64::from(header.classes) != classes || classes == 0 {
        return Err(format!(
            "expected the classes of {} identities and {blended} blended ones, found {}",
            header.identities, header.classes
        ));
    }
    let origin = Origin {
        dataset: header.dataset_digest,
        bundle: header.bundle_digest,
        numerics: header.numerics,
        plan_version: header.plan_version,
    };
    if origin.dataset.is_empty() || origin.bundle.is_empty() || origin.numerics.is_empty() || origin.plan_version == 0 {
        return Err("expected digests, numerics class and plan version in the header, found one missing".to_owned());
    }
    for word in [&origin.dataset, &origin.bundle, &origin.numerics] {
        short_enough(word)?;
    }
    // The first entry is the bundle of the first batch.
    let mut takeovers = Vec::new();
    for entry in header.declared.into_iter().skip(1) {
        take_over(&mut takeovers, entry, first)?;
    }
    let mut tables = Vec::new();
    for table in &header.tables {
        // The first may have been in effect for long.
        tables::take_effect(&mut tables, tables::read(table, header.identities)?, 0)?;
    }
    let spec_digest = header.spec_digest;
    Ok(Description {
        spec,
        origin,
        takeovers,
        tables,
        spec_digest,
        identities: header.identities,
        classes: header.classes,
        channels,
    })
}

/// Adds an announced takeover to a table; batch `next` is the next one to come. One that is there
/// already may be announced again.
pub(crate) fn take_over(takeovers: &mut Vec<Takeover>, announced: v1::Takeover, next: u64) -> Result<(), String> {
    let takeover = Takeover { first: announced.first_index, bundle: announced.bundle_digest };
    if takeovers.contains(&takeover) {
        return Ok(());
    }
    let least = takeovers.last().map_or(next, |last| next.max(last.first.saturating_add(1)));
    if takeover.first < least || takeover.first > MAX_INDEX || takeover.bundle.is_empty() {
        let found = takeover.first;
        return Err(format!("expected a bundle to take over at batch {least} or later, found one for batch {found}"));
    }
    short_enough(&takeover.bundle)?;
    // Those that are past are the trainer's to keep; those to come are the server's word alone.
    let to_come = takeovers.len() - takeovers.partition_point(|takeover| takeover.first <= next);
    if to_come >= limits::MAX_TAKEOVERS {
        return Err(format!("expected at most {} bundles to take over, found another", limits::MAX_TAKEOVERS));
    }
    takeovers.push(takeover);
    Ok(())
}

fn short_enough(word: &str) -> Result<(), String> {
    match word.len() {
        0..=LONGEST_WORD => Ok(()),
        found => Err(format!("expected digests and numerics class of at most {LONGEST_WORD} bytes, found {found}")),
    }
}

/// Reads the batch that must have number `index` and be made by the bundle, and the sampling table, with
/// these digests.
pub(crate) fn batch(
    mut wire: v1::Batch,
    index: u64,
    bundle: &str,
    table: &str,
    asked: &StreamSettings,
    described: &Description,
) -> Result<Received, String> {
    let expect = |what: &str, expected: u64, found: u64| match expected == found {
        true => Ok(()),
        false => Err(format!("expected {what} {expected}, found {found}")),
    };
    expect("batch", index, wire.index)?;
    let rows = proto::rank_rows(asked.spec.batch_size, asked.rank, asked.world_size);
    let (first, rows) = (rows.start, rows.len());
    let columns = |what: &str, expected: usize, found: usize| {
        expect(what, expected as u64, found as u64).map_err(|reason| format!("batch {index}: {reason}"))
    };
    columns("rows", rows, wire.rows as usize)?;
    columns("first row", first as usize, wire.first_row as usize)?;
    columns("labels:", rows, wire.labels.len())?;
    columns("sources:", rows, wire.sources.len())?;
    columns("bytes of pixels:", rows * IMAGE_SIZE * IMAGE_SIZE * described.channels, wire.pixels.len())?;
    let message_bytes = wire.encoded_len();
    let digest = digest::batch(&wire);
    if wire.digest.as_ref() != digest {
        return Err(format!("batch {index}: its content doesn't have the digest it came with"));
    }
    if wire.bundle_digest != bundle {
        let found = &wire.bundle_digest;
        return Err(format!("batch {index}: expected one of bundle {bundle}, found one of {found}"));
    }
    if wire.table_digest != table {
        let [table, found] = [table, &wire.table_digest].map(|digest| match digest {
            "" => "no sampling table".to_owned(),
            digest => format!("sampling table {}", short(digest)),
        });
        return Err(format!("batch {index}: expected one shaped by {table}, found one shaped by {found}"));
    }
    let sources = wire
        .sources
        .iter()
        .map(|&number| match v1::Source::try_from(number) {
            Ok(v1::Source::Real) => Ok(Source::Real),
            Ok(v1::Source::Existing) => Ok(Source::Existing),
            Ok(v1::Source::Blended) => Ok(Source::Blended),
            _ => Err(format!("batch {index}: expected a source that the contract names, found number {number}")),
        })
        .collect::<Result<Vec<Source>, String>>()?;
    for (&label, &source) in wire.labels.iter().zip(&sources) {
        let range = match source {
            Source::Real | Source::Existing => 0..described.identities,
            Source::Blended => described.identities..described.classes,
        };
        if !range.contains(&label) {
            return Err(format!(
                "batch {index}: expected labels of {} to {} for {source:?} rows, found {label}",
                range.start, range.end
            ));
        }
    }
    let provenance = wire.provenance.take().unwrap_or_default();
    let blended = sources.iter().filter(|&&source| source == Source::Blended).count();
    let parents = blended * described.spec.blending.parents as usize;
    columns("images in the provenance:", rows, provenance.images.len())?;
    columns("parents in the provenance:", parents, provenance.parents.len())?;
    columns("parent weights in the provenance:", parents, provenance.parent_weights.len())?;
    columns("latent rows in the provenance:", rows, provenance.latent_rows.len())?;
    if provenance.replaced_rows.len() > rows {
        let found = provenance.replaced_rows.len();
        return Err(format!("batch {index}: expected at most {rows} replaced rows in the provenance, found {found}"));
    }
    doubts(&provenance, &sources, described.spec.filter).map_err(|reason| format!("batch {index}: {reason}"))?;
    let (pixels, labels, bundle) = (std::mem::take(&mut wire.pixels), wire.labels.clone(), wire.bundle_digest.clone());
    let mixtures = Vec::new();
    let batch = Batch { index, rows, channels: described.channels, pixels, labels, sources, mixtures };
    Ok(Received { batch, provenance, rest: wire, bundle, digest, message_bytes })
}

/// Whether a batch says of its rows what an identity filter finds, and nothing where there is none.
fn doubts(provenance: &v1::Provenance, sources: &[Source], filter: Option<Filter>) -> Result<(), String> {
    let v1::Provenance { similarities, doubtful_rows, .. } = provenance;
    let expected = if filter.is_some() { sources.len() } else { 0 };
    if similarities.len() != expected {
        return Err(format!("expected similarities in the provenance: {expected}, found {}", similarities.len()));
    }
    if let Some(found) = similarities.iter().find(|similarity| !(-1.0..=1.0).contains(*similarity)) {
        return Err(format!("expected similarities of -1 to 1, found {found}"));
    }
    let least = filter.map_or(-1.0, |filter| filter.min_similarity);
    let below = similarities.iter().zip(sources).enumerate();
    let below = below.filter(|(_, (similarity, source))| **source != Source::Real && f64::from(**similarity) < least);
    match below.map(|(row, _)| row as u32).eq(doubtful_rows.iter().copied()) {
        true => Ok(()),
        false => Err(format!("expected the rows below a similarity of {least} to be doubtful, found others")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_filter_found_must_be_there_be_possible_and_agree_with_itself() {
        let sources = [Source::Real, Source::Existing, Source::Blended];
        let filter = Some(Filter { min_similarity: 0.5, max_retries: 4 });
        let refusal = |similarities: &[f32], doubtful_rows: &[u32], filter| {
            let (similarities, doubtful_rows) = (similarities.to_vec(), doubtful_rows.to_vec());
            let provenance = v1::Provenance { similarities, doubtful_rows, ..Default::default() };
            doubts(&provenance, &sources, filter).err().unwrap_or_default()
        };
        assert_eq!(refusal(&[], &[], None), "");
        assert_eq!(refusal(&[0.0, 0.5, 0.25], &[2], filter), "");
        assert_eq!(refusal(&[0.0; 3], &[], None), "expected similarities in the provenance: 0, found 3");
        assert_eq!(refusal(&[], &[1], None), "expected the rows below a similarity of -1 to be doubtful, found others");
        assert_eq!(refusal(&[0.0, 0.5], &[], filter), "expected similarities in the provenance: 3, found 2");
        assert_eq!(refusal(&[0.0, f32::NAN, 0.5], &[], filter), "expected similarities of -1 to 1, found NaN");
        for wrong in [&[][..], &[1], &[1, 2], &[0, 2], &[9]] {
            let sentence = refusal(&[0.0, 0.5, 0.25], wrong, filter);
            assert_eq!(sentence, "expected the rows below a similarity of 0.5 to be doubtful, found others");
        }
    }

    fn announced(first_index: u64, bundle_digest: &str) -> v1::Takeover {
        v1::Takeover { first_index, bundle_digest: bundle_digest.to_owned() }
    }

    #[test]
    fn a_server_announces_no_more_takeovers_than_the_contract_allows() {
        let mut table = Vec::new();
        for first in 0..limits::MAX_TAKEOVERS as u64 {
            take_over(&mut table, announced(first + 10, "b"), 5).unwrap();
        }
        let refused = take_over(&mut table, announced(1 << 40, "b"), 5).unwrap_err();
        assert_eq!(refused, "expected at most 1024 bundles to take over, found another");
        // Those that are past leave room.
        take_over(&mut table, announced(1 << 40, "b"), 10).unwrap();
    }

    #[test]
    fn a_digest_without_end_is_refused() {
        let refused = take_over(&mut Vec::new(), announced(7, &"b".repeat(1 << 20)), 5).unwrap_err();
        assert_eq!(refused, "expected digests and numerics class of at most 1024 bytes, found 1048576");
    }

    #[test]
    fn a_table_that_a_checkpoint_begins_at_the_end_of_all_indices_takes_no_more() {
        let mut table = vec![Takeover { first: u64::MAX, bundle: "b".into() }];
        assert!(take_over(&mut table, announced(7, "c"), 5).is_err());
    }
}
