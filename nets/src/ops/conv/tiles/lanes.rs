//! Neighbouring channels, computed side by side.

use crate::ops::element::Element;
use std::ops::{Add, Sub};

/// `N` values, which the compiler keeps in vector registers.
#[derive(Clone, Copy)]
pub(super) struct Lanes<T, const N: usize>(pub(super) [T; N]);

impl<T: Element, const N: usize> Lanes<T, N> {
    pub(super) const ZERO: Self = Self([T::ZERO; N]);

    /// The first values of a slice; zeros where it ends early.
    #[inline(always)]
    pub(super) fn load(values: &[T]) -> Self {
        match values.first_chunk() {
            Some(values) => Self(*values),
            None => {
                let mut lanes = Self::ZERO;
                lanes.0[..values.len()].copy_from_slice(values);
                lanes
            }
        }
    }

    /// To the front of a slice; what does not fit is dropped.
    #[inline(always)]
    pub(super) fn store(self, values: &mut [T]) {
        match values.first_chunk_mut() {
            Some(values) => *values = self.0,
            None => values.copy_from_slice(&self.0[..values.len()]),
        }
    }

    #[inline(always)]
    pub(super) fn half(self) -> Self {
        Self(self.0.map(|value| value * T::HALF))
    }
}

impl<T: Element, const N: usize> Add for Lanes<T, N> {
    type Output = Self;

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(value, other)| *value += other);
        self
    }
}

impl<T: Element, const N: usize> Sub for Lanes<T, N> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] - other.0[at]))
    }
}
