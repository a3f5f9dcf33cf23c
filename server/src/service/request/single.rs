//! Requests for single images: faces to generate, and images to encode.

use super::{channels, policy::bundles};
use crate::{
    assemble::convert,
    bundles::Loaded,
    error::{Error, Result},
    plan::{
        blending::Parent,
        spec::{SpecError, check_spread, check_truncation},
    },
    served::Served,
};
use bytes::Bytes;
use nets::{LATENT, pixels::IMAGE_SIZE};
use proto::{limits, v1};
use std::{collections::BTreeSet, sync::Arc};

/// A latent as a request names it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::service) enum LatentOf {
    Counter { seed: u64, index: u64, row: u32, truncation: f64 },
    Vector(Vec<f32>),
}

/// A face to generate.
pub(in crate::service) struct FaceOf {
    /// Whose: weights that sum to 1.
    pub(in crate::service) parents: Vec<Parent>,
    /// How far they are led away from the average person.
    pub(in crate::service) spread: f64,
    /// From what.
    pub(in crate::service) latent: LatentOf,
}

/// Faces to generate, and the channels asked for.
pub(in crate::service) fn faces(
    served: &Served,
    request: v1::SynthesizeRequest,
) -> Result<(Vec<FaceOf>, usize, Arc<Loaded>)> {
    // A request is over before a newer bundle could take over.
    let bundle = match bundles(served, request.bundle, 0)?.declared() {
        Some(bundles) => bundles.last().what.clone(),
        None => served.bundles.newest(),
    };
    let channels = channels(served, request.pixel_format)?;
    if channels > served.channels {
        let sentence = "colour pixels are asked for, but the bundle served makes grey images";
        return Err(SpecError::Unsuited(sentence.into()).into());
    }
    let (found, max) = (request.faces.len(), limits::MAX_FACES);
    if found == 0 || found > max as usize {
        return Err(Error::Request(format!("expected 1 to {max} faces, found {found}")));
    }
    let face = |(nth, face): (usize, v1::Face)| -> Result<FaceOf> {
        let parents = parents(served, nth, &face.parents)?;
        let latent = face.latent.ok_or_else(|| Error::Request(format!("face {nth}: expected a latent, found none")))?;
        check_spread(face.spread).map_err(|error| Error::Request(format!("face {nth}: {error}")))?;
        Ok(FaceOf { parents, spread: face.spread, latent: latent_of(nth, latent)? })
    };
    Ok((request.faces.into_iter().enumerate().map(face).collect::<Result<_>>()?, channels, bundle))
}

/// Pixels of images.
type Images = Vec<Bytes>;

/// Images to encode, as the bundle reads them.
pub(in crate::service) fn images(served: &Served, request: v1::EncodeRequest) -> Result<(Images, Arc<Loaded>)> {
    // A request is over before a newer bundle could take over.
    let bundle = match bundles(served, request.bundle, 0)?.declared() {
        Some(bundles) => bundles.last().what.clone(),
        None => served.bundles.newest(),
    };
    let unsuited = |sentence: &str| Err(SpecError::Unsuited(sentence.into()).into());
    if !bundle.facts.encoder {
        return unsuited("images can't be encoded, as the bundle served has no encoder; export it with one");
    }
    let (from, to) = (channels(served, request.pixel_format)?, served.channels);
    if from < to {
        return unsuited("grey images are to be encoded, but the bundle served looks at colour");
    }
    let (image, found, max) = (IMAGE_SIZE * IMAGE_SIZE * from, request.pixels.len(), limits::MAX_ENCODED as usize);
    if found == 0 || found % image != 0 || found / image > max {
        return Err(Error::Request(format!("expected 1 to {max} images of {image} bytes each, found {found} bytes")));
    }
    let converted = |pixels: &[u8]| {
        let mut converted = vec![0; IMAGE_SIZE * IMAGE_SIZE * to];
        convert(pixels, from, &mut converted, to)?;
        Ok(converted.into())
    };
    Ok((request.pixels.chunks_exact(image).map(converted).collect::<Result<_>>()?, bundle))
}

fn parents(served: &Served, nth: usize, wire: &[v1::Parent]) -> Result<Vec<Parent>> {
    let (found, max) = (wire.len(), limits::MAX_PARENTS);
    if found == 0 || found > max as usize {
        return Err(Error::Request(format!("face {nth}: expected 1 to {max} parents, found {found}")));
    }
    let identities = served.catalogue.identities();
    let mut seen = BTreeSet::new();
    for parent in wire {
        if parent.identity >= identities {
            let found = parent.identity;
            return Err(Error::OutOfRange(format!(
                "face {nth}: expected an identity below {identities}, found {found}"
            )));
        }
        if served.catalogue.images_of(parent.identity).is_empty() {
            let sentence = format!("face {nth}: identity {} is withheld or has no images here", parent.identity);
            return Err(SpecError::Unsuited(sentence).into());
        }
        if !seen.insert(parent.identity) {
            return Err(Error::Request(format!(
                "face {nth}: expected different parents, found {} twice",
                parent.identity
            )));
        }
        if !(parent.weight.is_finite() && parent.weight > 0.0) {
            let found = parent.weight;
            return Err(Error::Request(format!("face {nth}: expected finite weights above zero, found {found}")));
        }
    }
    Ok(normalized(wire))
}

/// Parents with weights that sum to 1. A stream's own weights, which do but for their rounding to
/// 32 bits, are left as they are: only then is the row made again to the last bit.
fn normalized(wire: &[v1::Parent]) -> Vec<Parent> {
    let sum: f64 = wire.iter().map(|parent| f64::from(parent.weight)).sum();
    let divisor = if (sum - 1.0).abs() < 1e-6 { 1.0 } else { sum };
    let weight = |wire: &v1::Parent| (f64::from(wire.weight) / divisor) as f32;
    wire.iter().map(|wire| Parent { identity: wire.identity, weight: weight(wire) }).collect()
}

fn latent_of(nth: usize, wire: v1::face::Latent) -> Result<LatentOf> {
    match wire {
        v1::face::Latent::Counter(v1::LatentCounter { seed, index, row, truncation }) => {
            check_truncation(truncation)?;
            Ok(LatentOf::Counter { seed, index, row, truncation })
        }
        v1::face::Latent::Vector(v1::LatentVector { values }) => {
            if values.len() != LATENT {
                let found = values.len();
                return Err(Error::Request(format!("face {nth}: expected {LATENT} latent values, found {found}")));
            }
            if let Some(found) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::Request(format!("face {nth}: expected finite latent values, found {found}")));
            }
            Ok(LatentOf::Vector(values))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_stream_stay_as_they_are_and_others_come_to_sum_to_one() {
        let read = |weights: &[f32]| -> Vec<f32> {
            let parents = weights.iter().map(|&weight| v1::Parent { identity: 0, weight }).collect::<Vec<_>>();
            normalized(&parents).iter().map(|parent| parent.weight).collect()
        };
        // Sums to 1 + 2^-25: divided, the last bits of some change.
        let sent = [0.4, 0.3, 0.2, 0.1 + f32::EPSILON / 4.0];
        assert_eq!(read(&sent), sent);
        let third = 1.0f32 / 3.0;
        assert_eq!(read(&[third, third, third]), [third; 3]);
        assert_eq!(read(&[3.0, 1.0]), [0.75, 0.25]);
    }
}
