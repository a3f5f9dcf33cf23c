//! L_D: what the critics minimise.

use crate::Result;
use crate::draws::StepDraws;
use crate::figures::Figures;
use crate::learner::{Branch, Faces, Gradients, Learner, Made, finite, scalar};
use crate::losses::adversarial::{DRIFT_WEIGHT, critic_gain, drift};
use crate::losses::classification::classification;
use crate::losses::gradient_penalty::{between, gradient_norms, gradient_penalty};
use crate::losses::reading::CriticReading;
use candle_core::Tensor;

impl Learner {
    /// Gradients of `L_D = sum over scales of -(gain - lambda_gp GP) + L_cls(x)` for the critics'
    /// weights.
    pub(crate) fn critic_gradients(
        &self,
        faces: &Faces,
        made: &Made,
        draws: &StepDraws,
        figures: &mut Figures,
    ) -> Result<Gradients> {
        let settings = &self.settings;
        let fakes = made.images.detach();
        let penalised = penalised_fakes(made, &fakes, draws)?;
        let mut losses = Vec::new();
        for critic in self.critics.iter().flat_map(|critics| &critics.scales) {
            // Real images and fakes in one pass.
            let real = critic.view(&faces.images)?;
            let critique = critic.live.forward(&Tensor::cat(&[&real, &critic.view(&fakes)?], 0)?)?;
            let values = critique.value()?;
            let of_real = values.narrow(0, 0, made.rows)?;
            let of_fakes: Vec<Tensor> = made
                .parts(&values.narrow(0, made.rows, fakes.dim(0)?)?)?
                .into_iter()
                .map(|(_, values)| values)
                .collect();

            let gain = critic_gain(&of_real, &of_fakes, settings.critic_reading)?;
            let norms = {
                let mixed = between(&real, &critic.view(&penalised)?, &draws.real_share)?;
                gradient_norms(&critic.sloped.input_gradient(&mixed)?)?
            };
            let penalty = gradient_penalty(&norms)?;
            let mut loss = (penalty.affine(settings.lambda_gp, 0.0)? - &gain)?;
            if settings.critic_reading == CriticReading::AsPrinted {
                loss = (loss + drift(&of_real)?.affine(DRIFT_WEIGHT, 0.0)?)?;
            }
            if settings.lambda_cls > 0.0 {
                let logits = critique.cls.narrow(0, 0, made.rows)?;
                let of_class = classification(&logits, &faces.labels)?;
                figures.add("critic/classification", self.finite("critic classification", &of_class)?);
                figures.add("critic/accuracy", accuracy(&logits, &faces.labels)?);
                loss = (loss + of_class)?;
            }
            figures.add("critic/gain", self.finite("critic gain", &gain)?);
            figures.add("critic/penalty", self.finite("gradient penalty", &penalty)?);
            figures.add("critic/slope", scalar(&norms.mean_all()?)?);
            losses.push(loss);
        }
        Ok(Tensor::stack(&losses, 0)?.sum_all()?.backward()?)
    }

    pub(crate) fn finite(&self, term: &str, value: &Tensor) -> Result<f64> {
        finite(term, scalar(value)?, self.images_seen)
    }
}

/// One fake per row, from either branch by chance: half the work of penalising both.
fn penalised_fakes(made: &Made, fakes: &Tensor, draws: &StepDraws) -> Result<Tensor> {
    let part = |branch| made.part(fakes, branch).transpose();
    Ok(match (part(Branch::Encoded)?, part(Branch::Prior)?) {
        (Some(encoded), Some(prior)) => {
            let kept = encoded.broadcast_mul(&draws.penalty_branch.affine(-1.0, 1.0)?)?;
            (kept + prior.broadcast_mul(&draws.penalty_branch)?)?
        }
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => fakes.clone(),
    })
}

/// Share of rows whose largest logit is their label's.
pub(crate) fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<f64> {
    let (best, labels) = (logits.argmax(1)?.to_vec1::<u32>()?, labels.to_vec1::<u32>()?);
    let hits = best.iter().zip(&labels).filter(|(best, label)| best == label).count();
    Ok(hits as f64 / labels.len() as f64)
}
