//! Faces made, before a recognizer that took no part in making them: those of the people that the
//! generator knows, of people `blended` from them, and real faces `swapped` to another's name.

mod blended;
mod swapped;

pub use swapped::{Redrawn, Swapped};

use crate::features::{features_of, first_images, go_on};
use crate::state::names;
use crate::trained::Trained;
use crate::{Error, Result};
use command::human::percent;
use command::{Interrupt, Progress};
use dataset::Dataset;
use nets::checkpoint::digest_of;
use recognizer::generated::{self, Labelled, NewPeople, Report, known_classes};
use recognizer::metrics::Features;
use recognizer::{Recognizer, embed_pixels};
use serde::Serialize;
use std::fmt::Write;

/// What is judged, by whom, beside what.
pub struct Trial<'a> {
    /// Makes the faces.
    pub trained: &'a Trained,
    /// Took no part in that.
    pub judge: &'a Recognizer,
    /// Real images of the same people.
    pub dataset: &'a Dataset,
    /// Other images of them; without these one half of the real images stands apart.
    pub held_out: Option<&'a Dataset>,
    /// Images made of each identity.
    pub per_identity: usize,
    /// Identities that are blended from others and judged as well, with as many images each.
    pub blended: usize,
    /// How far they are led away from the average person, by [`reach`](dataset::blended::label::reach).
    pub blended_spread: f64,
    /// Of the latents.
    pub seed: u64,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// On new images of the identities.
    pub images: Report,
    /// On real images under another's name; absent without an encoder.
    pub swapped: Option<Swapped>,
    /// On blended identities, where some were asked for.
    pub blended: Option<NewPeople>,
}

impl Trial<'_> {
    /// How many images [`Trial::run`] looks at.
    pub fn images(&self) -> u64 {
        let real: usize = std::iter::once(self.dataset).chain(self.held_out).map(|data| first_images(data).len()).sum();
        let made = (shown(self.dataset).len() + self.blended) * self.per_identity;
        (real + made) as u64 + self.swapped_images()
    }

    /// Makes the images and judges them. `progress` counts [`Trial::images`].
    ///
    /// # Errors
    /// A data set of other identities, fewer than two of them, too few images for a figure, Ctrl-C.
    pub fn run(&self, progress: &Progress, interrupt: &Interrupt) -> Result<Verdict> {
        let Self { trained, judge, dataset, .. } = *self;
        check_names(trained, dataset)?;
        let classes = shown(dataset);
        if classes.len() < 2 {
            return Err(Error::Data {
                path: dataset.path().to_owned(),
                expected: "images of at least 2 identities to tell apart".to_owned(),
                found: classes.len().to_string(),
            });
        }
        let real = features_of(judge, dataset, progress, interrupt)?;
        let (reference, held_out) = match self.held_out {
            Some(held_out) => {
                let others = features_of(judge, held_out, progress, interrupt)?;
                (real, others.renamed(&names(held_out), &trained.names)?)
            }
            None => real.halves()?,
        };

        let mut features = Features::new(nets::FEATURE);
        let mut labels = Vec::new();
        for class in classes {
            go_on(interrupt)?;
            let bytes = trained.sample(class, self.per_identity, self.seed, class as u64)?;
            features.extend(&embed_pixels(&judge.network, judge.device(), trained.channels, &bytes)?)?;
            labels.extend(std::iter::repeat_n(class as u32, self.per_identity));
            progress.advance(self.per_identity as u64);
        }
        let made = Labelled::new(features, labels)?;
        let known = known_classes(judge, trained.names.iter().map(String::as_str));
        let images = generated::judge(judge, &known, &made, &reference, &held_out)?;

        let centres = reference.features().class_centres(reference.labels(), trained.names.len())?;
        let encoder = trained.encoder.as_ref();
        let swapped = encoder.map(|encoder| self.swapped(encoder, &centres, progress, interrupt)).transpose()?;
        let real = (&centres, &held_out, images.threshold);
        let blended = (self.blended > 0).then(|| self.blended(real, progress, interrupt)).transpose()?;
        Ok(Verdict { images, swapped, blended })
    }
}

impl Verdict {
    /// For people: a table and a line for each further finding.
    pub fn text(&self) -> String {
        let mut text = self.images.table("made");
        // Writing to a string can't fail.
        if let Some(Swapped { images, as_asked, as_encoded }) = self.swapped {
            let (asked, encoded) = (percent(as_asked), percent(as_encoded));
            let _ = write!(
                text,
                "\n{images} real images drawn again under another's name: {asked} nearest to that person, {encoded} \
                 still to the one in the image"
            );
        }
        if let Some(blended) = &self.blended {
            let _ = write!(text, "\n{}", blended.line("blended identities"));
        }
        text
    }
}

/// Classes that have images. Who was withheld from the data is not made either.
fn shown(dataset: &Dataset) -> Vec<usize> {
    let identities = dataset.identities().iter().enumerate();
    identities.filter(|(_, identity)| identity.images > 0).map(|(class, _)| class).collect()
}

/// Whether the judge is the very network that training used: its verdict then flatters.
///
/// # Errors
/// Only of tensors that can't be read.
pub fn took_part(trained: &Trained, judge: &Recognizer) -> Result<bool> {
    Ok(trained.identity_digest == Some(digest_of(&judge.weights)?))
}

fn check_names(trained: &Trained, dataset: &Dataset) -> Result<()> {
    let found = names(dataset);
    if found == trained.names {
        return Ok(());
    }
    let different = found.iter().filter(|name| !trained.names.contains(name)).count();
    Err(Error::Data {
        path: dataset.path().to_owned(),
        expected: format!("the {} identities that the generator was trained on", trained.names.len()),
        found: format!("{} identities, {different} of them others", found.len()),
    })
}
