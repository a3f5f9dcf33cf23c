//! Whether blended identities are people of their own.

use super::{Trial, shown};
use crate::Result;
use crate::features::go_on;
use crate::pictures::random_latents;
use command::{Interrupt, Progress};
use dataset::blended::{self, Parent, Rule};
use recognizer::embed_pixels;
use recognizer::generated::{Labelled, NewPeople, judge_new_by};
use recognizer::metrics::Features;

impl Trial<'_> {
    /// Makes images of blended identities. `centres` and `real` are of real images, `threshold` the
    /// cosine above which two are the same person.
    pub(super) fn blended(
        &self,
        (centres, real, threshold): (&Features, &Labelled, f64),
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<NewPeople> {
        let Self { trained, judge, .. } = *self;
        let classes = shown(self.dataset);
        let people = blended::Blended::new(rule(self.seed, classes.len()), classes.len() as u32);
        let mut features = Features::new(nets::FEATURE);
        let mut labels = Vec::new();
        for nth in 0..self.blended {
            go_on(interrupt)?;
            let label = trained.mixture(&parents(&people, &classes, nth as u32), self.blended_spread)?;
            let z = random_latents(self.per_identity, self.seed, (trained.names.len() + nth) as u64, trained.device())?;
            let bytes = trained.draw(&z, &label.repeat((self.per_identity, 1))?)?;
            features.extend(&embed_pixels(&judge.network, judge.device(), trained.channels, &bytes)?)?;
            labels.extend(std::iter::repeat_n(nth as u32, self.per_identity));
            progress.advance(self.per_identity as u64);
        }
        Ok(judge_new_by(&Labelled::new(features, labels)?, real, centres, threshold)?)
    }
}

/// The usual one, of two where there are no three.
fn rule(seed: u64, people: usize) -> Rule {
    let usual = Rule::usual(seed);
    Rule { parents: usual.parents.min(people as u32), ..usual }
}

/// Who a blended identity is: different people of `classes`, by weights that sum to 1.
fn parents(people: &blended::Blended, classes: &[usize], nth: u32) -> Vec<Parent> {
    let class = |identity: u32| classes[identity as usize] as u32;
    let parents = people.parents(nth).into_iter();
    parents.map(|parent| Parent { identity: class(parent.identity), ..parent }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blended_identity_is_several_people_and_none_of_them_mostly() {
        for (classes, count) in [(vec![0, 2, 5, 6], 3), (vec![1, 3], 2)] {
            let people = blended::Blended::new(rule(7, classes.len()), classes.len() as u32);
            for nth in 0..50 {
                let parents = parents(&people, &classes, nth);
                assert_eq!(parents.len(), count);
                let fits =
                    |parent: &Parent| classes.contains(&(parent.identity as usize)) && parent.weight <= 0.6 + 1e-6;
                assert!(parents.iter().all(fits));
                assert!((parents.iter().map(|parent| f64::from(parent.weight)).sum::<f64>() - 1.0).abs() < 1e-6);
            }
            assert_ne!(parents(&people, &classes, 0), parents(&people, &classes, 1));
        }
    }
}
