//! Features of many real images, with progress and a way out.

use crate::Result;
use command::{Interrupt, Progress};
use dataset::Dataset;
use nets::FEATURE;
use recognizer::generated::Labelled;
use recognizer::metrics::Features;
use recognizer::{Recognizer, embed};
use std::ops::Range;

/// Images of an identity that are looked at, at most: enough for its centre and its variety.
const IMAGES_OF_AN_IDENTITY: usize = 100;
/// Images between looks at the interrupt.
const PART: usize = 256;

/// The first hundred images of each identity.
pub(crate) fn first_images(dataset: &Dataset) -> Vec<usize> {
    dataset.identities().iter().flat_map(|identity| first_images_of(identity, IMAGES_OF_AN_IDENTITY)).collect()
}

/// The first images of one identity, at most so many.
pub(crate) fn first_images_of(identity: &dataset::Identity, at_most: usize) -> Range<usize> {
    identity.first_image..identity.first_image + identity.images.min(at_most)
}

/// Features of [`first_images`], with their classes.
///
/// # Errors
/// An image that can't be read, or Ctrl-C.
pub(crate) fn features_of(
    recognizer: &Recognizer,
    dataset: &Dataset,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Labelled> {
    let images = first_images(dataset);
    let mut features = Features::new(FEATURE);
    for part in images.chunks(PART) {
        go_on(interrupt)?;
        let advance = |images| progress.advance(images);
        features.extend(embed(&recognizer.network, recognizer.device(), dataset, part, advance)?.values())?;
    }
    let labels = images.iter().map(|&image| dataset.image_identity(image) as u32).collect();
    Ok(Labelled::new(features, labels)?)
}

/// Ends work that leaves nothing usable behind.
pub(crate) fn go_on(interrupt: &Interrupt) -> Result<()> {
    if interrupt.requested() { Err(command::Error::Interrupted.into()) } else { Ok(()) }
}
