//! A vector added to every position, and its gradient: sums of columns in a fixed order.

use super::element::{Argument, Element, output, same_dtype, with_values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
use multiversion::multiversion;
use rayon::prelude::*;

/// `x (..., C) + bias (C)`.
pub fn bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    same_dtype("bias", x.dtype(), bias.dtype())?;
    check_channels("bias", x, bias)?;
    Bias.apply([x, bias])
}

/// Sums of a tensor's last dimension over all others, `(..., C)` to `(C)`: a bias's gradient.
/// Rows are cut into a number of parts that depends on their count alone.
pub(super) fn column_sum(x: &Tensor) -> Result<Tensor> {
    ColumnSum.apply([x])
}

/// Refuses a vector that does not have as many values as `x` has channels, its last dimension.
pub(super) fn check_channels(op: &str, x: &Tensor, vector: &Tensor) -> Result<()> {
    match x.dims().last() {
        None | Some(0) => bail!("{op}: expected at least one channel, found shape {:?}", x.dims()),
        Some(&channels) if vector.dims() != [channels] => {
            bail!("{op}: expected a vector of {channels}, found {:?}", vector.dims())
        }
        Some(_) => Ok(()),
    }
}

struct Bias;

impl Op<2> for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn on_cpu(&self, inputs: [Argument; 2]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [x, bias] => {
            let mut y = x.to_vec();
            y.par_chunks_mut(bias.len() * 256).for_each(|rows| add_to_rows(rows, bias));
            Ok(output::<T>(y, inputs[0].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 2]) -> Result<(CudaStorage, Shape)> {
        let launch = kernels::bias(inputs[0].count(), inputs[1].count());
        cuda::compute(&launch, &inputs, inputs[0].shape())
    }

    fn gradients(&self, [x, bias]: [&Tensor; 2], _y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 2]> {
        Ok([x.track_op().then(|| g.clone()), bias.track_op().then(|| column_sum(g)).transpose()?])
    }
}

struct ColumnSum;

impl Op<1> for ColumnSum {
    fn name(&self) -> &'static str {
        "column-sum"
    }

    fn on_cpu(&self, inputs: [Argument; 1]) -> Result<(CpuStorage, Shape)> {
        let columns = inputs[0].shape().dims().last().copied().unwrap_or(1);
        with_values!(self, inputs, T, [x] => Ok(output::<T>(sum_columns(x, columns), columns)))
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 1]) -> Result<(CudaStorage, Shape)> {
        let columns = inputs[0].shape().dims().last().copied().unwrap_or(1);
        let rows = inputs[0].count() / columns.max(1);
        Ok((cuda::column_sum(inputs[0], rows, columns)?, columns.into()))
    }

    fn gradients(&self, [x]: [&Tensor; 1], _sum: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(g.broadcast_as(x.shape())?.contiguous()?)])
    }
}

/// Rows per partial sum.
const ROWS: usize = 1024;

pub(super) fn sum_columns<T: Element>(x: &[T], columns: usize) -> Vec<T> {
    let parts: Vec<Vec<T>> = x
        .par_chunks(columns * ROWS)
        .map(|rows| {
            let mut sums = vec![T::ZERO; columns];
            add_rows(&mut sums, rows);
            sums
        })
        .collect();
    let mut total = vec![T::ZERO; columns];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    total
}

/// Adds a vector to each row.
#[multiversion(targets = "simd")]
fn add_to_rows<T: Element>(rows: &mut [T], vector: &[T]) {
    for row in rows.chunks_exact_mut(vector.len()) {
        row.iter_mut().zip(vector).for_each(|(value, &addend)| *value += addend);
    }
}

/// Adds rows to the sums of their columns, one after the other.
#[multiversion(targets = "simd")]
pub(super) fn add_rows<T: Element>(sums: &mut [T], rows: &[T]) {
    for row in rows.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};

    #[test]
    fn bias_and_its_gradient() -> Result<()> {
        check_gradients(&[random(&[2, 3, 3, 4], 1)?, random(&[4], 2)?], |v| bias(&v[0], &v[1]))?;
        check_gradients(&[random(&[5, 4], 1)?], |v| column_sum(&v[0]))?;
        let refusal = |x: &[usize], vector: &[usize]| bias(&random(x, 1)?, &random(vector, 2)?);
        assert!(refusal(&[5, 4], &[3]).unwrap_err().to_string().contains("expected a vector of 4, found [3]"));
        assert!(refusal(&[5, 0], &[0]).unwrap_err().to_string().contains("at least one channel"));
        Ok(())
    }

    #[test]
    fn column_sums_equal_candles_own() -> Result<()> {
        let x = random(&[3000, 7], 1)?;
        let difference = (column_sum(&x)? - x.sum(0)?)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(difference < 1e-11, "{difference}");
        Ok(())
    }
}
