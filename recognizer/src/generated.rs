//! Generated images judged by a recognizer that took no part in making them.
//!
//! Every figure stands beside the same figure of real images that were held out, at equal sample
//! size: without it none of them means much.

mod new_people;
mod table;

pub use new_people::{NewPeople, judge_new, judge_new_by};

use crate::card::Recognizer;
use crate::embed::classify;
use crate::error::Result;
use crate::metrics::classification::{inception_score, softmax, top1};
use crate::metrics::distribution::{frechet_distance, kernel_distance};
use crate::metrics::identity::{
    Diversity, IdentityKept, Memorisation, diversity, identity_kept, memorisation, strangers,
};
use crate::metrics::roc::Threshold;
use crate::metrics::template::{Templates, templates};
use crate::metrics::verification::Similarity;
use crate::metrics::{Features, MetricError, even, finite, need};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Share of impostors above the threshold that "the same person" is judged by.
const FALSE_ACCEPT_RATE: f64 = 1e-3;
/// Images of the templates that are judged, where there are as many.
const TEMPLATE_IMAGES: [usize; 3] = [1, 5, 20];

/// Features with the class of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    features: Features,
    labels: Vec<u32>,
}

/// What a recognizer's classifier says of images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answers {
    /// Images judged.
    pub images: usize,
    /// Share of images of known identities that are classified as their own, in [0, 1]; absent
    /// when the recognizer knows none of them.
    pub top1: Option<f64>,
    /// Over all classes of the recognizer; best taken from one that knows none of the identities.
    pub inception_score: f64,
}

/// One set of images against the real reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// What the classifier says.
    #[serde(flatten)]
    pub answers: Answers,
    /// FID to the reference, in face features.
    pub frechet_distance: f64,
    /// KID to the reference, in face features.
    pub kernel_distance: f64,
    /// Closeness to the reference's class centres.
    pub identity: IdentityKept,
    /// Sets of 1, 5 and 20 images of an identity against all its reference images.
    pub templates: Vec<Templates>,
}

/// All that can be said of generated images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of the generated images.
    pub generated: Against,
    /// The same of held-out real images, as many: what perfection would score.
    pub held_out: Against,
    /// Variety within identities, generated over reference.
    pub diversity: Diversity,
    /// Distance to the nearest reference image, generated over held-out.
    pub memorisation: Memorisation,
    /// Cosine to a centre above which an image counts as that person: one in a thousand reference
    /// images reaches it with a stranger's centre.
    pub threshold: f64,
}

impl Labelled {
    /// # Errors
    /// More or fewer labels than features.
    pub fn new(features: Features, labels: Vec<u32>) -> Result<Self, MetricError> {
        even("a labelled set", ("features", features.len()), ("labels", labels.len()))?;
        Ok(Self { features, labels })
    }

    /// The features.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The class of each.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The same images with the classes of another list of names. Those that it doesn't name are
    /// left out.
    pub fn renamed(&self, names: &[String], other: &[String]) -> Result<Self, MetricError> {
        let classes: BTreeMap<&String, u32> = other.iter().zip(0..).collect();
        let class = |label: &u32| names.get(*label as usize).and_then(|name| classes.get(name)).copied();
        let mut renamed = self.pick(|row| class(&self.labels[row]).is_some())?;
        renamed.labels = self.labels.iter().filter_map(class).collect();
        Ok(renamed)
    }

    /// At most `images` of each of at most `people` people, the first ones. Who has a single image is left out: it
    /// agrees with nothing.
    ///
    /// # Errors
    /// None for a set that is whole.
    pub fn first(&self, people: usize, images: usize) -> Result<Self, MetricError> {
        let several = self.images_of_each().into_iter().filter(|&(_, count)| count >= 2);
        let shown: BTreeSet<u32> = several.map(|(label, _)| label).take(people).collect();
        let mut before = BTreeMap::<u32, usize>::new();
        let nth = self.labels.iter().map(|&label| {
            let seen = before.entry(label).or_default();
            *seen += 1;
            *seen
        });
        let nth: Vec<usize> = nth.collect();
        self.pick(|row| shown.contains(&self.labels[row]) && nth[row] <= images)
    }

    fn images_of_each(&self) -> BTreeMap<u32, usize> {
        let mut images = BTreeMap::new();
        self.labels.iter().for_each(|&label| *images.entry(label).or_default() += 1);
        images
    }

    /// The images of people whom another list of names lacks, with their labels as they are. People
    /// with a single image are left out: it agrees with nothing.
    pub fn strangers(&self, names: &[String], other: &[String]) -> Result<Self, MetricError> {
        let known: BTreeSet<&String> = other.iter().collect();
        let images = self.images_of_each();
        let is_new = |label: &u32| names.get(*label as usize).is_some_and(|name| !known.contains(name));
        let stranger = |label: &u32| is_new(label) && images.get(label).is_some_and(|&count| count >= 2);
        self.pick(|row| stranger(&self.labels[row]))
    }

    /// Every second image of each class, and the others.
    pub fn halves(&self) -> Result<(Self, Self), MetricError> {
        let mut seen = BTreeMap::<u32, usize>::new();
        let turns: Vec<bool> = self
            .labels
            .iter()
            .map(|&label| {
                let count = seen.entry(label).or_default();
                *count += 1;
                *count % 2 == 1
            })
            .collect();
        Ok((self.pick(|row| turns[row])?, self.pick(|row| !turns[row])?))
    }

    /// `count` rows spread evenly over the set, or all where there are fewer.
    ///
    /// # Errors
    /// None for a set that is whole.
    pub fn thinned(&self, count: usize) -> Result<Self, MetricError> {
        let len = self.labels.len();
        self.pick(|row| (row + 1) * count / len != row * count / len)
    }

    fn pick(&self, keep: impl Fn(usize) -> bool) -> Result<Self, MetricError> {
        let mut picked = Self { features: Features::new(self.features.dimension()), labels: Vec::new() };
        for (row, (feature, &label)) in self.features.rows().zip(&self.labels).enumerate() {
            if keep(row) {
                picked.features.extend(feature)?;
                picked.labels.push(label);
            }
        }
        Ok(picked)
    }
}

/// Top-1 and inception score. `known` gives, by label, the recognizer's class of that identity.
///
/// # Errors
/// No images, features that are not finite.
pub fn answers(recognizer: &Recognizer, images: &Labelled, known: &[Option<u32>]) -> Result<Answers> {
    let logits = classify(&recognizer.network, recognizer.device(), &images.features)?;
    let class = |label: &u32| known.get(*label as usize).copied().flatten();
    let (rows, classes): (Vec<&[f32]>, Vec<u32>) =
        logits.iter().zip(&images.labels).filter_map(|(row, label)| Some((row.as_slice(), class(label)?))).unzip();
    let top1 = if rows.is_empty() { None } else { Some(top1(rows.into_iter(), &classes)?) };
    let probabilities: Vec<Vec<f64>> = logits.iter().map(|row| softmax(row)).collect();
    Ok(Answers {
        images: images.labels.len(),
        top1,
        inception_score: inception_score(probabilities.iter().map(Vec::as_slice))?,
    })
}

/// All figures. Labels of the three sets are classes of one data set of `known.len()` identities;
/// `reference` are the images that the generator was trained on, `held_out` others of the same
/// people. Both sides are thinned to the same number, but for the variety within identities, which takes
/// all generated images.
///
/// # Errors
/// Sets too small for a covariance, labels without a name.
pub fn judge(
    recognizer: &Recognizer,
    known: &[Option<u32>],
    generated: &Labelled,
    reference: &Labelled,
    held_out: &Labelled,
) -> Result<Report> {
    let count = generated.labels.len().min(held_out.labels.len());
    need("a report on generated images", "images on each side", 2, count)?;
    // Variety is within identities: thinned, some would have a single image left.
    let all = generated;
    let (generated, held_out) = (generated.thinned(count)?, held_out.thinned(count)?);
    let centres = reference.features.class_centres(&reference.labels, known.len())?;
    let threshold = stranger_threshold(reference, &centres)?;
    let against = |images: &Labelled| -> Result<Against> {
        Ok(Against {
            answers: answers(recognizer, images, known)?,
            frechet_distance: frechet_distance(&images.features, &reference.features)?,
            kernel_distance: kernel_distance(&images.features, &reference.features)?,
            identity: identity_kept(&images.features, &images.labels, &centres, threshold)?,
            templates: templates_of(images, &centres)?,
        })
    };
    Ok(Report {
        generated: against(&generated)?,
        held_out: against(&held_out)?,
        diversity: diversity((&all.features, &all.labels), (&reference.features, &reference.labels))?,
        memorisation: memorisation(&generated.features, &held_out.features, &reference.features)?,
        threshold,
    })
}

/// The recognizer's class of each named identity.
pub fn known_classes<'a>(recognizer: &Recognizer, names: impl Iterator<Item = &'a str>) -> Vec<Option<u32>> {
    let classes: BTreeMap<&str, u32> = recognizer.card.class_names.iter().map(String::as_str).zip(0..).collect();
    names.map(|name| classes.get(name).copied()).collect()
}

fn templates_of(images: &Labelled, centres: &Features) -> Result<Vec<Templates>, MetricError> {
    let judged = TEMPLATE_IMAGES.map(|count| templates((&images.features, &images.labels), centres, count));
    judged.into_iter().filter_map(Result::transpose).collect()
}

/// The cosine to a stranger's centre that one reference image in a thousand reaches.
fn stranger_threshold(reference: &Labelled, centres: &Features) -> Result<f64, MetricError> {
    const FIGURE: &str = "a threshold between people";
    /// Images whose scores are held at a time.
    const PART: usize = 256;
    finite(FIGURE, reference.features.values().iter().copied().map(f64::from))?;
    let people: BTreeSet<u32> = reference.labels.iter().copied().collect();
    need(FIGURE, "people", 2, people.len())?;
    let mut threshold = Threshold::new(reference.labels.len() * (people.len() - 1), FALSE_ACCEPT_RATE);
    let rows: Vec<(&[f32], u32)> = reference.features.rows().zip(reference.labels.iter().copied()).collect();
    for part in rows.chunks(PART) {
        let scores = part.par_iter().flat_map_iter(|&(feature, label)| {
            strangers(centres, label).map(|centre| Similarity::Cosine.score(feature, centre))
        });
        threshold.extend(scores.collect::<Vec<f64>>());
    }
    // A thousandth of some scores is never all of them.
    Ok(threshold.value().unwrap_or(f64::NEG_INFINITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_images_of_the_first_people_who_have_several() -> Result<(), MetricError> {
        let labels = vec![3, 1, 0, 3, 2, 1, 3, 2, 1];
        let values = (0..labels.len()).map(|row| row as f32).collect();
        let all = Labelled::new(Features::from_values(values, 1)?, labels)?;
        let first = |people, images| -> Result<Vec<f32>, MetricError> {
            Ok(all.first(people, images)?.features().rows().map(|row| row[0]).collect())
        };
        // Nobody has a single image but 0.
        assert_eq!(first(2, 2)?, [1.0, 4.0, 5.0, 7.0]);
        assert_eq!(first(9, 9)?, [0.0, 1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        Ok(())
    }
}
