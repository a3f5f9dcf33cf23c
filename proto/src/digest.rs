//! The canonical digest of a batch, of a sequence of batches, and of class centres.
//!
//! It is taken over the columns themselves, each preceded by its length, with numbers in
//! little-endian order: another protobuf encoder, or a new field that old readers skip, doesn't
//! change it.

use crate::v1::Batch;

/// Everything that the digest of a batch covers; the fields are those of [`Batch`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns<'a> {
    /// Index in the stream.
    pub index: u64,
    /// Number of the first row within the global batch.
    pub first_row: u32,
    /// Class of each row.
    pub labels: &'a [u32],
    /// Source of each row, as its number on the wire.
    pub sources: &'a [i32],
    /// Dataset image behind each row.
    pub images: &'a [u32],
    /// Parents of the blended rows.
    pub parents: &'a [u32],
    /// Their weights.
    pub parent_weights: &'a [f32],
    /// Latent counter of each row.
    pub latent_rows: &'a [u32],
    /// Rows whose image was replaced.
    pub replaced_rows: &'a [u32],
    /// Cosine of each row with the person it should show; none without a filter.
    pub similarities: &'a [f32],
    /// Rows of which no try reached the filter's bound.
    pub doubtful_rows: &'a [u32],
    /// Digest of the bundle.
    pub bundle_digest: &'a str,
    /// Digest of the sampling table, if any.
    pub table_digest: &'a str,
    /// Pixels of all rows.
    pub pixels: &'a [u8],
}

impl Columns<'_> {
    /// The digest.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = ColumnHasher::new("lookalike 2026 batch digest v2");
        hash.number(self.index);
        hash.number(self.first_row.into());
        hash.integers(self.labels.iter().copied());
        hash.integers(self.sources.iter().map(|&source| source as u32));
        hash.integers(self.images.iter().copied());
        hash.integers(self.parents.iter().copied());
        hash.integers(self.parent_weights.iter().map(|weight| weight.to_bits()));
        hash.integers(self.latent_rows.iter().copied());
        hash.integers(self.replaced_rows.iter().copied());
        hash.integers(self.similarities.iter().map(|similarity| similarity.to_bits()));
        hash.integers(self.doubtful_rows.iter().copied());
        hash.bytes(self.bundle_digest.as_bytes());
        hash.bytes(self.table_digest.as_bytes());
        hash.bytes(self.pixels);
        hash.finish()
    }
}

/// A digest as people and files write it: 64 hexadecimal digits, small letters.
pub fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

/// Digest of one batch over every column but `digest` itself.
///
/// The server writes it into [`Batch::digest`]; a trainer computes it again to prove that it got
/// what was made.
pub fn batch(batch: &Batch) -> [u8; 32] {
    let none = Default::default();
    let provenance = batch.provenance.as_ref().unwrap_or(&none);
    let columns = Columns {
        index: batch.index,
        first_row: batch.first_row,
        labels: &batch.labels,
        sources: &batch.sources,
        images: &provenance.images,
        parents: &provenance.parents,
        parent_weights: &provenance.parent_weights,
        latent_rows: &provenance.latent_rows,
        replaced_rows: &provenance.replaced_rows,
        similarities: &provenance.similarities,
        doubtful_rows: &provenance.doubtful_rows,
        bundle_digest: &batch.bundle_digest,
        table_digest: &batch.table_digest,
        pixels: &batch.pixels,
    };
    columns.digest()
}

/// Whether the digest that came with a batch is that of its content.
pub fn agrees(received: &Batch) -> bool {
    received.digest.as_ref() == batch(received)
}

/// Digest of class centres: for each of so many identities, its numbers one after the other.
pub fn centres(identities: usize, centres: &[f32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("lookalike 2026 centres digest v1");
    hasher.update(&(identities as u64).to_le_bytes());
    for value in centres {
        hasher.update(&value.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Digest of a sampling table: the weight of each identity, in class order.
pub fn table(weights: &[u16]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("lookalike 2026 sampling table digest v1");
    hasher.update(&(weights.len() as u64).to_le_bytes());
    for weight in weights {
        hasher.update(&weight.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Digest over all batches received, in order: equal for two readers exactly when they were sent
/// equal batches of equal indices.
#[derive(Clone, Debug)]
pub struct Sequence {
    hasher: blake3::Hasher,
}

impl Sequence {
    /// Of no batches yet.
    pub fn new() -> Self {
        Self { hasher: blake3::Hasher::new_derive_key("lookalike 2026 sequence digest v1") }
    }

    /// Adds the next batch, by its index and its digest (see [`batch`]).
    pub fn push(&mut self, index: u64, digest: &[u8; 32]) {
        self.hasher.update(&index.to_le_bytes());
        self.hasher.update(digest);
    }

    /// The digest so far, as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

struct ColumnHasher {
    hasher: blake3::Hasher,
}

impl ColumnHasher {
    fn new(context: &str) -> Self {
        Self { hasher: blake3::Hasher::new_derive_key(context) }
    }

    fn number(&mut self, number: u64) {
        self.hasher.update(&number.to_le_bytes());
    }

    fn integers(&mut self, column: impl ExactSizeIterator<Item = u32>) {
        let bytes: Vec<u8> = column.flat_map(u32::to_le_bytes).collect();
        self.bytes(&bytes);
    }

    fn bytes(&mut self, column: &[u8]) {
        self.number(column.len() as u64);
        self.hasher.update(column);
    }

    fn finish(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Provenance;
    use proptest::prelude::*;

    fn example() -> Batch {
        Batch {
            index: 3,
            rows: 2,
            first_row: 4,
            labels: vec![1, 9],
            sources: vec![1, 3],
            provenance: Some(Provenance {
                images: vec![7, crate::NONE],
                parents: vec![2, 0],
                parent_weights: vec![0.75, 0.25],
                latent_rows: vec![crate::NONE, 5],
                replaced_rows: vec![0],
                similarities: vec![0.0, 0.5],
                doubtful_rows: vec![1],
            }),
            bundle_digest: "ab".into(),
            table_digest: "c".into(),
            digest: Default::default(),
            pixels: vec![1, 2, 3, 4].into(),
        }
    }

    #[test]
    fn every_column_counts_and_the_digest_field_does_not() {
        let whole = batch(&example());
        let changes: [fn(&mut Batch); 14] = [
            |b| b.index += 1,
            |b| b.first_row += 1,
            |b| b.labels[1] += 1,
            |b| b.sources[0] = 2,
            |b| b.provenance.as_mut().unwrap().images[0] += 1,
            |b| b.provenance.as_mut().unwrap().parents.swap(0, 1),
            |b| b.provenance.as_mut().unwrap().parent_weights.swap(0, 1),
            |b| b.provenance.as_mut().unwrap().latent_rows[1] += 1,
            |b| b.provenance.as_mut().unwrap().replaced_rows.clear(),
            |b| b.provenance.as_mut().unwrap().similarities[0] = -0.0,
            |b| b.provenance.as_mut().unwrap().doubtful_rows[0] = 0,
            |b| b.bundle_digest.push('c'),
            |b| b.table_digest.clear(),
            |b| b.pixels = vec![1, 2, 3, 5].into(),
        ];
        for change in changes {
            let mut changed = example();
            change(&mut changed);
            assert_ne!(batch(&changed), whole);
        }
        let mut sent = example();
        sent.digest = whole.to_vec().into();
        assert_eq!(batch(&sent), whole);
        assert!(agrees(&sent));
        sent.labels[0] += 1;
        assert!(!agrees(&sent));
    }

    #[test]
    fn the_bytes_are_laid_out_as_the_manual_says() {
        let mut bytes = [3u64, 4].map(u64::to_le_bytes).concat();
        let columns: [&[u32]; 9] = [
            &[1, 9],
            &[1, 3],
            &[7, crate::NONE],
            &[2, 0],
            &[0.75f32.to_bits(), 0.25f32.to_bits()],
            &[crate::NONE, 5],
            &[0],
            &[0.0f32.to_bits(), 0.5f32.to_bits()],
            &[1],
        ];
        let columns = columns.map(|column| column.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        for column in columns.into_iter().chain([b"ab".to_vec(), b"c".to_vec(), vec![1, 2, 3, 4]]) {
            bytes.extend((column.len() as u64).to_le_bytes());
            bytes.extend(column);
        }
        let digest = batch(&example());
        assert_eq!(digest, blake3::derive_key("lookalike 2026 batch digest v2", &bytes));
        let mut sequence = Sequence::new();
        sequence.push(3, &digest);
        let bytes = [&3u64.to_le_bytes()[..], &digest].concat();
        let expected = blake3::Hash::from_bytes(blake3::derive_key("lookalike 2026 sequence digest v1", &bytes));
        assert_eq!(sequence.hex(), expected.to_hex().to_string());
    }

    #[test]
    fn centres_are_laid_out_as_the_manual_says() {
        let bytes = [&2u64.to_le_bytes()[..], &1.0f32.to_le_bytes(), &(-0.5f32).to_le_bytes()].concat();
        assert_eq!(centres(2, &[1.0, -0.5]), blake3::derive_key("lookalike 2026 centres digest v1", &bytes));
    }

    #[test]
    fn tables_are_laid_out_as_the_manual_says() {
        let bytes = [2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2];
        let expected = blake3::derive_key("lookalike 2026 sampling table digest v1", &bytes);
        assert_eq!(table(&[1024, 513]), expected);
    }

    #[test]
    fn an_entry_cannot_move_from_one_column_to_the_next() {
        let (mut left, mut right) = (example(), example());
        left.labels = vec![1];
        left.sources = vec![1, 1];
        right.labels = vec![1, 1];
        right.sources = vec![1];
        assert_ne!(batch(&left), batch(&right));
    }

    proptest! {
        #[test]
        fn a_sequence_knows_order_and_index(first: [u8; 32], second: [u8; 32], index in 0u64..1000) {
            prop_assume!(first != second);
            let digest = |batches: [(u64, &[u8; 32]); 2]| {
                let mut sequence = Sequence::new();
                batches.into_iter().for_each(|(index, digest)| sequence.push(index, digest));
                sequence.hex()
            };
            let whole = digest([(index, &first), (index + 1, &second)]);
            prop_assert_ne!(&whole, &digest([(index, &second), (index + 1, &first)]));
            prop_assert_ne!(&whole, &digest([(index + 1, &first), (index + 2, &second)]));
        }
    }
}
