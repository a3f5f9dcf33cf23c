//! The one file format of trained state: safetensors with a description, refused when anything
//! about it is off.
//!
//! A checkpoint is named tensors and named JSON fields. Its kind ("recognizer", "cvae-gan run",
//! "bundle") says who may read it; a digest over the kind, the fields and the tensors' names,
//! shapes and bytes, kept in the description, betrays every flipped bit and cut end. Equal contents
//! give equal bytes, so a file's own BLAKE3 digest can name it everywhere.

use crate::file::read_file;
use crate::shards::joined;
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Version of the layout below; a reader refuses others.
const FORMAT: u64 = 2;
/// The one metadata entry. Everything is inside it, as the container writes several entries in no
/// fixed order.
const ENTRY: &str = "lookalike";
/// What to make of a description that does not suit.
const ANOTHER_VERSION: &str = "it was written by another version of this program";
/// Largest file that is read into memory.
const MAX_BYTES: u64 = 16 << 30;

/// Why a checkpoint was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be read at all.
    #[error("cannot read checkpoint {}: {reason}", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why; no `source`, because the sentence already holds it.
        reason: std::io::Error,
    },
    /// The bytes are not a whole checkpoint.
    #[error("{origin}: expected a checkpoint, found {reason}; it may be cut short or of another program")]
    Malformed {
        /// File or other source.
        origin: String,
        /// What is off.
        reason: String,
    },
    /// A checkpoint in several files that are not all there, or not all its own.
    #[error(
        "{origin}: expected shard {shard}, found {found}; bring all files of one checkpoint together, or take an older one"
    )]
    Shard {
        /// The index.
        origin: String,
        /// Which shard.
        shard: String,
        /// What is off.
        found: String,
    },
    /// A checkpoint of another version of this program.
    #[error(
        "{origin}: expected checkpoint format {FORMAT}, found {found}; make it anew with this version, or read it with its own"
    )]
    Format {
        /// File or other source.
        origin: String,
        /// Present.
        found: u64,
    },
    /// A checkpoint for someone else.
    #[error("{origin}: expected a checkpoint of kind `{expected}`, found `{found}`{}", advice(expected))]
    Kind {
        /// File or other source.
        origin: String,
        /// Wanted.
        expected: String,
        /// Present.
        found: String,
    },
    /// The description lacks or misspells a field, or tensors do not fit it.
    #[error("{origin}: {reason}")]
    Content {
        /// File or other source.
        origin: String,
        /// What was expected and found.
        reason: String,
    },
}

/// How to get a checkpoint of a kind.
fn advice(kind: &str) -> &'static str {
    match kind {
        "recognizer" => "; `recognizer train` makes the one expected",
        "cvae-gan run" => "; `cvae-gan train` makes the one expected",
        "bundle" => "; `cvae-gan export` makes the one expected",
        _ => "",
    }
}

/// Named tensors and named fields.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    kind: String,
    origin: String,
    fields: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Description {
    kind: String,
    format: u64,
    content: String,
    fields: BTreeMap<String, Value>,
}

impl Checkpoint {
    /// Nothing yet.
    pub fn new(kind: &str) -> Self {
        let origin = "new checkpoint".to_owned();
        Self { kind: kind.to_owned(), origin, fields: BTreeMap::new(), tensors: BTreeMap::new() }
    }

    /// Adds a field.
    ///
    /// # Panics
    /// When the value has no JSON form (a map with keys that are no strings): this is a bug of the
    /// caller.
    pub fn set<T: Serialize>(&mut self, name: &str, value: T) {
        let value = serde_json::to_value(value).expect("fields have a JSON form");
        self.fields.insert(name.to_owned(), value);
    }

    /// A field.
    ///
    /// # Errors
    /// When it is missing or of another form.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, CheckpointError> {
        let Some(value) = self.fields.get(name) else {
            return Err(self.content(format!("expected a field `{name}`, found none; {ANOTHER_VERSION}")));
        };
        serde_json::from_value(value.clone())
            .map_err(|error| self.content(format!("field `{name}` is not as expected ({error}); {ANOTHER_VERSION}")))
    }

    /// Adds tensors as `group/name`.
    pub fn put(&mut self, group: &str, tensors: BTreeMap<String, Tensor>) {
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{group}/{name}"), tensor)));
    }

    /// Removes and gives the tensors of a group, by their names in it; empty when there are none.
    pub fn take(&mut self, group: &str) -> BTreeMap<String, Tensor> {
        let prefix = format!("{group}/");
        let mut taken = BTreeMap::new();
        self.tensors.retain(|name, tensor| match name.strip_prefix(&prefix) {
            Some(rest) => {
                taken.insert(rest.to_owned(), tensor.clone());
                false
            }
            None => true,
        });
        taken
    }

    /// Refuses tensors that nobody took: weights that are stored and not used betray a mistake.
    ///
    /// # Errors
    /// When there is one.
    pub(crate) fn nothing_left(&self) -> Result<(), CheckpointError> {
        match self.tensors.keys().next() {
            Some(name) => Err(self.content(format!("a tensor `{name}` that the description does not speak of"))),
            None => Ok(()),
        }
    }

    /// An error about this checkpoint's contents, with its origin named.
    pub fn content(&self, reason: impl std::fmt::Display) -> CheckpointError {
        CheckpointError::Content { origin: self.origin.clone(), reason: reason.to_string() }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When a tensor cannot be brought to the host.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let serialized = |entry: Option<HashMap<String, String>>| {
            let tensors = self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
            safetensors::serialize(tensors, entry).map_err(|error| self.content(error))
        };
        let (kind, fields) = (self.kind.clone(), self.fields.clone());
        let mut description = Description { kind, format: FORMAT, content: String::new(), fields };
        // The tensors are laid out once to learn their digest; the second pass adds the description.
        let bytes = serialized(None)?;
        let container = SafeTensors::deserialize(&bytes).map_err(|error| self.content(error))?;
        description.content = description.digest(&container).map_err(|error| self.content(error))?;
        drop(bytes);
        let description = serde_json::to_string(&description).map_err(|error| self.content(error))?;
        serialized(Some(HashMap::from([(ENTRY.to_owned(), description)])))
    }

    /// Reads bytes; `origin` names them in errors.
    ///
    /// # Errors
    /// When they are cut, changed, or of another kind or format.
    pub fn from_bytes(bytes: &[u8], origin: &str, kind: &str, device: &Device) -> Result<Self, CheckpointError> {
        let malformed = |reason: String| CheckpointError::Malformed { origin: origin.to_owned(), reason };
        let not_a_container = |error: safetensors::SafeTensorError| malformed(format!("no safetensors file ({error})"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_a_container)?;
        let Some(description) = header.metadata().as_ref().and_then(|entries| entries.get(ENTRY)) else {
            return Err(malformed("a safetensors file without our description".to_owned()));
        };
        let description: Description = serde_json::from_str(description)
            .map_err(|error| malformed(format!("an unreadable description ({error})")))?;
        if description.format != FORMAT {
            return Err(CheckpointError::Format { origin: origin.to_owned(), found: description.format });
        }
        if description.kind != kind {
            let (expected, found) = (kind.to_owned(), description.kind);
            return Err(CheckpointError::Kind { origin: origin.to_owned(), expected, found });
        }
        let container = SafeTensors::deserialize(bytes).map_err(not_a_container)?;
        let content = description.digest(&container).map_err(|error| malformed(error.to_string()))?;
        if content != description.content {
            return Err(malformed("one that was changed after it was written".to_owned()));
        }
        let tensors = candle_core::safetensors::load_buffer(bytes, device)
            .map_err(|error| malformed(format!("unreadable tensors ({error})")))?;
        Ok(Self {
            kind: description.kind,
            origin: origin.to_owned(),
            fields: description.fields,
            tensors: tensors.into_iter().collect(),
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), and when the file cannot be read.
    pub fn read(path: &Path, kind: &str, device: &Device) -> Result<Self, CheckpointError> {
        Self::from_bytes(&bytes_of(path)?, &path.display().to_string(), kind, device)
    }
}

/// A checkpoint file's bytes, unread; of an index of [`shards`](crate::shards), theirs together.
pub fn bytes_of(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let bytes = read_file(path, MAX_BYTES);
    let bytes = bytes.map_err(|reason| CheckpointError::Read { path: path.to_owned(), reason })?;
    joined(bytes, path, MAX_BYTES, read_file)
}

impl Description {
    /// BLAKE3 over everything that a reader is given: kind, format, fields and tensors.
    fn digest(&self, container: &SafeTensors) -> serde_json::Result<String> {
        let mut hasher = blake3::Hasher::new();
        // Numbers in JSON come back as they were, so that the same text comes of the fields read.
        hasher.update(serde_json::to_string(&(&self.kind, self.format, &self.fields))?.as_bytes());
        hash_tensors(&mut hasher, container);
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// BLAKE3 over the names, types, shapes and values of tensors, in hexadecimal: equal for equal
/// weights, whatever file they are in.
///
/// # Errors
/// When a tensor cannot be brought to the host.
pub fn digest_of(tensors: &BTreeMap<String, Tensor>) -> candle_core::Result<String> {
    let bytes = safetensors::serialize(tensors, None)?;
    let mut hasher = blake3::Hasher::new();
    hash_tensors(&mut hasher, &SafeTensors::deserialize(&bytes)?);
    Ok(hasher.finalize().to_hex().to_string())
}

/// Names, types, shapes and bytes in name order.
fn hash_tensors(hasher: &mut blake3::Hasher, container: &SafeTensors) {
    let mut tensors = container.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, view) in tensors {
        hasher.update(format!("{name}\0{:?}\0{:?}\0", view.dtype(), view.shape()).as_bytes());
        hasher.update(view.data());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let mut checkpoint = Checkpoint::new("test");
        checkpoint.set("images_seen", 1234u64);
        checkpoint.set("names", ["a", "b"]);
        // Not every reader of JSON gives these back to the last bit.
        checkpoint.set("learning_rate", [2e-4, 0.1 + 0.2, 1.0 / 3.0, 5.187_621_305_231e-11, f64::from(0.1f32)]);
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).expect("a small tensor");
        checkpoint.put("weights", [("x".into(), tensor(&[1.0, 2.0])), ("y".into(), tensor(&[3.0]))].into());
        checkpoint
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample().to_bytes().expect("serializable");
        assert_eq!(bytes, sample().to_bytes().expect("serializable"), "equal contents give equal bytes");
        let mut read = Checkpoint::from_bytes(&bytes, "here", "test", &Device::Cpu).expect("readable");
        assert_eq!(read.get::<u64>("images_seen").expect("present"), 1234);
        assert_eq!(read.get::<Vec<String>>("names").expect("present"), ["a", "b"]);
        let weights = read.take("weights");
        assert_eq!(weights["x"].to_vec1::<f32>().expect("a vector"), [1.0, 2.0]);
        assert!(read.take("weights").is_empty());
    }

    #[test]
    fn another_kind_is_named() {
        let bytes = sample().to_bytes().expect("serializable");
        let error = Checkpoint::from_bytes(&bytes, "here.safetensors", "bundle", &Device::Cpu).unwrap_err();
        let expected = "here.safetensors: expected a checkpoint of kind `bundle`, found `test`";
        assert_eq!(error.to_string(), format!("{expected}; `cvae-gan export` makes the one expected"));
    }

    #[test]
    fn another_format_is_named() {
        let mut bytes = sample().to_bytes().expect("serializable");
        let format = b"\\\"format\\\":2";
        let at = bytes.windows(format.len()).position(|text| text == format).expect("a format");
        bytes[at + format.len() - 1] = b'1';
        let error = Checkpoint::from_bytes(&bytes, "here", "test", &Device::Cpu).unwrap_err().to_string();
        assert!(error.starts_with("here: expected checkpoint format 2, found 1; "), "{error}");
    }

    #[test]
    fn no_cut_and_no_flipped_bit_goes_unnoticed() {
        let (sample, bytes) = (sample(), sample().to_bytes().expect("serializable"));
        let read = |bytes: &[u8]| Checkpoint::from_bytes(bytes, "here", "test", &Device::Cpu);
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err(), "cut to {at}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                // JSON has other spellings of one content; another content must be refused.
                let Ok(read) = read(&flipped) else { continue };
                let digests = [&read, &sample].map(|checkpoint| digest_of(&checkpoint.tensors).expect("on the CPU"));
                assert!(
                    read.fields == sample.fields && digests[0] == digests[1],
                    "bit {bit} of byte {at} changes the content"
                );
            }
        }
    }
}
