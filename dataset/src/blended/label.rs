//! Labels of mixtures, as far from the average person as is asked for.
//!
//! People who are blended from several lie nearer to the average person than anybody real: a mean of n independent
//! vectors has 1/n of their variance. So they look alike, and a class for each of them teaches little. Led away from the
//! average by as much as mixing led to it, they keep the variance of one person.

use super::Parent;
use std::ops::RangeInclusive;

/// The powers that a spread may be.
pub const SPREADS: RangeInclusive<f64> = 0.0..=2.0;

/// How far from the average person a mixture is shown, by its own distance: `(sum of squared weights)^(-spread / 2)`.
/// That is 1, no further, for a `spread` of 0 and for one person alone; a `spread` of 1 gives a mixture the variance of
/// one person. The same bits on every machine.
pub fn reach(parents: &[Parent], spread: f64) -> f64 {
    if spread == 0.0 {
        return 1.0;
    }
    let squares = parents.iter().map(|parent| f64::from(parent.weight) * f64::from(parent.weight)).sum();
    libm::pow(squares, -0.5 * spread)
}

/// Fills a label of zeros, one weight for each class: those of `parents`, whose classes it must have, led away from
/// the mean of all classes to `reach` times their distance. Weights sum to 1 still; where `reach` is above 1 those of
/// others lie a little below 0.
///
/// # Panics
/// If it has too few classes.
pub fn fill(label: &mut [f32], parents: &[Parent], reach: f64) {
    if reach != 1.0 {
        label.fill(((1.0 - reach) / label.len() as f64) as f32);
    }
    for parent in parents {
        label[parent.identity as usize] += (reach * f64::from(parent.weight)) as f32;
    }
}

/// A spread as it is typed.
///
/// # Errors
/// A sentence, for anything but a number from 0 to 2.
pub fn spread(text: &str) -> Result<f64, String> {
    let spread = text.parse::<f64>().ok().filter(|spread| SPREADS.contains(spread));
    spread.ok_or_else(|| "expected a number from 0 to 2".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mixture(weights: &[f32]) -> Vec<Parent> {
        (0..).zip(weights).map(|(identity, &weight)| Parent { identity, weight }).collect()
    }

    proptest! {
        #[test]
        fn labels_lie_so_many_times_further_from_the_mean_and_sum_to_1(
            parts in prop::collection::vec(0.05f64..1.0, 1..5), others in 0usize..9, spread in SPREADS,
        ) {
            let sum: f64 = parts.iter().sum();
            let parents = mixture(&parts.iter().map(|part| (part / sum) as f32).collect::<Vec<_>>());
            let classes = parents.len() + others;
            let label = |spread| {
                let mut label = vec![0.0; classes];
                fill(&mut label, &parents, reach(&parents, spread));
                label
            };
            let total = |label: &[f32]| label.iter().map(|&weight| f64::from(weight)).sum::<f64>();
            let from_mean = |label: &[f32]| {
                let offset = |&weight: &f32| (f64::from(weight) - 1.0 / classes as f64).powi(2);
                label.iter().map(offset).sum::<f64>().sqrt()
            };
            let (plain, led) = (label(0.0), label(spread));
            prop_assert!((total(&plain) - 1.0).abs() < 1e-6 && (total(&led) - 1.0).abs() < 1e-5);
            prop_assert!((from_mean(&led) - reach(&parents, spread) * from_mean(&plain)).abs() < 1e-5);
            prop_assert!(reach(&parents, spread) >= 1.0 - 1e-6);
        }
    }

    #[test]
    fn a_spread_of_1_gives_mixtures_the_variance_of_one_person_and_leaves_one_person_alone() {
        assert!((reach(&mixture(&[1.0 / 3.0; 3]), 1.0) - 3f64.sqrt()).abs() < 1e-6);
        assert!((reach(&mixture(&[0.5, 0.5]), 2.0) - 2.0).abs() < 1e-12);
        for spread in [0.0, 0.3, 1.0, 2.0] {
            assert_eq!(reach(&mixture(&[1.0]), spread), 1.0);
        }
        assert_eq!(reach(&mixture(&[0.6, 0.4]), 0.0), 1.0);
        // Streams of the past depend on it.
        assert_eq!(reach(&mixture(&[0.5, 0.3, 0.2]), 0.7).to_bits(), 4608997632309441980);
    }

    #[test]
    fn a_spread_is_read_and_anything_else_refused() {
        assert_eq!(["0", "1.5", "2"].map(spread), [Ok(0.0), Ok(1.5), Ok(2.0)]);
        for wrong in ["-1", "2.1", "nan", "inf", "", "one"] {
            assert_eq!(spread(wrong).unwrap_err(), "expected a number from 0 to 2", "{wrong}");
        }
    }
}
