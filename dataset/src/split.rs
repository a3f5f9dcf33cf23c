//! Training and held-out parts of a data set.
//!
//! Both splits are pure functions of a seed and of names: every identity or image draws its own
//! number from its name, and the smallest numbers are held out. So adding or removing one person
//! hardly moves the others from one part to the other.

use nets::chance::Chance;

use crate::error::{Error, Result};
use crate::set::Dataset;

/// Two disjoint parts, each sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// For training.
    pub train: Vec<usize>,
    /// For evaluation only.
    pub held_out: Vec<usize>,
}

/// Identity-disjoint: `held_out` identities for evaluation, the others for training. Both parts
/// hold classes, for [`Dataset::subset_of_identities`].
///
/// # Errors
/// When one of the parts would be empty.
pub fn by_identity(set: &Dataset, held_out: usize, seed: u64) -> Result<Split> {
    let classes: Vec<usize> = (0..set.identities().len()).filter(|&class| set.identities()[class].images > 0).collect();
    if held_out == 0 || held_out >= classes.len() {
        return Err(Error::TooFew(format!(
            "expected to hold out between 1 and {} of {} identities, found {held_out}",
            classes.len().saturating_sub(1),
            classes.len()
        )));
    }
    Ok(smallest(classes, held_out, |class| number(seed, "split/identity", &set.identities()[class].name)))
}

/// Per identity: a share of each identity's images is held out, at least one and never all; an
/// identity with one image is only trained on. Both parts hold image indices, for
/// [`Dataset::subset`].
///
/// # Errors
/// When `share` is not between 0 and 1, or no identity has two images.
pub fn by_image(set: &Dataset, share: f64, seed: u64) -> Result<Split> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::TooFew(format!("expected a held-out share between 0 and 1, found {share}")));
    }
    let mut split = Split { train: Vec::new(), held_out: Vec::new() };
    for identity in set.identities() {
        let images = identity.first_image..identity.first_image + identity.images;
        let held_out = match identity.images {
            0 | 1 => 0,
            count => ((count as f64 * share).round() as usize).clamp(1, count - 1),
        };
        let part = smallest(images.collect(), held_out, |image| number(seed, "split/image", set.image_path(image)));
        split.train.extend(part.train);
        split.held_out.extend(part.held_out);
    }
    if split.held_out.is_empty() {
        return Err(Error::TooFew("expected an identity with at least 2 images to hold one out, found none".into()));
    }
    Ok(split)
}

fn smallest(mut items: Vec<usize>, held_out: usize, number: impl Fn(usize) -> u64) -> Split {
    items.sort_by_cached_key(|&item| (number(item), item));
    let mut train = items.split_off(held_out);
    items.sort_unstable();
    train.sort_unstable();
    Split { train, held_out: items }
}

fn number(seed: u64, purpose: &str, name: &str) -> u64 {
    Chance::new(seed, &format!("{purpose}/{name}")).at(0, 0).next_u64()
}
