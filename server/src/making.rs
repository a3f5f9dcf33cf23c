//! How one batch of a stream is made: planned, its images decoded and generated, then put together.
//!
//! [`faces`] says from what each row is generated, [`filter`] makes again what doesn't look like the
//! person it should show.

mod faces;
mod filter;

use crate::{
    assemble::{self, Batch},
    bundles::{Loaded, declared::Course},
    error::{Error, Result},
    gallery::Picture,
    plan::{Row, Source, spec::Latent, table::Table},
    scheduler::Face,
    served::Served,
    session::{Content, Stream},
};
use bytes::Bytes;
use faces::Faces;
use filter::Try;
use nets::pixels::IMAGE_SIZE;
use std::{sync::Arc, time::Instant};

/// What a batch's rows show.
struct Pictures {
    /// Images of the real rows.
    shown: Vec<Picture>,
    generated: Generated,
    /// Images that were encoded for the generated rows.
    encoded: Vec<Picture>,
}

/// What makes a batch.
#[derive(Clone)]
pub(crate) struct By {
    pub(crate) bundle: Arc<Loaded>,
    pub(crate) table: Option<Arc<Table>>,
}

/// What the generated rows of a batch are generated from.
struct Drawn {
    first: Vec<Face>,
    /// For further tries.
    faces: Faces,
}

/// What the generated rows show.
enum Generated {
    /// The image of each.
    Plain(Vec<Bytes>),
    /// What the identity filter let through.
    Filtered(Vec<Try>),
}

impl By {
    /// What makes batch `index` by a course.
    pub(crate) fn at(course: &Course, index: u64) -> Self {
        Self { bundle: course.bundles.at(index).clone(), table: course.tables.at(index).clone() }
    }

    /// Digest of the sampling table; empty without one.
    pub(crate) fn table_digest(&self) -> &str {
        self.table.as_ref().map_or("", |table| table.digest())
    }

    fn planned(&self, index: u64, first_row: u32, rows: &[Row]) -> Batch {
        Batch::planned(index, first_row, rows, self.bundle.digest(), self.table_digest())
    }
}

impl Stream {
    /// Batch `index`, with as much of it as the stream's content needs.
    pub(crate) async fn make(self: &Arc<Self>, served: &Arc<Served>, index: u64, by: &By) -> Result<Batch> {
        let (stream, telemetry, table) = (self.clone(), served.telemetry.clone(), by.table.clone());
        // Where they need no encodings, latents are drawn while it is planned.
        let draws = self.content != Content::PlanOnly && !self.encodes();
        let plan = move || {
            let begun = Instant::now();
            let rows = stream.planner.rows_by(table.as_deref(), index, stream.rows.clone());
            telemetry.planned(begun.elapsed());
            telemetry.guarded(stream.planner.take_passed_over());
            let drawn = draws.then(|| stream.draw(index, &rows, Vec::new()));
            Ok((rows, drawn))
        };
        let (rows, drawn) = served.makers.run(plan).await?;
        match self.content {
            Content::Whole | Content::Digests => self.fill(served, index, by, rows, drawn).await,
            Content::PlanOnly => Ok(by.planned(index, self.rows.start, &rows)),
        }
    }

    /// The batch of planned rows: the real ones decoded and the others generated at the same time,
    /// then assembled.
    async fn fill(
        self: &Arc<Self>,
        served: &Arc<Served>,
        index: u64,
        by: &By,
        rows: Vec<Row>,
        drawn: Option<Drawn>,
    ) -> Result<Batch> {
        let shown: Vec<u32> = images_of(&rows, |source| source == Source::Real);
        let rows = Arc::new(rows);
        let (shown, (generated, encoded)) =
            tokio::try_join!(served.gallery.pictures(&shown), self.generate(served, index, &by.bundle, &rows, drawn))?;
        let (stream, serving, by) = (self.clone(), served.clone(), by.clone());
        let pictures = Pictures { shown, generated, encoded };
        served.makers.run(move || stream.compose(&serving, index, &by, Arc::unwrap_or_clone(rows), &pictures)).await
    }

    /// The generated rows, and the pictures that were encoded for them.
    async fn generate(
        self: &Arc<Self>,
        served: &Served,
        index: u64,
        bundle: &Loaded,
        rows: &Arc<Vec<Row>>,
        drawn: Option<Drawn>,
    ) -> Result<(Generated, Vec<Picture>)> {
        if rows.iter().all(|row| row.source == Source::Real) {
            let none = match self.planner.spec().filter {
                None => Generated::Plain(Vec::new()),
                Some(_) => Generated::Filtered(Vec::new()),
            };
            return Ok((none, Vec::new()));
        }
        let (encoded, Drawn { first, faces }) = match drawn {
            Some(drawn) => (Vec::new(), drawn),
            None => {
                let encoded = served.gallery.pictures(&images_of(rows, |source| source != Source::Real)).await?;
                let encodings = bundle.encodings.of(&bundle.weights, self.turn.clone(), &encoded).await?;
                let (stream, planned) = (self.clone(), rows.clone());
                (encoded, served.makers.run(move || Ok(stream.draw(index, &planned, encodings))).await?)
            }
        };
        let images = bundle.weights.generate(self.turn.clone(), first).await?;
        let generated = match self.planner.spec().filter {
            None => Generated::Plain(images),
            Some(bound) => {
                let of = (rows.clone(), faces);
                Generated::Filtered(filter::filtered(served, bundle, &self.turn, bound, of, images).await?)
            }
        };
        Ok((generated, encoded))
    }

    /// Whether images are encoded for the latents of generated rows.
    fn encodes(&self) -> bool {
        matches!(self.planner.spec().latent, Latent::Jitter { .. })
    }

    /// What the generated rows are generated from; `encodings` of the images that were encoded for them.
    fn draw(&self, index: u64, rows: &[Row], encodings: Vec<Arc<[f32]>>) -> Drawn {
        let faces = Faces::new(self.planner.spec(), index, rows, encodings);
        let generated = rows.iter().filter(|row| row.source != Source::Real).enumerate();
        let first = |(nth, row): (usize, &Row)| faces.face(nth, row, 0);
        Drawn { first: generated.map(first).collect(), faces }
    }

    /// The finished batch of rows whose pixels are there.
    fn compose(&self, served: &Served, index: u64, by: &By, mut rows: Vec<Row>, pictures: &Pictures) -> Result<Batch> {
        let begun = Instant::now();
        let channels = served.channels;
        let (mut shown, mut encoded) = (pictures.shown.iter(), pictures.encoded.iter());
        let mut generated = pictures.generated.images();
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
        let spec = self.planner.spec();
        let mut buffer = served.buffers.take(rows.len() * IMAGE_SIZE * IMAGE_SIZE * spec.channels);
        assemble::pixels(spec, index, &rows, &images, channels, &mut buffer)?;
        served.telemetry.composed(begun.elapsed());
        served.telemetry.replaced(replaced.len());
        let begun = Instant::now();
        let batch = Batch { pixels: buffer.freeze(), replaced, ..by.planned(index, self.rows.start, &rows) };
        let batch = self.judged(batch, &pictures.generated).seal();
        served.telemetry.sealed(begun.elapsed());
        Ok(batch)
    }

    /// A batch with what the identity filter found, if there is one.
    fn judged(&self, mut batch: Batch, generated: &Generated) -> Batch {
        let (Some(filter), Generated::Filtered(tries)) = (self.planner.spec().filter, generated) else {
            return batch;
        };
        batch.similarities = vec![0.0; batch.sources.len()];
        let generated = (0..batch.sources.len()).filter(|&nth| batch.sources[nth] != Source::Real);
        for (nth, best) in generated.zip(tries) {
            batch.similarities[nth] = best.similarity;
            batch.latent_rows[nth] = best.latent_row;
            if !filter.passes(best.similarity) {
                batch.doubtful.push(nth as u32);
            }
        }
        if !batch.doubtful.is_empty() {
            // By person, which would be too many labels for a metric.
            let people: Vec<u32> = batch.doubtful.iter().map(|&nth| batch.labels[nth as usize]).collect();
            tracing::debug!(index = batch.index, ?people, "no try of these was good enough");
        }
        batch
    }
}

impl Generated {
    /// The image of each row.
    fn images(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match self {
            Self::Plain(images) => Box::new(images.iter().map(|image| &**image)),
            Self::Filtered(tries) => Box::new(tries.iter().map(|best| &*best.image)),
        }
    }
}

/// The images of the rows of some sources that have one.
fn images_of(rows: &[Row], source: impl Fn(Source) -> bool) -> Vec<u32> {
    rows.iter().filter(|row| source(row.source)).filter_map(|row| row.image).collect()
}
