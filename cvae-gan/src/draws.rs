//! The random numbers of a step: each a function of the seed, the step and the row.

use crate::Result;
use crate::augment::Augmentation;
use crate::blend::Blend;
use crate::settings::Settings;
use candle_core::{DType, Device, Tensor};
use nets::LATENT;
use nets::chance::{Chance, Draws};

/// Everything that a step leaves to chance, beside the order and flips of its images.
pub(crate) struct StepDraws {
    /// Noise of the encoder's latents, `(B,256)`.
    pub(crate) encoding: Tensor,
    /// Latents of the random branch, `(B,256)`.
    pub(crate) prior: Tensor,
    /// 1 where the random branch borrows another image's latent instead, else 0: `(B,1)`.
    pub(crate) borrowed: Tensor,
    /// Whom the random branch is asked for, where they are mixtures.
    pub(crate) blend: Option<Blend>,
    /// Share of the real image in the gradient penalty's mixture, `(B,1,1,1)`.
    pub(crate) real_share: Tensor,
    /// 1 where that mixture takes the random branch's fake, 0 for the encoded one's: `(B,1,1,1)`.
    pub(crate) penalty_branch: Tensor,
    /// How the recognizer's copies are changed.
    pub(crate) perturbation: Perturbation,
    /// How the critics' copies are changed in their own step.
    pub(crate) critic_augmentation: Option<Augmentation>,
    /// The same in that of E and G: critics have just seen the others.
    pub(crate) generator_augmentation: Option<Augmentation>,
}

/// One change of all images of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Perturbation {
    /// Pixels to the right.
    pub(crate) right: i32,
    /// Pixels down.
    pub(crate) down: i32,
    /// Whether to blur.
    pub(crate) blur: bool,
    /// Factor of deviations from middle grey.
    pub(crate) contrast: f64,
    /// Added to grey in `[0, 1]`.
    pub(crate) brightness: f64,
}

impl Perturbation {
    /// Largest shift, in pixels.
    const SHIFT: u64 = 6;

    fn draw(draws: &mut Draws) -> Self {
        let mut shift = || draws.below(2 * Self::SHIFT + 1) as i32 - Self::SHIFT as i32;
        let (right, down) = (shift(), shift());
        Self {
            right,
            down,
            blur: draws.chance(0.5),
            contrast: draws.uniform(0.8, 1.2),
            brightness: draws.uniform(-0.1, 0.1),
        }
    }
}

impl StepDraws {
    /// The draws of step `step` for a batch of rows with `labels`.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub(crate) fn new(settings: &Settings, step: u64, labels: &[u32], dtype: DType, device: &Device) -> Result<Self> {
        let rows = labels.len();
        let Settings { seed, swap, blended_share, augment, .. } = *settings;
        let per_row = |purpose: &str, count: usize, draw: &dyn Fn(&mut Draws) -> f64| -> Result<Tensor> {
            let chance = Chance::new(seed, purpose);
            let values: Vec<f64> = (0..rows)
                .flat_map(|row| {
                    let mut draws = chance.at(step, row as u64);
                    (0..count).map(move |_| draw(&mut draws)).collect::<Vec<_>>()
                })
                .collect();
            Ok(Tensor::from_vec(values, (rows, count), device)?.to_dtype(dtype)?)
        };
        let as_images = |values: Tensor| values.reshape((rows, 1, 1, 1));
        let augmentation =
            |purpose: &str| Augmentation::draw(augment, (&Chance::new(seed, purpose), step), rows, dtype, device);
        let coin = |share: f64| move |draws: &mut Draws| f64::from(draws.chance(share));
        Ok(Self {
            encoding: per_row("cvae-gan/encoding", LATENT, &Draws::normal)?,
            prior: per_row("cvae-gan/prior", LATENT, &Draws::normal)?,
            borrowed: per_row("cvae-gan/borrowed", 1, &coin(swap))?,
            blend: Blend::draw(blended_share, (&Chance::new(seed, "cvae-gan/blend"), step), labels, dtype, device)?,
            real_share: as_images(per_row("cvae-gan/real share", 1, &Draws::unit)?)?,
            penalty_branch: as_images(per_row("cvae-gan/penalty branch", 1, &coin(0.5))?)?,
            perturbation: Perturbation::draw(&mut Chance::new(seed, "cvae-gan/perturbation").at(step, 0)),
            critic_augmentation: augmentation("cvae-gan/critic augmentation")?,
            generator_augmentation: augmentation("cvae-gan/generator augmentation")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Augment, Preset};
    use nets::Width;
    use nets::pixels::IMAGE_SIZE;

    #[test]
    fn a_rows_draws_depend_on_seed_step_and_row_alone() -> Result<()> {
        let augment = Augment::ColourTranslation;
        let settings = Settings { seed: 3, swap: 0.5, augment, ..Preset::Paper.settings(Width::Tiny, 1000) };
        let draws = |step, rows| StepDraws::new(&settings, step, &[0, 1, 2, 3, 4][..rows], DType::F64, &Device::Cpu);
        let (few, many) = (draws(7, 2)?, draws(7, 5)?);
        let latents = |draws: &StepDraws, rows: usize| draws.prior.narrow(0, 0, rows)?.to_vec2::<f64>();
        assert_eq!(latents(&few, 2)?, latents(&many, 2)?);
        assert_ne!(latents(&few, 2)?, latents(&draws(8, 2)?, 2)?);
        assert_eq!(few.perturbation, many.perturbation);
        let copies = |draws: &StepDraws, in_critics: bool| {
            let (critics, generator) = (&draws.critic_augmentation, &draws.generator_augmentation);
            let augmentation = if in_critics { critics } else { generator }.as_ref().expect("asked for");
            let rows = draws.prior.dim(0)?;
            let images = Tensor::full(0.5, (rows, IMAGE_SIZE, IMAGE_SIZE, 1), &Device::Cpu)?;
            Ok::<_, crate::Error>(augmentation.apply(&images)?.narrow(0, 0, 2)?.flatten_all()?.to_vec1::<f64>()?)
        };
        assert_eq!(copies(&few, true)?, copies(&many, true)?);
        assert_ne!(copies(&few, true)?, copies(&few, false)?);
        assert_ne!(copies(&few, true)?, copies(&draws(8, 2)?, true)?);
        Ok(())
    }
}
