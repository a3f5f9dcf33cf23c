//! The three stages: P-Net over an image pyramid, R-Net and O-Net over what the one before left.

use super::boxes::{Candidate, Overlap, covered, squared, suppress};
use super::resample::{Raster, Region, resample};
use super::{Mtcnn, MtcnnError, ONet, PNet, RNet};
use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// How far two boxes of one scale may be the same, and two of different scales or of a later stage.
const MOST_WITHIN_SCALE: f64 = 0.5;
const MOST_BETWEEN: f64 = 0.7;
/// The same for the last stage, which the package compares in 32 bits.
const MOST_OF_SMALLER: f64 = 0.7f32 as f64;
/// Rows of P-Net's map at a time: memory stays in proportion to a photograph's width.
const STRIP: usize = 64;
/// Candidates at a time in R-Net and O-Net.
const BATCH: usize = 128;
/// Candidates of one scale at most, the most probable ones. A photograph of faces has hundreds; without
/// a bound, one of nothing but edges could take a time that grows with the square of its size.
const MOST_CANDIDATES: usize = 1 << 14;

/// What counts as a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectorSettings {
    /// Side of the smallest face to look for, in pixels, at least 1.
    pub min_face: usize,
    /// Probabilities that a candidate needs in the three stages.
    pub thresholds: [f32; 3],
    /// From a scale of the pyramid to the next smaller one, below 1.
    pub factor: f64,
}

impl Default for DetectorSettings {
    /// Those of `facenet-pytorch`.
    fn default() -> Self {
        Self { min_face: 20, thresholds: [0.6, 0.7, 0.7], factor: 0.709 }
    }
}

impl DetectorSettings {
    /// Scales of the pyramid, largest first: from faces of `min_face` filling P-Net's window until the
    /// photograph's shorter side is smaller than that.
    fn scales(&self, raster: Raster) -> Vec<f64> {
        let window = PNet::WINDOW as f64;
        let first = window / self.min_face.max(1) as f64;
        let mut shorter = raster.width().min(raster.height()) as f64 * first;
        let (mut scale, mut scales) = (first, Vec::new());
        // A factor that does not shrink would never end.
        while shorter >= window && (self.factor < 1.0 || scales.is_empty()) {
            scales.push(scale);
            scale *= self.factor;
            shorter *= self.factor;
        }
        scales
    }
}

/// A face in a photograph, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Face {
    /// Its box: left, top, right, bottom. It may reach beyond the photograph.
    pub corners: [f32; 4],
    /// That it is one, in `0..=1`.
    pub probability: f32,
    /// `(x, y)` of left eye, right eye, tip of the nose, left and right corner of the mouth, left and
    /// right as seen in the photograph; the first pixel's centre is at 0.
    pub landmarks: [[f32; 2]; 5],
}

impl Mtcnn {
    /// The faces of a photograph, the most probable first.
    ///
    /// # Errors
    /// When a tensor operation fails, as on a device that has no memory left.
    pub fn detect(&self, raster: Raster, settings: &DetectorSettings) -> std::result::Result<Vec<Face>, MtcnnError> {
        let [first, second, third] = settings.thresholds;
        let proposed = self.propose(raster, settings, first)?;
        let refined = self.refine(raster, &proposed, second)?;
        Ok(self.output(raster, &refined, third)?)
    }

    /// The first stage: boxes that may be faces, squares.
    fn propose(&self, raster: Raster, settings: &DetectorSettings, threshold: f32) -> Result<Vec<[f32; 4]>> {
        let mut candidates = Vec::new();
        for scale in settings.scales(raster) {
            let mut found = self.propose_at(raster, scale, threshold)?;
            if found.len() > MOST_CANDIDATES {
                found.sort_by(|a, b| b.probability.total_cmp(&a.probability));
                found.truncate(MOST_CANDIDATES);
            }
            candidates.extend(remaining(&found, Overlap::OfUnion, MOST_WITHIN_SCALE));
        }
        let candidates = remaining(&candidates, Overlap::OfUnion, MOST_BETWEEN);
        Ok(candidates.iter().map(|candidate| squared(candidate.regressed(0.0))).collect())
    }

    /// The windows of one scale that pass, strip by strip: in each as many rows of the scaled photograph
    /// as its windows look at, so that no value differs from that of the whole map.
    fn propose_at(&self, raster: Raster, scale: f64, threshold: f32) -> Result<Vec<Candidate>> {
        let scaled = |length: usize| (length as f64 * scale + 1.0) as usize;
        let (height, width) = (scaled(raster.height()), scaled(raster.width()));
        let (rows, columns) = (PNet::windows(height), PNet::windows(width));
        let mut found = Vec::new();
        for top in (0..rows).step_by(STRIP) {
            let bottom = (top + STRIP).min(rows);
            let last = if bottom == rows { height } else { (bottom - 1) * PNet::STRIDE + PNet::WINDOW };
            let strip = top * PNet::STRIDE..last;
            let dims = (1, strip.len(), width, 3);
            let values = resample(raster, raster.whole(), [height, width], strip);
            let (probability, regression) = self.pnet.forward(&Tensor::from_vec(values, dims, &self.device)?)?;
            let probability = probability.flatten_all()?.to_vec1::<f32>()?;
            let regression = regression.flatten_all()?.to_vec1::<f32>()?;
            for (at, (&probability, &regression)) in probability.iter().zip(regression.as_chunks::<4>().0).enumerate() {
                if probability >= threshold {
                    let (row, column) = (top + at / columns, at % columns);
                    found.push(Candidate::of_window(row, column, scale as f32, probability, regression));
                }
            }
        }
        Ok(found)
    }

    /// The second stage: the boxes that R-Net agrees with, moved, squares.
    fn refine(&self, raster: Raster, boxes: &[[f32; 4]], threshold: f32) -> Result<Vec<[f32; 4]>> {
        let mut passed = Vec::new();
        for boxes in visible(raster, boxes).chunks(BATCH) {
            let (probability, regression) = self.rnet.forward(&self.cut_out(raster, boxes, RNet::SIDE)?)?;
            let (probability, regression) = (probability.to_vec1::<f32>()?, regression.to_vec2::<f32>()?);
            for ((&(corners, _), probability), regression) in boxes.iter().zip(probability).zip(regression) {
                if let (true, &[left, top, right, bottom]) = (probability > threshold, regression.as_slice()) {
                    passed.push(Candidate { corners, probability, regression: [left, top, right, bottom] });
                }
            }
        }
        let passed = remaining(&passed, Overlap::OfUnion, MOST_BETWEEN);
        Ok(passed.iter().map(|candidate| squared(candidate.regressed(1.0))).collect())
    }

    /// The third stage: the boxes that O-Net agrees with, moved, and their landmarks.
    fn output(&self, raster: Raster, boxes: &[[f32; 4]], threshold: f32) -> Result<Vec<Face>> {
        let mut passed = Vec::new();
        for boxes in visible(raster, boxes).chunks(BATCH) {
            let (probability, regression, landmarks) =
                self.onet.forward(&self.cut_out(raster, boxes, ONet::SIDE)?)?;
            let probability = probability.to_vec1::<f32>()?;
            let (regression, landmarks) = (regression.to_vec2::<f32>()?, landmarks.to_vec2::<f32>()?);
            let outputs = probability.into_iter().zip(regression).zip(landmarks);
            for (&(corners, _), ((probability, regression), landmarks)) in boxes.iter().zip(outputs) {
                if let (true, &[left, top, right, bottom]) = (probability > threshold, regression.as_slice()) {
                    let candidate = Candidate { corners, probability, regression: [left, top, right, bottom] };
                    let landmarks = landmarks_in(corners, &landmarks);
                    passed.push(Face { corners: candidate.regressed(1.0), probability, landmarks });
                }
            }
        }
        let boxes: Vec<([f32; 4], f32)> = passed.iter().map(|face| (face.corners, face.probability)).collect();
        Ok(suppress(&boxes, Overlap::OfSmaller, MOST_OF_SMALLER).into_iter().map(|index| passed[index]).collect())
    }

    /// Parts of a photograph as a batch of square images `(B,side,side,3)`.
    fn cut_out(&self, raster: Raster, boxes: &[([f32; 4], Region)], side: usize) -> Result<Tensor> {
        let images = boxes.iter().flat_map(|&(_, region)| resample(raster, region, [side, side], 0..side));
        Tensor::from_vec(images.collect(), (boxes.len(), side, side, 3), &self.device)
    }
}

/// The boxes that cover anything of a photograph, and what.
fn visible(raster: Raster, boxes: &[[f32; 4]]) -> Vec<([f32; 4], Region)> {
    let covered = |&corners: &[f32; 4]| Some((corners, covered(corners, raster.width(), raster.height())?));
    boxes.iter().filter_map(covered).collect()
}

/// What non-maximum suppression leaves, the most probable first.
fn remaining(candidates: &[Candidate], overlap: Overlap, most: f64) -> Vec<Candidate> {
    let boxes: Vec<([f32; 4], f32)> =
        candidates.iter().map(|candidate| (candidate.corners, candidate.probability)).collect();
    suppress(&boxes, overlap, most).into_iter().map(|index| candidates[index]).collect()
}

/// From shares of a box, five abscissas and five ordinates, to the photograph's pixels counted from 0.
fn landmarks_in([x1, y1, x2, y2]: [f32; 4], shares: &[f32]) -> [[f32; 2]; 5] {
    let (width, height) = (x2 - x1 + 1.0, y2 - y1 + 1.0);
    std::array::from_fn(|nth| [width * shares[nth] + x1 - 1.0, height * shares[nth + 5] + y1 - 1.0])
}
