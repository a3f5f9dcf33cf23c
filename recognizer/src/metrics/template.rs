//! Sets of images as one: does what n images of a person have in common find the real person?

use super::features::{cosine, is_blank};
use super::identity::{by_class, strangers, template};
use super::roc::{Acceptance, Scores};
use super::{Features, MetricError};
use serde::Serialize;

/// False accept rates and false positive identification rates that are reported, where enough
/// templates allow it.
const FALSE_ACCEPT_RATES: [f64; 2] = [0.01, 0.001];
const FALSE_IDENTIFICATION_RATES: [f64; 2] = [0.1, 0.01];

/// Templates of some images of each identity against one real template of each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Templates {
    /// Images in each template.
    pub images: usize,
    /// Identities that have as many.
    pub identities: usize,
    /// Share of templates whose nearest real template is their own.
    pub rank1: f64,
    /// "Is this that person?" over all pairs of templates.
    pub verification: Vec<Acceptance>,
    /// "Who is this, if anybody known?"
    pub identification: Vec<Identification>,
}

/// The share of templates that find their person, when few of the unknown may be taken for somebody.
/// A template whose own person is left out of the gallery plays the unknown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Identification {
    /// Bound on the share of unknown people who are taken for somebody, in [0, 1].
    pub false_positive_rate: f64,
    /// Smallest cosine that keeps the bound.
    pub threshold: f64,
    /// Share of known people who are found: nearest to themselves, and no further than that.
    pub true_positive_rate: f64,
}

/// Judges the templates of the first `count` images of each class against the class centres of real
/// images ([`Features::class_centres`]). `None` where fewer than two classes have so many.
///
/// # Errors
/// More or fewer labels than images, features that are not finite.
pub fn templates(
    images: (&Features, &[u32]),
    centres: &Features,
    count: usize,
) -> Result<Option<Templates>, MetricError> {
    let (mut own, mut nearest, mut impostors) = (Vec::new(), Vec::new(), Vec::new());
    for (class, images) in by_class("templates", images)? {
        let centre = centres.rows().nth(class as usize).filter(|centre| !is_blank(centre));
        let (Some(centre), true) = (centre, images.len() >= count) else { continue };
        let mut first = Features::new(images.dimension());
        images.rows().take(count).try_for_each(|row| first.extend(row))?;
        let template = template(&first)?;
        let others: Vec<f64> = strangers(centres, class).map(|centre| cosine(&template, centre)).collect();
        own.push(cosine(&template, centre));
        nearest.push(others.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        impostors.extend(others);
    }
    if own.len() < 2 {
        return Ok(None);
    }
    let share = |found: &dyn Fn(f64, f64) -> bool| {
        own.iter().zip(&nearest).filter(|&(&own, &nearest)| found(own, nearest)).count() as f64 / own.len() as f64
    };
    let identification = Scores::new(own.clone(), nearest.clone())?.acceptances(&FALSE_IDENTIFICATION_RATES);
    Ok(Some(Templates {
        images: count,
        identities: own.len(),
        rank1: share(&|own, nearest| own > nearest),
        identification: identification
            .iter()
            .map(|at| Identification {
                false_positive_rate: at.false_accept_rate,
                threshold: at.threshold,
                true_positive_rate: share(&|own, nearest| own > nearest && own >= at.threshold),
            })
            .collect(),
        verification: Scores::new(own.clone(), impostors)?.acceptances(&FALSE_ACCEPT_RATES),
    }))
}
