//! People who don't exist, blended from several who do.
//!
//! Blended person `j` is a function of `(rule, j, number of identities)` alone: the same one in every
//! batch, for everybody who learns from them. Where there are C identities, its class is C + j.

pub mod label;

use nets::chance::{Chance, Draws, Permutation};

/// Draws of weights before the last is pulled under the cap instead. An accepted draw is all but
/// certain long before, unless alpha is tiny and every draw is nearly one parent alone.
const WEIGHT_DRAWS: usize = 256;

/// An identity's part in a generated image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parent {
    /// Which identity.
    pub identity: u32,
    /// Its weight; those of an image sum to 1.
    pub weight: f32,
}

impl Parent {
    /// An identity as it is.
    pub fn alone(identity: u32) -> Self {
        Self { identity, weight: 1.0 }
    }
}

/// How people are blended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Identities mixed into each.
    pub parents: u32,
    /// Concentration of the Dirichlet distribution of their weights.
    pub alpha: f64,
    /// The largest weight allowed, above one over `parents`: a person who is mostly one other is a
    /// copy under a new name.
    pub max_weight: f64,
    /// Key of parents and weights.
    pub seed: u64,
}

/// All people of a rule.
#[derive(Clone, Debug)]
pub struct Blended {
    rule: Rule,
    identities: u32,
    chance: Chance,
}

impl Rule {
    /// Three parents, all mixtures equally likely, nobody above 0.6.
    pub fn usual(seed: u64) -> Self {
        Self { parents: 3, alpha: 1.0, max_weight: 0.6, seed }
    }
}

impl Blended {
    /// Blended from the first `identities` classes.
    pub fn new(rule: Rule, identities: u32) -> Self {
        Self { rule, identities, chance: Chance::new(rule.seed, "blended identities") }
    }

    /// Who person `j` is: different parents, the heaviest first, none above the cap.
    pub fn parents(&self, j: u32) -> Vec<Parent> {
        let (identities, mut draws) = self.identities_and_draws(j);
        let count = identities.len();
        let cap = self.rule.max_weight;
        let largest = |weights: &[f64]| weights.iter().fold(0.0f64, |largest, &weight| largest.max(weight));
        let mut weights = draws.dirichlet(self.rule.alpha, count);
        for _ in 1..WEIGHT_DRAWS {
            if largest(&weights) <= cap {
                break;
            }
            weights = draws.dirichlet(self.rule.alpha, count);
        }
        let (top, even) = (largest(&weights), 1.0 / count as f64);
        if top > cap {
            // Along the line to equal weights, just as far as the cap asks for.
            let kept = (cap - even) / (top - even);
            weights.iter_mut().for_each(|weight| *weight = even + kept * (*weight - even));
        }
        let mut parents: Vec<Parent> = identities
            .into_iter()
            .zip(weights)
            .map(|(identity, weight)| Parent { identity: identity as u32, weight: weight as f32 })
            .collect();
        parents.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.identity.cmp(&b.identity)));
        parents
    }

    /// Who is mixed into `j`, in no order.
    pub fn identities(&self, j: u32) -> Vec<u64> {
        self.identities_and_draws(j).0
    }

    /// And the draws that its weights come from.
    fn identities_and_draws(&self, j: u32) -> (Vec<u64>, Draws) {
        let mut draws = self.chance.at(j.into(), 0);
        let identities = draws.distinct(self.rule.parents as usize, self.identities.into());
        (identities, draws)
    }
}

/// The order in which a stream shows its `count` blended people in their `round`-th turn.
pub fn order(stream_seed: u64, round: u64, count: u64) -> Permutation {
    Chance::new(stream_seed, &format!("blended order, round {round}")).permutation(count)
}
