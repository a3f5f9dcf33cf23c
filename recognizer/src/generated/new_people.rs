//! People whom the real images lack: is each a person of its own?

use super::{Labelled, stranger_threshold};
use crate::error::Result;
use crate::metrics::Features;
use crate::metrics::identity::{NewIdentities, new_identities};
use command::human::percent;
use serde::Serialize;

/// Figures of new people, and what they are of real ones who have two images: of as many, with as many images, if there
/// are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NewPeople {
    /// Of the new people.
    #[serde(flatten)]
    pub new: NewIdentities,
    /// How many real people there were. Among more people more are near another.
    pub real_people: usize,
    /// Mean cosine between two real images of one person.
    pub real_consistency: Option<f64>,
    /// Share of real people who aren't near another real one.
    pub real_apart: Option<f64>,
}

/// Whether images of people whom `reference` lacks show people of their own. Labels of `reference`
/// lie below `classes`; those of `images` count among themselves.
///
/// # Errors
/// No new person with two images, fewer than two people in the reference.
pub fn judge_new(images: &Labelled, reference: &Labelled, classes: usize) -> Result<NewPeople> {
    let centres = reference.features().class_centres(reference.labels(), classes)?;
    let threshold = stranger_threshold(reference, &centres)?;
    judge_new_by(images, reference, &centres, threshold)
}

/// The same by `centres` of real people, and the cosine above which two are the same person; `real` are other images of
/// them, or the same.
///
/// # Errors
/// No new person with two images, no centre.
pub fn judge_new_by(images: &Labelled, real: &Labelled, centres: &Features, threshold: f64) -> Result<NewPeople> {
    let new = new_identities((images.features(), images.labels()), centres, threshold)?;
    let images_of_one = images.images_of_each().into_values().max().unwrap_or(0);
    // Images of which nobody has two leave nothing to compare with.
    let real = real.first(new.identities, images_of_one)?;
    let of_real = new_identities((real.features(), real.labels()), centres, threshold).ok();
    Ok(NewPeople {
        new,
        real_people: of_real.map_or(0, |figures| figures.identities),
        real_consistency: of_real.map(|figures| figures.consistency),
        real_apart: of_real.map(|figures| figures.apart),
    })
}

impl NewPeople {
    /// A line for people, which begins with what they are called.
    pub fn line(&self, called: &str) -> String {
        let Self { new, real_people, real_consistency, real_apart } = self;
        let beside =
            |real: Option<String>| real.map_or(String::new(), |real| format!(" ({real_people} real people: {real})"));
        format!(
            "{} {called}: {} like nobody real, {} like none of the others{}; cosine between images of one {:.3}{}",
            new.identities,
            percent(new.distinct),
            percent(new.apart),
            beside(real_apart.map(percent)),
            new.consistency,
            beside(real_consistency.map(|cosine| format!("{cosine:.3}"))),
        )
    }
}
