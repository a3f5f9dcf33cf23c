//! A weight over the length that a vector has behind it: what spectral norm is made of, in few passes.

use super::element::{Argument, Element, for_element_type, output, same_dtype, values, with_values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
use candle_core::{CpuStorage, Result, Shape, Storage, Tensor, WithDType, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, backend::BackendStorage};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// `weight (outputs, ...)`, a matrix from all dimensions but the first to the first, over `left weight right`, for
/// `left (1, outputs)` and `right (1, inputs)`. The gradient takes both vectors for constants.
///
/// # Errors
/// When shapes or number types don't fit.
pub fn divided(weight: &Tensor, left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let outputs = weight.dims().first().copied().unwrap_or(0);
    let inputs = weight.elem_count() / outputs.max(1);
    if weight.elem_count() == 0 || left.dims() != [1, outputs] || right.dims() != [1, inputs] {
        let (weight, left, right) = (weight.dims(), left.dims(), right.dims());
        bail!("expected vectors of {outputs} and {inputs} beside the weight {weight:?}, found {left:?} and {right:?}")
    }
    for vector in [left, right] {
        same_dtype("divided", weight.dtype(), vector.dtype())?;
    }
    let vectors = [left.detach().contiguous()?, right.detach().contiguous()?];
    let [left, right] = &vectors.clone();
    let op = Divided { vectors, product: Mutex::default() };
    op.apply([weight, left, right])
}

/// `x` over its length, or over `least` where that is more. It has no gradient.
///
/// # Errors
/// Only when memory runs out.
pub fn unit(x: &Tensor, least: f64) -> Result<Tensor> {
    Unit { least }.compute([x])
}

struct Divided {
    /// Left and right.
    vectors: [Tensor; 2],
    /// What the forward pass divided by, for the backward pass.
    product: Mutex<Option<Product>>,
}

/// `left weight right`.
enum Product {
    Number(f64),
    #[cfg(feature = "cuda")]
    OnGpu(CudaStorage),
}

struct Unit {
    least: f64,
}

impl Divided {
    fn keep(&self, product: Product) {
        *self.product.lock().unwrap_or_else(PoisonError::into_inner) = Some(product);
    }
}

/// `sum over rows of left * (row . right)`.
fn bilinear<T: Element>(weight: &[T], left: &[T], right: &[T]) -> T {
    let rows = weight.par_chunks(right.len()).map(|row| {
        let products = row.iter().zip(right).map(|(&weight, &right)| (weight * right).to_f64());
        products.sum::<f64>()
    });
    let rows: Vec<f64> = rows.collect();
    T::of(rows.iter().zip(left).map(|(row, left)| row * left.to_f64()).sum())
}

impl Op<3> for Divided {
    fn name(&self) -> &'static str {
        "divided"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [weight, left, right] => {
            let product = bilinear(weight, left, right);
            self.keep(Product::Number(product.to_f64()));
            Ok(output::<T>(weight.par_iter().map(|&weight| weight / product).collect(), inputs[0].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, [weight, left, right]: [cuda::Argument; 3]) -> Result<(CudaStorage, Shape)> {
        let (device, dtype) = (&weight.0.device, weight.dtype());
        let (shape, count, inputs) = (weight.shape(), weight.count(), right.count());
        let [parts, product] =
            [kernels::sum_parts(count), 1].map(|count| cuda::room(device, cuda::accumulator(dtype), count));
        let (parts, product, y) = (parts?, product?, cuda::room(device, dtype, shape)?);
        let (weight, parts_at) = (cuda::address(weight)?, cuda::address_of_new(&parts)?);
        let buffers = [weight, cuda::address(left)?, cuda::address(right)?, parts_at];
        cuda::run(&kernels::bilinear_sums(count, inputs), device, dtype, &buffers)?;
        let buffers = [weight, parts_at, cuda::address_of_new(&y)?, cuda::address_of_new(&product)?];
        cuda::run(&kernels::divided(count), device, dtype, &buffers)?;
        self.keep(Product::OnGpu(product));
        Ok((y, shape.clone()))
    }

    fn gradients(&self, [weight, _left, _right]: [&Tensor; 3], _y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let (g, [left, right]) = (g.contiguous()?, &self.vectors);
        let product = self.product.lock().unwrap_or_else(PoisonError::into_inner);
        let gradient = match product.as_ref() {
            Some(Product::Number(product)) => on_cpu(weight, &g, [left, right], *product)?,
            #[cfg(feature = "cuda")]
            Some(Product::OnGpu(product)) => on_gpu(weight, &g, [left, right], product)?,
            None => bail!("divided: no forward pass: this is a bug"),
        };
        Ok([Some(gradient), None, None])
    }
}

/// `(g - (sum of g weight) / product * left right) / product`.
fn on_cpu(weight: &Tensor, g: &Tensor, [left, right]: [&Tensor; 2], product: f64) -> Result<Tensor> {
    let storages = [weight, g, left, right].map(Tensor::storage_and_layout);
    let [(weight_storage, _), ..] = &storages;
    let Storage::Cpu(first) = &**weight_storage else { bail!("divided: expected tensors on the CPU: this is a bug") };
    let computed: Result<(CpuStorage, Shape)> = for_element_type!(first, "divided", T => {
        let [weight, g, left, right] = storages.each_ref().map(|(storage, layout)| match &**storage {
            Storage::Cpu(storage) => values::<T>((storage, layout)),
            _ => bail!("divided: expected tensors on the CPU: this is a bug"),
        });
        let (weight, g, left, right) = (&*weight?, &*g?, &*left?, &*right?);
        let inputs = right.len();
        let products = weight.par_chunks(inputs).zip(g.par_chunks(inputs)).map(|(weight, g)| {
            weight.iter().zip(g).map(|(&weight, &g)| (weight * g).to_f64()).sum::<f64>()
        });
        let products: Vec<f64> = products.collect();
        let (along, product) = (T::of(products.iter().sum::<f64>() / product), T::of(product));
        let mut dw = vec![T::ZERO; g.len()];
        dw.par_chunks_mut(inputs).zip(g.par_chunks(inputs)).zip(left).for_each(|((dw, g), &left)| {
            for (dw, (&g, &right)) in dw.iter_mut().zip(g.iter().zip(right)) {
                *dw = (g - along * left * right) / product;
            }
        });
        Ok(output::<T>(dw, storages[0].1.shape()))
    });
    let (storage, shape) = computed?;
    Ok(Tensor::from_storage(Storage::Cpu(storage), shape, candle_core::op::BackpropOp::none(), false))
}

#[cfg(feature = "cuda")]
fn on_gpu(weight: &Tensor, g: &Tensor, [left, right]: [&Tensor; 2], product: &CudaStorage) -> Result<Tensor> {
    let (count, inputs) = (weight.elem_count(), right.elem_count());
    cuda::with_storages(&[weight, g, left, right], |arguments| {
        let [weight_at, g_at, left_at, right_at] = *arguments else { bail!("expected four storages: this is a bug") };
        let (device, dtype) = (&g_at.0.device, g_at.0.dtype());
        let parts = cuda::room(device, cuda::accumulator(dtype), kernels::sum_parts(count))?;
        let (g_at, parts_at) = (cuda::address(g_at)?, cuda::address_of_new(&parts)?);
        cuda::run(&kernels::product_sums(count), device, dtype, &[g_at, cuda::address(weight_at)?, parts_at])?;
        let dw = cuda::room(device, dtype, weight.shape())?;
        let vectors = [cuda::address(left_at)?, cuda::address(right_at)?];
        let buffers =
            [g_at, parts_at, cuda::address_of_new(product)?, vectors[0], vectors[1], cuda::address_of_new(&dw)?];
        cuda::run(&kernels::divided_gradient(count, inputs), device, dtype, &buffers)?;
        Ok(cuda::tensor(dw, weight.shape()))
    })
}

impl Op<1> for Unit {
    fn name(&self) -> &'static str {
        "unit"
    }

    fn on_cpu(&self, inputs: [Argument; 1]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [x] => {
            let length = x.iter().map(|&x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
            // What is no number stays none.
            let length = T::of(if length < self.least { self.least } else { length });
            Ok(output::<T>(x.iter().map(|&x| x / length).collect(), inputs[0].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 1]) -> Result<(CudaStorage, Shape)> {
        let launch = kernels::unit(inputs[0].count(), self.least);
        cuda::compute(&launch, &inputs, inputs[0].shape())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};

    #[test]
    fn value_and_gradient() -> Result<()> {
        let (weight, left, right) = (random(&[3, 2, 2], 1)?, random(&[1, 3], 2)?, random(&[1, 4], 3)?);
        let product = (left.matmul(&weight.reshape((3, 4))?)? * &right)?.sum_all()?;
        let expected = weight.broadcast_div(&product)?.flatten_all()?.to_vec1::<f64>()?;
        let found = divided(&weight, &left, &right)?.flatten_all()?.to_vec1::<f64>()?;
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{found}, {expected}");
        }
        check_gradients(std::slice::from_ref(&weight), |v| divided(&v[0], &left, &right))?;
        let refusal = divided(&weight, &right, &left).unwrap_err().to_string();
        assert!(refusal.contains("expected vectors of 3 and 4"), "{refusal}");
        Ok(())
    }

    #[test]
    fn a_unit_has_length_one_and_nothing_stays_nothing() -> Result<()> {
        let x = random(&[1, 50], 1)?;
        let length = unit(&x, 1e-12)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
        assert!((length - 1.0).abs() < 1e-12);
        assert_eq!(unit(&x.zeros_like()?, 1e-12)?.sqr()?.sum_all()?.to_scalar::<f64>()?, 0.0);
        let none = Tensor::cat(&[&x, &Tensor::full(f64::NAN, (1, 1), x.device())?], 1)?;
        assert!(unit(&none, 1e-12)?.to_vec2::<f64>()?[0].iter().all(|value| value.is_nan()));
        Ok(())
    }
}
