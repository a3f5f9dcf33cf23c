//! How one batch of a stream is made: planned, its images decoded and generated, then put together.

use crate::{
    assemble::{self, Batch},
    bundles::Loaded,
    error::{Error, Result},
    gallery::Picture,
    plan::{Row, Source, latent, spec::Latent},
    scheduler::Face,
    served::Served,
    session::{Content, Stream},
};
use nets::{chance::Chance, pixels::IMAGE_SIZE};
use std::{sync::Arc, time::Instant};

/// What a batch's rows show.
struct Pictures {
    /// Images of the real rows.
    shown: Vec<Picture>,
    /// Pixels of the generated rows, one after the other.
    generated: Vec<u8>,
    /// Images that were encoded for the generated rows.
    encoded: Vec<Picture>,
}

impl Stream {
    /// Batch `index` by a bundle, with as much of it as the stream's content needs.
    pub(crate) async fn make(&self, served: &Arc<Served>, index: u64, bundle: &Arc<Loaded>) -> Result<Batch> {
        let (stream, telemetry) = (self.clone(), served.telemetry.clone());
        let plan = move || {
            let begun = Instant::now();
            let rows = stream.planner.rows(index, stream.rows.clone());
            telemetry.planned(begun.elapsed());
            telemetry.guarded(stream.planner.take_passed_over());
            let latents = match stream.content {
                Content::Whole | Content::Digests => stream.prior_latents(index, &rows),
                Content::PlanOnly => Vec::new(),
            };
            Ok((rows, latents))
        };
        let (rows, latents) = served.makers.run(plan).await?;
        match self.content {
            Content::Whole | Content::Digests => self.fill(served, index, bundle, rows, latents).await,
            Content::PlanOnly => Ok(Batch::planned(index, self.rows.start, &rows, bundle.digest())),
        }
    }

    /// The batch of planned rows: the real ones decoded and the others generated at the same time,
    /// then assembled.
    async fn fill(
        &self,
        served: &Arc<Served>,
        index: u64,
        bundle: &Arc<Loaded>,
        rows: Vec<Row>,
        latents: Vec<Vec<f32>>,
    ) -> Result<Batch> {
        let shown: Vec<u32> = images_of(&rows, |source| source == Source::Real);
        let (shown, (generated, encoded)) =
            tokio::try_join!(served.gallery.pictures(&shown), self.generate(served, index, bundle, &rows, latents))?;
        let (stream, serving, bundle) = (self.clone(), served.clone(), bundle.clone());
        let pictures = Pictures { shown, generated, encoded };
        served.makers.run(move || stream.compose(&serving, index, &bundle, rows, &pictures)).await
    }

    /// Latents of the generated rows, when they come from the prior.
    fn prior_latents(&self, index: u64, rows: &[Row]) -> Vec<Vec<f32>> {
        let Latent::Prior { truncation } = self.planner.spec().latent else { return Vec::new() };
        let chance = Chance::new(self.planner.spec().seed, latent::PURPOSE);
        let generated = rows.iter().filter(|row| row.source != Source::Real);
        generated.map(|row| latent::prior(&mut chance.at(index, row.number.into()), truncation)).collect()
    }

    /// Pixels of the generated rows, and the pictures that were encoded for them.
    async fn generate(
        &self,
        served: &Served,
        index: u64,
        bundle: &Loaded,
        rows: &[Row],
        mut latents: Vec<Vec<f32>>,
    ) -> Result<(Vec<u8>, Vec<Picture>)> {
        let mut encoded = Vec::new();
        if let Latent::Jitter { scale } = self.planner.spec().latent {
            encoded = served.gallery.pictures(&images_of(rows, |source| source != Source::Real)).await?;
            let encodings = bundle.encodings.of(&bundle.weights, self.turn.clone(), &encoded).await?;
            let chance = Chance::new(self.planner.spec().seed, latent::PURPOSE);
            let generated = rows.iter().filter(|row| row.source != Source::Real);
            latents = generated
                .zip(&encodings)
                .map(|(row, encoding)| latent::jitter(&mut chance.at(index, row.number.into()), encoding, scale))
                .collect();
        }
        let generated = rows.iter().filter(|row| row.source != Source::Real);
        let faces = generated.zip(latents).map(|(row, latent)| Face { parents: row.parents.clone(), latent }).collect();
        Ok((bundle.weights.generate(self.turn.clone(), faces).await?, encoded))
    }

    /// The finished batch of rows whose pixels are there.
    fn compose(
        &self,
        served: &Served,
        index: u64,
        bundle: &Loaded,
        mut rows: Vec<Row>,
        pictures: &Pictures,
    ) -> Result<Batch> {
        let begun = Instant::now();
        let channels = served.channels;
        let (mut shown, mut encoded) = (pictures.shown.iter(), pictures.encoded.iter());
        let mut generated = pictures.generated.chunks_exact(IMAGE_SIZE * IMAGE_SIZE * channels);
        let mut images: Vec<&[u8]> = Vec::with_capacity(rows.len());
        let mut replaced = Vec::new();
        let missing = || Error::Bug("a row's pixels are missing".into());
        for (nth, row) in rows.iter_mut().enumerate() {
            let picture = if row.source == Source::Real {
                let picture = shown.next().ok_or_else(missing)?;
                images.push(&picture.pixels);
                Some(picture)
            } else {
                images.push(generated.next().ok_or_else(missing)?);
                row.image.and_then(|_| encoded.next())
            };
            if let Some(picture) = picture.filter(|picture| row.image != Some(picture.number)) {
                row.image = Some(picture.number);
                replaced.push(nth as u32);
            }
        }
        let pixels = assemble::pixels(self.planner.spec(), index, &rows, &images, channels)?;
        served.telemetry.composed(begun.elapsed());
        served.telemetry.replaced(replaced.len());
        let begun = Instant::now();
        let batch = Batch { pixels, replaced, ..Batch::planned(index, self.rows.start, &rows, bundle.digest()) };
        let batch = batch.seal();
        served.telemetry.sealed(begun.elapsed());
        Ok(batch)
    }
}

/// The images of the rows of some sources that have one.
fn images_of(rows: &[Row], source: impl Fn(Source) -> bool) -> Vec<u32> {
    rows.iter().filter(|row| source(row.source)).filter_map(|row| row.image).collect()
}
