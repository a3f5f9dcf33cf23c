//! Do generated faces keep an identity, vary within it, and differ from the training images?

use super::features::{cosine, distance, dot, is_blank};
use super::{Features, MetricError, even, mean, median, need};
use rayon::prelude::*;
use serde::Serialize;

/// How well images keep the identity they were made for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct IdentityKept {
    /// Mean cosine to the centre of the own class.
    pub own_cosine: f64,
    /// Mean of the own cosine less the highest cosine to another class's centre.
    pub margin: f64,
    /// Share of images whose own cosine is above the threshold.
    pub consistency: f64,
}

/// Compares images with the centres of the classes they were made for.
///
/// `centres` are normalised class means of real features ([`Features::class_centres`]); blank ones
/// are no one's, and images of such a class are left out. `threshold` is the cosine at which one in a thousand impostor pairs is accepted
/// ([`super::roc::Scores::acceptance`]).
///
/// # Errors
/// No images, fewer than two centres, a label without a centre, other dimensions.
pub fn identity_kept(
    generated: &Features,
    labels: &[u32],
    centres: &Features,
    threshold: f64,
) -> Result<IdentityKept, MetricError> {
    const FIGURE: &str = "identity kept";
    need(FIGURE, "class centres", 2, centres.rows().filter(|centre| !is_blank(centre)).count())?;
    even(FIGURE, ("images", generated.len()), ("labels", labels.len()))?;
    even(FIGURE, ("dimensions of images", generated.dimension()), ("of centres", centres.dimension()))?;
    let (mut count, mut own, mut margins, mut above) = (0usize, 0.0, 0.0, 0usize);
    for (row, &label) in generated.rows().zip(labels) {
        let Some(centre) = centres.rows().nth(label as usize) else {
            return Err(MetricError::UnknownClass { figure: FIGURE, classes: centres.len(), found: label });
        };
        if is_blank(centre) {
            continue;
        }
        let own_cosine = cosine(row, centre);
        let nearest = strangers(centres, label).map(|centre| cosine(row, centre)).fold(f64::NEG_INFINITY, f64::max);
        count += 1;
        own += own_cosine;
        margins += own_cosine - nearest;
        above += usize::from(own_cosine > threshold);
    }
    need(FIGURE, "images of classes with a centre", 1, count)?;
    let count = count as f64;
    Ok(IdentityKept { own_cosine: own / count, margin: margins / count, consistency: above as f64 / count })
}

/// The centres of all other classes that have one.
pub(crate) fn strangers(centres: &Features, label: u32) -> impl Iterator<Item = &[f32]> {
    let others = centres.rows().enumerate().filter(move |&(class, _)| class != label as usize);
    others.map(|(_, centre)| centre).filter(|centre| !is_blank(centre))
}

/// Variety within identities, relative to real images of the same identities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Diversity {
    /// Mean over identities of the spread of normalised features, generated over real: 0.8 to 1.1
    /// is good, below 0.5 is collapse.
    pub spread_ratio: f64,
    /// Mean distance between two images of one identity, generated over real.
    pub distance_ratio: f64,
    /// Identities with at least two images on both sides.
    pub identities: usize,
}

/// Compares the variety of generated images with that of real ones, identity by identity.
///
/// # Errors
/// No identity with two images on both sides, more or fewer labels than images.
pub fn diversity(generated: (&Features, &[u32]), real: (&Features, &[u32])) -> Result<Diversity, MetricError> {
    const FIGURE: &str = "diversity";
    let generated = by_class(FIGURE, generated)?;
    let real = by_class(FIGURE, real)?;
    let both: Vec<(&Features, &Features)> = generated
        .iter()
        .filter_map(|(class, generated)| Some((generated, real.get(class)?)))
        .filter(|(generated, real)| generated.len() >= 2 && real.len() >= 2)
        .collect();
    need(FIGURE, "identities with two images on both sides", 1, both.len())?;
    let ratio = |figure: fn(&Features) -> f64| {
        mean(both.iter().map(|(generated, _)| figure(generated))) / mean(both.iter().map(|(_, real)| figure(real)))
    };
    Ok(Diversity { spread_ratio: ratio(spread), distance_ratio: ratio(mean_distance), identities: both.len() })
}

/// Root mean square distance of normalised features from their mean.
pub fn spread(features: &Features) -> f64 {
    let rows = features.normalized();
    let count = rows.len() as f64;
    let centre: Vec<f32> = (0..rows.dimension())
        .map(|column| (rows.rows().map(|row| f64::from(row[column])).sum::<f64>() / count) as f32)
        .collect();
    mean(rows.rows().map(|row| distance(row, &centre).powi(2))).sqrt()
}

fn mean_distance(features: &Features) -> f64 {
    let rows = features.normalized();
    let rows: Vec<&[f32]> = rows.rows().collect();
    let pairs =
        rows.iter().enumerate().flat_map(|(first, left)| rows[first + 1..].iter().map(move |right| (left, right)));
    mean(pairs.map(|(left, right)| distance(left, right)))
}

/// Whether generated images are copies of training images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memorisation {
    /// Median distance of a generated image from its nearest training image.
    pub generated_median: f64,
    /// The same for real images that were held out.
    pub held_out_median: f64,
    /// The first over the second: well under 1 means copying.
    pub ratio: f64,
}

/// Compares nearest-neighbour distances (normalised features) to the training images.
///
/// # Errors
/// An empty set, other dimensions.
pub fn memorisation(
    generated: &Features,
    held_out: &Features,
    training: &Features,
) -> Result<Memorisation, MetricError> {
    const FIGURE: &str = "memorisation";
    need(FIGURE, "images in each set", 1, generated.len().min(held_out.len()).min(training.len()))?;
    even(FIGURE, ("dimensions of generated", generated.dimension()), ("of training", training.dimension()))?;
    even(FIGURE, ("dimensions of held-out", held_out.dimension()), ("of training", training.dimension()))?;
    let training = training.normalized();
    let nearest = |images: &Features| {
        let images = images.normalized();
        let rows: Vec<&[f32]> = images.rows().collect();
        let distances: Vec<f64> = rows
            .par_iter()
            .map(|row| training.rows().map(|other| distance(row, other)).fold(f64::INFINITY, f64::min))
            .collect();
        median(distances)
    };
    let (generated_median, held_out_median) = (nearest(generated), nearest(held_out));
    Ok(Memorisation { generated_median, held_out_median, ratio: generated_median / held_out_median })
}

/// Whether blended identities are people of their own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NewIdentities {
    /// Share of new identities whose centre stays below the threshold to every existing centre.
    pub distinct: f64,
    /// Share of new identities whose centre stays below it to every other new identity's centre: the fewer, the more there
    /// are. Worth something beside the same figure of as many real people.
    pub apart: f64,
    /// Mean cosine between two images of one new identity.
    pub consistency: f64,
    /// New identities with at least two images.
    pub identities: usize,
}

/// Judges images of new identities: all three figures must hold, or their labels are noise. What they can be is what
/// they are for images of real people.
///
/// # Errors
/// No new identity with two images, no existing centre, other dimensions.
pub fn new_identities(
    images: (&Features, &[u32]),
    existing_centres: &Features,
    threshold: f64,
) -> Result<NewIdentities, MetricError> {
    const FIGURE: &str = "new identities";
    need(FIGURE, "existing centres", 1, existing_centres.len())?;
    even(FIGURE, ("dimensions of images", images.0.dimension()), ("of centres", existing_centres.dimension()))?;
    let mut classes = by_class(FIGURE, images)?;
    classes.retain(|_, images| images.len() >= 2);
    need(FIGURE, "new identities with two images", 1, classes.len())?;
    let templates = classes.values().map(template).collect::<Result<Vec<_>, _>>()?;
    // Templates and centres have length 1.
    let is_near = |template: &[f32], other: &[f32]| dot(template, other) >= threshold;
    let existing: Vec<&[f32]> = existing_centres.rows().filter(|centre| !is_blank(centre)).collect();
    let others = |nth: usize| templates[..nth].iter().chain(&templates[nth + 1..]);
    let near_existing = |template: &[f32]| existing.iter().any(|centre| is_near(template, centre));
    let near_another = |nth: usize| others(nth).any(|other| is_near(&templates[nth], other));
    let consistency = |images: &Features| {
        let rows: Vec<&[f32]> = images.rows().collect();
        let pairs =
            rows.iter().enumerate().flat_map(|(first, left)| rows[first + 1..].iter().map(move |right| (left, right)));
        mean(pairs.map(|(left, right)| cosine(left, right)))
    };
    let share = |count: usize| count as f64 / templates.len() as f64;
    Ok(NewIdentities {
        distinct: share(templates.par_iter().filter(|template| !near_existing(template)).count()),
        apart: share((0..templates.len()).into_par_iter().filter(|&nth| !near_another(nth)).count()),
        consistency: mean(classes.values().map(consistency)),
        identities: templates.len(),
    })
}

/// One feature for a set of images of one person: the normalised mean of normalised features.
///
/// # Errors
/// An empty set.
pub fn template(images: &Features) -> Result<Vec<f32>, MetricError> {
    need("a template", "images", 1, images.len())?;
    Ok(images.class_centres(&vec![0; images.len()], 1)?.values().to_vec())
}

pub(super) fn by_class(
    figure: &'static str,
    (features, labels): (&Features, &[u32]),
) -> Result<std::collections::BTreeMap<u32, Features>, MetricError> {
    even(figure, ("images", features.len()), ("labels", labels.len()))?;
    let mut classes = std::collections::BTreeMap::new();
    for (row, &label) in features.rows().zip(labels) {
        classes.entry(label).or_insert_with(|| Features::new(features.dimension())).extend(row)?;
    }
    Ok(classes)
}
