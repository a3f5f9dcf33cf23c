//! People who are blended from others, as `evaluate` judges them and `sample` draws them.

use dataset::blended::{Blended, Parent, Rule};

/// Blended from people of some classes, by the usual rule of three parents.
#[derive(Clone, Debug)]
pub struct BlendedPeople {
    people: Blended,
    classes: Vec<usize>,
}

impl BlendedPeople {
    /// Of two parents each where `classes` has no three; it must have two.
    pub fn new(seed: u64, classes: Vec<usize>) -> Self {
        let (usual, count) = (Rule::usual(seed), classes.len() as u32);
        Self { people: Blended::new(Rule { parents: usual.parents.min(count), ..usual }, count), classes }
    }

    /// Who person `nth` is: different people, the heaviest first, by weights that sum to 1.
    pub fn parents(&self, nth: u32) -> Vec<Parent> {
        let class = |identity: u32| self.classes[identity as usize] as u32;
        let parents = self.people.parents(nth).into_iter();
        parents.map(|parent| Parent { identity: class(parent.identity), ..parent }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blended_person_is_several_people_and_none_of_them_mostly() {
        for (classes, count) in [(vec![0, 2, 5, 6], 3), (vec![1, 3], 2)] {
            let people = BlendedPeople::new(7, classes.clone());
            for nth in 0..50 {
                let parents = people.parents(nth);
                assert_eq!(parents.len(), count);
                let fits =
                    |parent: &Parent| classes.contains(&(parent.identity as usize)) && parent.weight <= 0.6 + 1e-6;
                assert!(parents.iter().all(fits));
                assert!((parents.iter().map(|parent| f64::from(parent.weight)).sum::<f64>() - 1.0).abs() < 1e-6);
            }
            assert_ne!(people.parents(0), people.parents(1));
        }
    }
}
