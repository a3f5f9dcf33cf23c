//! A network's variables: in name order, started from a seed, loaded strictly.

use crate::chance::Chance;
use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The trainable variables of one or more networks, by name.
///
/// Networks ask for their variables through [`var_builder`](Self::var_builder) and cannot tell
/// this from a file: so one constructor serves training and serving. What a variable starts as is
/// a function of the seed and its name, not of the order of construction.
#[derive(Clone)]
pub struct Parameters {
    vars: Arc<Mutex<BTreeMap<String, Var>>>,
    seed: u64,
    dtype: DType,
    device: Device,
}

impl Parameters {
    /// No variables yet; networks create them.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        Self { vars: Arc::default(), seed, dtype, device: device.clone() }
    }

    /// What a network's constructor takes. Variables it names are created at first sight.
    pub fn var_builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), self.dtype, self.device.clone())
    }

    /// As [`var_builder`](Self::var_builder), for a network that computes in another number type: it gets
    /// every variable as it is now, cast, and the gradients come back in the variables' own type. So the
    /// weights keep their digits; the network is good for one step. All variables must be there already.
    pub fn cast(&self, dtype: DType) -> VarBuilder<'static> {
        let vars = self.vars().into_iter().map(|(name, var)| (name, var.as_tensor().clone()));
        VarBuilder::from_tensors(vars.collect(), dtype, &self.device)
    }

    /// All variables in name order.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.lock().iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }

    /// Copies of all values, which later training does not change.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.lock().iter().map(|(name, var)| Ok((name.clone(), var.as_tensor().detach().copy()?))).collect()
    }

    /// Number of scalar parameters.
    pub fn count(&self) -> usize {
        self.lock().values().map(|var| var.elem_count()).sum()
    }

    /// Replaces all values.
    ///
    /// # Errors
    /// When a name is missing, one is left over, or a shape differs; nothing is changed then.
    pub fn load(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let vars = self.lock();
        check_names(vars.iter().map(|(name, var)| (name.as_str(), var.dims())), tensors)?;
        for (name, var) in vars.iter() {
            var.set(&tensors[name].to_dtype(self.dtype)?.to_device(&self.device)?.contiguous()?)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        // A panic of another holder leaves the map whole: entries are only ever inserted.
        self.vars.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl SimpleBackend for Parameters {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut vars = self.lock();
        if let Some(var) = vars.get(name) {
            expect_dims(name, var, shape.dims())?;
            return Ok(var.as_tensor().clone());
        }
        let values = initial_values(&Chance::new(self.seed, name), shape.elem_count(), init)?;
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?;
        let var = Var::from_tensor(&tensor)?;
        vars.insert(name.to_owned(), var.clone());
        Ok(var.as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> Result<Tensor> {
        match self.lock().get(name) {
            Some(var) => Ok(var.as_tensor().clone()),
            None => bail!("no variable `{name}`"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}

/// Refuses a set of tensors that is not exactly the expected names and shapes.
pub(crate) fn check_names<'a>(
    expected: impl Iterator<Item = (&'a str, &'a [usize])>,
    found: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let mut count = 0;
    for (name, dims) in expected {
        let Some(tensor) = found.get(name) else { bail!("expected a tensor `{name}`, found none of this name") };
        expect_dims(name, tensor, dims)?;
        count += 1;
    }
    if count != found.len() {
        bail!("expected {count} tensors, found {}: the file is of another network", found.len())
    }
    Ok(())
}

/// Refuses other dimensions, with both named.
pub(crate) fn expect_dims(what: &str, tensor: &Tensor, dims: &[usize]) -> Result<()> {
    if tensor.dims() != dims {
        bail!("{what}: expected shape {dims:?}, found {:?}", tensor.dims())
    }
    Ok(())
}

/// Values per counter, so that large layers start on all cores.
const CHUNK: usize = 1 << 16;

fn initial_values(chance: &Chance, len: usize, init: Init) -> Result<Vec<f32>> {
    let fill = |value: fn(&mut crate::chance::Draws, f64, f64) -> f64, a: f64, b: f64| {
        let mut values = vec![0f32; len];
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            let mut draws = chance.at(0, chunk as u64);
            values.iter_mut().for_each(|slot| *slot = value(&mut draws, a, b) as f32);
        });
        values
    };
    Ok(match init {
        Init::Const(value) => vec![value as f32; len],
        Init::Uniform { lo, up } => fill(|draws, lo, up| draws.uniform(lo, up), lo, up),
        Init::Randn { mean, stdev } => fill(|draws, mean, stdev| mean + stdev * draws.normal(), mean, stdev),
        Init::Kaiming { .. } => bail!("this initialization is not used by these networks: this is a bug"),
    })
}
