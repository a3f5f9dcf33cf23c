//! Every figure by which recognizers, generated images and augmentation are judged.
//!
//! All of it is plain `f64` arithmetic over scores and features in a fixed order: no network, no
//! thread count, no clock. From judging one recognizer to comparing two:
//!
//! - [`verification`]: the LFW protocol on pairs; [`roc`]: EER, AUC, TAR at a FAR.
//! - [`classification`]: top-1, inception score.
//! - [`distribution`]: FID and KID in a space of face features.
//! - [`identity`]: identity kept, diversity, memorisation, new identities; [`template`]: sets of
//!   images that stand for a person.
//! - [`paired`]: whether two recognizers differ on the same pairs.

pub mod classification;
pub mod distribution;
mod features;
pub mod identity;
pub mod paired;
pub mod roc;
pub mod template;
pub mod verification;

pub use features::Features;

/// What can't be measured, and why.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Too few values for the figure to mean anything.
    #[error("{figure} needs at least {needed} {what}, found {found}")]
    TooFew {
        /// The figure asked for.
        figure: &'static str,
        /// How many values it needs.
        needed: usize,
        /// Of what.
        what: &'static str,
        /// How many there were.
        found: usize,
    },
    /// Inputs that should be equally long.
    #[error("{figure} needs as many {left} as {right}, found {found_left} and {found_right}")]
    Uneven {
        /// The figure asked for.
        figure: &'static str,
        /// One input.
        left: &'static str,
        /// The other.
        right: &'static str,
        /// Length of the one.
        found_left: usize,
        /// Length of the other.
        found_right: usize,
    },
    /// A class that has no place among the centres or probabilities.
    #[error("{figure} expected classes below {classes}, found {found}")]
    UnknownClass {
        /// The figure asked for.
        figure: &'static str,
        /// Number of classes known.
        classes: usize,
        /// The class found.
        found: u32,
    },
    /// A score or feature that is not a number.
    #[error("{figure} needs finite values, found {found} at position {position}")]
    NotFinite {
        /// The figure asked for.
        figure: &'static str,
        /// Where.
        position: usize,
        /// What.
        found: f64,
    },
}

pub(crate) fn need(figure: &'static str, what: &'static str, needed: usize, found: usize) -> Result<(), MetricError> {
    if found < needed { Err(MetricError::TooFew { figure, needed, what, found }) } else { Ok(()) }
}

pub(crate) fn even(
    figure: &'static str,
    (left, found_left): (&'static str, usize),
    (right, found_right): (&'static str, usize),
) -> Result<(), MetricError> {
    if found_left != found_right {
        return Err(MetricError::Uneven { figure, left, right, found_left, found_right });
    }
    Ok(())
}

pub(crate) fn finite(figure: &'static str, values: impl IntoIterator<Item = f64>) -> Result<(), MetricError> {
    match values.into_iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((position, found)) => Err(MetricError::NotFinite { figure, position, found }),
        None => Ok(()),
    }
}

pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// The middle of sorted values, the mean of the two middle ones where their number is even.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
