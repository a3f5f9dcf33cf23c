//! Which generated images are worth learning from: like the person they should show, but no copies of what all its
//! images have in common.
//!
//! The bounds are the generator's own, of each person apart: of its images of somebody, those in the lowest quarter of
//! likeness are taken for somebody else, and those in the highest twentieth for too plain. So about three in ten
//! rows are made again, of everybody alike, whatever the generator and whatever the network that looks at them.

use candle_core::{D, DType, Tensor};
use cvae_gan::{IdentityNetwork, Result, Trained};
use nets::pixels::{self, IMAGE_SIZE};

/// Images of each person that the bounds are found by, and their seed.
const IMAGES: usize = 20;
const SEED: u64 = 77;
/// Shares of them below the lower bound, and above the upper one.
pub const BELOW: f64 = 0.25;
/// See [`BELOW`].
pub const ABOVE: f64 = 0.05;

/// Tries of a row, on the average, with so many retries.
pub fn tries(retries: u32) -> f64 {
    (0..=retries).map(|attempt| (BELOW + ABOVE).powi(attempt as i32)).sum()
}

/// Least and largest likeness that is taken.
type Bounds = (f32, f32);

/// What looks at generated images before a recognizer does.
pub struct Selector {
    network: IdentityNetwork,
    channels: usize,
    /// Of each person.
    bounds: Vec<Bounds>,
}

impl Selector {
    /// By the network that the generator was trained against.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(network: IdentityNetwork, trained: &Trained) -> Result<Self> {
        let mut selector = Self { network, channels: trained.channels, bounds: Vec::new() };
        for person in 0..trained.names.len() {
            let images = trained.sample(person, IMAGES, SEED, person as u64)?;
            selector.bounds.push(bounds_of(selector.likeness(&images, &[person; IMAGES])?));
        }
        Ok(selector)
    }

    /// Tells one that would select other rows from this.
    pub fn digest(&self) -> String {
        let bytes: Vec<u8> =
            self.bounds.iter().flat_map(|(least, most)| [least.to_le_bytes(), most.to_le_bytes()].concat()).collect();
        blake3::hash(&bytes).to_hex().to_string()
    }

    /// The images of rows of these people. `draw` makes the named rows in the given try, 0 first; a row that is
    /// refused is made again so often at most, and then its try that lies nearest to the bounds is taken.
    ///
    /// # Errors
    /// Those of `draw` and of the device.
    pub fn select(
        &self,
        people: &[usize],
        retries: u32,
        draw: impl Fn(&[usize], u32) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let len = IMAGE_SIZE * IMAGE_SIZE * self.channels;
        let bounds: Vec<Bounds> = people.iter().map(|&person| self.bounds[person]).collect();
        let look =
            |rows: &[usize], made: &[u8]| self.likeness(made, &rows.iter().map(|&row| people[row]).collect::<Vec<_>>());
        choose(&bounds, len, retries, draw, look)
    }

    /// Cosine of each image with the person that it should show; 0 with somebody who has no images.
    fn likeness(&self, images: &[u8], people: &[usize]) -> Result<Vec<f32>> {
        let centres = &self.network.centres;
        let images = pixels::to_grey(images, people.len(), self.channels, DType::F32, centres.device())?;
        let found = self.network.network.features(&images)?;
        let length = (found.sqr()?.sum(D::Minus1)?.sqrt()? + 1e-12)?;
        let people: Vec<u32> = people.iter().map(|&person| person as u32).collect();
        let own = centres.index_select(&Tensor::new(people, centres.device())?, 0)?;
        Ok(((found * own)?.sum(D::Minus1)? / length)?.to_vec1()?)
    }
}

/// Of likenesses of one person.
fn bounds_of(mut found: Vec<f32>) -> Bounds {
    found.sort_by(f32::total_cmp);
    let at = |share: f64| found.get((share * found.len() as f64) as usize).copied();
    (at(BELOW).unwrap_or(f32::MIN), at(1.0 - ABOVE).unwrap_or(f32::MAX))
}

/// The best try of each row, images of `len` bytes; who needs no other is not looked at again.
fn choose(
    bounds: &[Bounds],
    len: usize,
    retries: u32,
    draw: impl Fn(&[usize], u32) -> Result<Vec<u8>>,
    look: impl Fn(&[usize], &[u8]) -> Result<Vec<f32>>,
) -> Result<Vec<u8>> {
    let mut chosen = vec![0; bounds.len() * len];
    let mut misses = vec![f32::INFINITY; bounds.len()];
    for attempt in 0..=retries {
        let rows: Vec<usize> = (0..bounds.len()).filter(|&row| misses[row] > 0.0).collect();
        if rows.is_empty() {
            break;
        }
        let made = draw(&rows, attempt)?;
        let likeness = look(&rows, &made)?;
        for ((&row, image), likeness) in rows.iter().zip(made.chunks_exact(len)).zip(likeness) {
            let miss = miss(likeness, bounds[row]);
            if miss < misses[row] {
                misses[row] = miss;
                chosen[row * len..][..len].copy_from_slice(image);
            }
        }
    }
    Ok(chosen)
}

/// How far a likeness lies outside the bounds.
fn miss(likeness: f32, (least, most): Bounds) -> f32 {
    match likeness.is_finite() {
        true => (least - likeness).max(likeness - most).max(0.0),
        false => f32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_quarter_is_too_unlike_and_a_twentieth_too_like() {
        let (least, most) = bounds_of((0..20).rev().map(|nth| nth as f32).collect());
        assert_eq!((least, most), (5.0, 19.0));
        assert_eq!([4.0, 5.0, 19.0, 19.5].map(|likeness| miss(likeness, (least, most))), [1.0, 0.0, 0.0, 0.5]);
        assert_eq!(miss(f32::NAN, (least, most)), f32::MAX);
    }

    #[test]
    fn refused_rows_alone_are_made_again_and_the_nearest_try_is_taken() {
        // Row by row, how like its tries are; an image is the number of its row and of its try.
        let tries = [[0.5, 9.0, 9.0], [0.1, 0.6, 9.0], [0.1, 2.0, 0.2], [f32::NAN, 0.0, -1.0]];
        let asked = RefCell::new(Vec::new());
        let draw = |rows: &[usize], attempt: u32| {
            asked.borrow_mut().push(rows.to_vec());
            Ok(rows.iter().flat_map(|&row| [row as u8, attempt as u8]).collect())
        };
        let look =
            |_: &[usize], made: &[u8]| Ok(made.chunks(2).map(|of| tries[of[0] as usize][of[1] as usize]).collect());
        let chosen = choose(&[(0.4, 0.8); 4], 2, 2, draw, look).unwrap();
        assert_eq!(chosen, [0, 0, 1, 1, 2, 2, 3, 1]);
        assert_eq!(*asked.borrow(), [vec![0, 1, 2, 3], vec![1, 2, 3], vec![2, 3]]);
    }
}
