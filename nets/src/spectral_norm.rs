//! Spectral norm (Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018):
//! weights are divided by their largest singular value, which bounds a critic's slope layer by layer.
//!
//! The singular vectors are found by power iteration, one round a step, since weights move little in one. So
//! they are state: whoever resumes a training must bring them along.

use crate::chance::Chance;
use crate::ops::{self, linear};
use crate::parameters::{Parameters, check_names};
use candle_core::{Result, Tensor, Var};
use std::collections::BTreeMap;

/// Rounds from a random start; PyTorch makes as many.
const FIRST_ROUNDS: usize = 15;

/// The first singular vectors of weights, by the weights' names.
pub struct SpectralNorm {
    vectors: BTreeMap<String, Vectors>,
}

/// Of a weight seen as a matrix from all dimensions but the first to the first.
struct Vectors {
    /// `(1, outputs)`, of length 1.
    left: Tensor,
    /// `(1, inputs)`, of length 1.
    right: Tensor,
}

impl SpectralNorm {
    /// Of all weights whose name is `chosen`. The start is a function of the seed and the names.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn new(parameters: &Parameters, seed: u64, chosen: impl Fn(&str) -> bool) -> Result<Self> {
        let start = |(name, var): (String, Var)| {
            let matrix = matrix(&var)?;
            let (outputs, inputs) = matrix.dims2()?;
            let mut draws = Chance::new(seed, &format!("spectral norm/{name}")).at(0, 0);
            let mut random = |count: usize| {
                let values: Vec<f64> = (0..count).map(|_| draws.normal()).collect();
                unit(&Tensor::from_vec(values, (1, count), matrix.device())?.to_dtype(matrix.dtype())?)
            };
            Ok((name, Vectors { right: random(inputs)?, left: random(outputs)? }))
        };
        let vars = parameters.vars().into_iter().filter(|(name, _)| chosen(name));
        let mut norm = Self { vectors: vars.map(start).collect::<Result<_>>()? };
        for _ in 0..FIRST_ROUNDS {
            norm.turn(parameters)?;
        }
        Ok(norm)
    }

    /// One round of power iteration towards the weights as they are now.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn turn(&mut self, parameters: &Parameters) -> Result<()> {
        for (name, var) in parameters.vars() {
            let Some(vectors) = self.vectors.get_mut(&name) else { continue };
            let matrix = matrix(&var)?;
            vectors.left = unit(&linear(&vectors.right, &matrix)?)?;
            vectors.right = unit(&backwards(&vectors.left, &matrix)?)?;
        }
        Ok(())
    }

    /// All tensors, the chosen weights divided by `left W right`. The vectors are constants, as they are
    /// stationary: the gradient is the one of the largest singular value all the same.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn divided(&self, parameters: &Parameters) -> Result<BTreeMap<String, Tensor>> {
        let divide = |(name, var): (String, Var)| {
            let weight = var.as_tensor().clone();
            let Some(Vectors { left, right }) = self.vectors.get(&name) else { return Ok((name, weight)) };
            Ok((name, ops::divided(&weight, left, right)?))
        };
        parameters.vars().into_iter().map(divide).collect()
    }

    /// The vectors, by the weights' names.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let both = |(name, vectors): (&String, &Vectors)| {
            [(format!("{name}.left"), vectors.left.clone()), (format!("{name}.right"), vectors.right.clone())]
        };
        self.vectors.iter().flat_map(both).collect()
    }

    /// Takes up saved vectors.
    ///
    /// # Errors
    /// When names or shapes are not exactly the weights'; nothing is changed then.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let own = self.tensors();
        check_names(own.iter().map(|(name, tensor)| (name.as_str(), tensor.dims())), tensors)?;
        for (name, vectors) in &mut self.vectors {
            let taken = |part: &str, old: &Tensor| {
                tensors[&format!("{name}.{part}")].to_dtype(old.dtype())?.to_device(old.device())
            };
            *vectors = Vectors { left: taken("left", &vectors.left)?, right: taken("right", &vectors.right)? };
        }
        Ok(())
    }
}

/// A weight as a matrix, without its gradient.
fn matrix(var: &Var) -> Result<Tensor> {
    let weight = var.as_tensor().detach();
    weight.reshape((weight.dim(0)?, ()))
}

/// `left matrix`, for `left (1, outputs)`: a transposed convolution of one pixel, which copies no matrix.
fn backwards(left: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = matrix.dims2()?;
    let filters = matrix.reshape((outputs, 1, 1, inputs))?;
    ops::conv_transpose2d(&left.reshape((1, 1, 1, outputs))?, &filters, 1, 0)?.reshape((1, inputs))
}

fn unit(vector: &Tensor) -> Result<Tensor> {
    // A weight of zeros has no direction.
    ops::unit(vector, 1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::random;
    use candle_core::{DType, Device};
    use candle_nn::Init;

    /// Two weights of known singular values, and one that isn't chosen.
    fn weights() -> Result<Parameters> {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        let vb = parameters.var_builder();
        for (name, dims) in [("a.weight", vec![3, 4]), ("b.weight", vec![4, 2, 2, 3]), ("c.weight", vec![3, 4])] {
            vb.get_with_hints(dims, name, Init::Randn { mean: 0.0, stdev: 1.0 })?;
        }
        Ok(parameters)
    }

    fn norm(parameters: &Parameters) -> Result<SpectralNorm> {
        SpectralNorm::new(parameters, 1, |name| !name.starts_with('c'))
    }

    /// The largest singular value, by so many rounds on the Gram matrix that nothing is left to find.
    fn largest(weight: &Tensor) -> Result<f64> {
        let flat = weight.reshape((weight.dim(0)?, ()))?;
        let gram = flat.matmul(&flat.t()?)?;
        let mut vector = random(&[gram.dim(0)?, 1], 5)?;
        for _ in 0..2000 {
            vector = unit(&gram.matmul(&vector)?)?;
        }
        Ok((gram.matmul(&vector)? * vector)?.sum_all()?.to_scalar::<f64>()?.sqrt())
    }

    #[test]
    fn the_largest_singular_value_becomes_one() -> Result<()> {
        let parameters = weights()?;
        let mut norm = norm(&parameters)?;
        for _ in 0..200 {
            norm.turn(&parameters)?;
        }
        let divided = norm.divided(&parameters)?;
        for name in ["a.weight", "b.weight"] {
            let value = largest(&divided[name])?;
            assert!((value - 1.0).abs() < 1e-10, "{name}: {value}");
        }
        let own = &parameters.tensors()?["c.weight"];
        assert_eq!(divided["c.weight"].to_vec2::<f64>()?, own.to_vec2::<f64>()?);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences_of_the_division() -> Result<()> {
        let parameters = weights()?;
        let norm = norm(&parameters)?;
        let probe = random(&[4, 2, 2, 3], 7)?;
        let value = || (&norm.divided(&parameters)?["b.weight"] * &probe)?.sum_all();
        let gradients = value()?.backward()?;
        let (_, var) = parameters.vars().into_iter().find(|(name, _)| name == "b.weight").expect("made above");
        let gradient = gradients.get(&var).expect("it takes part").flatten_all()?.to_vec1::<f64>()?;
        let values = var.flatten_all()?.to_vec1::<f64>()?;
        for at in 0..values.len() {
            let moved = |step: f64| {
                let mut values = values.clone();
                values[at] += step;
                var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu)?)?;
                value()?.to_scalar::<f64>()
            };
            let difference = (moved(1e-6)? - moved(-1e-6)?) / 2e-6;
            var.set(&Tensor::from_vec(values.clone(), var.dims(), &Device::Cpu)?)?;
            assert!((difference - gradient[at]).abs() < 1e-8, "{at}: {difference} {}", gradient[at]);
        }
        Ok(())
    }

    #[test]
    fn saved_vectors_go_on_to_the_same_bits_and_others_are_refused() -> Result<()> {
        let parameters = weights()?;
        let (mut first, mut second) = (norm(&parameters)?, SpectralNorm::new(&parameters, 2, |name| name < "c")?);
        assert_ne!(bits(&first)?, bits(&second)?);
        second.load(&first.tensors())?;
        first.turn(&parameters)?;
        second.turn(&parameters)?;
        assert_eq!(bits(&first)?, bits(&second)?);
        let mut fewer = first.tensors();
        fewer.remove("a.weight.left");
        assert!(second.load(&fewer).unwrap_err().to_string().contains("expected a tensor `a.weight.left`"));
        Ok(())
    }

    fn bits(norm: &SpectralNorm) -> Result<Vec<Vec<f64>>> {
        norm.tensors().values().map(|tensor| tensor.flatten_all()?.to_vec1()).collect()
    }
}
