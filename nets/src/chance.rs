//! Counter-based chance: every random number is a function of `(seed, purpose, index, row)`.
//!
//! No generator is ever shared or carried along: two readers that ask for the same place get the
//! same numbers, whatever was asked before, on any machine. That is what lets a stream be resumed,
//! replayed and answered by any replica. Only integer arithmetic and `libm` (pinned, pure Rust)
//! are used, so that a plan is the same on every platform.

mod normals;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A family of random places: one seed, one purpose.
///
/// ```
/// use nets::chance::Chance;
/// let flips = Chance::new(7, "flip");
/// assert_eq!(flips.at(3, 5).next_u64(), flips.at(3, 5).next_u64());
/// assert_ne!(flips.at(3, 5).next_u64(), flips.at(3, 6).next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct Chance {
    key: [u8; 32],
}

impl Chance {
    /// Rows that one index has.
    pub const MAX_ROWS: u64 = 1 << 36;

    /// `purpose` separates the uses of one seed: "flip", "latent", "split/identities"...
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lookalike 2026 chance v1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Self { key: *hasher.finalize().as_bytes() }
    }

    /// The draws that belong to one place, for example row `row` of batch `index`. Rows are below
    /// [`MAX_ROWS`](Self::MAX_ROWS): beyond them they would begin again.
    pub fn at(&self, index: u64, row: u64) -> Draws {
        debug_assert!(row < Self::MAX_ROWS, "row {row} shares its draws with another: this is a bug");
        self.place(index, row)
    }

    fn place(&self, index: u64, row: u64) -> Draws {
        // The index selects ChaCha's stream, of 2^68 words. Each row owns 2^32 of them, far more than
        // any row draws, so that 2^36 rows never overlap.
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(index);
        rng.set_word_pos(u128::from(row) << 32);
        Draws { rng, spare_normal: None }
    }

    /// A keyed permutation of `0..len`, evaluated one element at a time without a table.
    pub fn permutation(&self, len: u64) -> Permutation {
        Permutation::new(self, len)
    }
}

/// The sequence of draws at one place.
#[derive(Clone, Debug)]
pub struct Draws {
    rng: ChaCha8Rng,
    spare_normal: Option<f64>,
}

impl Draws {
    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A uniform integer in `0..bound`, without modulo bias. `bound` 0 gives 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiply-and-reject.
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// A uniform number in `[0, 1)` with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A uniform number in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A standard normal number (Box-Muller over pinned `libm`).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        let angle = std::f64::consts::TAU * self.unit();
        self.spare_normal = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    /// As many of them as there is room for, in less time than one by one.
    pub fn normals(&mut self, values: &mut [f64]) {
        let mut values = values.iter_mut();
        if self.spare_normal.is_some()
            && let Some(first) = values.next()
        {
            *first = self.normal();
        }
        while values.len() >= 2 * normals::PAIRS {
            let (mut radii, mut turns) = ([0.0; normals::PAIRS], [0.0; normals::PAIRS]);
            for (radius, turn) in radii.iter_mut().zip(&mut turns) {
                (*radius, *turn) = (self.unit(), self.unit());
            }
            let (first, second) = normals::pairs(&radii, &turns);
            // Zipped this way round, as a zip takes one more of what stands first.
            let both = first.iter().zip(&second).flat_map(|(&first, &second)| [first, second]);
            both.zip(&mut values).for_each(|(normal, value)| *value = normal);
        }
        values.for_each(|value| *value = self.normal());
    }

    /// A gamma variate of the given shape, scale 1 (Marsaglia and Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::pow(1.0 - self.unit(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            if libm::log(1.0 - self.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }

    /// Weights on the simplex from a symmetric Dirichlet distribution.
    pub fn dirichlet(&mut self, alpha: f64, count: usize) -> Vec<f64> {
        let mut weights: Vec<f64> = (0..count).map(|_| self.gamma(alpha)).collect();
        let sum: f64 = weights.iter().sum();
        if sum > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        } else {
            // A tiny alpha can underflow every component; the limit is one corner of the simplex.
            weights[self.below(count as u64) as usize] = 1.0;
        }
        weights
    }

    /// `count` different numbers of `0..bound`, in random order (Floyd's algorithm, then a
    /// shuffle). `count` is cut to `bound`.
    pub fn distinct(&mut self, count: usize, bound: u64) -> Vec<u64> {
        let count = (count as u64).min(bound);
        let mut chosen = Vec::with_capacity(count as usize);
        for top in bound - count..bound {
            let candidate = self.below(top + 1);
            chosen.push(if chosen.contains(&candidate) { top } else { candidate });
        }
        self.shuffle(&mut chosen);
        chosen
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// A keyed bijection of `0..len`: a six-round Feistel network on the next even number of bits,
/// walked until it lands inside.
#[derive(Clone, Debug)]
pub struct Permutation {
    round_keys: [u64; Self::ROUNDS],
    half_bits: u32,
    len: u64,
}

impl Permutation {
    const ROUNDS: usize = 6;

    fn new(chance: &Chance, len: u64) -> Self {
        // A length is no row: longer ones may share their keys.
        let mut draws = chance.place(u64::MAX, len);
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self { round_keys: std::array::from_fn(|_| draws.next_u64()), half_bits: bits.div_ceil(2).max(1), len }
    }

    /// The image of `position`, which must be below the length.
    ///
    /// # Panics
    /// When `position` is not below the length: this is a bug of the caller.
    pub fn get(&self, position: u64) -> u64 {
        assert!(position < self.len, "position {position} of a permutation of {}: this is a bug", self.len);
        let mut value = position;
        loop {
            value = self.feistel(value);
            if value < self.len {
                return value;
            }
        }
    }

    fn feistel(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.round_keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// The finalizer of SplitMix64: every output bit depends on every input bit.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_of_one_index_and_indices_of_one_seed_differ() {
        let chance = Chance::new(1, "test");
        let mut seen = std::collections::HashSet::new();
        for index in 0..50 {
            for row in 0..50 {
                assert!(seen.insert(chance.at(index, row).next_u64()));
            }
        }
        assert!(seen.insert(Chance::new(1, "other").at(0, 0).next_u64()));
        assert!(seen.insert(Chance::new(2, "test").at(0, 0).next_u64()));
    }

    #[test]
    fn the_numbers_never_change() {
        // Plans, splits and drawn faces of the past depend on these very bits.
        let mut draws = Chance::new(7, "pinned").at(3, 5);
        let observed = (draws.next_u64(), draws.below(1000), draws.unit().to_bits(), draws.normal().to_bits());
        assert_eq!(observed, PINNED, "chance changed: every recorded stream would change with it");
    }

    #[test]
    fn normals_are_those_drawn_one_by_one_and_so_is_what_follows() {
        for count in [0, 1, 2, 63, 64, 65, 128, 129, 256, 300] {
            for before in 0..2 {
                let draws = || {
                    let mut draws = Chance::new(7, "pinned").at(3, 5);
                    for _ in 0..before {
                        draws.normal();
                    }
                    draws
                };
                let (mut many, mut single) = (draws(), draws());
                let mut values = vec![0.0; count];
                many.normals(&mut values);
                let expected: Vec<f64> = (0..count).map(|_| single.normal()).collect();
                assert_eq!(values, expected);
                let then = |draws: &mut Draws| (draws.normal(), draws.next_u64());
                assert_eq!(then(&mut many), then(&mut single), "{count} after {before}");
            }
        }
    }

    #[test]
    fn what_plans_and_splits_are_made_of_never_changes() {
        let draws = || Chance::new(7, "pinned").at(3, 5);
        assert_eq!([0.5, 2.5].map(|shape| draws().gamma(shape).to_bits()), [4538110595608285028, 4604811636810463078]);
        let weights: Vec<u64> = draws().dirichlet(0.7, 3).into_iter().map(f64::to_bits).collect();
        assert_eq!(weights, [4562210071805801249, 4599989254734956816, 4604014680983470750]);
        assert_eq!(draws().distinct(4, 10), [8, 7, 6, 2]);
        let mut order: Vec<u64> = (0..8).collect();
        draws().shuffle(&mut order);
        assert_eq!(order, [6, 5, 0, 1, 3, 4, 2, 7]);
        let permutation = Chance::new(7, "pinned").permutation(1000);
        assert_eq!([0, 1, 2, 999].map(|position| permutation.get(position)), [678, 108, 80, 971]);
    }

    const PINNED: (u64, u64, u64, u64) = (18355034321534260420, 317, 4604707810851410593, 13833090034526625989);

    #[test]
    fn normals_have_unit_moments_and_dirichlet_weights_sum_to_one() {
        let mut draws = Chance::new(3, "moments").at(0, 0);
        let sample: Vec<f64> = (0..100_000).map(|_| draws.normal()).collect();
        let mean = sample.iter().sum::<f64>() / 1e5;
        let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.015, "{mean} {variance}");
        let mut first = 0.0;
        for _ in 0..20_000 {
            let weights = draws.dirichlet(1.0, 3);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            first += weights[0] / 20_000.0;
        }
        assert!((first - 1.0 / 3.0).abs() < 0.01, "{first}");
    }

    proptest! {
        #[test]
        fn a_permutation_visits_each_position_once(seed: u64, len in 1u64..3000) {
            let permutation = Chance::new(seed, "permutation").permutation(len);
            let mut image: Vec<u64> = (0..len).map(|position| permutation.get(position)).collect();
            image.sort_unstable();
            prop_assert_eq!(image, (0..len).collect::<Vec<_>>());
        }

        #[test]
        fn distinct_numbers_are_distinct(seed: u64, bound in 0u64..200, count in 0usize..220) {
            let mut chosen = Chance::new(seed, "distinct").at(0, 0).distinct(count, bound);
            prop_assert_eq!(chosen.len() as u64, (count as u64).min(bound));
            chosen.sort_unstable();
            chosen.dedup();
            prop_assert_eq!(chosen.len() as u64, (count as u64).min(bound));
        }
    }
}
