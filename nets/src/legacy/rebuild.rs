//! Tensors from storages.

use super::Outcome;
use super::container::{Contents, Storage};
use super::pickle::{Id, Object, Pickle};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// Dimensions of a tensor at most.
const MAX_RANK: usize = 8;

/// The tensors of the file's `state_dict` entry, or else of the whole, by name. Together they may hold
/// as many values as the file has bytes: views of one storage cannot multiply it at will.
pub(super) fn named_tensors(contents: &Contents, file_len: usize) -> Outcome<BTreeMap<String, Tensor>> {
    let object = &contents.object;
    let whole = object.entries(object.root()).ok_or("something that is no dictionary")?;
    let state = whole.iter().find(|(key, _)| object.text(*key) == Some("state_dict"));
    let entries = match state {
        Some(&(_, state)) => object.entries(state).ok_or("a state_dict that is no dictionary")?,
        None => whole,
    };
    let mut tensors = BTreeMap::new();
    let mut budget = file_len;
    for (key, value) in entries {
        let name = object.text(key).ok_or("a tensor whose name is no text")?;
        let tensor = tensor(contents, value, &mut budget).map_err(|reason| format!("{reason} as `{name}`"))?;
        if tensors.insert(name.to_owned(), tensor).is_some() {
            return Err(format!("two tensors named `{name}`"));
        }
    }
    Ok(tensors)
}

/// Where a tensor's values lie in its storage.
struct Layout {
    offset: usize,
    dims: Vec<usize>,
    strides: Vec<usize>,
    count: usize,
}

fn tensor(contents: &Contents, value: Id, budget: &mut usize) -> Outcome<Tensor> {
    let object = &contents.object;
    let (function, arguments) = call(object, value)?;
    // A parameter is a call around its tensor's call.
    let (function, arguments) = match (function, arguments) {
        ("_rebuild_parameter", [data, ..]) => call(object, *data)?,
        other => other,
    };
    let ("_rebuild_tensor" | "_rebuild_tensor_v2", &[storage, offset, dims, strides, ..]) = (function, arguments)
    else {
        return Err(format!("a call of {function}"));
    };
    let storage = match object.get(storage) {
        Object::Persistent(id) => object.sequence(*id).and_then(|parts| object.text(*parts.get(2)?)),
        _ => None,
    };
    let storage = storage.and_then(|key| contents.storages.get(key)).ok_or("a tensor without a storage")?;
    let layout = Layout::new(object, [offset, dims, strides]).ok_or("a tensor of no valid layout")?;
    *budget = budget.checked_sub(layout.count).ok_or("more values than the file has bytes")?;
    let bytes = layout.gather(storage).ok_or("a tensor that reaches beyond its storage")?;
    Tensor::from_raw_buffer(&bytes, storage.dtype, &layout.dims, &Device::Cpu).map_err(|error| error.to_string())
}

fn call<'a, 'b>(object: &'b Pickle<'a>, value: Id) -> Outcome<(&'a str, &'b [Id])> {
    if let Object::Call(function, arguments) = object.get(value)
        && let Object::Global("torch._utils", name) = object.get(*function)
        && let Some(arguments) = object.sequence(*arguments)
    {
        return Ok((name, arguments));
    }
    Err("something that is no tensor".to_owned())
}

impl Layout {
    fn new(object: &Pickle, [offset, dims, strides]: [Id; 3]) -> Option<Self> {
        let sizes = |id: Id| object.sequence(id)?.iter().map(|&size| object.size(size)).collect::<Option<Vec<_>>>();
        let (dims, strides) = (sizes(dims)?, sizes(strides)?);
        // Also an empty tensor's other dimensions must make a number, as row-major strides do.
        let extent = dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim.max(1)))?;
        let count = if dims.contains(&0) { 0 } else { extent };
        let valid = dims.len() == strides.len() && dims.len() <= MAX_RANK;
        valid.then_some(Self { offset: object.size(offset)?, dims, strides, count })
    }

    /// The values in row-major order, if all of them lie in the storage.
    fn gather(&self, storage: &Storage) -> Option<Vec<u8>> {
        if self.count == 0 {
            return Some(Vec::new());
        }
        let steps = self.dims.iter().zip(&self.strides);
        let last =
            steps.clone().try_fold(self.offset, |at, (dim, stride)| at.checked_add((dim - 1).checked_mul(*stride)?))?;
        let width = storage.dtype.size_in_bytes();
        if last >= storage.bytes.len() / width {
            return None;
        }
        if self.is_row_major() {
            return Some(storage.bytes[self.offset * width..][..self.count * width].to_vec());
        }
        let mut gathered = Vec::with_capacity(self.count * width);
        for position in 0..self.count {
            // The position's coordinates, last dimension first.
            let (at, _) = steps
                .clone()
                .rev()
                .fold((self.offset, position), |(at, rest), (dim, stride)| (at + rest % dim * stride, rest / dim));
            gathered.extend_from_slice(&storage.bytes[at * width..][..width]);
        }
        Some(gathered)
    }

    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.dims.iter().zip(&self.strides).rev().all(|(&dim, &stride)| {
            let fits = dim == 1 || stride == expected;
            expected *= dim;
            fits
        })
    }
}
