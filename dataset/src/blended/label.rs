//! Labels of mixtures, as far from the average person as is asked for.
//!
//! People who are blended from several lie nearer to the average person than anybody real: a mean of n independent
//! vectors has 1/n of their variance. So they look alike, and a class for each of them teaches little. Led away from the
//! average by as much as mixing led to it, they have the variance of one person again: nearly so, as the average
//! itself varies, and the less exactly the fewer people there are.

use super::Parent;
use std::ops::RangeInclusive;

/// The powers that a spread may be.
pub const SPREADS: RangeInclusive<f64> = 0.0..=2.0;

/// The factor by which a mixture's difference from the mean label is scaled: `(sum of squared weights)^(-spread / 2)` of
/// different parents. It is 1 for a `spread` of 0 and for one person alone; `spread` 1 gives a mixture the variance of one
/// person. The same bits on every machine.
pub fn reach(parents: &[Parent], spread: f64) -> f64 {
    if spread == 0.0 || parents.len() < 2 {
        return 1.0;
    }
    let squares = parents.iter().map(|parent| f64::from(parent.weight) * f64::from(parent.weight)).sum();
    libm::pow(squares, -0.5 * spread)
}

/// Fills a label of zeros, a number for each class: the mean label of the classes `among` which it is led away, plus
/// `reach` times the difference of the mixture of `parents` from it. Its numbers sum to 1; for a `reach` above 1 those of
/// others than the parents are below 0, at `(1 - reach) / among.len()`.
///
/// # Panics
/// If it lacks the class of a parent or of one of `among`.
pub fn fill(label: &mut [f32], parents: &[Parent], reach: f64, among: &[u32]) {
    if reach != 1.0 {
        let each = ((1.0 - reach) / among.len() as f64) as f32;
        among.iter().for_each(|&class| label[class as usize] = each);
    }
    for parent in parents {
        label[parent.identity as usize] += (reach * f64::from(parent.weight)) as f32;
    }
}

/// Reads a spread as it is typed.
///
/// # Errors
/// A sentence, for anything but a number from 0 to 2.
pub fn parse_spread(text: &str) -> Result<f64, String> {
    let spread = text.parse::<f64>().ok().filter(|spread| SPREADS.contains(spread));
    spread.ok_or_else(|| "expected a number from 0 to 2".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of so many classes.
    fn label_of(parents: &[Parent], spread: f64, classes: usize) -> Vec<f32> {
        let mut label = vec![0.0; classes];
        fill(&mut label, parents, reach(parents, spread), &(0..classes as u32).collect::<Vec<_>>());
        label
    }

    /// Squared distance from the mean label.
    fn variance(label: &[f32]) -> f64 {
        label.iter().map(|&weight| (f64::from(weight) - 1.0 / label.len() as f64).powi(2)).sum()
    }

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
            let label = |spread| label_of(&parents, spread, classes);
            let total = |label: &[f32]| label.iter().map(|&weight| f64::from(weight)).sum::<f64>();
            let from_mean = |label: &[f32]| variance(label).sqrt();
            let (plain, led) = (label(0.0), label(spread));
            prop_assert!((total(&plain) - 1.0).abs() < 1e-6 && (total(&led) - 1.0).abs() < 1e-5);
            prop_assert!((from_mean(&led) - reach(&parents, spread) * from_mean(&plain)).abs() < 1e-5);
            prop_assert!(reach(&parents, spread) >= 1.0 - 1e-6);
        }
    }

    #[test]
    fn a_spread_of_1_gives_mixtures_the_variance_of_one_person_and_leaves_one_person_alone() {
        for weights in [&[1.0 / 3.0; 3][..], &[0.5, 0.5], &[0.6, 0.3, 0.1], &[0.2; 5]] {
            // Exact but for the average, which is part of everybody.
            for (classes, exact) in [(100, 0.06), (10_000, 0.0006)] {
                let [one, plain, led] = [(&[1.0][..], 0.0), (weights, 0.0), (weights, 1.0)]
                    .map(|(weights, spread)| variance(&label_of(&mixture(weights), spread, classes)));
                assert!((led / one - 1.0).abs() < exact && plain / one < 0.6, "{weights:?}: {plain} {led} of {one}");
            }
        }
        for spread in [0.0, 0.3, 1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(reach(&mixture(&[1.0]), spread), 1.0);
        }
        assert_eq!(reach(&mixture(&[0.6, 0.4]), 0.0), 1.0);
        // Streams of the past depend on it.
        assert_eq!(reach(&mixture(&[0.5, 0.3, 0.2]), 0.7).to_bits(), 4608997632309441980);
    }

    #[test]
    fn who_is_not_among_the_average_is_in_no_label() {
        let (parents, mut label) = (mixture(&[0.5, 0.5]), [0.0; 5]);
        fill(&mut label, &parents, 2.0, &[0, 1, 3, 4]);
        assert_eq!(label, [0.75, 0.75, 0.0, -0.25, -0.25]);
    }

    #[test]
    fn a_spread_is_read_and_anything_else_refused() {
        assert_eq!(["0", "1.5", "2"].map(parse_spread), [Ok(0.0), Ok(1.5), Ok(2.0)]);
        for wrong in ["-1", "2.1", "nan", "inf", "", "one"] {
            assert_eq!(parse_spread(wrong).unwrap_err(), "expected a number from 0 to 2", "{wrong}");
        }
    }
}
