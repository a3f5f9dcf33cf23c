//! Which of several faces a photograph is of.

use clap::ValueEnum;
use nets::mtcnn::Face;
use serde::{Deserialize, Serialize};

use super::AlignOptions;
use super::geometry::Similarity;

/// Whose face is taken when there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Take {
    /// The one with the largest box.
    #[default]
    Largest,
    /// The one whose box's centre is nearest to the photograph's.
    Central,
}

/// The position of the face to take, how many are good enough, and its way into the aligned image.
pub(super) struct Choice {
    pub(super) taken: usize,
    pub(super) good: usize,
    pub(super) to_aligned: Similarity,
}

/// `None` when no face is probable enough and upright. Of equal ones the first is taken.
pub(super) fn choose(faces: &[Face], [width, height]: [usize; 2], options: &AlignOptions) -> Option<Choice> {
    let good = |face: &&Face| face.probability >= options.min_probability;
    let usable = faces.iter().enumerate().filter(|(_, face)| good(face));
    let usable = usable.filter_map(|(at, face)| Some((at, face, Similarity::of_landmarks(&face.landmarks)?)));
    let cost = |face: &Face| {
        let [x1, y1, x2, y2] = face.corners;
        match options.take {
            Take::Largest => -(x2 - x1) * (y2 - y1),
            Take::Central => ((x1 + x2) - width as f32).hypot((y1 + y2) - height as f32),
        }
    };
    let best = usable.min_by(|(_, a, _), (_, b, _)| cost(a).total_cmp(&cost(b)));
    best.map(|(taken, _, to_aligned)| Choice { taken, good: faces.iter().filter(good).count(), to_aligned })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(corners: [f32; 4], probability: f32) -> Face {
        let [x1, y1, x2, y2] = corners;
        let (across, down) = (x2 - x1, y2 - y1);
        let landmarks = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]];
        Face { corners, probability, landmarks: landmarks.map(|[x, y]| [x1 + x * across, y1 + y * down]) }
    }

    #[test]
    fn the_largest_or_the_most_central_is_taken_and_no_improbable_one() {
        let faces = [face([90.0, 80.0, 110.0, 104.0], 0.99), face([0.0, 0.0, 40.0, 50.0], 0.95), face([0.0; 4], 0.999)];
        let taken = |take, min_probability| {
            let options = AlignOptions { take, min_probability, ..AlignOptions::default() };
            choose(&faces, [200, 200], &options).map(|choice| (choice.taken, choice.good))
        };
        assert_eq!(taken(Take::Largest, 0.9), Some((1, 3)));
        assert_eq!(taken(Take::Central, 0.9), Some((0, 3)));
        assert_eq!(taken(Take::Largest, 0.97), Some((0, 2)));
        assert_eq!(taken(Take::Largest, 0.995), None, "what is left is no upright face");
    }
}
