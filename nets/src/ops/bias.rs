//! A vector added to every position, and its gradient: sums of columns in a fixed order.

use super::element::{Argument, Element, for_element_type, output, same_dtype, values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use multiversion::multiversion;
use rayon::prelude::*;

/// `x (..., C) + bias (C)`.
pub fn bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    same_dtype("bias", x.dtype(), bias.dtype())?;
    check_channels("bias", x, bias)?;
    x.contiguous()?.apply_op2(&bias.contiguous()?, Bias)
}

/// Sums of a tensor's last dimension over all others, `(..., C)` to `(C)`: a bias's gradient.
/// Rows are cut into a number of parts that depends on their count alone.
pub(super) fn column_sum(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(ColumnSum)
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

impl CustomOp2 for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        for_element_type!(s1, "bias", T => {
            let (x, bias) = (&*values::<T>((s1, l1))?, &*values::<T>((s2, l2))?);
            let mut y = x.to_vec();
            y.par_chunks_mut(bias.len() * 256).for_each(|rows| add_to_rows(rows, bias));
            Ok(output::<T>(y, l1.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        let launch = kernels::bias(l1.shape().elem_count(), l2.shape().elem_count());
        cuda::compute(&launch, &[(s1, l1), (s2, l2)], l1.shape())
    }

    fn bwd(&self, x: &Tensor, bias: &Tensor, _y: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((x.track_op().then(|| g.clone()), bias.track_op().then(|| column_sum(g)).transpose()?))
    }
}

struct ColumnSum;

impl CustomOp1 for ColumnSum {
    fn name(&self) -> &'static str {
        "column-sum"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let argument: Argument = (storage, layout);
        let columns = layout.shape().dims().last().copied().unwrap_or(1);
        for_element_type!(storage, "column-sum", T => {
            Ok(output::<T>(sum_columns(&values(argument)?, columns), columns))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let columns = layout.shape().dims().last().copied().unwrap_or(1);
        let rows = layout.shape().elem_count() / columns.max(1);
        Ok((cuda::column_sum((storage, layout), rows, columns)?, columns.into()))
    }

    fn bwd(&self, x: &Tensor, _sum: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(g.broadcast_as(x.shape())?.contiguous()?))
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
