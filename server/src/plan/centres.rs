//! Who is near whom: the class centres, named by their digest.
//!
//! A stream that asks who is near whom keeps to the centres it began with, whatever bundles make its
//! batches: so they are an object of their own, found by digest.

use super::{blending::Parent, catalogue::Catalogue, guard::Verdicts, neighbours::Found, spec::BlendingSpec};
use lru::LruCache;
use nets::FEATURE;
use proto::digest;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

/// Blendings whose verdicts are kept: of 4 MiB for the most blended identities there can be, and mostly
/// of a few KiB; and numbers of nearest whose finds are kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(8).expect("above zero");

/// What neighbours are looked for by: how many, and the digest of who is present.
type Sought = (usize, [u8; 32]);

/// The centre of each identity in class order: 256 numbers of length 1.
#[derive(Debug)]
pub struct Centres {
    values: Vec<f32>,
    /// Where the average person lies: the mean of those who are served and have a centre.
    average: [f64; FEATURE],
    digest: String,
    /// What the guard found out by these centres. It changes how soon an answer is there, and no answer.
    verdicts: Mutex<LruCache<String, Arc<Verdicts>>>,
    /// Whose neighbours were found by them: likewise.
    neighbours: Mutex<LruCache<Sought, Arc<Found>>>,
}

impl Centres {
    /// [Those](Self::of_served) of a dataset that has images of everybody.
    pub fn new(values: Vec<f32>) -> Self {
        let everybody = 0..(values.len() / FEATURE) as u32;
        Self::of_served(values, everybody)
    }

    /// From 256 numbers for each identity, which are scaled to length 1. One of zeros alone, of somebody
    /// that the network has never seen, stays: it is near nobody. The average is that of the identities
    /// which are `present`.
    pub fn of_served(mut values: Vec<f32>, present: impl IntoIterator<Item = u32>) -> Self {
        for centre in values.chunks_exact_mut(FEATURE) {
            let length = dot(centre, centre).sqrt();
            if length > 0.0 {
                centre.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
            }
        }
        let digest = digest::centres(values.len() / FEATURE, &values);
        let digest = blake3::Hash::from_bytes(digest).to_hex().to_string();
        let (verdicts, neighbours) = (Mutex::new(LruCache::new(KEPT)), Mutex::new(LruCache::new(KEPT)));
        let centres = Self { average: [0.0; FEATURE], values, digest, verdicts, neighbours };
        let (mut sum, mut count) = ([0.0; FEATURE], 0u32);
        for centre in present.into_iter().filter_map(|identity| centres.known(identity)) {
            add(&mut sum, 1.0, centre);
            count += 1;
        }
        Self { average: sum.map(|sum| sum / f64::from(count.max(1))), ..centres }
    }

    /// BLAKE3 over all of them, as 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many there are.
    pub fn identities(&self) -> u32 {
        (self.values.len() / FEATURE) as u32
    }

    /// That of an identity; none beyond the last.
    pub fn of(&self, identity: u32) -> Option<&[f32]> {
        self.values.get(identity as usize * FEATURE..)?.get(..FEATURE)
    }

    /// That of somebody whom the network has seen.
    fn known(&self, identity: u32) -> Option<&[f32]> {
        self.of(identity).filter(|centre| centre.iter().any(|&value| value != 0.0))
    }

    /// All of them in class order.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(FEATURE)
    }

    /// The guard's verdicts on the blended identities of a spec.
    pub(super) fn verdicts(&self, spec: &BlendingSpec) -> Arc<Verdicts> {
        let mut kept = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        // Debug writes floating-point numbers so that they read back the same.
        kept.get_or_insert(format!("{spec:?}"), || Arc::new(Verdicts::new(spec.count))).clone()
    }

    /// The nearest so many of each of those who have images, as far as they are found.
    pub(super) fn neighbours(&self, count: usize, catalogue: &Catalogue) -> Arc<Found> {
        let mut present = blake3::Hasher::new();
        for identity in catalogue.present() {
            present.update(&identity.to_le_bytes());
        }
        let key = (count, *present.finalize().as_bytes());
        let mut kept = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(key, || Arc::new(Found::new(count))).clone()
    }

    /// Where somebody blended lies: the weighted sum of its parents' centres, `reach` times as far from the
    /// average person, scaled to length 1. For one parent, as it is, it is that one's centre.
    pub fn blend(&self, parents: &[Parent], reach: f64) -> [f32; FEATURE] {
        let (mut sum, mut weight) = ([0.0f64; FEATURE], 0.0);
        for parent in parents {
            // Somebody whom nobody knows adds nothing.
            if let Some(centre) = self.known(parent.identity) {
                weight += f64::from(parent.weight);
                add(&mut sum, reach * f64::from(parent.weight), centre);
            }
        }
        sum.iter_mut().zip(self.average).for_each(|(sum, average)| *sum += (1.0 - reach) * weight * average);
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        sum.map(|value| if length > 0.0 { (value / length) as f32 } else { 0.0 })
    }
}

fn add(sum: &mut [f64; FEATURE], weight: f64, centre: &[f32]) {
    sum.iter_mut().zip(centre).for_each(|(sum, &value)| *sum += weight * f64::from(value));
}

/// The cosine of two vectors of length 1. Sums in one fixed order, so that it is the same on every
/// machine; eight sums at a time, as processors add them fast.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    const SUMS: usize = 8;
    let mut sums = [0.0f64; SUMS];
    for (a, b) in a.chunks_exact(SUMS).zip(b.chunks_exact(SUMS)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f64::from(*a) * f64::from(*b);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(nth: usize, length: f32) -> Vec<f32> {
        (0..FEATURE).map(|n| if n == nth { length } else { 0.0 }).collect()
    }

    fn parent(identity: u32, weight: f32) -> Parent {
        Parent { identity, weight }
    }

    #[test]
    fn centres_have_length_one_and_are_named_by_what_they_are() {
        let centres = Centres::new([axis(3, 2.0), axis(7, 0.5)].concat());
        assert_eq!((centres.identities(), centres.of(0), centres.of(2)), (2, Some(&axis(3, 1.0)[..]), None));
        assert_eq!(centres.digest(), Centres::new([axis(3, 1.0), axis(7, 1.0)].concat()).digest());
        assert_ne!(centres.digest(), Centres::new([axis(7, 1.0), axis(3, 1.0)].concat()).digest());
        assert_eq!(centres.iter().count(), 2);
    }

    #[test]
    fn somebody_blended_lies_between_its_parents() {
        let centres = Centres::new([axis(0, 1.0), axis(1, 1.0), axis(2, 0.0)].concat());
        let even = centres.blend(&[parent(0, 0.5), parent(1, 0.5)], 1.0);
        assert!((cosine(&even, &axis(0, 1.0)) - 0.5f64.sqrt()).abs() < 1e-6);
        assert!((cosine(&even, &even) - 1.0).abs() < 1e-6);
        assert_eq!(centres.blend(&[parent(1, 1.0)], 1.0)[..], axis(1, 1.0));
        // Nobody knows the third person, nor one that isn't there.
        assert_eq!(centres.blend(&[parent(2, 0.5), parent(9, 0.5)], 1.0), [0.0; FEATURE]);
    }

    #[test]
    fn somebody_blended_is_led_away_from_the_average_person() {
        // At right angles, the average in the middle of all four.
        let centres = Centres::new((0..4).flat_map(|nth| axis(nth, 1.0)).collect());
        let even = [parent(0, 0.5), parent(1, 0.5)];
        let led = centres.blend(&even, 2.0);
        // 2 x (1/2, 1/2, 0, 0) - (1/4, 1/4, 1/4, 1/4), of length 1.
        let length = (2.0 * 0.75f64.powi(2) + 2.0 * 0.25f64.powi(2)).sqrt();
        for (found, expected) in led.iter().zip([0.75, 0.75, -0.25, -0.25, 0.0]) {
            assert!((f64::from(*found) - expected / length).abs() < 1e-6);
        }
        // Further from those whom it isn't blended from.
        assert!(cosine(&led, &axis(2, 1.0)) < cosine(&centres.blend(&even, 1.0), &axis(2, 1.0)));
        let (led, alone) = (centres.blend(&even, 2.0), centres.blend(&[Parent::alone(3)], 1.0));
        assert!((cosine(&led, &led) - 1.0).abs() < 1e-6 && alone[..] == axis(3, 1.0));
    }

    #[test]
    fn the_average_is_of_those_who_are_served_and_known() {
        // The third was never seen; the fourth is withheld.
        let of = |present: &[u32]| {
            let values = [axis(0, 1.0), axis(1, 1.0), axis(2, 0.0), axis(3, 1.0)].concat();
            Centres::of_served(values, present.iter().copied())
        };
        let (centres, even) = (of(&[0, 1, 2]), [parent(0, 0.5), parent(1, 0.5)]);
        assert_eq!(centres.blend(&even, 3.0), centres.blend(&even, 1.0), "they are the average themselves");
        let withheld = |present| of(present).blend(&[parent(0, 0.75), parent(1, 0.25)], 2.0)[3];
        assert!(withheld(&[0, 1, 2]) == 0.0 && withheld(&[0, 1, 3]) < 0.0);
        // Of those whom nobody knows nothing is known, however far they are led.
        assert_eq!(centres.blend(&[parent(2, 0.5), parent(9, 0.5)], 2.0), [0.0; FEATURE]);
        assert_eq!(Centres::new(Vec::new()).blend(&even, 2.0), [0.0; FEATURE]);
    }

    #[test]
    fn cosines_never_change() {
        let wave = |step: f32| (0..FEATURE).map(|n| ((n as f32 * step) % 1.0) - 0.5).collect::<Vec<f32>>();
        let centres = Centres::new([wave(0.37), wave(0.11)].concat());
        let found = [1.0, 1.3].map(|reach| {
            let blended = centres.blend(&[parent(0, 0.75), parent(1, 0.25)], reach);
            cosine(&blended, centres.of(1).unwrap()).to_bits()
        });
        assert_eq!(
            found,
            [4603398514193864118, 4602712179795747481],
            "cosines changed: raise the plan's VERSION if this is meant"
        );
    }
}
