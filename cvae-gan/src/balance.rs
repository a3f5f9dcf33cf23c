//! How strongly each term pulls at the images G makes, and the weights that follow from it.

use crate::Result;
use crate::settings::{Balance, Settings};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;

/// The terms that reach E and G through the images made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Term {
    Adversarial,
    Classification,
    FeatureMatching,
    Pixel,
    Identity,
}

impl Term {
    /// The name under which it stands in the figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Adversarial => "adversarial",
            Self::Classification => "classification",
            Self::FeatureMatching => "feature_matching",
            Self::Pixel => "pixel",
            Self::Identity => "identity",
        }
    }

    /// Its weight as set.
    pub(crate) fn lambda(self, settings: &Settings) -> f64 {
        match self {
            Self::Adversarial => settings.lambda_adv,
            Self::Classification => settings.lambda_cls,
            Self::FeatureMatching => settings.lambda_fm,
            Self::Pixel => settings.lambda_pixel,
            Self::Identity => settings.lambda_id,
        }
    }

    /// Whether it comes from the critics, and so waits for them.
    pub(crate) fn is_of_critics(self) -> bool {
        matches!(self, Self::Adversarial | Self::Classification | Self::FeatureMatching)
    }
}

/// Running gradient norms of the unweighted terms at G's output.
#[derive(Default)]
pub(crate) struct Pulls {
    norms: BTreeMap<&'static str, f64>,
}

/// Steps between measurements; one costs a second backward pass through critics and recognizer.
const INTERVAL: u64 = 25;
/// Share of the newest measurement in the running one.
const NEWEST: f64 = 0.1;
/// A term whose pull has vanished has done its work, and is not raised further than this.
const LARGEST_SCALE: f64 = 100.0;

impl Pulls {
    /// Whether the terms are to be measured in this step: at regular steps, and when one is new.
    pub(crate) fn due(&self, step: u64, mut terms: impl Iterator<Item = Term>) -> bool {
        step.is_multiple_of(INTERVAL) || terms.any(|term| !self.norms.contains_key(term.name()))
    }

    /// Takes up a measurement.
    pub(crate) fn record(&mut self, term: Term, norm: f64) {
        let known = self.norms.entry(term.name()).or_insert(norm);
        *known += NEWEST * (norm - *known);
    }

    /// What the term is multiplied by. `ramp` is the critics' factor.
    pub(crate) fn weight(&self, term: Term, settings: &Settings, ramp: f64) -> f64 {
        let lambda = term.lambda(settings) * if term.is_of_critics() { ramp } else { 1.0 };
        if settings.balance == Balance::Weights || term == Term::Pixel {
            return lambda;
        }
        let norm = |term: Term| self.norms.get(term.name()).copied().unwrap_or(0.0);
        let pixel = settings.lambda_pixel * norm(Term::Pixel);
        lambda * (pixel / norm(term).max(1e-12)).min(LARGEST_SCALE)
    }

    pub(crate) fn to_tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.norms.iter().map(|(name, norm)| Ok(((*name).to_owned(), Tensor::new(&[*norm], &Device::Cpu)?))).collect()
    }

    pub(crate) fn from_tensors(tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        use Term::{Adversarial, Classification, FeatureMatching, Identity, Pixel};
        let mut norms = BTreeMap::new();
        for term in [Adversarial, Classification, FeatureMatching, Pixel, Identity] {
            if let Some(norm) = tensors.get(term.name()) {
                norms.insert(term.name(), norm.get(0)?.to_scalar::<f64>()?);
            }
        }
        Ok(Self { norms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Preset;
    use nets::Width;

    #[test]
    fn shares_are_of_the_pixel_terms_pull() -> Result<()> {
        let settings = Settings { lambda_adv: 0.5, ..Preset::SmallBudget.settings(Width::Small, 1000) };
        let mut pulls = Pulls::default();
        assert!(pulls.due(7, [Term::Pixel].into_iter()));
        pulls.record(Term::Pixel, 0.002);
        pulls.record(Term::Adversarial, 2.0);
        assert!(!pulls.due(7, [Term::Pixel].into_iter()));
        let weight = pulls.weight(Term::Adversarial, &settings, 0.5);
        // Half of the pixel term's 10 * 0.002, at half the ramp.
        assert!((weight * 2.0 - 0.5 * 0.5 * 0.02).abs() < 1e-15, "{weight}");
        let paper = Preset::Paper.settings(Width::Paper, 1000);
        assert_eq!(pulls.weight(Term::Adversarial, &paper, 1.0), 1.0);
        assert_eq!(Pulls::from_tensors(&pulls.to_tensors()?)?.norms, pulls.norms);
        Ok(())
    }
}
