//! The identity filter: generated rows that don't look like the person they should show are made again.
//!
//! In rounds: all rows are looked at, those below the bound are made again with the next latent of their
//! own, looked at again, and so on. What becomes of a row depends on its own tries alone.

use super::faces::Faces;
use crate::{
    bundles::Loaded,
    error::Result,
    plan::{
        Row, Source,
        centres::{Centres, cosine},
        spec::Filter,
    },
    scheduler::{Face, Turn},
    served::Served,
};
use bytes::Bytes;
use nets::FEATURE;
use std::sync::Arc;

/// One try of a generated row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Try {
    /// Its image, before augmentation.
    pub(super) image: Bytes,
    /// Cosine with the person it should show, finite.
    pub(super) similarity: f32,
    /// The row half of its latent's counter.
    pub(super) latent_row: u32,
}

/// The generated rows of one batch, on their way through the filter.
struct Filtering {
    filter: Filter,
    /// Where each row's person lies.
    people: Vec<[f32; FEATURE]>,
    /// All rows of the batch, and which of them are generated.
    rows: Arc<Vec<Row>>,
    generated: Vec<usize>,
    faces: Faces,
    /// The best try of each row so far.
    best: Vec<Option<Try>>,
}

/// Rows that are made again, and what they are made from.
type Again = (Vec<usize>, Vec<Face>);

/// The accepted or best try of each generated row. `images` are those of the first tries.
///
/// # Errors
/// Those of generating.
pub(super) async fn filtered(
    served: &Served,
    bundle: &Loaded,
    turn: &Turn,
    filter: Filter,
    (rows, faces): (Arc<Vec<Row>>, Faces),
    mut images: Vec<Bytes>,
) -> Result<Vec<Try>> {
    let generated: Vec<usize> = (0..rows.len()).filter(|&nth| rows[nth].source != Source::Real).collect();
    let mut tried: Vec<usize> = (0..generated.len()).collect();
    let mut filtering =
        Filtering { filter, people: Vec::new(), best: vec![None; generated.len()], rows, generated, faces };
    let mut made_again = 0;
    for retry in 0..=filter.max_retries {
        let features = bundle.weights.embed(turn.clone(), images.clone()).await?;
        let centres = bundle.centres.clone();
        let judge = move || {
            filtering.find_people(&centres);
            let again = filtering.judge(retry, &tried, images, &features);
            Ok((filtering, again))
        };
        let (judged, (again, next)) = served.makers.run(judge).await?;
        filtering = judged;
        if again.is_empty() {
            break;
        }
        made_again += again.len();
        tried = again;
        images = bundle.weights.generate(turn.clone(), next).await?;
    }
    let tries: Vec<Try> = filtering.best.into_iter().flatten().collect();
    served.telemetry.filtered(filter.min_similarity, made_again, tries.iter().map(|best| best.similarity.into()));
    Ok(tries)
}

impl Filtering {
    /// Works out once where each row's person lies.
    fn find_people(&mut self, centres: &Centres) {
        if self.people.is_empty() {
            let person = |&nth: &usize| {
                let row = &self.rows[nth];
                centres.blend(&row.parents, self.faces.reach(row))
            };
            self.people = self.generated.iter().map(person).collect();
        }
    }

    /// Keeps the better tries, and says which rows are made again.
    fn judge(&mut self, retry: u32, tried: &[usize], images: Vec<Bytes>, features: &[f32]) -> Again {
        for ((&nth, image), feature) in tried.iter().zip(images).zip(features.chunks_exact(FEATURE)) {
            let similarity = similarity(feature, &self.people[nth]);
            // The earliest of equals stays.
            if self.best[nth].as_ref().is_none_or(|best| best.similarity < similarity) {
                let latent_row = self.faces.counter(nth, retry);
                self.best[nth] = Some(Try { image, similarity, latent_row });
            }
        }
        if retry == self.filter.max_retries || !self.faces.vary() {
            return Again::default();
        }
        let below = |nth: &usize| self.best[*nth].as_ref().is_none_or(|best| !self.filter.passes(best.similarity));
        let again: Vec<usize> = tried.iter().copied().filter(below).collect();
        let face = |&nth: &usize| self.faces.face(nth, &self.rows[self.generated[nth]], retry + 1);
        let faces = again.iter().map(face).collect();
        (again, faces)
    }
}

/// A cosine as it is sent: one that is no number is that of nobody at all.
fn similarity(feature: &[f32], person: &[f32]) -> f32 {
    match cosine(feature, person) as f32 {
        found if found.is_finite() => found.clamp(-1.0, 1.0),
        _ => -1.0,
    }
}
