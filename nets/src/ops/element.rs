//! What the CPU kernels need of a number type, and how they reach a tensor's values.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Layout, Result, Shape, Tensor, WithDType, bail};
use half::bf16;
use rayon::prelude::*;
use std::borrow::Cow;

/// f32 for work, f64 for proofs. Tensors of bf16 are read as f32, computed with as such, and what comes of
/// them is rounded once: sums over many terms would be lost in eight bits.
pub(crate) trait Element:
    WithDType
    + Copy
    + Send
    + Sync
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::AddAssign
    + std::ops::DivAssign
    + 'static
{
    const ZERO: Self;
    const ONE: Self;
    const HALF: Self;
    fn sqrt(self) -> Self;
    fn is_nan(self) -> bool;
    /// `self * factor + addend`, rounded once.
    fn multiply_add(self, factor: Self, addend: Self) -> Self;
    fn of(value: f64) -> Self;
    /// The same values, if they are f32: for kernels that are written for it.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
    /// As [`as_f32`](Self::as_f32), to write to.
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// The same numbers.
    fn of_bf16(value: bf16) -> Self;
    /// All values of a storage of this type, for updates in place.
    fn storage_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HALF: Self = 0.5;
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }
    #[inline(always)]
    fn multiply_add(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
    fn of(value: f64) -> Self {
        value as f32
    }
    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }
    #[inline(always)]
    fn of_bf16(value: bf16) -> Self {
        value.to_f32()
    }
    fn storage_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F32(values) => Some(values),
            _ => None,
        }
    }
}

impl Element for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HALF: Self = 0.5;
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    #[inline(always)]
    fn multiply_add(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
    fn of(value: f64) -> Self {
        value
    }
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }
    fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
    fn of_bf16(value: bf16) -> Self {
        value.to_f64()
    }
    fn storage_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F64(values) => Some(values),
            _ => None,
        }
    }
}

/// What is known of values before a kernel sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// That of their type.
    Full,
    /// They were bf16, so that products of two are exact in f32.
    Bf16,
}

impl Precision {
    /// Of a tensor's values.
    pub(crate) fn of(dtype: DType) -> Self {
        if dtype == DType::BF16 { Self::Bf16 } else { Self::Full }
    }
}

/// One argument of an op: its values and where they lie.
pub(crate) type Argument<'a> = (&'a CpuStorage, &'a Layout);

/// The contiguous values of an argument; of bf16 for a kernel of f32, a copy.
pub(crate) fn values<'a, T: Element>((storage, layout): Argument<'a>) -> Result<Cow<'a, [T]>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor, found strides {:?}: this is a bug", layout.stride())
    };
    match storage {
        CpuStorage::BF16(values) if T::DTYPE == DType::F32 => {
            let mut wide = vec![T::ZERO; end - start];
            let parts = wide.par_chunks_mut(CAST).zip(values[start..end].par_chunks(CAST));
            parts.for_each(|(wide, values)| {
                wide.iter_mut().zip(values).for_each(|(wide, &value)| *wide = T::of_bf16(value));
            });
            Ok(Cow::Owned(wide))
        }
        _ => Ok(Cow::Borrowed(&T::cpu_storage_as_slice(storage)?[start..end])),
    }
}

/// Values that one task casts.
const CAST: usize = 1 << 14;

/// What a kernel of f32 gave for arguments of bf16, rounded to that; other results as they are.
pub(crate) trait Rounded {
    fn rounded(self) -> Self;
}

impl Rounded for Result<(CpuStorage, Shape)> {
    fn rounded(self) -> Self {
        let (storage, shape) = self?;
        let CpuStorage::F32(values) = storage else { return Ok((storage, shape)) };
        let mut narrow = vec![bf16::ZERO; values.len()];
        let parts = narrow.par_chunks_mut(CAST).zip(values.par_chunks(CAST));
        parts.for_each(|(narrow, values)| {
            narrow.iter_mut().zip(values).for_each(|(narrow, &value)| *narrow = bf16::from_f32(value));
        });
        Ok((CpuStorage::BF16(narrow), shape))
    }
}

/// Gradients, as far as they are wanted.
impl<const N: usize> Rounded for Result<[Option<Tensor>; N]> {
    fn rounded(self) -> Self {
        let mut gradients = self?;
        for gradient in gradients.iter_mut().flatten() {
            *gradient = gradient.to_dtype(DType::BF16)?;
        }
        Ok(gradients)
    }
}

/// In place nothing is rounded: the target's type is refused before that.
impl Rounded for Result<()> {
    fn rounded(self) -> Self {
        self
    }
}

/// Runs a generic kernel for the element type of its first argument.
macro_rules! for_element_type {
    ($storage:expr, $op:expr, $T:ident => $body:expr) => {
        match candle_core::backend::BackendStorage::dtype($storage) {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            candle_core::DType::BF16 => {
                type $T = f32;
                $crate::ops::element::Rounded::rounded($body)
            }
            other => candle_core::bail!("{}: expected f32, f64 or bf16 on the CPU, found {other:?}", $op),
        }
    };
}
pub(crate) use for_element_type;

/// Runs a generic kernel on the values of an op's inputs, for the element type of the first of them.
macro_rules! with_values {
    ($op:ident, $inputs:ident, $T:ident, [$($value:ident),+] => $body:expr) => {
        $crate::ops::element::for_element_type!($inputs[0].0, $op.name(), $T => {
            let [$($value),+] = $inputs.map($crate::ops::element::values::<$T>);
            $(let $value = &*$value?;)+
            $body
        })
    };
}
pub(crate) use with_values;

/// The contiguous values of an in-place op's target.
pub(crate) fn values_mut<'a, T: Element>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [T]> {
    let dtype = storage.dtype();
    match (T::storage_mut(storage), layout.contiguous_offsets()) {
        (Some(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => bail!("expected a contiguous tensor of {:?}, found {dtype:?} and {layout:?}: this is a bug", T::DTYPE),
    }
}

/// Wraps a kernel's output.
pub(crate) fn output<T: Element>(values: Vec<T>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(values), shape.into())
}

/// Refuses arguments of different types early, with both named.
pub(crate) fn same_dtype(op: &str, a: DType, b: DType) -> Result<()> {
    if a != b {
        bail!("{op}: expected one element type, found {a:?} and {b:?}")
    }
    Ok(())
}
