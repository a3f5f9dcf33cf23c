//! Settings by name, for programs that train several generators.

use crate::Result;
use crate::settings::{Model, Overrides, Settings};
use clap::Parser;
use clap::error::ErrorKind;
use command::WrongSetting;
use nets::Conditioning;

/// As on the command line of `cvae-gan train`.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Flags {
    #[command(flatten)]
    overrides: Overrides,
}

impl Overrides {
    /// Of `NAME=VALUE` each, by the names that `cvae-gan train --help` lists.
    ///
    /// # Errors
    /// [`WrongSetting`] for a name that there isn't and a value that can't be read.
    pub fn named<'a>(settings: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let (mut flags, mut overrides) = (Vec::new(), Self::default());
        for setting in settings {
            let refuse =
                |expected: String| WrongSetting { setting: "generator-set", expected, found: format!("`{setting}`") };
            let Some((name, _)) = setting.split_once('=') else {
                return Err(refuse("NAME=VALUE, as in lambda-kl=0.01".to_owned()).into());
            };
            flags.push(format!("--{setting}"));
            let read = Flags::try_parse_from(&flags).map_err(|error| match error.kind() {
                ErrorKind::UnknownArgument => {
                    refuse("a setting of a recipe, as `cvae-gan train --help` lists them".to_owned())
                }
                ErrorKind::ArgumentConflict => refuse(format!("{name} once")),
                _ => refuse(format!("a value of {name}, as in `cvae-gan train --help`")),
            });
            overrides = read?.overrides;
        }
        Ok(overrides)
    }

    /// Of a run of an earlier version, which said nothing of settings that came later: they change nothing there.
    pub fn of_older_run(self) -> Self {
        let conditioning = self.conditioning.or(Some(Conditioning::Start));
        Self {
            conditioning,
            warm_up_prior: self.warm_up_prior.or(Some(true)),
            free_nats: self.free_nats.or(Some(0.0)),
            even_deconvolutions: self.even_deconvolutions.or(Some(false)),
            ..self
        }
    }

    /// Without those of parts that a model doesn't have, or that a comparison of models decides for it.
    pub fn of_model(self, model: Model) -> Self {
        match model {
            Model::CvaeGan => self,
            Model::Cgan => Self {
                lambda_pixel: None,
                lambda_kl: None,
                free_nats: None,
                swap: None,
                warm_up: None,
                ramp: None,
                balance: None,
                ..self
            },
            Model::Cvae => Self {
                lambda_adv: None,
                lambda_cls: None,
                lambda_fm: None,
                lambda_id: None,
                lambda_gp: None,
                critic_loss: None,
                spectral_norm: None,
                r1_gamma: None,
                projection: None,
                augment: None,
                label_code: None,
                swap: None,
                blended_share: None,
                warm_up: None,
                ramp: None,
                ..self
            },
        }
    }
}

impl Settings {
    /// What differs from the preset's recipe for the same model, width, length, channels, seed and numbers, as NAME=VALUE
    /// each.
    pub fn beyond_preset(&self) -> Vec<String> {
        let Self { preset, width, images, model, channels, seed, numbers, .. } = *self;
        let alike =
            Overrides { model: Some(model), channels: Some(channels), seed: Some(seed), ..Overrides::default() };
        let of_preset =
            Self::resolve(width, Some(preset), images, &alike).map(|of_preset| Self { numbers, ..of_preset });
        let table = |settings: &Self| match serde_json::to_value(settings) {
            Ok(serde_json::Value::Object(table)) => table,
            _ => serde_json::Map::new(),
        };
        let of_preset = of_preset.as_ref().map(table).unwrap_or_default();
        let own = table(self).into_iter().filter(|(name, value)| of_preset.get(name) != Some(value));
        own.map(|(name, value)| format!("{name}={}", value.as_str().map_or(value.to_string(), str::to_owned))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;
    use crate::losses::reading::CriticLoss;
    use nets::Width;
    use nets::device::Numbers;

    #[test]
    fn settings_are_read_by_their_names() -> Result<()> {
        let read = Overrides::named(["lambda-kl=0.02", "free-nats=0", "flip=false", "critic-loss=hinge"])?;
        let settings = Settings::resolve(Width::Tiny, Some(Preset::Modern), 1000, &read)?;
        assert_eq!((settings.lambda_kl, settings.free_nats, settings.flip), (0.02, 0.0, false));
        Ok(())
    }

    #[test]
    fn slips_are_told_in_one_sentence() {
        for (slips, expected) in [
            (&["lambda-kl"][..], "expected NAME=VALUE, as in lambda-kl=0.01 as generator-set, found `lambda-kl`"),
            (
                &["lambda-x=1"],
                "expected a setting of a recipe, as `cvae-gan train --help` lists them as generator-set, found `lambda-x=1`",
            ),
            (
                &["batch=many"],
                "expected a value of batch, as in `cvae-gan train --help` as generator-set, found `batch=many`",
            ),
            (&["swap=0", "swap=1"], "expected swap once as generator-set, found `swap=1`"),
        ] {
            let error = Overrides::named(slips.iter().copied()).map(|_| ()).unwrap_err().to_string();
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_run_from_before_a_setting_goes_on_without_it() {
        let older = |given: Overrides| {
            let older = given.of_older_run();
            (older.free_nats, older.conditioning, older.warm_up_prior, older.even_deconvolutions)
        };
        assert_eq!(older(Overrides::default()), (Some(0.0), Some(Conditioning::Start), Some(true), Some(false)));
        let said = (Some(10.0), Some(Conditioning::EveryLayer), Some(false), Some(true));
        let (free_nats, conditioning, warm_up_prior, even_deconvolutions) = said;
        let given = Overrides { free_nats, conditioning, warm_up_prior, even_deconvolutions, ..Overrides::default() };
        assert_eq!(older(given), said);
    }

    #[test]
    fn the_other_models_take_what_concerns_them() -> Result<()> {
        let all = ["lambda-kl=0.02", "lambda-adv=0.1", "projection=false", "swap=0.1", "balance=gradients", "batch=8"];
        for model in [Model::CvaeGan, Model::Cgan, Model::Cvae] {
            let given = Overrides { model: Some(model), ..Overrides::named(all)?.of_model(model) };
            let settings = Settings::resolve(Width::Tiny, Some(Preset::Modern), 1000, &given)?;
            assert_eq!(settings.batch, 8);
            assert_eq!(settings.lambda_kl, if model == Model::Cgan { 0.0 } else { 0.02 });
        }
        Ok(())
    }

    #[test]
    fn what_differs_from_the_preset_is_named() -> Result<()> {
        for preset in [Preset::Paper, Preset::SmallBudget, Preset::Modern] {
            for model in [Model::CvaeGan, Model::Cvae, Model::Cgan] {
                let own = Overrides { model: Some(model), seed: Some(9), channels: Some(3), ..Overrides::default() };
                let settings = Settings::resolve(Width::Tiny, Some(preset), 1000, &own)?;
                assert_eq!(settings.beyond_preset(), Vec::<String>::new());
                let numbers = Numbers::Bf16;
                let other = Settings { batch: 7, critic_loss: CriticLoss::Logistic, numbers, ..settings };
                assert_eq!(other.beyond_preset(), ["batch=7", "critic-loss=logistic"]);
            }
        }
        Ok(())
    }
}
