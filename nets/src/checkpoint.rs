//! The one file format of trained state: safetensors with a description, refused when anything
//! about it is off.
//!
//! A checkpoint is named tensors and named JSON fields. Its kind ("recognizer", "cvae-gan run",
//! "bundle") says who may read it; a digest over the tensors' names, shapes and bytes, kept in the
//! description, betrays every flipped bit and cut end. Equal contents give equal bytes, so a
//! file's own BLAKE3 digest can name it everywhere.

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Version of the layout below; a reader refuses others.
const FORMAT: u64 = 1;
/// The one metadata entry. Everything is inside it, as the container writes several entries in no
/// fixed order.
const ENTRY: &str = "lookalike";
/// Largest file that is read into memory.
const MAX_BYTES: u64 = 16 << 30;

/// Why a checkpoint was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be read at all.
    #[error("cannot read checkpoint {}", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not a whole checkpoint.
    #[error("{origin}: expected a checkpoint, found {reason}; it may be cut short or of another program")]
    Malformed {
        /// File or other source.
        origin: String,
        /// What is off.
        reason: String,
    },
    /// A checkpoint for someone else.
    #[error("{origin}: expected a checkpoint of kind `{expected}`, found `{found}`")]
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
            return Err(self.content(format!("expected a field `{name}`, found none")));
        };
        serde_json::from_value(value.clone())
            .map_err(|error| self.content(format!("field `{name}` is not as expected: {error}")))
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
        // The tensors are laid out once to learn their digest; the second pass adds the description.
        let bytes = serialized(None)?;
        let content = content_digest(&SafeTensors::deserialize(&bytes).map_err(|error| self.content(error))?);
        drop(bytes);
        let (kind, fields) = (self.kind.clone(), self.fields.clone());
        let description = Description { kind, format: FORMAT, content, fields };
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
            return Err(malformed(format!("format {} where this program reads {FORMAT}", description.format)));
        }
        if description.kind != kind {
            let (expected, found) = (kind.to_owned(), description.kind);
            return Err(CheckpointError::Kind { origin: origin.to_owned(), expected, found });
        }
        let container = SafeTensors::deserialize(bytes).map_err(not_a_container)?;
        if content_digest(&container) != description.content {
            return Err(malformed("tensors that are not the ones described".to_owned()));
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
        Self::from_bytes(&read_file(path)?, &path.display().to_string(), kind, device)
    }
}

/// A whole file, within reason.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let failed = |source| CheckpointError::Read { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > MAX_BYTES {
        return Err(failed(std::io::Error::other(format!("expected at most {MAX_BYTES} bytes, found {len}"))));
    }
    std::fs::read(path).map_err(failed)
}

/// BLAKE3 over the names, types, shapes and values of tensors, in hexadecimal: equal for equal
/// weights, whatever file they are in.
///
/// # Errors
/// When a tensor cannot be brought to the host.
pub fn digest_of(tensors: &BTreeMap<String, Tensor>) -> candle_core::Result<String> {
    let bytes = safetensors::serialize(tensors, None)?;
    Ok(content_digest(&SafeTensors::deserialize(&bytes)?))
}

/// BLAKE3 over names, types, shapes and bytes in name order.
fn content_digest(container: &SafeTensors) -> String {
    let mut tensors = container.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hasher = blake3::Hasher::new();
    for (name, view) in tensors {
        hasher.update(format!("{name}\0{:?}\0{:?}\0", view.dtype(), view.shape()).as_bytes());
        hasher.update(view.data());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Checkpoint {
        let mut checkpoint = Checkpoint::new("test");
        checkpoint.set("images_seen", 1234u64);
        checkpoint.set("names", ["a", "b"]);
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
        assert_eq!(error.to_string(), "here.safetensors: expected a checkpoint of kind `bundle`, found `test`");
    }

    proptest! {
        #[test]
        fn no_cut_and_no_flipped_bit_goes_unnoticed(at in 0usize..400, bit in 0u8..8, cut: bool) {
            let mut bytes = sample().to_bytes().expect("serializable");
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            // A flip inside a field's value may still read; tensors and structure may not change.
            if let Ok(mut read) = Checkpoint::from_bytes(&bytes, "here", "test", &Device::Cpu) {
                prop_assert!(!cut);
                let weights = read.take("weights");
                prop_assert_eq!(weights["x"].to_vec1::<f32>().expect("a vector"), [1.0, 2.0]);
            }
        }
    }
}
