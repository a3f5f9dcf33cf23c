//! Which generated images are worth learning from: like the person they should show, but no copies of what all its
//! images have in common.
//!
//! The bounds are the generator's own: of images that it makes of everybody, those in the lowest quarter of likeness
//! are taken for somebody else, and those in the highest twentieth for too plain. So about three in ten rows are made
//! again, whatever the generator and whatever the network that looks at them.

use candle_core::{D, DType, Tensor};
use cvae_gan::{IdentityNetwork, Result, Trained};
use nets::pixels::{self, IMAGE_SIZE};

/// Images of each person that the bounds are found by, and their seed.
const IMAGES: usize = 4;
const SEED: u64 = 77;
/// Shares of them below the lower bound, and above the upper one.
const BELOW: f64 = 0.25;
const ABOVE: f64 = 0.05;

/// What looks at generated images before a recognizer does.
pub struct Selector {
    network: IdentityNetwork,
    channels: usize,
    bounds: (f32, f32),
}

impl Selector {
    /// By the network that the generator was trained against. Withheld from nobody: people without images, whose
    /// centre is nothing, are like nobody and are taken as they come.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(network: IdentityNetwork, trained: &Trained) -> Result<Self> {
        let mut selector = Self { network, channels: trained.channels, bounds: (f32::MIN, f32::MAX) };
        let mut found = Vec::new();
        for person in 0..trained.names.len() {
            let images = trained.sample(person, IMAGES, SEED, person as u64)?;
            found.extend(selector.likeness(&images, &[&[(person, 1.0)][..]; IMAGES])?);
        }
        found.sort_by(f32::total_cmp);
        let at = |share: f64| found.get((share * found.len() as f64) as usize).copied();
        if let (Some(least), Some(most)) = (at(BELOW), at(1.0 - ABOVE)) {
            selector.bounds = (least, most);
        }
        Ok(selector)
    }

    /// The bounds of likeness, as cosines.
    pub fn bounds(&self) -> (f32, f32) {
        self.bounds
    }

    /// The images of rows of these people. `draw` makes the named rows in the given try, 0 first; a row that is
    /// refused is made again so often at most, and then its try that lies nearest to the bounds is taken.
    ///
    /// # Errors
    /// Those of `draw` and of the device.
    pub fn select(
        &self,
        people: &[&[(usize, f64)]],
        retries: u32,
        draw: impl Fn(&[usize], u32) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let len = IMAGE_SIZE * IMAGE_SIZE * self.channels;
        let mut chosen = vec![0; people.len() * len];
        let mut misses = vec![f32::INFINITY; people.len()];
        for attempt in 0..=retries {
            let rows: Vec<usize> = (0..people.len()).filter(|&row| misses[row] > 0.0).collect();
            if rows.is_empty() {
                break;
            }
            let made = draw(&rows, attempt)?;
            let shown: Vec<&[(usize, f64)]> = rows.iter().map(|&row| people[row]).collect();
            let likeness = self.likeness(&made, &shown)?;
            for ((&row, image), likeness) in rows.iter().zip(made.chunks_exact(len)).zip(likeness) {
                let miss = miss(likeness, self.bounds);
                if miss < misses[row] || attempt == 0 {
                    misses[row] = miss;
                    chosen[row * len..][..len].copy_from_slice(image);
                }
            }
        }
        Ok(chosen)
    }

    /// Cosine of each image with the person, or the blend, that it should show.
    fn likeness(&self, images: &[u8], people: &[&[(usize, f64)]]) -> Result<Vec<f32>> {
        let device = self.network.centres.device();
        let images = pixels::to_grey(images, people.len(), self.channels, DType::F32, device)?;
        let found = unit(&self.network.network.features(&images)?)?;
        let classes = self.network.centres.dim(0)?;
        let mut weights = vec![0f32; people.len() * classes];
        for (row, person) in weights.chunks_exact_mut(classes).zip(people) {
            person.iter().for_each(|&(class, weight)| row[class] = weight as f32);
        }
        let weights = Tensor::from_vec(weights, (people.len(), classes), device)?;
        let centres = nets::ops::linear(&weights, &self.network.centres.t()?)?;
        Ok((found * unit(&centres)?)?.sum(D::Minus1)?.to_vec1()?)
    }
}

/// How far a likeness lies outside the bounds.
fn miss(likeness: f32, (least, most): (f32, f32)) -> f32 {
    match likeness.is_finite() {
        true => (least - likeness).max(likeness - most).max(0.0),
        false => f32::MAX,
    }
}

/// Rows of length 1; one of nothing stays.
fn unit(rows: &Tensor) -> candle_core::Result<Tensor> {
    rows.broadcast_div(&(rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()? + 1e-12)?)
}
