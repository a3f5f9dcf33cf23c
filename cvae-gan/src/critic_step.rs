//! L_D: what the critics minimise.

use crate::Result;
use crate::augment::augmented;
use crate::critics::Critic;
use crate::draws::StepDraws;
use crate::learner::{Branch, Faces, Gradients, Learner, Made};
use crate::losses::adversarial::{DRIFT_WEIGHT, critic_gain, critic_loss, drift};
use crate::losses::classification::classification;
use crate::losses::gradient_penalty::{between, gradient_norms, gradient_penalty};
use crate::losses::r1::r1;
use crate::losses::reading::CriticReading;
use crate::measured::Measured;
use candle_core::{DType, Tensor};

impl Learner {
    /// Gradients of `L_D = sum over scales of -(gain - lambda_gp GP) + L_cls(x)` for the critics'
    /// weights, or of what the settings put in the place of gain and penalty.
    pub(crate) fn critic_gradients(
        &self,
        faces: &Faces,
        made: &Made,
        draws: &StepDraws,
        step: &mut Measured,
    ) -> Result<Gradients> {
        let settings = &self.settings;
        let fakes = made.images.detach();
        let augmentation = draws.critic_augmentation.as_ref();
        let (images, fakes) = (augmented(&faces.images, augmentation)?, augmented(&fakes, augmentation)?);
        let penalised = penalised_fakes(made, &fakes, draws)?;
        let labels = &faces.one_hots;
        let all_labels = Tensor::cat(&[labels, &made.shares], 0)?;
        let mut losses = Vec::new();
        for critic in self.critics.iter().flat_map(|critics| &critics.scales) {
            // Real images and fakes in one pass.
            let real = critic.view(&images)?;
            let critique = critic.live.forward(&Tensor::cat(&[&real, &critic.view(&fakes)?], 0)?)?;
            let values = critique.value_for(&all_labels)?;
            let of_real = values.narrow(0, 0, made.rows)?;
            let of_fakes: Vec<Tensor> = made
                .parts(&values.narrow(0, made.rows, fakes.dim(0)?)?)?
                .into_iter()
                .map(|(_, values)| values)
                .collect();

            let gain = critic_gain(&of_real, &of_fakes, settings.critic_reading)?;
            step.term("critic/gain", "critic gain", &gain)?;
            let mut loss = critic_loss(&of_real, &of_fakes, settings.critic_loss, settings.critic_reading)?;
            if settings.critic_reading == CriticReading::AsPrinted {
                loss = (loss + drift(&of_real)?.affine(DRIFT_WEIGHT, 0.0)?)?;
            }
            if let Some(penalty) = self.gradient_penalty(critic, &real, &penalised, labels, draws, step)? {
                loss = (loss + penalty)?;
            }
            if let Some(penalty) = self.r1(critic, &real, labels, step)? {
                loss = (loss + penalty)?;
            }
            if settings.lambda_cls > 0.0 {
                let logits = critique.cls.narrow(0, 0, made.rows)?;
                let of_class = classification(&logits, &faces.labels)?;
                step.term("critic/classification", "critic classification", &of_class)?;
                step.add("critic/accuracy", &accuracy(&logits, &faces.labels)?)?;
                loss = (loss + of_class)?;
            }
            losses.push(loss);
        }
        Ok(Tensor::stack(&losses, 0)?.sum_all()?.backward()?)
    }

    /// Between `real` images and `fakes`, with its weight.
    fn gradient_penalty(
        &self,
        critic: &Critic,
        real: &Tensor,
        fakes: &Tensor,
        labels: &Tensor,
        draws: &StepDraws,
        step: &mut Measured,
    ) -> Result<Option<Tensor>> {
        if self.settings.lambda_gp == 0.0 {
            return Ok(None);
        }
        let mixed = between(real, &critic.view(fakes)?, &draws.real_share)?;
        let norms = gradient_norms(&critic.sloped.input_gradient_for(&mixed, labels)?)?;
        let penalty = gradient_penalty(&norms)?;
        step.term("critic/penalty", "gradient penalty", &penalty)?;
        step.add("critic/slope", &norms.mean_all()?)?;
        Ok(Some(penalty.affine(self.settings.lambda_gp, 0.0)?))
    }

    /// At `real` images, with its weight for all the steps without it.
    fn r1(&self, critic: &Critic, real: &Tensor, labels: &Tensor, step: &mut Measured) -> Result<Option<Tensor>> {
        let (gamma, interval) = (self.settings.r1_gamma, self.settings.r1_interval);
        if gamma == 0.0 || !self.steps.is_multiple_of(interval) {
            return Ok(None);
        }
        let penalty = r1(&critic.sloped.input_gradient_for(&real.detach(), labels)?)?;
        step.term("critic/r1", "R1", &penalty)?;
        Ok(Some(penalty.affine(gamma * interval as f64, 0.0)?))
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
pub(crate) fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(logits.argmax(1)?.eq(labels)?.to_dtype(DType::F64)?.mean_all()?)
}
