//! Files that PyTorch wrote: weights published before safetensors, LightCNN's among them.
//!
//! A file passes through, in this order:
//!
//! - `container`: which bytes are the pickled object, and which are each storage's; in the old
//!   container (of 2017, whose files are often named `.pth.tar` although they are no tar archives)
//!   and in the zip one that followed;
//! - `pickle`: the object, as data. Nothing is ever called, whatever the file asks for;
//! - `rebuild`: tensors from storages, offsets and strides;
//! - [`import_light_cnn`]: a published state dictionary in the layout of
//!   [`Parameters`](crate::Parameters).
//!
//! A file can be hostile: memory stays in proportion to the file, nothing recurses, and what is not
//! understood is refused.

mod container;
mod light_cnn;
mod pickle;
mod rebuild;

pub use light_cnn::{Classifier, import_light_cnn};

use crate::file::read_file;
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest file that is read: the largest published LightCNN takes 133 MB.
const MAX_BYTES: u64 = 4 << 30;

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// The file could not be read at all.
    #[error("cannot read {}", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not a whole file of tensors.
    #[error("{origin}: expected a PyTorch file of named tensors, found {reason}")]
    Malformed {
        /// File or other source.
        origin: String,
        /// What is off.
        reason: String,
    },
    /// The tensors are not those of the network.
    #[error("expected the state dictionary of a LightCNN, found {reason}")]
    Network {
        /// What is off.
        reason: String,
    },
}

/// What an inner step found instead of what it expected.
type Outcome<T> = Result<T, String>;

/// The named tensors of a file: of its `state_dict` entry where it has one, else of the whole.
/// Names and layouts are PyTorch's; number types are kept.
///
/// # Errors
/// When the file cannot be read, is cut short or changed in its structure, or holds anything but
/// named tensors there.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, LegacyError> {
    let bytes = read_file(path, MAX_BYTES).map_err(|source| LegacyError::Read { path: path.to_owned(), source })?;
    from_bytes(&bytes, &path.display().to_string())
}

/// [`read`] from memory; `origin` names the bytes in errors.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<BTreeMap<String, Tensor>, LegacyError> {
    container::with_contents(bytes, |contents| rebuild::named_tensors(&contents, bytes.len()))
        .map_err(|reason| LegacyError::Malformed { origin: origin.to_owned(), reason })
}
