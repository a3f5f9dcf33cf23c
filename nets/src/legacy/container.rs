//! The two files of `torch.save`: where the pickled object lies in them, and where the storages.
//!
//! The old one is a row of pickles (a magic number, the protocol, facts of the system, the object, the
//! keys of the storages), then per storage a count of elements and as many values. The newer one is a
//! zip archive with the object as `data.pkl` and the storages as `data/KEY`, uncompressed.

use super::Outcome;
use super::pickle::{Object, Pickle};
use candle_core::DType;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: usize = 1001;
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// A file taken apart.
pub(super) struct Contents<'a> {
    /// The object that was saved.
    pub(super) object: Pickle<'a>,
    /// Its storages by key.
    pub(super) storages: BTreeMap<String, Storage<'a>>,
}

/// A row of values of one type, little-endian.
pub(super) struct Storage<'a> {
    pub(super) dtype: DType,
    pub(super) bytes: Cow<'a, [u8]>,
}

/// What the object says of a storage that it refers to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Described {
    dtype: DType,
    len: usize,
}

impl Described {
    fn byte_len(self) -> Outcome<usize> {
        self.len.checked_mul(self.dtype.size_in_bytes()).ok_or_else(|| format!("a storage of {} values", self.len))
    }
}

/// Takes a file apart and hands its contents to `inspect`.
pub(super) fn with_contents<T>(bytes: &[u8], inspect: impl FnOnce(Contents) -> Outcome<T>) -> Outcome<T> {
    if bytes.starts_with(ZIP_MAGIC) {
        let mut archive = Archive::open(bytes)?;
        let pickled = archive.entry("data.pkl")?;
        let object = Pickle::read(&pickled, &mut 0)?;
        let storages = archive.storages(&object)?;
        return inspect(Contents { object, storages });
    }
    inspect(row_of_pickles(bytes)?)
}

fn row_of_pickles(bytes: &[u8]) -> Outcome<Contents<'_>> {
    let mut at = 0;
    let magic = Pickle::read(bytes, &mut at).ok();
    if !magic.is_some_and(|magic| matches!(magic.get(magic.root()), Object::LongInt(digits) if *digits == MAGIC)) {
        return Err("neither of the two containers that torch.save writes".to_owned());
    }
    let protocol = Pickle::read(bytes, &mut at)?;
    if protocol.size(protocol.root()) != Some(PROTOCOL) {
        return Err(format!("another protocol of the container than {PROTOCOL}"));
    }
    Pickle::read(bytes, &mut at)?;
    let object = Pickle::read(bytes, &mut at)?;
    let keys = Pickle::read(bytes, &mut at)?;
    let keys =
        keys.sequence(keys.root()).unwrap_or_default().iter().map(|&key| keys.text(key)).collect::<Option<Vec<_>>>();
    let keys = keys.ok_or("keys of storages that are no texts")?;

    let mut described = described_storages(&object)?;
    let mut storages = BTreeMap::new();
    for key in keys {
        let storage =
            described.remove(key).ok_or_else(|| format!("a storage `{key}` that no tensor uses, or twice"))?;
        let mut take = |len: usize| {
            let taken = bytes.get(at..).and_then(|rest| rest.get(..len));
            at = at.saturating_add(len);
            taken.ok_or_else(|| format!("its end inside the storage `{key}`"))
        };
        let len = take(8)?.iter().rev().fold(0u64, |len, &byte| len << 8 | u64::from(byte));
        if len != storage.len as u64 {
            return Err(format!("a storage `{key}` of {len} values, described as {}", storage.len));
        }
        let bytes = take(storage.byte_len()?)?.into();
        storages.insert(key.to_owned(), Storage { dtype: storage.dtype, bytes });
    }
    if let Some(key) = described.keys().next() {
        return Err(format!("no storage `{key}`"));
    }
    match bytes.len() - at {
        0 => Ok(Contents { object, storages }),
        rest => Err(format!("{rest} bytes behind the last storage")),
    }
}

/// Every storage that the object refers to, by
/// `('storage', type, key, location, len[, no view])`.
fn described_storages(object: &Pickle) -> Outcome<BTreeMap<String, Described>> {
    let mut described = BTreeMap::new();
    for reference in object.objects() {
        let Object::Persistent(id) = reference else { continue };
        let parts = object.sequence(*id).unwrap_or_default();
        let (&[tag, kind, key, _location, len], rest) = parts.split_first_chunk().ok_or("a reference to no storage")?;
        if rest.len() > 1 || rest.iter().any(|&view| !matches!(object.get(view), Object::None)) {
            return Err("a view into another storage, which only the oldest PyTorch wrote".to_owned());
        }
        let (Some("storage"), Some(key), Some(len)) = (object.text(tag), object.text(key), object.size(len)) else {
            return Err("a reference to no storage".to_owned());
        };
        let Object::Global("torch", kind) = object.get(kind) else {
            return Err(format!("a storage `{key}` of no known type"));
        };
        let storage = Described { dtype: number_type(kind)?, len };
        if described.insert(key.to_owned(), storage).is_some_and(|other| other != storage) {
            return Err(format!("a storage `{key}` described in two ways"));
        }
    }
    Ok(described)
}

/// The number type of a storage class.
fn number_type(class: &str) -> Outcome<DType> {
    Ok(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "ByteStorage" => DType::U8,
        _ => return Err(format!("numbers of the type {class}")),
    })
}

struct Archive<'a> {
    zip: zip::ZipArchive<Cursor<&'a [u8]>>,
    /// The folder that everything lies in, with its slash.
    folder: String,
    /// Bytes that entries may still take: all of them lie in the file, uncompressed.
    budget: u64,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Outcome<Self> {
        let zip =
            zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("a broken zip archive ({error})"))?;
        let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        let mut folders = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
        let folder = match (folders.next(), folders.next()) {
            (Some(folder), None) => folder.to_owned(),
            _ => return Err("a zip archive without one data.pkl".to_owned()),
        };
        let mut archive = Self { zip, folder, budget: bytes.len() as u64 };
        if archive.zip.index_for_name(&format!("{}byteorder", archive.folder)).is_some()
            && archive.entry("byteorder")? != b"little"
        {
            return Err("numbers in another byte order".to_owned());
        }
        Ok(archive)
    }

    fn entry(&mut self, name: &str) -> Outcome<Vec<u8>> {
        let path = format!("{}{name}", self.folder);
        let broken = |error: &dyn std::fmt::Display| format!("a broken entry `{path}` ({error})");
        let entry = self.zip.by_name(&path).map_err(|error| broken(&error))?;
        if entry.compression() != zip::CompressionMethod::Stored || entry.size() > self.budget {
            return Err(broken(&"compressed, or larger than the file"));
        }
        self.budget -= entry.size();
        // One byte more than there should be, so that the reader comes to the end and checks the sum.
        let (mut bytes, size) = (Vec::new(), entry.size());
        entry.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        if bytes.len() as u64 != size {
            return Err(broken(&"not of its own size"));
        }
        Ok(bytes)
    }

    fn storages(&mut self, object: &Pickle) -> Outcome<BTreeMap<String, Storage<'static>>> {
        let described = described_storages(object)?.into_iter().map(|(key, storage)| {
            let bytes = self.entry(&format!("data/{key}"))?;
            if bytes.len() != storage.byte_len()? {
                return Err(format!("a storage `{key}` of {} bytes, described as {} values", bytes.len(), storage.len));
            }
            Ok((key, Storage { dtype: storage.dtype, bytes: bytes.into() }))
        });
        described.collect()
    }
}
