//! Settings that can't train, or that contradict each other, each refused in one sentence.

use super::{Augment, Balance, Model, Settings};
use crate::Result;
use crate::losses::reading::{CriticLoss, CriticReading, IdentityDistance, PriorMatch};
use command::WrongSetting;
use std::fmt::Display;

impl Settings {
    /// Refuses settings that can't train.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting).
    pub fn check(&self) -> Result<()> {
        self.check_numbers()?;
        self.check_weights()?;
        self.check_model()?;
        self.check_critics()
    }

    /// Lengths, rates and shares.
    fn check_numbers(&self) -> Result<()> {
        if self.images == 0 {
            return refuse("images", "at least 1", &self.images);
        }
        if !(1..=4096).contains(&self.batch) {
            return refuse("batch", "1 to 4,096", &self.batch);
        }
        if !matches!(self.channels, 1 | 3) {
            return refuse("channels", "1 (grey) or 3 (RGB)", &self.channels);
        }
        for (name, steps) in [("critic-steps", self.critic_steps), ("r1-interval", self.r1_interval)] {
            if steps == 0 {
                return refuse(name, "at least 1", &steps);
            }
        }
        for (name, rate) in [("learning-rate", self.learning_rate), ("critic-learning-rate", self.critic_learning_rate)]
        {
            if !(rate > 0.0 && rate.is_finite()) {
                return refuse(name, "a number above 0", &rate);
            }
        }
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return refuse(name, "a number from 0 up to, not including, 1", &beta);
            }
        }
        if !(self.label_length > 0.0 && self.label_length.is_finite()) {
            return refuse("label-length", "a number above 0", &self.label_length);
        }
        for (name, share) in
            [("swap", self.swap), ("blended-share", self.blended_share), ("average-share", self.average_share)]
        {
            if !(0.0..=1.0).contains(&share) {
                return refuse(name, "a share from 0 to 1", &share);
            }
        }
        Ok(())
    }

    /// Weights of terms, and those that a model doesn't have.
    fn check_weights(&self) -> Result<()> {
        let weights = [
            ("lambda-adv", self.lambda_adv),
            ("lambda-cls", self.lambda_cls),
            ("lambda-fm", self.lambda_fm),
            ("lambda-pixel", self.lambda_pixel),
            ("lambda-kl", self.lambda_kl),
            ("free-nats", self.free_nats),
            ("lambda-id", self.lambda_id),
            ("lambda-gp", self.lambda_gp),
            ("r1-gamma", self.r1_gamma),
            ("identity-verdict", self.identity_verdict),
            ("identity-maps", self.identity_maps),
        ];
        for (name, weight) in weights {
            if !(weight >= 0.0 && weight.is_finite()) {
                return refuse(name, "0 or more", &weight);
            }
            let of_critics = ["lambda-adv", "lambda-cls", "lambda-fm", "lambda-id"].contains(&name);
            if self.model == Model::Cvae && of_critics && weight > 0.0 {
                return refuse(name, "0 for the model cvae, which has neither critics nor identity term", &weight);
            }
            let of_encoder = ["lambda-pixel", "lambda-kl", "free-nats"].contains(&name);
            if self.model == Model::Cgan && of_encoder && weight > 0.0 {
                return refuse(name, "0 for the model cgan, which has no encoder", &weight);
            }
        }
        Ok(())
    }

    /// What contradicts the model.
    fn check_model(&self) -> Result<()> {
        if self.model == Model::Cgan && self.warm_up > 0 && self.lambda_id == 0.0 {
            return refuse("warm-up", "0 where nothing is learned without critics", &self.warm_up);
        }
        if self.model == Model::Cgan && self.swap > 0.0 {
            return refuse("swap", "0 for the model cgan, which has no encoder", &self.swap);
        }
        if !self.has_critics() && self.lambda_id == 0.0 && self.blended_share > 0.0 {
            return refuse("blended-share", "0 where nothing looks at random latents", &self.blended_share);
        }
        if self.blended_share > 0.0 {
            // A mixture has no image in the batch, and no mean image yet.
            if self.prior_match != PriorMatch::BatchMean {
                return refuse("prior-match", "batch-mean with a blended-share", &self.prior_match);
            }
            if self.lambda_id > 0.0 && self.identity_distance != IdentityDistance::Cosine {
                return refuse("identity-distance", "cosine with a blended-share", &self.identity_distance);
            }
        }
        if self.balance == Balance::Gradients && self.lambda_pixel == 0.0 {
            return refuse("balance", "weights where there is no pixel term to measure by", &self.balance);
        }
        Ok(())
    }

    /// What contradicts the critics' game, or there being none.
    fn check_critics(&self) -> Result<()> {
        if !self.has_critics() {
            const NO_CRITICS: &str = "where there are no critics";
            if self.augment != Augment::None {
                return refuse("augment", &format!("none {NO_CRITICS}"), &self.augment);
            }
            for (name, on) in [("spectral-norm", self.spectral_norm), ("projection", self.projection)] {
                if on {
                    return refuse(name, &format!("false {NO_CRITICS}"), &on);
                }
            }
            return Ok(());
        }
        let game = self.critic_loss;
        if game == CriticLoss::Wasserstein {
            if self.r1_gamma > 0.0 {
                return refuse("r1-gamma", "0 with the critic loss wasserstein, which wants a slope", &self.r1_gamma);
            }
        } else {
            if self.lambda_gp > 0.0 {
                let expected = format!("0 with the critic loss {game}, which wants no slope of 1");
                return refuse("lambda-gp", &expected, &self.lambda_gp);
            }
            if self.critic_reading != CriticReading::Balanced {
                let expected = format!("balanced with the critic loss {game}, which the paper does not print");
                return refuse("critic-reading", &expected, &self.critic_reading);
            }
        }
        Ok(())
    }
}

/// One sentence.
pub(super) fn refuse<T>(setting: &'static str, expected: &str, found: &dyn Display) -> Result<T> {
    Err(WrongSetting { setting, expected: expected.to_owned(), found: found.to_string() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Overrides;
    use nets::Width;

    #[test]
    fn what_contradicts_the_game_is_refused_in_one_sentence() {
        let hinge = || Overrides { critic_loss: Some(CriticLoss::Hinge), ..Overrides::default() };
        let cvae = || Overrides { model: Some(Model::Cvae), ..Overrides::default() };
        let cases = [
            (
                Overrides { lambda_gp: Some(1.0), ..hinge() },
                "expected 0 with the critic loss hinge, which wants no slope of 1 as lambda-gp, found 1",
            ),
            (
                Overrides { critic_reading: Some(CriticReading::AsPrinted), ..hinge() },
                "expected balanced with the critic loss hinge, which the paper does not print as critic-reading, found as-printed",
            ),
            (
                Overrides { r1_gamma: Some(1.0), ..Overrides::default() },
                "expected 0 with the critic loss wasserstein, which wants a slope as r1-gamma, found 1",
            ),
            (
                Overrides { blended_share: Some(0.5), ..cvae() },
                "expected 0 where nothing looks at random latents as blended-share, found 0.5",
            ),
            (
                Overrides {
                    blended_share: Some(0.5),
                    prior_match: Some(PriorMatch::ClassMean),
                    ..Overrides::default()
                },
                "expected batch-mean with a blended-share as prior-match, found class-mean",
            ),
            (
                Overrides {
                    blended_share: Some(0.5),
                    identity_distance: Some(IdentityDistance::AsPrinted),
                    ..Overrides::default()
                },
                "expected cosine with a blended-share as identity-distance, found as-printed",
            ),
            (
                Overrides { blended_share: Some(1.5), ..Overrides::default() },
                "expected a share from 0 to 1 as blended-share, found 1.5",
            ),
            (Overrides { r1_interval: Some(0), ..Overrides::default() }, "expected at least 1 as r1-interval, found 0"),
            (
                Overrides { augment: Some(Augment::ColourTranslation), ..cvae() },
                "expected none where there are no critics as augment, found colour-translation",
            ),
            (
                Overrides { projection: Some(true), ..cvae() },
                "expected false where there are no critics as projection, found true",
            ),
        ];
        for (overrides, expected) in cases {
            let error = Settings::resolve(Width::Small, None, 60_000, &overrides).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
