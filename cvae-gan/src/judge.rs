//! Faces made, before a recognizer that took no part in making them.

use crate::features::{features_of, go_on};
use crate::state::names;
use crate::trained::Trained;
use crate::{Error, Result};
use command::{Interrupt, Progress};
use dataset::Dataset;
use nets::checkpoint::digest_of;
use recognizer::generated::{self, Labelled, Report, known_classes};
use recognizer::metrics::Features;
use recognizer::{Recognizer, embed_pixels};

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
    /// Of the latents.
    pub seed: u64,
}

impl Trial<'_> {
    /// Makes the images and judges them. `progress` counts all images that are embedded.
    ///
    /// # Errors
    /// A data set of other identities, too few images for a figure, Ctrl-C.
    pub fn run(&self, progress: &Progress, interrupt: &Interrupt) -> Result<Report> {
        let Self { trained, judge, dataset, .. } = *self;
        check_names(trained, dataset)?;
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
        for (class, identity) in dataset.identities().iter().enumerate() {
            go_on(interrupt)?;
            // Who was withheld from the data is not made either.
            if identity.images > 0 {
                let bytes = trained.sample(class, self.per_identity, self.seed, class as u64)?;
                features.extend(&embed_pixels(&judge.network, judge.device(), trained.channels, &bytes)?)?;
                labels.extend(std::iter::repeat_n(class as u32, self.per_identity));
                progress.advance(self.per_identity as u64);
            }
        }
        let made = Labelled::new(features, labels)?;
        let known = known_classes(judge, trained.names.iter().map(String::as_str));
        Ok(generated::judge(judge, &known, &made, &reference, &held_out)?)
    }
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
