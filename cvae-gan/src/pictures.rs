//! What a training looks like: samples, reconstructions, and the way from one face to another
//! (paper, fig. 6).

use crate::Result;
use crate::label_code::LabelCode;
use crate::learner::{Learner, Networks};
use crate::settings::Settings;
use candle_core::{DType, Device, Tensor};
use command::RunDirectory;
use command::human::count;
use command::picture::{Grid, Picture};
use dataset::Dataset;
use nets::chance::Chance;
use nets::pixels::{self, IMAGE_SIZE};
use nets::{Encoder, Generator, LATENT};

/// Identities and latents of a grid.
const ROWS: usize = 8;
const COLUMNS: usize = 8;
/// Images that pass through a network together. A row's image doesn't depend on it.
const TILE: usize = 16;

/// The real images that the pictures of one training are about, the same each time.
pub(crate) struct Gallery {
    channels: usize,
    seed: u64,
    /// Two images of one identity each: a label, and NHWC bytes.
    people: Vec<Person>,
}

struct Person {
    name: String,
    label: u32,
    images: [Vec<u8>; 2],
}

impl Gallery {
    pub(crate) fn new(dataset: &Dataset, settings: &Settings) -> Result<Self> {
        let identities = dataset.identities();
        let candidates: Vec<usize> = (0..identities.len()).filter(|&class| identities[class].images > 0).collect();
        let mut draws = Chance::new(settings.seed, "cvae-gan/gallery").at(0, 0);
        let mut chosen = draws.distinct(ROWS, candidates.len() as u64);
        chosen.sort_unstable();
        let person = |nth: u64| -> Result<Person> {
            let class = candidates[nth as usize];
            let identity = &identities[class];
            let last = identity.first_image + identity.images - 1;
            let read = |image| dataset.read(image).map(dataset::Image::into_pixels);
            Ok(Person {
                name: identity.name.clone(),
                label: class as u32,
                images: [read(identity.first_image)?, read(last)?],
            })
        };
        let people = chosen.into_iter().map(person).collect::<Result<_>>()?;
        Ok(Self { channels: settings.channels, seed: settings.seed, people })
    }

    /// Saves all pictures of this moment of a training, by the averaged networks.
    pub(crate) fn save(&self, learner: &Learner, run: &RunDirectory) -> Result<()> {
        let networks = learner.averaged()?;
        let seen = learner.images_seen();
        run.save_picture("samples", seen, &self.samples(&networks, &learner.code, seen)?)?;
        if let Some(encoder) = &networks.encoder {
            let pictures = self.reconstructions(encoder, &networks, &learner.code, seen)?;
            run.save_picture("reconstructions", seen, &pictures)?;
            let pictures = self.interpolations(encoder, &networks, &learner.code, seen)?;
            run.save_picture("interpolations", seen, &pictures)?;
        }
        Ok(())
    }

    /// A real image of each person, then images of that person, a latent for each column.
    fn samples(&self, networks: &Networks, code: &LabelCode, seen: u64) -> Result<Picture> {
        let captions = std::iter::once("real".to_owned()).chain((1..=COLUMNS).map(|nth| format!("z{nth}")));
        let title = format!("samples after {} images", count(seen));
        let mut grid = self.grid(COLUMNS + 1)?.title(title).column_captions(captions);
        let z = random_latents(COLUMNS, self.seed, 0, code.device())?;
        for person in &self.people {
            grid.push(&person.images[0])?;
            grid.push(&images_of(&networks.generator, &z, &coded(code, person.label, COLUMNS)?)?)?;
        }
        Ok(grid.row_captions(self.names()).render())
    }

    /// Real images above what is left of them behind E and G.
    fn reconstructions(&self, encoder: &Encoder, networks: &Networks, code: &LabelCode, seen: u64) -> Result<Picture> {
        let title = format!("reconstructions after {} images", count(seen));
        let mut grid = self.grid(self.people.len())?.title(title).column_captions(self.names());
        for nth in [0, 1] {
            for person in &self.people {
                grid.push(&person.images[nth])?;
            }
            for person in &self.people {
                let z = self.mean(encoder, &person.images[nth], code)?;
                grid.push(&images_of(&networks.generator, &z, &coded(code, person.label, 1)?)?)?;
            }
        }
        Ok(grid.row_captions(["real", "made", "real", "made"]).render())
    }

    /// From one real image of a person to another, through the means of their latents.
    fn interpolations(&self, encoder: &Encoder, networks: &Networks, code: &LabelCode, seen: u64) -> Result<Picture> {
        let title = format!("from one image to another after {} images", count(seen));
        let between = (0..COLUMNS).map(|nth| format!("{:.2}", nth as f64 / (COLUMNS - 1) as f64));
        let captions = std::iter::once("real".to_owned()).chain(between).chain(std::iter::once("real".to_owned()));
        let mut grid = self.grid(COLUMNS + 2)?.title(title).column_captions(captions);
        for person in &self.people {
            let ends = [0, 1].map(|nth| self.mean(encoder, &person.images[nth], code));
            let [first, second] = ends;
            let z = interpolate(&first?, &second?, COLUMNS)?;
            grid.push(&person.images[0])?;
            grid.push(&images_of(&networks.generator, &z, &coded(code, person.label, COLUMNS)?)?)?;
            grid.push(&person.images[1])?;
        }
        Ok(grid.row_captions(self.names()).render())
    }

    fn mean(&self, encoder: &Encoder, image: &[u8], code: &LabelCode) -> Result<Tensor> {
        let x = pixels::to_signed(image, 1, self.channels, DType::F32, code.device())?;
        Ok(encoder.forward(&x)?.mu)
    }

    fn grid(&self, columns: usize) -> Result<Grid> {
        Ok(Grid::new(IMAGE_SIZE, self.channels, columns)?)
    }

    fn names(&self) -> Vec<String> {
        self.people.iter().map(|person| person.name.clone()).collect()
    }
}

/// `count` latents on the straight line from `first (1,256)` to `second (1,256)`, both included.
///
/// # Errors
/// Latents of other shapes.
pub fn interpolate(first: &Tensor, second: &Tensor, count: usize) -> Result<Tensor> {
    let step = |nth: usize| nth as f64 / (count - 1).max(1) as f64;
    let latents = (0..count).map(|nth| (first * (1.0 - step(nth)))? + (second * step(nth))?);
    Ok(Tensor::cat(&latents.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
}

/// Latents `(count, 256)` of the prior, each a function of the seed, the index and its row.
///
/// # Errors
/// Those of the device.
pub fn random_latents(count: usize, seed: u64, index: u64, device: &Device) -> Result<Tensor> {
    let chance = Chance::new(seed, "cvae-gan/sample");
    let values: Vec<f32> = (0..count)
        .flat_map(|row| {
            let mut draws = chance.at(index, row as u64);
            (0..LATENT).map(move |_| draws.normal() as f32).collect::<Vec<_>>()
        })
        .collect();
    Ok(Tensor::from_vec(values, (count, LATENT), device)?)
}

/// NHWC bytes of the images of latents `z (N,256)` and labels or codes `c (N, ...)`.
pub(crate) fn images_of(generator: &Generator, z: &Tensor, c: &Tensor) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = z.dim(0)?;
    for start in (0..count).step_by(TILE) {
        let rows = TILE.min(count - start);
        let images = generator.bytes(&z.narrow(0, start, rows)?, &c.narrow(0, start, rows)?)?;
        bytes.extend(images.flatten_all()?.to_vec1::<u8>()?);
    }
    Ok(bytes)
}

fn coded(code: &LabelCode, label: u32, count: usize) -> Result<Tensor> {
    code.of_labels(&Tensor::full(label, count, code.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::gradient_check::random;

    #[test]
    fn interpolation_starts_and_ends_at_its_images() -> Result<()> {
        let (first, second) = (random(&[1, 256], 1)?, random(&[1, 256], 2)?);
        let rows = interpolate(&first, &second, 5)?.to_vec2::<f64>()?;
        assert_eq!((&rows[0], &rows[4]), (&first.to_vec2()?[0], &second.to_vec2()?[0]));
        // The middle is the same from either side.
        assert_eq!(rows[2], interpolate(&second, &first, 5)?.to_vec2::<f64>()?[2]);
        let constant = interpolate(&first, &first, 3)?;
        assert!(constant.broadcast_sub(&first)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
        Ok(())
    }
}
