//! Faces made, before a recognizer that took no part in making them.

use crate::state::names;
use crate::trained::Trained;
use crate::{Error, Result};
use candle_core::Tensor;
use dataset::Dataset;
use recognizer::generated::{self, Labelled, Report, known_classes};
use recognizer::metrics::Features;
use recognizer::{Recognizer, embed, embed_pixels};
use std::collections::BTreeMap;

/// Images of an identity that are looked at, at most: enough for its centre and its variety.
const REAL_IMAGES: usize = 100;

/// Makes `per_identity` images of each identity of `dataset` and judges them against its real
/// images; `held_out` are other images of the same people, without which one half of the real ones
/// stands apart. `advance` is told how many images were embedded.
///
/// # Errors
/// A data set of other identities, too few images for a figure.
pub fn judge(
    trained: &Trained,
    judge: &Recognizer,
    dataset: &Dataset,
    held_out: Option<&Dataset>,
    per_identity: usize,
    seed: u64,
    mut advance: impl FnMut(u64),
) -> Result<Report> {
    check_names(trained, dataset)?;
    let real = real_images(judge, dataset, &mut advance)?;
    let (reference, held_out) = match held_out {
        Some(held_out) => {
            let others = real_images(judge, held_out, &mut advance)?;
            (real, others.renamed(&names(held_out), &trained.names)?)
        }
        None => real.halves()?,
    };

    let mut features = Features::new(nets::FEATURE);
    let mut labels = Vec::new();
    for (class, identity) in dataset.identities().iter().enumerate() {
        // Who was withheld from the data is not made either.
        if identity.images > 0 {
            let bytes = trained.sample(class, per_identity, seed, class as u64)?;
            features.extend(&embed_pixels(&judge.network, judge.device(), trained.channels, &bytes)?)?;
            labels.extend(std::iter::repeat_n(class as u32, per_identity));
            advance(per_identity as u64);
        }
    }
    let made = Labelled::new(features, labels)?;
    let known = known_classes(judge, trained.names.iter().map(String::as_str));
    Ok(generated::judge(judge, &known, &made, &reference, &held_out)?)
}

/// Whether the judge is the very network that training used: its verdict then flatters.
///
/// # Errors
/// Only of tensors that can't be read.
pub fn took_part(trained: &Trained, judge: &Recognizer) -> Result<bool> {
    let first_layer = |weights: &BTreeMap<String, Tensor>| -> Result<Option<Vec<f32>>> {
        let tensor = weights.iter().find(|(name, _)| name.ends_with("filter.weight")).map(|(_, tensor)| tensor);
        Ok(tensor.map(|tensor| tensor.flatten_all()?.to_vec1::<f32>()).transpose()?)
    };
    let (ours, theirs) = (first_layer(&trained.identity_weights)?, first_layer(&judge.weights)?);
    Ok(ours.is_some() && ours == theirs)
}

/// Images that [`judge`] embeds of a data set.
pub fn real_images_of(dataset: &Dataset) -> Vec<usize> {
    let of_identity =
        |identity: &dataset::Identity| identity.first_image..identity.first_image + identity.images.min(REAL_IMAGES);
    dataset.identities().iter().flat_map(of_identity).collect()
}

fn real_images(judge: &Recognizer, dataset: &Dataset, advance: impl FnMut(u64)) -> Result<Labelled> {
    let images = real_images_of(dataset);
    let labels = images.iter().map(|&image| dataset.image_identity(image) as u32).collect();
    Ok(Labelled::new(embed(&judge.network, judge.device(), dataset, &images, advance)?, labels)?)
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
