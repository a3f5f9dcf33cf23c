//! Shares of the sources, and how they change over the index.

use proto::limits;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Shares of the sources by weight; only their ratios count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Images of the dataset.
    pub real: f64,
    /// New images of its identities.
    pub existing: f64,
    /// Images of identities blended from several.
    pub blended: f64,
}

/// Shares that change over the index; those of the spec's mix are of batch 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// At ascending indices. None: the mix stays as it is.
    points: Vec<MixPoint>,
    shape: Shape,
}

/// Shares at an index.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixPoint {
    /// Which batch has them: 1 to 2^22.
    pub index: u64,
    /// The shares.
    pub mix: Mix,
}

/// What shares are between the points of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Those of the point before
    #[default]
    Steps,
    /// On the straight line to the next point
    Linear,
}

impl Schedule {
    /// From its points.
    ///
    /// # Errors
    /// Too many of them, or not in order.
    pub fn new(points: Vec<MixPoint>, shape: Shape) -> Result<Self, String> {
        let (found, most) = (points.len(), limits::MAX_MIX_POINTS);
        if found > most {
            return Err(format!("expected at most {most} changes of the mix, found {found}"));
        }
        if let Some(pair) = points.windows(2).find(|pair| pair[0].index >= pair[1].index) {
            let (one, next) = (pair[0].index, pair[1].index);
            return Err(format!(
                "expected changes of the mix in order of batches, found one at {one}, then one at {next}"
            ));
        }
        // A shape of nothing tells nothing apart.
        let shape = if points.is_empty() { Shape::default() } else { shape };
        Ok(Self { points, shape })
    }

    /// Whether the mix stays as it is.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// At ascending indices.
    pub fn points(&self) -> &[MixPoint] {
        &self.points
    }

    /// What the shares are between them.
    pub fn shape(&self) -> Shape {
        self.shape
    }
}

impl FromStr for Mix {
    type Err = String;

    /// `real=0.5,existing=0.3,blended=0.2`; a source that is left out has weight 0.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [("real", None), ("existing", None), ("blended", None)];
        for part in text.split(',') {
            let Some((name, weight)) = part.split_once('=') else {
                return Err(format!("expected SOURCE=WEIGHT[,SOURCE=WEIGHT], found {part:?}"));
            };
            let Some((name, slot)) = weights.iter_mut().find(|(known, _)| *known == name.trim()) else {
                return Err(format!("expected real, existing or blended, found {name:?}"));
            };
            let weight = match weight.trim().parse::<f64>() {
                Ok(weight) if weight.is_finite() && weight >= 0.0 => weight,
                _ => return Err(format!("expected a weight of at least 0 for {name}, found {weight:?}")),
            };
            if slot.replace(weight).is_some() {
                return Err(format!("expected each source once, found {name} twice"));
            }
        }
        let [real, existing, blended] = weights.map(|(_, weight)| weight.unwrap_or(0.0));
        let sum = real + existing + blended;
        if sum > 0.0 && sum.is_finite() {
            Ok(Self { real, existing, blended })
        } else {
            Err(format!("expected weights with a sum above 0, found {sum}"))
        }
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "real={},existing={},blended={}", self.real, self.existing, self.blended)
    }
}

impl FromStr for MixPoint {
    type Err = String;

    /// `1000:real=0.5,blended=0.5`.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((index, mix)) = text.split_once(':') else {
            return Err(format!("expected INDEX:SOURCE=WEIGHT[,SOURCE=WEIGHT], found {text:?}"));
        };
        let last = limits::MAX_MIX_INDEX;
        match index.trim().parse() {
            Ok(number) if (1..=last).contains(&number) => Ok(Self { index: number, mix: mix.parse()? }),
            _ => Err(format!("expected the index of a batch from 1 to {last}, found {index:?}")),
        }
    }
}

impl std::fmt::Display for MixPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.index, self.mix)
    }
}

impl std::fmt::Display for Schedule {
    /// What follows the mix of batch 0: nothing without points.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = match self.shape {
            Shape::Steps => "at batch",
            Shape::Linear => "in a straight line up to batch",
        };
        self.points.iter().try_for_each(|MixPoint { index, mix }| write!(f, ", {way} {index} {mix}"))
    }
}
