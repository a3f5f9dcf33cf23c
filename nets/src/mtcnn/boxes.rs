//! Candidates: their boxes, how a regression moves them, and which of several that overlap stays.
//!
//! A box is `[x1, y1, x2, y2]` in pixels, as the published networks were trained with: counted from 1,
//! both ends inside.

use super::resample::Region;

/// A box of some probability, and the regression that its network gave with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) corners: [f32; 4],
    pub(super) probability: f32,
    pub(super) regression: [f32; 4],
}

impl Candidate {
    /// P-Net's window in the given row and column of the map of an image at `scale`.
    pub(super) fn of_window(row: usize, column: usize, scale: f32, probability: f32, regression: [f32; 4]) -> Self {
        const STRIDE: f32 = super::PNet::STRIDE as f32;
        const WINDOW: f32 = super::PNet::WINDOW as f32;
        let (x, y) = (STRIDE * column as f32, STRIDE * row as f32);
        let corners = [x + 1.0, y + 1.0, x + WINDOW, y + WINDOW].map(|corner| (corner / scale).floor());
        Self { corners, probability, regression }
    }

    /// The corners moved by shares of the box's extent, which P-Net takes without the last pixel and the
    /// others with it (`last` 0 and 1).
    pub(super) fn regressed(&self, last: f32) -> [f32; 4] {
        let [x1, y1, x2, y2] = self.corners;
        let (width, height) = (x2 - x1 + last, y2 - y1 + last);
        let [left, top, right, bottom] = self.regression;
        [x1 + left * width, y1 + top * height, x2 + right * width, y2 + bottom * height]
    }
}

/// The square around a box's centre with its longer side.
pub(super) fn squared([x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
    let (width, height) = (x2 - x1, y2 - y1);
    let side = width.max(height);
    let (x1, y1) = (x1 + width * 0.5 - side * 0.5, y1 + height * 0.5 - side * 0.5);
    [x1, y1, x1 + side, y1 + side]
}

/// The part of a photograph of `width` x `height` pixels that a box covers; `None` where that is nothing.
pub(super) fn covered(corners: [f32; 4], width: usize, height: usize) -> Option<Region> {
    // Conversion of a float keeps to the integer's range, and makes 0 of NaN.
    let [x1, y1, x2, y2] = corners.map(|corner| corner as i64);
    let (left, top) = (x1.max(1) - 1, y1.max(1) - 1);
    let (right, bottom) = (x2.min(width as i64), y2.min(height as i64));
    (left < right && top < bottom).then_some(Region {
        left: left as usize,
        top: top as usize,
        right: right as usize,
        bottom: bottom as usize,
    })
}

/// How far two boxes are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Their common area beside the area of both together, corners without extent.
    OfUnion,
    /// Their common area beside the smaller one, corners of one pixel.
    OfSmaller,
}

impl Overlap {
    fn of(self, a: [f32; 4], b: [f32; 4]) -> f32 {
        let last = if self == Self::OfUnion { 0.0 } else { 1.0 };
        let extent = |from: f32, to: f32| (to - from + last).max(0.0);
        let area = |corners: [f32; 4]| (corners[2] - corners[0] + last) * (corners[3] - corners[1] + last);
        let common = extent(a[0].max(b[0]), a[2].min(b[2])) * extent(a[1].max(b[1]), a[3].min(b[3]));
        match self {
            Self::OfUnion => common / (area(a) + area(b) - common),
            Self::OfSmaller => common / area(a).min(area(b)),
        }
    }
}

/// Non-maximum suppression: which boxes stay, the most probable first. Each that stays removes all less
/// probable ones whose overlap with it is more than `most`; of equally probable ones the first stays.
pub fn suppress(boxes: &[([f32; 4], f32)], overlap: Overlap, most: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|&a, &b| boxes[b].1.total_cmp(&boxes[a].1));
    let mut kept: Vec<usize> = Vec::new();
    for index in order {
        let corners = boxes[index].0;
        if !kept.iter().any(|&kept| f64::from(overlap.of(boxes[kept].0, corners)) > most) {
            kept.push(index);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxes() -> impl Strategy<Value = Vec<([f32; 4], f32)>> {
        let one = (0..60u8, 0..60u8, 1..40u8, 1..40u8, 0..=50u8).prop_map(|(x, y, width, height, probability)| {
            let [x, y, width, height] = [x, y, width, height].map(f32::from);
            ([x, y, x + width, y + height], f32::from(probability) / 50.0)
        });
        proptest::collection::vec(one, 0..40)
    }

    proptest! {
        #[test]
        fn what_stays_overlaps_little_and_what_goes_had_a_better_one(
            boxes in boxes(), most in 0.1..0.9, smaller: bool,
        ) {
            let overlap = if smaller { Overlap::OfSmaller } else { Overlap::OfUnion };
            let kept = suppress(&boxes, overlap, most);
            prop_assert!(kept.windows(2).all(|pair| boxes[pair[0]].1 >= boxes[pair[1]].1));
            for (index, &(corners, probability)) in boxes.iter().enumerate() {
                let over = |other: &usize| f64::from(overlap.of(boxes[*other].0, corners)) > most;
                let better = kept.iter().filter(|&&other| other != index && boxes[other].1 >= probability);
                match kept.contains(&index) {
                    true => prop_assert!(!kept.iter().any(|other| *other != index && over(other))),
                    false => prop_assert!(better.into_iter().any(over)),
                }
            }
        }

        #[test]
        fn a_square_has_the_centre_and_the_longer_side(x in -90.0f32..90.0, w in 0.5f32..90.0, h in 0.5f32..90.0) {
            let [x1, y1, x2, y2] = squared([x, -x, x + w, h - x]);
            prop_assert!((x2 - x1 - w.max(h)).abs() < 1e-4 && (y2 - y1 - w.max(h)).abs() < 1e-4);
            prop_assert!(((x1 + x2) / 2.0 - (x + w / 2.0)).abs() < 1e-4);
            prop_assert!(((y1 + y2) / 2.0 - (h / 2.0 - x)).abs() < 1e-4);
        }
    }

    #[test]
    fn what_lies_outside_covers_nothing() {
        let region = |left, top, right, bottom| Some(Region { left, top, right, bottom });
        assert_eq!(covered([-3.7, 2.9, 5.9, 90.0], 10, 20), region(0, 1, 5, 20));
        assert_eq!(covered([11.0, 2.0, 15.0, 5.0], 10, 20), None);
        assert_eq!(covered([4.0, 4.0, 3.0, 3.0], 10, 20), None);
        assert_eq!(covered([f32::NEG_INFINITY, 1.0, f32::INFINITY, 9.0], 10, 20), region(0, 0, 10, 9));
        assert_eq!(covered([f32::NAN; 4], 10, 20), None);
    }
}
