//! Sampling tables: how often each identity is shown, made of the losses that a trainer reported.
//!
//! A weight is an integer of two bytes, so that a table is exact, small and named by its content. It
//! travels with the trainer, so what comes back is checked as if anybody had written it.

use super::{
    catalogue::Catalogue,
    spec::{ByLoss, SpecError},
};
use nets::chance::Draws;
use proto::digest;

/// Weight of an identity that has an equal part.
pub const EQUAL: f64 = 1024.0;

/// Losses further from the mean than this, either way, count as this far.
const FURTHEST: f64 = 1e6;

/// Halvings of the range in which the scale of all shares lies.
const HALVINGS: usize = 80;

/// How often each identity is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    digest: String,
    weights: Vec<u16>,
    /// Running sums of the weights of those who have images.
    cumulative: Vec<u32>,
}

impl Table {
    /// Of weights that [`weights`] made or [`Table::read`] has checked.
    pub fn new(weights: Vec<u16>, catalogue: &Catalogue) -> Self {
        let sum = |sum: &mut u32, (identity, &weight): (usize, &u16)| {
            let present = !catalogue.images_of(identity as u32).is_empty();
            *sum += if present { u32::from(weight) } else { 0 };
            Some(*sum)
        };
        let cumulative = weights.iter().enumerate().scan(0, sum).collect();
        let digest = digest::hex(&digest::table(&weights));
        Self { digest, weights, cumulative }
    }

    /// The table with these bytes, which must be one that the rule could have made.
    ///
    /// # Errors
    /// [`SpecError::Invalid`]: another length, or weights beyond floor or cap or with another mean.
    pub fn read(bytes: &[u8], rule: &ByLoss, catalogue: &Catalogue) -> Result<Self, SpecError> {
        let (expected, found) = (2 * catalogue.identities() as usize, bytes.len());
        if found != expected {
            return Err(SpecError::Invalid(format!(
                "expected a sampling table of {expected} bytes, two for each identity, found {found}"
            )));
        }
        let weights: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let [least, most] = [rule.floor, rule.cap].map(quantised);
        let given = weights.iter().enumerate().filter(|&(identity, &weight)| {
            // Somebody may have been withheld since, and keeps the weight that it had.
            weight > 0 || !catalogue.images_of(identity as u32).is_empty()
        });
        let (mut count, mut sum) = (0u64, 0u64);
        for (identity, &weight) in given {
            if !(least..=most).contains(&weight) {
                return Err(SpecError::Invalid(format!(
                    "expected weights of {least} to {most} in a sampling table, found {weight} for identity {identity}"
                )));
            }
            (count, sum) = (count + 1, sum + u64::from(weight));
        }
        let equal = count * EQUAL as u64;
        if sum.abs_diff(equal) > count {
            return Err(SpecError::Invalid(format!(
                "expected the weights of a sampling table to sum to {equal} but for rounding, found {sum}"
            )));
        }
        Ok(Self::new(weights, catalogue))
    }

    /// Its name: 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// A weight for each identity.
    pub fn weights(&self) -> &[u16] {
        &self.weights
    }

    /// The weights as they travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.weights.iter().flat_map(|weight| weight.to_le_bytes()).collect()
    }

    /// An identity with images, by its weight.
    pub(super) fn draw(&self, draws: &mut Draws) -> u32 {
        let sum = self.cumulative.last().copied().unwrap_or(0);
        let point = draws.below(sum.into()) as u32;
        // The first identity whose running sum exceeds the point has a weight above zero.
        self.cumulative.partition_point(|&sum| sum <= point) as u32
    }
}

/// The weights that average losses ask for: one for each identity, 0 for those without images. `losses`
/// are finite and not negative; `None` for somebody of whom nothing was reported.
pub fn weights(rule: &ByLoss, losses: &[Option<f64>], catalogue: &Catalogue) -> Vec<u16> {
    let present = catalogue.present();
    let known = || present.iter().filter_map(|&identity| *losses.get(identity as usize)?);
    let count = known().count();
    // Divided before they are summed: a sum of the largest losses is not a number.
    let mean: f64 = known().map(|loss| loss / count as f64).sum();
    let relative = |&identity: &u32| match losses.get(identity as usize).copied().flatten() {
        Some(loss) if mean > 0.0 => {
            libm::pow((loss / mean).clamp(1.0 / FURTHEST, FURTHEST), rule.power).clamp(1.0 / FURTHEST, FURTHEST)
        }
        _ => 1.0,
    };
    let relative: Vec<f64> = present.iter().map(relative).collect();
    let share = |scale: f64, relative: f64| (scale * relative).clamp(rule.floor, rule.cap);
    // The sum of shares grows with the scale, from `floor` to `cap` equal parts each.
    let (mut low, mut high) = (0.0, rule.cap * FURTHEST);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        let sum: f64 = relative.iter().map(|&relative| share(middle, relative)).sum();
        if sum < present.len() as f64 { low = middle } else { high = middle }
    }
    let mut weights = vec![0; catalogue.identities() as usize];
    for (&identity, relative) in present.iter().zip(relative) {
        weights[identity as usize] = quantised(share(high, relative));
    }
    weights
}

/// So many equal parts as a weight. At least 1 and at most 32768, for shares of 0.01 to 32.
fn quantised(share: f64) -> u16 {
    libm::rint(share * EQUAL) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::spec::Before;
    use proptest::prelude::*;

    fn rule(power: f64, floor: f64, cap: f64) -> ByLoss {
        ByLoss { power, floor, cap, interval: 1, before: Before::ByIdentity }
    }

    fn bytes(weights: &[u16]) -> Vec<u8> {
        weights.iter().flat_map(|weight| weight.to_le_bytes()).collect()
    }

    /// Losses from nothing to the largest number, and people without images or of whom nothing is known.
    fn people() -> impl Strategy<Value = Vec<(u32, Option<f64>)>> {
        let loss = prop_oneof![4 => 0.0..20.0f64, 1 => Just(0.0), 1 => Just(f64::MAX), 1 => Just(1e-300)];
        prop::collection::vec((0u32..3, prop::option::weighted(0.8, loss)), 1..60)
            .prop_filter("nobody has images", |people| people.iter().any(|(images, _)| *images > 0))
    }

    proptest! {
        #[test]
        fn whatever_is_reported_nobody_disappears_and_nobody_takes_over(
            people in people(), power in 0.01..4.0f64, floor in 0.01..=1.0f64, cap in 1.0..=32.0f64,
        ) {
            let (counts, losses): (Vec<u32>, Vec<Option<f64>>) = people.into_iter().unzip();
            let (catalogue, rule) = (Catalogue::new(counts.iter().copied()), rule(power, floor, cap));
            let made = weights(&rule, &losses, &catalogue);
            let n = catalogue.present().len();
            for (&weight, &images) in made.iter().zip(&counts) {
                let share = f64::from(weight) / EQUAL;
                let within = share > floor - 0.001 && share < cap + 0.001;
                prop_assert!(if images > 0 { within } else { weight == 0 }, "{share} of {images} images");
            }
            let sum: f64 = made.iter().map(|&weight| f64::from(weight)).sum();
            prop_assert!((sum - n as f64 * EQUAL).abs() <= n as f64, "{sum} for {n}");
            // Larger losses are never shown less.
            for (i, j) in (0..n).zip(1..n).map(|(i, j)| (catalogue.present()[i], catalogue.present()[j])) {
                if let (Some(a), Some(b)) = (losses[i as usize], losses[j as usize]) && a <= b {
                    prop_assert!(made[i as usize] <= made[j as usize]);
                }
            }
            // It is one that comes back, and the same one.
            let read = Table::read(&bytes(&made), &rule, &catalogue).unwrap();
            prop_assert_eq!(&read, &Table::new(weights(&rule, &losses, &catalogue), &catalogue));
            prop_assert_eq!(read.to_bytes(), bytes(&made));
            // Somebody is withheld later: the table still holds, and never draws them.
            let gone = catalogue.present()[0];
            let fewer = Catalogue::new(counts.iter().enumerate().map(|(i, &n)| if i as u32 == gone { 0 } else { n }));
            let read = Table::read(&bytes(&made), &rule, &fewer).unwrap();
            let mut draws = nets::chance::Chance::new(1, "test").at(0, 0);
            for _ in 0..if n > 1 { 100 } else { 0 } {
                prop_assert!(!fewer.images_of(read.draw(&mut draws)).is_empty());
            }
        }

        #[test]
        fn any_bytes_are_refused_or_keep_floor_and_cap(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let catalogue = Catalogue::new([1, 1, 0, 2]);
            if let Ok(table) = Table::read(&bytes, &rule(1.0, 0.25, 4.0), &catalogue) {
                prop_assert!([0, 1, 3].iter().all(|&i| (256..=4096).contains(&table.weights()[i])));
            }
        }
    }

    #[test]
    fn tables_are_the_same_on_every_machine() {
        let catalogue = Catalogue::new([1, 2, 0, 3, 1]);
        let losses = [Some(1.0), Some(4.0), Some(9.0), None, Some(0.5)];
        assert_eq!(weights(&rule(1.0, 0.25, 4.0), &losses, &catalogue), [559, 2234, 0, 1024, 279]);
        assert_eq!(weights(&rule(0.5, 0.5, 1.5), &losses, &catalogue), [836, 1536, 0, 1132, 591]);
    }

    #[test]
    fn what_no_rule_makes_is_refused_with_a_sentence() {
        let (catalogue, rule) = (Catalogue::new([1, 1, 0, 1]), rule(1.0, 0.25, 4.0));
        let refusal = |weights: &[u16]| Table::read(&bytes(weights), &rule, &catalogue).unwrap_err().to_string();
        assert!(refusal(&[1024; 3]).contains("of 8 bytes, two for each identity, found 6"));
        assert!(refusal(&[1024, 0, 0, 1024]).contains("256 to 4096 in a sampling table, found 0 for identity 1"));
        assert!(refusal(&[u16::MAX, 256, 0, 256]).contains("found 65535 for identity 0"));
        assert!(refusal(&[4096, 4096, 0, 256]).contains("to sum to 3072 but for rounding, found 8448"));
        Table::read(&bytes(&[1500, 572, 0, 1000]), &rule, &catalogue).unwrap();
    }
}
