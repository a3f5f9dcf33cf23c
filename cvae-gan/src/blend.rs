//! Rows that are asked for a mixture of people, as a server asks for new ones.
//!
//! Labels enter G linearly, but what follows doesn't: a G that was only ever asked for one person at a time may draw
//! nothing in between. So some random latents may show a row's own person mixed with those of two other rows, led away
//! from the average person by up to the variance of one.

use crate::Result;
use candle_core::{DType, Device, Tensor};
use dataset::blended::Parent;
use dataset::blended::label::reach;
use nets::chance::{Chance, Draws};

/// How many rows behind a row its parents are: itself, and two whose latents it doesn't borrow.
const PARENTS: [usize; 3] = [0, 2, 3];

/// Who is mixed with whom in a step, and how far each mixture is led away from the average person.
#[derive(Clone, Debug)]
pub(crate) struct Blend {
    /// By row, the shares of each row's person, which sum to 1: `(B,B)`. A row that isn't asked has its own alone.
    shares: Tensor,
    /// [`reach`] of each mixture: `(B,1)`.
    reach: Tensor,
}

/// What is drawn for one row: shares of its parents, and the spread of their mixture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mixture {
    pub(crate) shares: [f64; PARENTS.len()],
    pub(crate) spread: f64,
}

impl Mixture {
    const OWN: Self = Self { shares: [1.0, 0.0, 0.0], spread: 0.0 };

    /// With probability `asked` any shares and any spread up to that of one person, each as likely as another.
    fn draw(draws: &mut Draws, asked: f64) -> Self {
        if !draws.chance(asked) {
            return Self::OWN;
        }
        let (one, other) = (draws.unit(), draws.unit());
        let (first, second) = (one.min(other), one.max(other));
        Self { shares: [first, second - first, 1.0 - second], spread: draws.unit() }
    }

    /// Who row `row` of a batch of `labels` is asked for: different people.
    fn parents(&self, row: usize, labels: &[u32]) -> Vec<Parent> {
        let mut parents: Vec<Parent> = Vec::new();
        for (share, behind) in self.shares.iter().zip(PARENTS) {
            let (identity, weight) = (labels[(row + behind) % labels.len()], *share as f32);
            match parents.iter_mut().find(|parent| parent.identity == identity) {
                Some(parent) => parent.weight += weight,
                None => parents.push(Parent { identity, weight }),
            }
        }
        parents
    }
}

impl Blend {
    /// That of step `step`, each row of whose `labels` is a mixture with probability `asked`; `None` where none ever is.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub(crate) fn draw(
        asked: f64,
        (chance, step): (&Chance, u64),
        labels: &[u32],
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Self>> {
        let mixture = |row: usize| Mixture::draw(&mut chance.at(step, row as u64), asked);
        let mixtures: Vec<_> = (0..labels.len()).map(mixture).collect();
        (asked > 0.0).then(|| Self::new(&mixtures, labels, dtype, device)).transpose()
    }

    /// Of one mixture for each of `labels`.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub(crate) fn new(mixtures: &[Mixture], labels: &[u32], dtype: DType, device: &Device) -> Result<Self> {
        let rows = labels.len();
        let mut shares = vec![0.0; rows * rows];
        for (row, mixture) in mixtures.iter().enumerate() {
            for (share, behind) in mixture.shares.iter().zip(PARENTS) {
                shares[row * rows + (row + behind) % rows] += share;
            }
        }
        let reaches = mixtures.iter().enumerate();
        let reaches = reaches.map(|(row, mixture)| reach(&mixture.parents(row, labels), mixture.spread)).collect();
        let tensor =
            |values: Vec<f64>, columns: usize| Tensor::from_vec(values, (rows, columns), device)?.to_dtype(dtype);
        Ok(Self { shares: tensor(shares, rows)?, reach: tensor(reaches, 1)? })
    }

    /// Mixtures of `rows (B,N)`, each of which belongs to a row's person.
    ///
    /// # Errors
    /// Another number of rows.
    pub(crate) fn of(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(self.shares.matmul(rows)?)
    }

    /// The same of `rows (B,N)`, led away from `mean (1,N)` of all people.
    ///
    /// # Errors
    /// Another number of rows.
    pub(crate) fn led_away(&self, rows: &Tensor, mean: &Tensor) -> Result<Tensor> {
        let rest = self.reach.affine(-1.0, 1.0)?.broadcast_mul(mean)?;
        Ok((self.of(rows)?.broadcast_mul(&self.reach)? + rest)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::blended::label::fill;
    use nets::gradient_check::random;

    const ROWS: usize = 6;

    fn mixtures(asked: f64) -> Vec<Mixture> {
        let chance = Chance::new(3, "test");
        (0..ROWS as u64).map(|row| Mixture::draw(&mut chance.at(7, row), asked)).collect()
    }

    #[test]
    fn a_blend_is_the_label_that_a_server_asks_with() -> Result<()> {
        // As labels, and as anything that is linear in them, whoever comes twice.
        let codes_of_people = random(&[ROWS, 4], 1)?;
        for labels in [[0, 1, 2, 3, 4, 5], [3, 1, 3, 1, 2, 2], [4; ROWS]] {
            let mixtures = mixtures(1.0);
            let blend = Blend::new(&mixtures, &labels, DType::F64, &Device::Cpu)?;
            let codes = codes_of_people.index_select(&Tensor::new(&labels, &Device::Cpu)?, 0)?;
            let found = blend.led_away(&codes, &codes_of_people.mean_keepdim(0)?)?.to_vec2::<f64>()?;
            let mixed = blend.of(&codes)?.to_vec2::<f64>()?;
            let codes = codes_of_people.to_vec2::<f64>()?;
            for (row, mixture) in mixtures.iter().enumerate() {
                let parents = mixture.parents(row, &labels);
                for (reach, found) in [(reach(&parents, mixture.spread), &found[row]), (1.0, &mixed[row])] {
                    let mut label = [0f32; ROWS];
                    fill(&mut label, &parents, reach, &[0, 1, 2, 3, 4, 5]);
                    for (nth, found) in found.iter().enumerate() {
                        let parts = label.iter().zip(&codes);
                        let wanted: f64 = parts.map(|(&part, code)| f64::from(part) * code[nth]).sum();
                        assert!((wanted - found).abs() < 1e-6, "{labels:?} {row}: {wanted} {found}");
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn shares_sum_to_1_and_parents_are_different_people() {
        for (row, mixture) in mixtures(1.0).iter().enumerate() {
            assert!((mixture.shares.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{mixture:?}");
            let people = |labels: &[u32]| mixture.parents(row % labels.len(), labels).len();
            assert_eq!((people(&[0, 1, 2, 3, 4, 5]), people(&[0, 1]), people(&[7]), people(&[5; ROWS])), (3, 2, 1, 1));
        }
        assert!(mixtures(0.0).iter().all(|mixture| *mixture == Mixture::OWN));
        assert!(mixtures(0.5).contains(&Mixture::OWN));
    }

    #[test]
    fn rows_that_are_not_asked_stay_as_they_are() -> Result<()> {
        let (chance, labels) = (Chance::new(3, "test"), [0, 1, 2, 3, 4, 5]);
        let draw = |asked| Blend::draw(asked, (&chance, 7), &labels, DType::F32, &Device::Cpu);
        assert!(draw(0.0)?.is_none());
        let rows = random(&[ROWS, 2], 1)?.to_dtype(DType::F32)?;
        let found = draw(0.5)?.expect("asked for").of(&rows)?;
        for (row, mixture) in mixtures(0.5).iter().enumerate() {
            let [own, found] = [&rows, &found].map(|rows| rows.get(row)?.to_vec1::<f32>());
            assert_eq!(own? == found?, *mixture == Mixture::OWN);
        }
        Ok(())
    }
}
