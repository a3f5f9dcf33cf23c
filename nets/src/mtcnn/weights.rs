//! The published weights: `pnet.pt`, `rnet.pt` and `onet.pt`, where the Python package carries them.

use super::{Mtcnn, MtcnnError};
use crate::file::read_file;
use crate::parameters::expect_dims;
use crate::{Parameters, legacy, sentence};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Files, and what is in them.
const NETWORKS: [(&str, &str, &str); 3] =
    [("pnet", "pnet.pt", "P-Net"), ("rnet", "rnet.pt", "R-Net"), ("onet", "onet.pt", "O-Net")];
/// Where the files lie below a folder: as they are, beside the package's code, in an unpacked wheel or
/// where Python installs it.
const FOLDERS: [&str; 3] = ["", "data", "facenet_pytorch/data"];
/// Largest weights file that is read: the largest published one takes 1.6 MB.
const MAX_BYTES: u64 = 16 << 20;
/// Sides of the map before the first dense layer.
const MAP: usize = 3;

/// The tensors of all three networks, in this program's layout, under the names of [`Mtcnn`].
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, MtcnnError> {
    let kind = std::fs::metadata(path).map_err(|source| MtcnnError::Read { path: path.to_owned(), source })?;
    let mut tensors = BTreeMap::new();
    for (stem, bytes, origin) in if kind.is_dir() { in_folder(path) } else { in_wheel(path) }? {
        let network = NETWORKS.iter().find(|(name, ..)| *name == stem).map_or("", |(_, _, network)| network);
        let found = import(stem, &legacy::from_bytes(&bytes, &origin)?);
        tensors.extend(found.map_err(|reason| MtcnnError::Network { origin, network, reason })?);
    }
    Ok(tensors)
}

/// Stem, content and origin of each network's file.
type Files = Vec<(&'static str, Vec<u8>, String)>;

fn in_folder(path: &Path) -> Result<Files, MtcnnError> {
    let mut folders = FOLDERS.iter().map(|folder| path.join(folder));
    let folder = folders.find(|folder| NETWORKS.iter().all(|(_, file, _)| folder.join(file).is_file()));
    let none = || MtcnnError::NoWeights { path: path.to_owned(), found: "a folder without them".to_owned() };
    let folder = folder.ok_or_else(none)?;
    let read = |&(stem, file, _): &(&'static str, &str, &str)| {
        let path = folder.join(file);
        match read_file(&path, MAX_BYTES) {
            Ok(bytes) => Ok((stem, bytes, path.display().to_string())),
            Err(source) => Err(MtcnnError::Read { path, source }),
        }
    };
    NETWORKS.iter().map(read).collect()
}

fn in_wheel(path: &Path) -> Result<Files, MtcnnError> {
    let none = |found: &str| MtcnnError::NoWeights { path: path.to_owned(), found: found.to_owned() };
    // Opening a pipe would wait for its writer.
    if !path.is_file() {
        return Err(none("neither a file nor a folder"));
    }
    let broken = |source: std::io::Error| MtcnnError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(broken)?;
    let mut wheel = zip::ZipArchive::new(file).map_err(|_| none("a file that is no zip archive"))?;
    let mut read = |&(stem, file, _): &(&'static str, &str, &str)| {
        let entry = format!("facenet_pytorch/data/{file}");
        let entry_of = wheel.by_name(&entry).map_err(|_| none(&format!("an archive without {entry}")))?;
        let mut bytes = Vec::new();
        // One byte more than may be: the sizes that an archive names need not be true.
        entry_of.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(none(&format!("an archive with {entry} of more than {MAX_BYTES} bytes")));
        }
        Ok((stem, bytes, format!("{}/{entry}", path.display())))
    };
    NETWORKS.iter().map(&mut read).collect()
}

/// A published state dictionary of the network `stem` (`pnet`, `rnet` or `onet`) in the layout and under
/// the names of [`Mtcnn`]: f32, filters `(out, h, w, in)`, the first dense layer over `(h, w, channel)`.
///
/// # Errors
/// With what is off, when the names are not exactly the network's, a shape does not fit or a value is
/// not finite.
pub fn import(stem: &str, published: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>, String> {
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    Mtcnn::new(parameters.var_builder()).map_err(|error| sentence(&error))?;
    let prefix = format!("{stem}.");
    let mut tensors = BTreeMap::new();
    for (name, var) in parameters.vars() {
        let Some(own) = name.strip_prefix(&prefix) else { continue };
        let found = published.get(own).ok_or_else(|| format!("no tensor `{own}`"))?;
        let tensor = layout_of(own, found, var.dims()).map_err(|error| sentence(&error))?;
        tensors.insert(name, tensor);
    }
    match published.keys().find(|name| !tensors.contains_key(&format!("{prefix}{name}"))) {
        Some(name) => Err(format!("a tensor `{name}` too many")),
        None => Ok(tensors),
    }
}

/// One tensor from the package's layout to ours, of dimensions `dims`.
fn layout_of(name: &str, found: &Tensor, dims: &[usize]) -> candle_core::Result<Tensor> {
    let found = found.to_dtype(DType::F32)?;
    let tensor = match (found.dims(), dims) {
        // The package flattens its maps over (w, h, channel), as the networks' first home did.
        (&[outputs, inputs], &[_, wanted]) if matches!(name, "dense4.weight" | "dense5.weight") && inputs == wanted => {
            found.reshape((outputs, MAP, MAP, inputs / (MAP * MAP)))?.permute((0, 2, 1, 3))?.flatten_from(1)?
        }
        ([_, _, _, _], _) => found.permute((0, 2, 3, 1))?,
        _ => found,
    };
    expect_dims(name, &tensor, dims)?;
    let tensor = tensor.contiguous()?;
    // A sum of squares is finite only where every value is.
    if !tensor.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.is_finite() {
        candle_core::bail!("a value in `{name}` that is not finite")
    }
    Ok(tensor)
}
