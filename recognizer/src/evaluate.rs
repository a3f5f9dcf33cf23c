//! A recognizer judged on verification pairs.

use crate::embed::embed_unless;
use crate::error::{Error, Result};
use crate::metrics::paired::{self, Difference, JudgedPair, McNemar};
use crate::metrics::roc::{Acceptance, Scores};
use crate::metrics::verification::{ScoredPair, Similarity, Verification, calls, verify};
use crate::metrics::{Features, MetricError, even};
use candle_core::Device;
use command::Interrupt;
use dataset::Dataset;
use dataset::pairs::{Pair, Pairs};
use nets::{FEATURE, LightCnn};
use rayon::prelude::*;
use serde::Serialize;

/// False accept rates that are reported, where enough impostors allow it.
const FALSE_ACCEPT_RATES: [f64; 3] = [0.1, 0.01, 0.001];
/// Of the bootstrap.
const ROUNDS: u64 = 1000;

/// Images and the pairs among them.
#[derive(Debug)]
pub struct PairSet {
    dataset: Dataset,
    pairs: Pairs,
    /// Images that occur in a pair, sorted.
    images: Vec<usize>,
}

/// What is reported of one recognizer on one set of pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Number of pairs.
    pub pairs: usize,
    /// By the angle between features.
    pub cosine: PairFigures,
    /// By the distance of features that are not normalised.
    pub euclidean: PairFigures,
}

/// What is reported of one similarity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairFigures {
    /// LFW's protocol: accuracy, its standard error, the folds.
    #[serde(flatten)]
    pub verification: Verification,
    /// In [0, 1].
    pub equal_error_rate: f64,
    /// In [0, 1].
    pub area_under_curve: f64,
    /// At those false accept rates that the number of pairs can tell.
    pub acceptance: Vec<Acceptance>,
}

/// Two recognizers on the same pairs, the second less the first, by cosine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Over resampled people.
    pub difference: Difference,
    /// Over pairs that only one called rightly.
    pub mcnemar: McNemar,
}

impl PairSet {
    /// A folder or tar with `pairs.txt`, such a file in its folder, or drawn faces
    /// (`demo:held-out`).
    ///
    /// # Errors
    /// No data set there, no pairs in it, or pairs of absent images.
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let given = path.as_ref();
        let path = given;
        let is_list = path.file_name().is_some_and(|name| name == "pairs.txt") && path.is_file();
        let path = path.parent().filter(|_| is_list).unwrap_or(path);
        let path = if path.as_os_str().is_empty() { std::path::Path::new(".") } else { path };
        // All images are needed: a damaged one is an error where it is met, with its name.
        let dataset = Dataset::open(path, &dataset::OpenOptions::default())?;
        let pairs = Pairs::of(&dataset).map_err(|error| match error {
            // It names its place itself.
            error @ dataset::Error::NoPairs { .. } => error.into(),
            source => Error::Pairs { path: given.into(), source: Box::new(source) },
        })?;
        Ok(Self::new(dataset, pairs))
    }

    /// Pairs of a data set that is already open.
    pub fn new(dataset: Dataset, pairs: Pairs) -> Self {
        let images = pairs.images();
        Self { dataset, pairs, images }
    }

    /// Images that are needed.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// Pairs that are judged.
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// The data set that the pairs are of.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Whether some identity stands in two folds, so that the folds are not independent.
    pub fn folds_overlap(&self) -> bool {
        !self.pairs.folds_are_disjoint(&self.dataset)
    }

    /// Features of the images that occur in pairs, for [`PairSet::judge`].
    ///
    /// # Errors
    /// An image that can't be read.
    pub fn embed(&self, network: &LightCnn, device: &Device, advance: impl FnMut(u64)) -> Result<Features> {
        self.embed_unless(&Interrupt::new(), network, device, advance)
    }

    /// [`PairSet::embed`], with a look at `interrupt` now and then.
    ///
    /// # Errors
    /// [`command::Error::Interrupted`], an image that can't be read.
    pub fn embed_unless(
        &self,
        interrupt: &Interrupt,
        network: &LightCnn,
        device: &Device,
        advance: impl FnMut(u64),
    ) -> Result<Features> {
        embed_unless(interrupt, network, device, &self.dataset, &self.images, advance)
    }

    /// Refuses pairs that could not be judged, in less time than judging them takes: every image is
    /// read once.
    ///
    /// # Errors
    /// [`command::Error::Interrupted`], an image that can't be read, too few pairs or folds.
    pub fn check(&self, interrupt: &Interrupt) -> Result<()> {
        const PART: usize = 256;
        for images in self.images.chunks(PART) {
            if interrupt.requested() {
                return Err(command::Error::Interrupted.into());
            }
            images.par_iter().try_for_each(|&image| self.dataset.read(image).map(|_| ()))?;
        }
        let blank = Features::from_values(vec![1.0; self.images.len() * FEATURE], FEATURE)?;
        self.judge(&blank).map(|_| ())
    }

    /// All figures of a recognizer, from the features that [`PairSet::embed`] gave.
    ///
    /// # Errors
    /// Features that are not finite, or of other images.
    pub fn judge(&self, features: &Features) -> Result<Evaluation> {
        Ok(Evaluation {
            pairs: self.pairs.len(),
            cosine: figures(&self.scored(features, Similarity::Cosine)?)?,
            euclidean: figures(&self.scored(features, Similarity::Euclidean)?)?,
        })
    }

    /// Whether two recognizers' features differ in worth. `seed` is the bootstrap's.
    ///
    /// # Errors
    /// As [`PairSet::judge`].
    pub fn compare(&self, first: &Features, second: &Features, seed: u64) -> Result<Comparison> {
        let judged = self.judged(first, second, Similarity::Cosine)?;
        let calls = |who: fn(&JudgedPair) -> bool| judged.iter().map(who).collect::<Vec<bool>>();
        let mcnemar = paired::mcnemar(&calls(|pair| pair.first), &calls(|pair| pair.second))?;
        Ok(Comparison { difference: paired::bootstrap(&[judged], ROUNDS, seed)?, mcnemar })
    }

    /// What one way of training gains over another, from several repetitions: each gives the
    /// features of a recognizer trained the first way and of one trained the second. The interval
    /// is over resampled people and repetitions. `seed` is the bootstrap's.
    ///
    /// # Errors
    /// As [`PairSet::judge`].
    pub fn gain(&self, repetitions: &[(&Features, &Features)], seed: u64) -> Result<Difference> {
        let judged: Result<Vec<_>> =
            repetitions.iter().map(|(first, second)| Ok(self.judged(first, second, Similarity::Cosine)?)).collect();
        Ok(paired::bootstrap(&judged?, ROUNDS, seed)?)
    }

    /// Both recognizers' calls by one similarity, each at thresholds of its own, pair by pair: what
    /// [`paired`] compares.
    ///
    /// # Errors
    /// As [`PairSet::judge`].
    pub fn judged(
        &self,
        first: &Features,
        second: &Features,
        similarity: Similarity,
    ) -> Result<Vec<JudgedPair>, MetricError> {
        let calls = |features| {
            let scored = self.scored(features, similarity)?;
            let verification = verify(&scored)?;
            calls(&scored, &verification)
        };
        let (first, second) = (calls(first)?, calls(second)?);
        let identity = |image| self.dataset.image_identity(image) as u32;
        let pairs = self.pairs.folds.iter().flatten().zip(first.iter().zip(&second));
        let judged = pairs.map(|(pair, (&first, &second))| JudgedPair {
            identities: (identity(pair.first), identity(pair.second)),
            first,
            second,
        });
        Ok(judged.collect())
    }

    fn scored(&self, features: &Features, similarity: Similarity) -> Result<Vec<Vec<ScoredPair>>, MetricError> {
        even("verification", ("features", features.len()), ("images in pairs", self.images.len()))?;
        let rows: Vec<&[f32]> = features.rows().collect();
        // Images are sorted and every pair's image is among them.
        let feature = |image: usize| rows[self.images.partition_point(|&other| other < image)];
        let score = |pair: &Pair| ScoredPair {
            score: similarity.score(feature(pair.first), feature(pair.second)),
            same: pair.same,
        };
        Ok(self.pairs.folds.iter().map(|fold| fold.iter().map(score).collect()).collect())
    }
}

fn figures(folds: &[Vec<ScoredPair>]) -> Result<PairFigures> {
    let scores = Scores::of_pairs(folds.iter().flatten())?;
    Ok(PairFigures {
        verification: verify(folds)?,
        equal_error_rate: scores.equal_error_rate(),
        area_under_curve: scores.area_under_curve(),
        acceptance: scores.acceptances(&FALSE_ACCEPT_RATES),
    })
}
