//! Mixtures of labels that lie as far from the mean of all as labels themselves do.
//!
//! People who are blended from several lie nearer to the average person than anybody real: a mean of n independent
//! vectors has 1/n of their variance. So they look alike, and a class for each of them teaches little. Led away from the
//! mean by as much as mixing led to it, they keep the variance of one person.

use crate::Result;
use candle_core::{D, Tensor};

/// `labels (N, classes)`, each of weights that sum to 1, led away from their mean over all classes by the factor
/// `(sum of squared weights)^(-spread / 2)`: not at all for a `spread` of 0, to the variance of one person for 1. Weights
/// sum to 1 still, those of others may lie a little below 0, and a label of one person stays as it is.
///
/// # Errors
/// Only those of the device.
pub fn spread(labels: &Tensor, spread: f64) -> Result<Tensor> {
    if spread == 0.0 {
        return Ok(labels.clone());
    }
    let of_each = 1.0 / labels.dim(1)? as f64;
    let factor = labels.sqr()?.sum_keepdim(D::Minus1)?.powf(-0.5 * spread)?; // (N, 1)
    let rest = factor.affine(-of_each, of_each)?;
    Ok(labels.broadcast_mul(&factor)?.broadcast_add(&rest)?)
}

/// A spread as it is typed.
///
/// # Errors
/// A sentence, for anything but a number from 0 to 2.
pub fn power(text: &str) -> std::result::Result<f64, String> {
    let power = text.parse::<f64>().ok().filter(|power| (0.0..=2.0).contains(power));
    power.ok_or_else(|| "expected a number from 0 to 2".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn mixtures_keep_the_variance_of_one_person_and_their_sum() -> Result<()> {
        let labels = [[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0]];
        let labels = Tensor::new(&labels, &Device::Cpu)?;
        let sums = |rows: &Tensor| Ok::<_, crate::Error>(rows.sum(1)?.to_vec1::<f64>()?);
        for by in [0.0, 0.5, 1.0, 2.0] {
            let spread = spread(&labels, by)?;
            assert!(sums(&spread)?.iter().all(|sum| (sum - 1.0).abs() < 1e-12));
            // From the mean of all, as many times further as was asked for.
            let distance = |rows: &Tensor| sums(&rows.affine(1.0, -0.25)?.sqr()?);
            for ((before, after), squares) in
                distance(&labels)?.iter().zip(distance(&spread)?).zip(sums(&labels.sqr()?)?)
            {
                assert!((after / before - squares.powf(-by)).abs() < 1e-12, "{before} {after}");
            }
            let one: Vec<Vec<f64>> = [&spread, &labels]
                .map(|rows| rows.get(0)?.to_vec1())
                .into_iter()
                .collect::<candle_core::Result<_>>()?;
            assert_eq!(one[0], one[1]);
        }
        Ok(())
    }
}
