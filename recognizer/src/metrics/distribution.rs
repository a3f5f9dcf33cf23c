//! How far a set of generated images lies from a set of real ones, in a space of face features.
//!
//! Always quote real against real of the same size beside these figures.

use super::{Features, MetricError, even, finite, need};
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rayon::prelude::*;

/// Mean and covariance of a set of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    /// Length d.
    pub mean: DVector<f64>,
    /// d x d, symmetric.
    pub covariance: DMatrix<f64>,
}

impl Gaussian {
    /// The sample's moments, with n - 1 in the covariance.
    ///
    /// # Errors
    /// Fewer than two rows, a value that is not finite.
    pub fn of(features: &Features) -> Result<Self, MetricError> {
        const FIGURE: &str = "a covariance";
        need(FIGURE, "rows", 2, features.len())?;
        finite(FIGURE, features.values().iter().copied().map(f64::from))?;
        let (count, dimension) = (features.len(), features.dimension());
        let mut rows = DMatrix::from_row_iterator(count, dimension, features.values().iter().copied().map(f64::from));
        let mean = rows.row_mean();
        for mut row in rows.row_iter_mut() {
            row -= &mean;
        }
        let covariance = rows.tr_mul(&rows) / (count as f64 - 1.0);
        Ok(Self { mean: mean.transpose(), covariance })
    }

    /// `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` (Heusel et al. 2017). Not negative but for
    /// rounding.
    ///
    /// # Errors
    /// Gaussians over spaces of different dimension.
    pub fn frechet_distance(&self, other: &Self) -> Result<f64, MetricError> {
        even("a Frechet distance", ("dimensions here", self.mean.len()), ("there", other.mean.len()))?;
        // (S1 S2)^(1/2) has the trace of (R S2 R)^(1/2) with R = S1^(1/2), and that product is
        // symmetric, so a symmetric eigensolver does for both roots.
        let root = square_root(&self.covariance);
        let product = &root * &other.covariance * &root;
        let cross: f64 = eigenvalues(&product).iter().map(|value| value.max(0.0).sqrt()).sum();
        let traces = self.covariance.trace() + other.covariance.trace();
        Ok((&self.mean - &other.mean).norm_squared() + traces - 2.0 * cross)
    }
}

/// FID between two sets of features. Needs many more rows than dimensions to mean anything.
///
/// # Errors
/// As [`Gaussian::of`] and [`Gaussian::frechet_distance`].
pub fn frechet_distance(left: &Features, right: &Features) -> Result<f64, MetricError> {
    Gaussian::of(left)?.frechet_distance(&Gaussian::of(right)?)
}

/// KID: the unbiased estimate of the squared maximum mean discrepancy under the kernel
/// `(x.y / d + 1)^3` (Binkowski et al. 2018). May be negative. Preferred over FID for small sets.
///
/// # Errors
/// Fewer than two rows on a side, spaces of different dimension, a value that is not finite.
pub fn kernel_distance(left: &Features, right: &Features) -> Result<f64, MetricError> {
    const FIGURE: &str = "a kernel distance";
    need(FIGURE, "rows", 2, left.len().min(right.len()))?;
    even(FIGURE, ("dimensions here", left.dimension()), ("there", right.dimension()))?;
    finite(FIGURE, left.values().iter().chain(right.values()).copied().map(f64::from))?;
    let (left_count, right_count) = (left.len() as f64, right.len() as f64);
    let within_left = (kernel_sum(left, left) - diagonal_sum(left)) / (left_count * (left_count - 1.0));
    let within_right = (kernel_sum(right, right) - diagonal_sum(right)) / (right_count * (right_count - 1.0));
    let between = kernel_sum(left, right) / (left_count * right_count);
    Ok(within_left + within_right - 2.0 * between)
}

fn kernel(left: &[f32], right: &[f32]) -> f64 {
    (super::features::dot(left, right) / left.len() as f64 + 1.0).powi(3)
}

fn kernel_sum(left: &Features, right: &Features) -> f64 {
    // Row sums are made on any thread and added in order: the same bits whatever the thread count.
    let rows: Vec<&[f32]> = left.rows().collect();
    let sums: Vec<f64> = rows.par_iter().map(|row| right.rows().map(|other| kernel(row, other)).sum::<f64>()).collect();
    sums.iter().sum()
}

fn diagonal_sum(features: &Features) -> f64 {
    features.rows().map(|row| kernel(row, row)).sum()
}

/// The symmetric square root of a positive semidefinite matrix; eigenvalues that rounding made
/// negative count as zero.
fn square_root(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let eigen = SymmetricEigen::new(symmetric(matrix));
    let roots = DMatrix::from_diagonal(&eigen.eigenvalues.map(|value| value.max(0.0).sqrt()));
    &eigen.eigenvectors * roots * eigen.eigenvectors.transpose()
}

fn eigenvalues(matrix: &DMatrix<f64>) -> DVector<f64> {
    symmetric(matrix).symmetric_eigenvalues()
}

fn symmetric(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    (matrix + matrix.transpose()) / 2.0
}
