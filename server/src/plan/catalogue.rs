//! Who there is: the identities in class order and how many images each has.

use std::ops::Range;

/// The part of a dataset that planning needs. Identity `i` is class `i`; the images of one
/// identity are numbered in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// First image of each identity, and the number of images at the end.
    bounds: Vec<u32>,
    /// Identities that have images.
    present: Vec<u32>,
}

impl Catalogue {
    /// From the number of images of each identity, in class order.
    pub fn new(image_counts: impl IntoIterator<Item = u32>) -> Self {
        let mut bounds = vec![0u32];
        let mut present = Vec::new();
        for (identity, count) in image_counts.into_iter().enumerate() {
            let end = bounds.last().copied().unwrap_or(0) + count;
            bounds.push(end);
            if count > 0 {
                present.push(identity as u32);
            }
        }
        Self { bounds, present }
    }

    /// The number of identities, those without images included.
    pub fn identities(&self) -> u32 {
        self.bounds.len() as u32 - 1
    }

    /// The number of images.
    pub fn images(&self) -> u32 {
        self.bounds.last().copied().unwrap_or(0)
    }

    /// Identities that have images, ascending.
    pub fn present(&self) -> &[u32] {
        &self.present
    }

    /// Whether every identity has images.
    pub fn is_complete(&self) -> bool {
        self.present.len() == self.identities() as usize
    }

    /// The images of an identity; empty for one that has none or doesn't exist.
    pub fn images_of(&self, identity: u32) -> Range<u32> {
        let identity = identity as usize;
        match (self.bounds.get(identity), self.bounds.get(identity + 1)) {
            (Some(&start), Some(&end)) => start..end,
            _ => 0..0,
        }
    }

    /// The identity that an image shows.
    pub fn identity_of(&self, image: u32) -> u32 {
        // Bounds that are equal belong to identities without images, which come before.
        self.bounds.partition_point(|&bound| bound <= image) as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_without_images_leave_holes() {
        let catalogue = Catalogue::new([2, 0, 3, 0]);
        assert_eq!(catalogue.identities(), 4);
        assert_eq!(catalogue.images(), 5);
        assert_eq!(catalogue.present(), [0, 2]);
        assert_eq!((0..5).map(|image| catalogue.identity_of(image)).collect::<Vec<_>>(), [0, 0, 2, 2, 2]);
        assert_eq!(catalogue.images_of(2), 2..5);
        assert!(catalogue.images_of(1).is_empty());
        assert!(catalogue.images_of(9).is_empty());
    }
}
