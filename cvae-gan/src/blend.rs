//! Rows that are asked for a mixture of people, as a server asks for new ones.
//!
//! Labels enter G linearly, but what follows doesn't: a G that was only ever asked for one person at a time may draw
//! nothing in between. So some random latents show a row's own person mixed with those of the next two rows, led away
//! from the average person by as much as anybody may ask for.

use crate::Result;
use candle_core::{DType, Device, Tensor};
use dataset::blended::Parent;
use dataset::blended::label::reach;
use nets::chance::{Chance, Draws};

/// People of a mixture.
const PARENTS: usize = 3;

/// Who is mixed with whom in a step, and how far each mixture is led away from the average person.
#[derive(Clone, Debug)]
pub(crate) struct Blend {
    /// By row, the shares of each row's person, which sum to 1: `(B,B)`. A row that isn't asked has its own alone.
    shares: Tensor,
    /// [`reach`] of each mixture: `(B,1)`.
    reach: Tensor,
}

/// One row's mixture: shares of its own person and of those behind it, and its reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mixture {
    pub(crate) shares: [f64; PARENTS],
    pub(crate) reach: f64,
}

impl Mixture {
    const OWN: Self = Self { shares: [1.0, 0.0, 0.0], reach: 1.0 };

    /// With probability `asked` any shares and any spread up to that of one person, each as likely as another.
    fn draw(draws: &mut Draws, asked: f64) -> Self {
        if !draws.chance(asked) {
            return Self::OWN;
        }
        let (one, other) = (draws.unit(), draws.unit());
        let (first, second) = (one.min(other), one.max(other));
        let shares = [first, second - first, 1.0 - second];
        let parents = shares.map(|share| Parent { identity: 0, weight: share as f32 });
        Self { shares, reach: reach(&parents, draws.unit()) }
    }
}

impl Blend {
    /// That of step `step`, whose rows are mixtures with probability `asked`; `None` where none ever are.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub(crate) fn draw(
        asked: f64,
        (chance, step): (&Chance, u64),
        rows: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Self>> {
        let mixture = |row: usize| Mixture::draw(&mut chance.at(step, row as u64), asked);
        let mixtures: Vec<_> = (0..rows).map(mixture).collect();
        (asked > 0.0).then(|| Self::new(&mixtures, dtype, device)).transpose()
    }

    /// Of one mixture for each row.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub(crate) fn new(mixtures: &[Mixture], dtype: DType, device: &Device) -> Result<Self> {
        let rows = mixtures.len();
        let mut shares = vec![0.0; rows * rows];
        for (row, mixture) in mixtures.iter().enumerate() {
            for (nth, share) in mixture.shares.iter().enumerate() {
                shares[row * rows + (row + nth) % rows] += share;
            }
        }
        let reach: Vec<f64> = mixtures.iter().map(|mixture| mixture.reach).collect();
        let tensor =
            |values: Vec<f64>, columns: usize| Tensor::from_vec(values, (rows, columns), device)?.to_dtype(dtype);
        Ok(Self { shares: tensor(shares, rows)?, reach: tensor(reach, 1)? })
    }

    /// Mixtures of `rows (B, ...)`, each of which belongs to a row's person.
    ///
    /// # Errors
    /// Another number of rows.
    pub(crate) fn of(&self, rows: &Tensor) -> Result<Tensor> {
        let flat = rows.flatten_from(1)?.contiguous()?;
        Ok(self.shares.to_dtype(rows.dtype())?.matmul(&flat)?.reshape(rows.dims())?)
    }

    /// The same of `rows (B,N)`, led away from `mean (1,N)` of all people.
    ///
    /// # Errors
    /// Another number of rows.
    pub(crate) fn led_away(&self, rows: &Tensor, mean: &Tensor) -> Result<Tensor> {
        let reach = self.reach.to_dtype(rows.dtype())?;
        let rest = reach.affine(-1.0, 1.0)?.broadcast_mul(&mean.to_dtype(rows.dtype())?)?;
        Ok((self.of(rows)?.broadcast_mul(&reach)? + rest)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::blended::label::fill;
    use nets::gradient_check::random;

    const ROWS: usize = 5;

    fn mixtures(asked: f64) -> Vec<Mixture> {
        let chance = Chance::new(3, "test");
        (0..ROWS as u64).map(|row| Mixture::draw(&mut chance.at(7, row), asked)).collect()
    }

    #[test]
    fn a_blend_is_the_label_that_a_server_asks_with() -> Result<()> {
        let mixtures = mixtures(1.0);
        let blend = Blend::new(&mixtures, DType::F64, &Device::Cpu)?;
        // Each row shows another of five people: as labels, and as anything that is linear in them.
        let codes = random(&[ROWS, 4], 1)?;
        let found = blend.led_away(&codes, &codes.mean_keepdim(0)?)?.to_vec2::<f64>()?;
        let mixed = blend.of(&codes)?.to_vec2::<f64>()?;
        let codes = codes.to_vec2::<f64>()?;
        for (row, mixture) in mixtures.iter().enumerate() {
            let parent =
                |(nth, &share): (usize, &f64)| Parent { identity: ((row + nth) % ROWS) as u32, weight: share as f32 };
            let parents: Vec<Parent> = mixture.shares.iter().enumerate().map(parent).collect();
            for (reach, found) in [(mixture.reach, &found[row]), (1.0, &mixed[row])] {
                let mut label = [0f32; ROWS];
                fill(&mut label, &parents, reach, &[0, 1, 2, 3, 4]);
                for (nth, found) in found.iter().enumerate() {
                    let wanted: f64 = label.iter().zip(&codes).map(|(&part, code)| f64::from(part) * code[nth]).sum();
                    assert!((wanted - found).abs() < 1e-6, "row {row}: {wanted} {found}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn shares_sum_to_1_and_reach_is_at_most_that_of_one_person() {
        for mixture in mixtures(1.0) {
            let squares: f64 = mixture.shares.iter().map(|share| share * share).sum();
            assert!((mixture.shares.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{mixture:?}");
            assert!(mixture.reach >= 1.0 && mixture.reach * squares.sqrt() < 1.0 + 1e-6, "{mixture:?}");
        }
        assert!(mixtures(0.0).iter().all(|mixture| *mixture == Mixture::OWN));
        assert!(mixtures(0.5).contains(&Mixture::OWN));
    }

    #[test]
    fn rows_that_are_not_asked_stay_as_they_are() -> Result<()> {
        let chance = Chance::new(3, "test");
        let draw = |asked| Blend::draw(asked, (&chance, 7), ROWS, DType::F32, &Device::Cpu);
        assert!(draw(0.0)?.is_none());
        let rows = random(&[ROWS, 2, 3], 1)?.to_dtype(DType::F32)?;
        let found = draw(0.5)?.expect("asked for").of(&rows)?;
        for (row, mixture) in mixtures(0.5).iter().enumerate() {
            let [own, found] = [&rows, &found].map(|rows| rows.get(row)?.flatten_all()?.to_vec1::<f32>());
            assert_eq!(own? == found?, *mixture == Mixture::OWN);
        }
        Ok(())
    }
}
