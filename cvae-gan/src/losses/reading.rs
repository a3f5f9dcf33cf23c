//! Where the printed equations have slips, or can be read in several ways: the readings. And what can
//! take a printed term's place.

use serde::{Deserialize, Serialize};

/// Eq. (2) sets one real image against two fakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CriticReading {
    /// Fakes share one unit of weight: adding a constant to the critic changes nothing.
    Balanced,
    /// Each fake weighs as much as the real image, which rewards the critic for values far below
    /// zero; a small drift term holds them.
    AsPrinted,
}

/// What stands in eq. (2), WGAN-GP's game in the paper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CriticLoss {
    /// The values' difference, as printed; wants a slope near one.
    #[default]
    Wasserstein,
    /// The margin by which they fall short of one on their side (Lim and Ye, "Geometric GAN", 2017; Miyato et
    /// al., 2018).
    Hinge,
    /// Cross-entropy of real and fake (Goodfellow et al., 2014).
    Logistic,
}

/// What the features of an image made from a random latent are matched with: the printed eq. (4)
/// takes the real image of the batch, whose latent is unrelated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriorMatch {
    /// The real image: the best answer is then a median that ignores the latent.
    AsPrinted,
    /// The batch's mean features (CVAE-GAN, Bao et al. 2017).
    BatchMean,
    /// Running mean features of the identity.
    ClassMean,
}

/// Eq. (7): how far two identity features are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityDistance {
    /// Mean absolute difference to the real image's feature, in both branches, as printed.
    AsPrinted,
    /// One less the cosine: to the real image's feature in the encoded branch, to the identity's
    /// centre in the random one.
    Cosine,
}

macro_rules! kebab_case_names {
    ($kind:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$variant => $name),+ })
            }
        }

        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("expected one of {}, found `{name}`", [$($name),+].join(", "))),
                }
            }
        }
    };
}
pub(crate) use kebab_case_names;

kebab_case_names!(CriticLoss { Wasserstein => "wasserstein", Hinge => "hinge", Logistic => "logistic" });
kebab_case_names!(CriticReading { Balanced => "balanced", AsPrinted => "as-printed" });
kebab_case_names!(PriorMatch { AsPrinted => "as-printed", BatchMean => "batch-mean", ClassMean => "class-mean" });
kebab_case_names!(IdentityDistance { AsPrinted => "as-printed", Cosine => "cosine" });
