//! A published LightCNN (Wu et al., 2018) in this program's layout.

use super::{LegacyError, Outcome};
use crate::{FEATURE, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Width, sentence};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// What a data-parallel wrapper put before every name.
const WRAPPER: &str = "module.";
/// Side of the map before the feature layer.
const MAP: usize = 8;

/// What becomes of the published classifier, whose identities are seldom the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classifier {
    /// Kept, with its identities.
    Keep,
    /// Discarded for a new one that starts from `seed`.
    Replace {
        /// Identities of the new one.
        classes: usize,
        /// Where its weights start.
        seed: u64,
    },
}

/// A published state dictionary, as [`read`](super::read) gives it, in the layout and under the names
/// of [`Parameters`], with the shape of the network that loads it: f32, filters `(out, h, w, in)`, the
/// feature layer over `(h, w, channel)`.
///
/// # Errors
/// When the names are not exactly those of a LightCNN-9, -29 or -29 v2 (22, 62 or 61 tensors), with or
/// without the prefix `module.`; when a shape does not fit, or a value is not finite.
pub fn import_light_cnn(
    published: &BTreeMap<String, Tensor>,
    classifier: Classifier,
) -> Result<(LightCnnConfig, BTreeMap<String, Tensor>), LegacyError> {
    let refused = |reason: String| LegacyError::Network { reason };
    let tensor_error = |error: candle_core::Error| refused(sentence(&error));
    let mut named = BTreeMap::new();
    for (name, tensor) in published {
        let name = name.strip_prefix(WRAPPER).unwrap_or(name);
        if named.insert(name, tensor).is_some() {
            return Err(refused(format!("two tensors named `{name}`")));
        }
    }
    let config = config_of(&named, classifier).map_err(refused)?;

    // The network names what it expects, and starts the new classifier.
    let seed = if let Classifier::Replace { seed, .. } = classifier { seed } else { 0 };
    let parameters = Parameters::new(seed, DType::F32, &Device::Cpu);
    LightCnn::new(&config, parameters.var_builder()).map_err(tensor_error)?;
    let mut tensors = BTreeMap::new();
    for (name, var) in parameters.vars() {
        let found = named.remove(name.as_str());
        let fresh = classifier != Classifier::Keep && name.starts_with("fc2.");
        let tensor = match found {
            _ if fresh => var.as_tensor().detach(),
            Some(found) => layout_of(&name, found, var.dims()).map_err(tensor_error)?,
            None => return Err(refused(format!("no tensor `{name}`, which a {} needs", config.kind))),
        };
        tensors.insert(name, tensor);
    }
    match named.keys().next() {
        Some(name) => Err(refused(format!("a tensor `{name}`, which no {} has", config.kind))),
        None => Ok((config, tensors)),
    }
}

/// Which network the names and shapes are of.
fn config_of(named: &BTreeMap<&str, &Tensor>, classifier: Classifier) -> Outcome<LightCnnConfig> {
    let (kind, first) = if named.contains_key("fc1.filter.weight") {
        (LightCnnKind::Nine, "features.0.filter.weight")
    } else if named.contains_key("fc.filter.weight") {
        (LightCnnKind::TwentyNine, "conv1.filter.weight")
    } else if named.contains_key("fc.weight") {
        (LightCnnKind::TwentyNineV2, "conv1.filter.weight")
    } else {
        return Err("no tensor `fc1.filter.weight`, `fc.filter.weight` or `fc.weight`".to_owned());
    };
    let rows = |name: &str| -> Outcome<usize> {
        let tensor = named.get(name).ok_or_else(|| format!("no tensor `{name}`, which a {kind} needs"))?;
        tensor.dims().first().copied().ok_or_else(|| format!("a single number as `{name}`"))
    };
    // Two halves compete for each of the first layer's channels.
    let filters = rows(first)?;
    let width = Width::ALL.into_iter().find(|width| 2 * width.channels(48) == filters);
    let width = width.ok_or_else(|| format!("{filters} filters in `{first}`, where a {kind} has 96, 24 or 12"))?;
    let classes = match classifier {
        // Its rows are made once more before they are compared, so they must be there.
        Classifier::Keep => match (rows("fc2.weight")?, named["fc2.weight"].dims()) {
            (classes, &[_, FEATURE]) => classes,
            (_, dims) => {
                return Err(format!("`fc2.weight` of shape {dims:?}, where a {kind} has [classes, {FEATURE}]"));
            }
        },
        Classifier::Replace { classes, .. } => classes,
    };
    if classes == 0 {
        return Err("a classifier of no identities".to_owned());
    }
    Ok(LightCnnConfig { kind, width, classes })
}

/// One tensor from PyTorch's layout to ours, of dimensions `dims`.
fn layout_of(name: &str, found: &Tensor, dims: &[usize]) -> candle_core::Result<Tensor> {
    let found = found.to_dtype(DType::F32)?;
    let flattened_map = matches!(name, "fc1.filter.weight" | "fc.filter.weight" | "fc.weight");
    let tensor = match (found.dims(), dims) {
        // Rows over (channel, h, w) to rows over (h, w, channel).
        (&[outputs, inputs], [_, wanted]) if flattened_map && inputs == *wanted => {
            found.reshape((outputs, inputs / (MAP * MAP), MAP, MAP))?.permute((0, 2, 3, 1))?.flatten_from(1)?
        }
        ([_, _, _, _], _) => found.permute((0, 2, 3, 1))?,
        _ => found,
    };
    crate::parameters::expect_dims(name, &tensor, dims)?;
    let tensor = tensor.contiguous()?;
    // A sum of squares is finite only where every value is.
    if !tensor.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.is_finite() {
        candle_core::bail!("a value in `{name}` that is not finite")
    }
    Ok(tensor)
}
