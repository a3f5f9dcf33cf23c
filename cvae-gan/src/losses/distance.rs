//! How far the directions of features are apart.

use candle_core::{D, Result, Tensor};

/// Mean over rows of one less the cosine of `a (B,n)` and `b (B,n)`.
pub(crate) fn mean_cosine(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let dot = (a * b)?.sum(D::Minus1)?;
    let norms = (length(a)? * length(b)?)?;
    (dot / norms)?.mean_all()?.affine(-1.0, 1.0)
}

fn length(x: &Tensor) -> Result<Tensor> {
    // Keeps the slope finite for a feature of zeros.
    x.sqr()?.sum(D::Minus1)?.affine(1.0, 1e-12)?.sqrt()
}
