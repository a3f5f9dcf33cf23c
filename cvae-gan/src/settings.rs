//! What a training is: one table of settings, each with its value in every preset.
//!
//! `paper` is the published recipe, repaired only where it cannot work as printed. `small-budget`
//! is for a few cores, or a GPU for some minutes, and some ten thousand images, where the published weights fail: untrained
//! critics outweigh the pixel term a hundredfold, and one-hot identity is learned too slowly. It tells G what a
//! person looks like, in every layer, and bounds what the latent says.
//! `modern` adds what is known beside it, each part by a setting of its own, which brings what belongs to it:
//! copies for the critics, hinge and spectral norm, projection.

mod checks;

use crate::Result;
use crate::losses::reading::{CriticLoss, CriticReading, IdentityDistance, PriorMatch, kebab_case_names};
use checks::refuse;
use clap::Args;
use nets::device::Numbers;
use nets::pixels::IMAGE_SIZE;
use nets::{Capacity, Conditioning, Downsampling, Initialization, Width};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// Which of the models that the paper compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// E, G and D.
    CvaeGan,
    /// E and G, by pixels and divergence alone.
    Cvae,
    /// G and D, without reconstruction.
    Cgan,
}

/// Where the defaults come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The published recipe.
    Paper,
    /// For a few cores, or a GPU for some minutes, and some ten thousand images.
    SmallBudget,
    /// What was found since, on top of the small budget's.
    Modern,
}

/// What G is told of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelCode {
    /// Which one it is: an embedding to be learned for each identity alone.
    OneHot,
    /// Also what it looks like to the identity network, so that identities learn from each other.
    IdentityFeatures,
}

/// How the images that critics see are changed, real ones and fakes alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Not at all.
    #[default]
    None,
    /// In brightness, in contrast, and by up to an eighth of their side in any direction.
    ColourTranslation,
    /// Also by a grey square of half their side.
    ColourTranslationCutout,
}

/// In what unit the weights of terms are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// As printed: factors of the terms.
    Weights,
    /// Shares of the pixel term's pull: each term is scaled by its measured gradient norm at G's
    /// output, so that no term outweighs another by accident.
    Gradients,
}

kebab_case_names!(Model { CvaeGan => "cvae-gan", Cvae => "cvae", Cgan => "cgan" });
kebab_case_names!(Preset { Paper => "paper", SmallBudget => "small-budget", Modern => "modern" });
kebab_case_names!(LabelCode { OneHot => "one-hot", IdentityFeatures => "identity-features" });
kebab_case_names!(Augment {
    None => "none",
    ColourTranslation => "colour-translation",
    ColourTranslationCutout => "colour-translation-cutout",
});
kebab_case_names!(Balance { Weights => "weights", Gradients => "gradients" });

/// Writes the table three times: as the settings, as flags that overrule them, and as presets.
macro_rules! settings {
    ($images:ident, $wide:ident: $($(#[$attribute:meta])* $heading:literal $name:ident: $kind:ty, $doc:literal, $paper:expr, $small:expr, $modern:expr;)+) => {
        /// Everything that a training depends on beside its data. Kept in every checkpoint.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct Settings {
            /// Where defaults came from.
            pub preset: Preset,
            /// Share of the paper's channels.
            pub width: Width,
            /// Length of the training in images seen.
            pub images: u64,
            /// What the networks compute in; weights, losses, penalty and updates are f32.
            #[serde(default)]
            pub numbers: Numbers,
            $(#[doc = $doc] $(#[$attribute])* pub $name: $kind,)+
        }

        /// Flags that overrule the preset.
        #[derive(Args, Clone, Debug, Default)]
        pub struct Overrides {
            $(
                #[doc = $doc]
                #[arg(long, value_name = "VALUE", help_heading = $heading, help = format!(
                    concat!($doc, " [paper: {}; small-budget: {}; modern: {}]"),
                    shown(|$images: u64, $wide: bool| -> $kind { let _ = ($images, $wide); $paper }, stringify!($paper)),
                    shown(|$images: u64, $wide: bool| -> $kind { let _ = ($images, $wide); $small }, stringify!($small)),
                    shown(|$images: u64, $wide: bool| -> $kind { let _ = ($images, $wide); $modern }, stringify!($modern)),
                ))]
                pub $name: Option<$kind>,
            )+
        }

        impl Preset {
            /// The preset's settings at this width and length.
            pub fn settings(self, width: Width, $images: u64) -> Settings {
                let $wide = width == Width::Paper;
                match self {
                    Self::Paper => Settings { preset: self, width, images: $images, numbers: Numbers::F32, $($name: $paper,)+ },
                    Self::SmallBudget => Settings { preset: self, width, images: $images, numbers: Numbers::F32, $($name: $small,)+ },
                    Self::Modern => Settings { preset: self, width, images: $images, numbers: Numbers::F32, $($name: $modern,)+ },
                }
            }
        }

        impl Overrides {
            fn apply(&self, settings: &mut Settings) {
                $(if let Some(value) = self.$name { settings.$name = value; })+
            }
        }
    };
}

settings! { images, paper_width:
    // name, what it is, the paper's value, the small budget's, the modern one's. Reasons stand above. What older checkpoints
    // don't have takes its default when they are read, which changes nothing.

    "Network" model: Model, "Which model: cvae-gan, cvae or cgan", Model::CvaeGan, Model::CvaeGan, Model::CvaeGan;
    "Network" channels: usize, "Image channels: 1 (grey) or 3 (RGB)", 1, 1, 1;
    // The paper does not say; a quarter of the work for the same parameters.
    "Network" downsampling: Downsampling, "Where the encoder's blocks halve: strided or pooled",
        Downsampling::Strided, Downsampling::Strided, Downsampling::Strided;
    // 45 million parameters a critic would learn a few thousand images by heart.
    "Network" capacity: Capacity, "Width of the critics' last layers: full or compact",
        Capacity::Full, Capacity::Compact, Capacity::Compact;
    // N(0, 0.02) suits the paper's channels only.
    "Network" initialization: Initialization, "How weights start: paper, N(0, 0.02), or fan-in",
        Initialization::Paper, Initialization::FanIn, Initialization::FanIn;
    // In 60,000 images an identity is seen 300 times: too rarely to learn an embedding from nothing.
    "Network" label_code: LabelCode, "What G is told of an identity: one-hot or identity-features",
        LabelCode::OneHot, LabelCode::IdentityFeatures, LabelCode::IdentityFeatures;
    // Norms take away what the start said of the whole image.
    #[serde(default)]
    "Network" conditioning: Conditioning, "Where latent and identity enter G: start, or every-layer (also scales and \
        shifts of its norms)",
        Conditioning::Start, Conditioning::EveryLayer, Conditioning::EveryLayer;
    // Else critics teach G patterns of eight pixels, which deconvolutions make of nothing.
    #[serde(default)]
    "Network" even_deconvolutions: bool, "Keep filters of deconvolutions such that an even map stays even, without \
        checkerboards", false, true, true;
    // Of length 1 beside a latent of length 16, a one-hot is a whisper.
    "Network" label_length: f64, "Length of the one-hot beside the latent's 16", 1.0, 4.0, 4.0;

    // A short training wants many steps; the paper's widths are a GPU's, which sixteen images don't fill.
    "Training" batch: usize, "Images of a step",
        32, if paper_width { 64 } else { 16 }, if images < 200_000 { 16 } else { 64 };
    "Training" seed: u64, "Of weights, order and latents", 1, 1, 1;
    // BicycleGAN's rates; autoencoding alone bears a larger one, and a short training wants it.
    "Training" learning_rate: f64, "Adam's rate for E and G, to zero over the second half",
        2e-4, if paper_width { 5e-4 } else { 1e-3 }, if images < 200_000 { 1e-3 } else { 2e-4 };
    "Training" critic_learning_rate: f64, "Adam's rate for the critics, likewise", 2e-4, 2e-4, 2e-4;
    "Training" beta1: f64, "Adam's decay of mean gradients", 0.5, 0.5, 0.5;
    "Training" beta2: f64, "Adam's decay of mean squared gradients", 0.999, 0.999, 0.999;
    "Training" critic_steps: u64, "Critic steps for each step of E and G", 1, 1, 1;
    // Critics that know nothing yet only spoil what pixels teach; those of bounded slope less so.
    "Training" warm_up: u64, "First images without critics", 0, images / 4, images / 8;
    "Training" ramp: u64, "Images over which the critics' terms then grow to their weights", 0, images / 8, images / 8;
    // A recognizer alone is pleased by what is no face, and reconstructions teach as much in three quarters of the time.
    #[serde(default = "warm_up_prior")]
    "Training" warm_up_prior: bool, "Hold images of random latents to the identity term before critics come, too; \
        otherwise it grows with the critics' terms", false, false, false;
    "Training" flip: bool, "Mirror images with probability 1/2", true, true, true;
    // Critics learn a few thousand images by heart, but not all their copies.
    #[serde(default)]
    "Training" augment: Augment, "Copies that critics see of all images: none, colour-translation \
        (other brightness, contrast and place) or colour-translation-cutout (also a grey square)",
        Augment::None, Augment::None, Augment::ColourTranslation;
    // The served weights: an average over this many images, at most that share of those seen.
    "Training" average_half_life: u64, "Half-life of the average of E and G, in images", 20_000, 20_000, 20_000;
    "Training" average_share: f64, "Half-life at most this share of the images seen", 0.05, 0.05, 0.05;

    "Losses" balance: Balance, "Unit of weights: weights, or gradients (shares of the pixel term's pull)",
        Balance::Weights, Balance::Gradients, Balance::Gradients;
    "Losses" lambda_adv: f64, "Weight of the adversarial term", 1.0, 0.3, 0.3;
    "Losses" lambda_cls: f64, "Weight of the critics' classification in what E and G minimise; critics weigh their own as 1, or not at all where this is 0", 1.0, 0.2, 0.2;
    "Losses" lambda_fm: f64, "Weight of feature matching", 1.0, 0.5, 0.5;
    "Losses" lambda_pixel: f64, "Weight of the pixel term", 10.0, 10.0, 10.0;
    // Beside a mean over pixels 0.01 is dear where no nats are free: a short training gives the latent up, and all images
    // of a person look the same.
    "Losses" lambda_kl: f64, "Weight of the divergence beyond the free nats; always a factor", 0.01, HOLDING, HOLDING;
    // Of N images no latent can tell more than log N apart: what E says beyond that only leads away from where random
    // latents are drawn, and G never learns to draw there. So it is dear, and what keeps a person's images different
    // costs nothing.
    #[serde(default)]
    "Losses" free_nats: f64, "Divergence that costs nothing; about the logarithm of the number of images, as random latents \
        can't repeat more [unit: nats] [brings a lambda-kl of 0.1 that holds it there; 0 brings 0.003]", 0.0, 10.0, 10.0;
    // Half the pixel term's pull already draws caricatures, in dots where the recognizer looks.
    "Losses" lambda_id: f64, "Weight of the identity term; 0 does without identity network", 1.0, 0.2, 0.2;
    // WGAN-GP's game as printed. The others do without its penalty, each with a restraint of its own.
    #[serde(default)]
    "Losses" critic_loss: CriticLoss, "Game of critics against E and G: wasserstein, hinge (brings spectral norm) or \
        logistic (brings R1); the latter two do without gradient penalty",
        CriticLoss::Wasserstein, CriticLoss::Wasserstein, CriticLoss::Hinge;
    #[serde(default)]
    "Losses" spectral_norm: bool, "Divide the critics' weights by their largest singular values", false, false, true;
    // 1 as printed; 10 is WGAN-GP's own.
    "Losses" lambda_gp: f64, "Weight of the gradient penalty", 1.0, 10.0, 0.0;
    #[serde(default)]
    "Losses" r1_gamma: f64, "Weight of R1, the squared slope at real images [logistic: 0.0002 * 128^2 / batch]",
        0.0, 0.0, 0.0;
    #[serde(default = "r1_interval")]
    "Losses" r1_interval: u64, "Critic steps from one with R1 to the next, which weighs for all", 16, 16, 16;
    // The classifier alone rewards what is typical of a person.
    #[serde(default)]
    "Losses" projection: bool, "Critics also judge how real an image is as one of its person", false, false, true;
    // The printed eq. (2) rewards a critic for moving all its values.
    "Losses" critic_reading: CriticReading, "Eq. (2): balanced or as-printed",
        CriticReading::Balanced, CriticReading::Balanced, CriticReading::Balanced;
    // As printed, images from random latents are drawn to one and the same median image.
    "Losses" prior_match: PriorMatch, "What feature matching, eq. (4), holds images of random latents against: as-printed \
        (the batch's image of that person), batch-mean (the mean features of the batch) or class-mean (the person's \
        mean features in the critics so far; wants many images of each)",
        PriorMatch::AsPrinted, PriorMatch::BatchMean, PriorMatch::BatchMean;
    "Losses" identity_distance: IdentityDistance, "Eq. (7): as-printed or cosine",
        IdentityDistance::AsPrinted, IdentityDistance::Cosine, IdentityDistance::Cosine;
    // The recognizer was trained to tell these very people apart: its verdict is the shortest way.
    "Losses" identity_verdict: f64, "Within the identity term: weight of the recognizer's classification", 0.0, 0.1, 0.1;
    "Losses" identity_maps: f64, "Within the identity term: weight of the recognizer's inner layers", 0.0, 1.0, 1.0;
    // One small network is soon fooled by speckle where it looks; moved and blurred copies aren't.
    "Losses" perturb: bool, "Show the recognizer shifted, blurred and brightened copies", false, true, true;
    // So that identity is not hidden in the latent, where a reconstruction would find it.
    "Losses" swap: f64, "Share of random latents borrowed from another image of the batch", 0.0, 0.5, 0.5;
    // Who was only ever asked for one person at a time may draw nothing between two of them. A half mends that, and costs
    // the people themselves as much; a quarter does neither.
    #[serde(default)]
    "Losses" blended_share: f64, "Share of random latents that are asked for a mixture of three people, as servers ask \
        for new ones", 0.0, 0.0, 0.0;
}

/// Weight of the divergence that holds it near its bound.
const HOLDING: f64 = 0.1;

/// What older checkpoints were trained by.
fn warm_up_prior() -> bool {
    true
}

/// Of older checkpoints, without effect there.
fn r1_interval() -> u64 {
    16
}

/// A preset's value for `--help`: as it is typed, or as a formula where it follows length or width of
/// the training.
fn shown<T: Display>(value: impl Fn(u64, bool) -> T, formula: &str) -> String {
    let (short, long, wide) = (value(1 << 10, false), value(1 << 20, false), value(1 << 10, true));
    let (short, others) = (short.to_string(), [long, wide].map(|value| value.to_string()));
    if others.iter().all(|other| *other == short) { short } else { formula.to_owned() }
}

impl Preset {
    /// The preset of a width, where none is named.
    pub fn of_width(width: Width) -> Self {
        if width == Width::Paper { Self::Paper } else { Self::SmallBudget }
    }
}

impl Settings {
    /// Settings from flags: the preset's, overruled. Without a preset, the paper's widths take the
    /// paper's recipe.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for values that can't train, or that contradict the model.
    pub fn resolve(width: Width, preset: Option<Preset>, images: u64, overrides: &Overrides) -> Result<Self> {
        let preset = preset.unwrap_or(Preset::of_width(width));
        let mut settings = preset.settings(width, images);
        match overrides.model.unwrap_or(settings.model) {
            Model::CvaeGan => {}
            Model::Cvae => {
                if let Some(game) = overrides.critic_loss.filter(|&game| game != settings.critic_loss) {
                    return refuse("critic-loss", "none for a model without critics", &game);
                }
                let without = ["adv", "cls", "fm", "id"].into_iter().zip(settings.critic_weights_and_identity());
                without.for_each(|(_, weight)| *weight = 0.0);
                (settings.warm_up, settings.ramp, settings.swap) = (0, 0, 0.0);
                (settings.augment, settings.spectral_norm, settings.projection) = (Augment::None, false, false);
                settings.label_code = LabelCode::OneHot;
            }
            Model::Cgan => {
                (settings.lambda_pixel, settings.lambda_kl, settings.swap) = (0.0, 0.0, 0.0);
                settings.free_nats = 0.0;
                // Without a pixel term there is nothing to warm up with.
                (settings.warm_up, settings.ramp) = (0, 0);
                settings.balance = Balance::Weights;
                // Autoencoding bears the larger rate; without it G runs away from its critics.
                settings.learning_rate = settings.learning_rate.min(settings.critic_learning_rate);
            }
        }
        // Without the term no recognizer is asked for, unless features are.
        if overrides.lambda_id == Some(0.0) {
            settings.label_code = LabelCode::OneHot;
        }
        settings.take_game(overrides.critic_loss.unwrap_or(settings.critic_loss), overrides);
        settings.take_bound(overrides.free_nats.unwrap_or(settings.free_nats));
        overrides.apply(&mut settings);
        settings.check()?;
        Ok(settings)
    }

    /// Whether there is an encoder.
    pub fn has_encoder(&self) -> bool {
        self.model != Model::Cgan
    }

    /// Whether there are critics.
    pub fn has_critics(&self) -> bool {
        self.lambda_adv + self.lambda_cls + self.lambda_fm > 0.0
    }

    /// Whether an identity network is needed.
    pub fn needs_identity(&self) -> bool {
        self.lambda_id > 0.0 || self.label_code == LabelCode::IdentityFeatures
    }

    /// Changes the critics' game, and gives it the restraint that belongs to it.
    fn take_game(&mut self, game: CriticLoss, overrides: &Overrides) {
        if game == self.critic_loss {
            return;
        }
        // StyleGAN2's rule of thumb; a tenth and ten times of it are worth trying.
        let batch = overrides.batch.unwrap_or(self.batch).max(1);
        let r1_gamma = 0.0002 * (IMAGE_SIZE * IMAGE_SIZE) as f64 / batch as f64;
        (self.lambda_gp, self.spectral_norm, self.r1_gamma) = match game {
            CriticLoss::Wasserstein => (10.0, false, 0.0),
            CriticLoss::Hinge => (0.0, true, 0.0),
            CriticLoss::Logistic => (0.0, false, r1_gamma),
        };
    }

    /// Bounds what the latent says, or frees it, with the weight that belongs to either.
    fn take_bound(&mut self, free_nats: f64) {
        if (free_nats > 0.0) != (self.free_nats > 0.0) {
            self.lambda_kl = if free_nats > 0.0 { HOLDING } else { 0.003 };
        }
    }

    fn critic_weights_and_identity(&mut self) -> [&mut f64; 4] {
        [&mut self.lambda_adv, &mut self.lambda_cls, &mut self.lambda_fm, &mut self.lambda_id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(overrides: Overrides) -> Result<Settings> {
        Settings::resolve(Width::Small, None, 60_000, &overrides)
    }

    #[test]
    fn narrow_networks_take_the_small_budget_and_wide_ones_the_paper() -> Result<()> {
        assert_eq!(resolved(Overrides::default())?, Preset::SmallBudget.settings(Width::Small, 60_000));
        let paper = Settings::resolve(Width::Paper, None, 10, &Overrides::default())?;
        assert_eq!(paper, Preset::Paper.settings(Width::Paper, 10));
        assert_eq!((paper.lambda_pixel, paper.lambda_kl, paper.lambda_gp), (10.0, 0.01, 1.0));
        Ok(())
    }

    #[test]
    fn the_other_models_drop_their_terms_and_refuse_to_have_them_back() -> Result<()> {
        let model = |model| Overrides { model: Some(model), ..Overrides::default() };
        let cvae = resolved(model(Model::Cvae))?;
        assert_eq!((cvae.lambda_adv, cvae.lambda_id, cvae.needs_identity()), (0.0, 0.0, false));
        let cgan = resolved(model(Model::Cgan))?;
        assert_eq!((cgan.lambda_pixel, cgan.lambda_kl, cgan.has_encoder()), (0.0, 0.0, false));
        assert_eq!((cgan.learning_rate, cvae.learning_rate), (2e-4, 1e-3));
        let faster = resolved(Overrides { learning_rate: Some(1e-3), ..model(Model::Cgan) })?;
        assert_eq!(faster.learning_rate, 1e-3);
        let error = resolved(Overrides { lambda_id: Some(1.0), ..model(Model::Cvae) }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected 0 for the model cvae, which has neither critics nor identity term as lambda-id, found 1"
        );
        Ok(())
    }

    #[test]
    fn without_identity_term_no_recognizer_is_needed() -> Result<()> {
        let settings = resolved(Overrides { lambda_id: Some(0.0), ..Overrides::default() })?;
        assert!(!settings.needs_identity());
        Ok(())
    }

    #[test]
    fn each_game_of_the_critics_brings_its_restraint() -> Result<()> {
        let game = |game| Overrides { critic_loss: Some(game), ..Overrides::default() };
        let restraint = |overrides| {
            let settings = resolved(overrides)?;
            Ok::<_, crate::Error>((settings.lambda_gp, settings.spectral_norm, settings.r1_gamma))
        };
        assert_eq!(restraint(game(CriticLoss::Wasserstein))?, (10.0, false, 0.0));
        assert_eq!(restraint(game(CriticLoss::Hinge))?, (0.0, true, 0.0));
        // The small budget's batch is 16.
        assert_eq!(restraint(game(CriticLoss::Logistic))?, (0.0, false, 0.2048));
        let batch = Overrides { batch: Some(64), ..game(CriticLoss::Logistic) };
        assert_eq!(restraint(batch)?, (0.0, false, 0.0512));
        let without = Overrides { model: Some(Model::Cvae), ..game(CriticLoss::Hinge) };
        let refused = Settings::resolve(Width::Tiny, None, 100, &without).unwrap_err().to_string();
        assert_eq!(refused, "expected none for a model without critics as critic-loss, found hinge");
        let own = Overrides { spectral_norm: Some(true), r1_gamma: Some(0.0), ..game(CriticLoss::Logistic) };
        assert_eq!(restraint(own)?, (0.0, true, 0.0));
        Ok(())
    }

    #[test]
    fn a_bound_on_the_latent_brings_its_weight() -> Result<()> {
        let of = |preset: Preset, free_nats, lambda_kl| {
            let overrides = Overrides { free_nats: Some(free_nats), lambda_kl, ..Overrides::default() };
            let settings = Settings::resolve(Width::Small, Some(preset), 60_000, &overrides)?;
            Ok::<_, crate::Error>((settings.free_nats, settings.lambda_kl))
        };
        assert_eq!(of(Preset::Modern, 12.0, None)?, (12.0, 0.1));
        assert_eq!(of(Preset::Modern, 0.0, None)?, (0.0, 0.003));
        assert_eq!(of(Preset::SmallBudget, 10.0, None)?, (10.0, 0.1));
        assert_eq!(of(Preset::SmallBudget, 0.0, None)?, (0.0, 0.003));
        assert_eq!(of(Preset::Modern, 0.0, Some(0.01))?, (0.0, 0.01));
        let cgan =
            Overrides { model: Some(Model::Cgan), free_nats: Some(10.0), lambda_kl: Some(0.0), ..Overrides::default() };
        let refused = Settings::resolve(Width::Small, None, 100, &cgan).unwrap_err().to_string();
        assert_eq!(refused, "expected 0 for the model cgan, which has no encoder as free-nats, found 10");
        Ok(())
    }

    #[test]
    fn settings_of_older_checkpoints_are_the_recipe_they_were_trained_by() -> serde_json::Result<()> {
        let preset = Preset::SmallBudget.settings(Width::Tiny, 1000);
        let settings = Settings {
            conditioning: Conditioning::Start,
            even_deconvolutions: false,
            free_nats: 0.0,
            warm_up_prior: true,
            ..preset
        };
        let mut table = serde_json::to_value(&settings)?;
        let fields = table.as_object_mut().expect("a table");
        for new in [
            "augment",
            "conditioning",
            "even-deconvolutions",
            "warm-up-prior",
            "critic-loss",
            "spectral-norm",
            "r1-gamma",
            "r1-interval",
            "projection",
            "free-nats",
        ] {
            assert!(fields.remove(new).is_some(), "{new}");
        }
        assert_eq!(serde_json::from_value::<Settings>(table)?, settings);
        Ok(())
    }

    #[test]
    fn settings_survive_json() -> serde_json::Result<()> {
        let settings = Preset::SmallBudget.settings(Width::Tiny, 1000);
        assert_eq!(serde_json::from_str::<Settings>(&serde_json::to_string(&settings)?)?, settings);
        Ok(())
    }
}
