//! Whether identity hides in the latent: real faces drawn again as somebody else.
//!
//! E is not told whom an image shows, but nothing keeps it from writing that into the latent. Then
//! the label says little, and an image made from a real one under another's name shows the wrong
//! person.

use super::{Trial, shown};
use crate::Result;
use crate::features::{first_images_of, go_on};
use candle_core::DType;
use command::{Interrupt, Progress};
use nets::chance::Chance;
use nets::{Encoder, pixels};
use recognizer::embed_pixels;
use recognizer::metrics::Features;
use recognizer::metrics::verification::Similarity;
use serde::Serialize;

/// Images made from the latents of real ones, under the label of another identity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Swapped {
    /// How many.
    pub images: usize,
    /// Share that lie nearest to the real images of the person asked for, as all should.
    pub as_asked: f64,
    /// Share that lie nearest to those of the person in the image that the latent came from, as
    /// none should.
    pub as_encoded: f64,
}

/// A real image drawn again under another's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redrawn {
    /// Class of the person in the image that the latent came from.
    pub encoded: usize,
    /// Class of the person asked for.
    pub asked: usize,
    /// Class of the person whose real images lie nearest.
    pub nearest: usize,
}

impl Trial<'_> {
    /// How many images [`Trial::swapped`] makes.
    pub(super) fn swapped_images(&self) -> u64 {
        let encoder = self.trained.encoder.is_some();
        let of = |identity| first_images_of(identity, self.per_identity).len() as u64;
        if encoder { self.dataset.identities().iter().map(of).sum() } else { 0 }
    }

    /// How often which of the two people is found.
    pub(super) fn swapped(
        &self,
        encoder: &Encoder,
        centres: &Features,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Swapped> {
        let redrawn = self.redrawn(encoder, centres, progress, interrupt)?;
        let images = redrawn.len();
        let share =
            |found: fn(&Redrawn) -> bool| redrawn.iter().filter(|image| found(image)).count() as f64 / images as f64;
        let as_asked = share(|image| image.nearest == image.asked);
        Ok(Swapped { images, as_asked, as_encoded: share(|image| image.nearest == image.encoded) })
    }

    /// Takes the mean latent of each image, and another identity for it by chance. `centres` are
    /// those of real images. `progress` counts images.
    ///
    /// # Errors
    /// An image that can't be read, Ctrl-C.
    pub fn redrawn(
        &self,
        encoder: &Encoder,
        centres: &Features,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Vec<Redrawn>> {
        let Self { trained, judge, dataset, .. } = *self;
        let classes = shown(dataset);
        let centre_rows: Vec<&[f32]> = centres.rows().collect();
        let chance = Chance::new(self.seed, "cvae-gan/swapped label");
        let mut redrawn = Vec::new();
        for (position, &class) in classes.iter().enumerate() {
            go_on(interrupt)?;
            let chosen = first_images_of(&dataset.identities()[class], self.per_identity);
            let asked: Vec<usize> = (0..chosen.len() as u64)
                .map(|row| {
                    let others = (classes.len() - 1) as u64;
                    let step = 1 + chance.at(class as u64, row).below(others) as usize;
                    classes[(position + step) % classes.len()]
                })
                .collect();
            let mut features = Vec::new();
            for (image, &asked) in chosen.zip(&asked) {
                let bytes = dataset.read(image)?.into_pixels();
                let x = pixels::to_signed(&bytes, 1, trained.channels, DType::F32, trained.device())?;
                let bytes = trained.draw(&encoder.forward(&x)?.mu, &trained.person(asked)?)?;
                features.extend(embed_pixels(&judge.network, judge.device(), trained.channels, &bytes)?);
            }
            for (feature, &asked) in Features::from_values(features, nets::FEATURE)?.rows().zip(&asked) {
                let closeness = |class: &usize| Similarity::Cosine.score(feature, centre_rows[*class]);
                let nearest = classes.iter().copied().max_by(|a, b| closeness(a).total_cmp(&closeness(b)));
                if let Some(nearest) = nearest {
                    redrawn.push(Redrawn { encoded: class, asked, nearest });
                }
            }
            progress.advance(asked.len() as u64);
        }
        Ok(redrawn)
    }
}
