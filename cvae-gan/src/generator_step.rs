//! L_EG: what E and G minimise.
//!
//! Every term but the divergence reaches E and G through the images made. So the step goes in two
//! halves: the terms' gradient at the images, then that gradient through G and E. In between, each
//! term's own pull can be measured.

use crate::Result;
use crate::augment::augmented;
use crate::balance::Term;
use crate::critic_step::accuracy;
use crate::critics::Critic;
use crate::draws::StepDraws;
use crate::learner::{Branch, Faces, Gradients, Learner, Made, scalar};
use crate::losses::adversarial::generator_loss;
use crate::losses::classification::{classification, shared_classification};
use crate::losses::feature_matching::{feature_matching, mean_feature_matching};
use crate::losses::identity::{identity, identity_maps};
use crate::losses::kl::{beyond, kl};
use crate::losses::pixel::pixel;
use crate::losses::reading::{IdentityDistance, PriorMatch};
use crate::measured::Measured;
use crate::perturb::perturb;
use crate::settings::Settings;
use candle_core::{Tensor, Var};
use nets::pixels;

impl Learner {
    /// Gradients of L_EG for the weights of E and G.
    pub(crate) fn generator_gradients(
        &mut self,
        faces: &Faces,
        made: &Made,
        draws: &StepDraws,
        step: &mut Measured,
    ) -> Result<Gradients> {
        // Forward, from the images on.
        let images = Var::from_tensor(&made.images.detach())?;
        let terms = self.image_terms(faces, made, &images, draws, step)?;

        // Pulls.
        if self.pulls.due(self.steps, terms.iter().map(|(term, _)| *term)) {
            for (term, value) in &terms {
                let norm = match value.backward()?.get(&images) {
                    Some(gradient) => scalar(&gradient.sqr()?.sum_all()?)?.sqrt(),
                    None => 0.0,
                };
                self.pulls.record(*term, norm);
                let weight = self.weight(*term);
                step.tell(&format!("pull/{}", term.name()), weight * norm);
                step.tell(&format!("weight/{}", term.name()), weight);
            }
        }

        // Backward to the images.
        let mut sum = Tensor::zeros((), self.dtype, &self.device)?;
        for (term, value) in &terms {
            step.term(&format!("loss/{}", term.name()), term.name(), value)?;
            sum = (sum + value.affine(self.weight(*term), 0.0)?)?;
        }
        let at_images = match sum.backward()?.get(&images) {
            Some(gradient) => gradient.detach(),
            None => images.zeros_like()?,
        };

        // Backward through G and E; the divergence joins at E.
        // Nobody reads its value. By images first: one block of a GPU would be slow to sum all.
        let mut surrogate = (&made.images * at_images)?.flatten_from(1)?.sum(1)?.sum_all()?;
        if let Some(posterior) = &made.posterior {
            let divergence = kl(posterior)?;
            step.term("loss/kl", "divergence", &divergence)?;
            let beyond = beyond(&divergence, self.settings.free_nats)?;
            surrogate = (surrogate + beyond.affine(self.settings.lambda_kl, 0.0)?)?;
        }
        Ok(surrogate.backward()?)
    }

    fn weight(&self, term: Term) -> f64 {
        self.pulls.weight(term, &self.settings, self.settings.ramp_factor(self.images_seen))
    }

    /// The terms that have a weight, before it.
    fn image_terms(
        &mut self,
        faces: &Faces,
        made: &Made,
        images: &Tensor,
        draws: &StepDraws,
        step: &mut Measured,
    ) -> Result<Vec<(Term, Tensor)>> {
        let mut terms = Vec::new();
        if self.critics_active() {
            let augmentation = draws.generator_augmentation.as_ref();
            let (labels, one_hots) = (faces.labels.clone(), faces.one_hots.clone());
            let faces = &Faces { images: augmented(&faces.images, augmentation)?, labels, one_hots };
            let images = augmented(images, augmentation)?;
            let critics = self.critics.take();
            let scales = critics.iter().flat_map(|critics| &critics.scales).enumerate();
            let by_scale = scales.map(|(nth, critic)| self.critic_terms(nth, critic, faces, made, &images, step));
            let by_scale: Result<Vec<_>> = by_scale.collect();
            self.critics = critics;
            for term in [Term::Adversarial, Term::Classification, Term::FeatureMatching] {
                let scales = by_scale.iter().flatten().flatten();
                let values: Vec<_> = scales.filter(|(other, _)| *other == term).map(|(_, value)| value).collect();
                if !values.is_empty() {
                    terms.push((term, Tensor::stack(&values, 0)?.sum_all()?));
                }
            }
            by_scale?;
        }
        if let Some(encoded) = made.part(images, Branch::Encoded).transpose()? {
            terms.push((Term::Pixel, pixel(&faces.images, &encoded)?));
        }
        if self.settings.lambda_id > 0.0 && self.identity.is_some() {
            terms.push((Term::Identity, self.identity_term(faces, made, images, draws, step)?));
        }
        terms.retain(|(term, _)| term.lambda(&self.settings) > 0.0);
        Ok(terms)
    }

    /// What one critic says of the images made: adversarial, classification, feature matching. `faces` and
    /// `images` are what critics see.
    fn critic_terms(
        &mut self,
        nth: usize,
        critic: &Critic,
        faces: &Faces,
        made: &Made,
        images: &Tensor,
        step: &mut Measured,
    ) -> Result<Vec<(Term, Tensor)>> {
        let critique = critic.frozen.forward(&critic.view(images)?)?;
        let values = critique.value_for(&made.shares)?;
        let values: Vec<Tensor> = made.parts(&values)?.into_iter().map(|(_, values)| values).collect();
        let Settings { critic_loss, critic_reading, .. } = self.settings;
        let mut terms = vec![(Term::Adversarial, generator_loss(&values, critic_loss, critic_reading)?)];

        if self.settings.lambda_cls > 0.0 {
            let mut losses = Vec::new();
            for (branch, logits) in made.parts(&critique.cls)? {
                let (loss, hits) = verdict(&logits, faces, made, branch)?;
                losses.push(loss);
                step.add("made/critic_accuracy", &hits)?;
            }
            terms.push((Term::Classification, Tensor::stack(&losses, 0)?.sum_all()?));
        }

        if self.settings.lambda_fm > 0.0 {
            let real = critic.frozen.forward(&critic.view(&faces.images)?)?.features;
            let of_branch = |branch| -> Result<Option<Vec<Tensor>>> {
                critique.features.iter().map(|layer| made.part(layer, branch).transpose()).collect()
            };
            let mut losses = Vec::new();
            if let Some(encoded) = of_branch(Branch::Encoded)? {
                losses.push(feature_matching(&real, &encoded)?);
            }
            if let Some(prior) = of_branch(Branch::Prior)? {
                losses.push(match self.settings.prior_match {
                    PriorMatch::AsPrinted => feature_matching(&real, &prior)?,
                    PriorMatch::BatchMean => mean_feature_matching(&real, &prior)?,
                    PriorMatch::ClassMean => {
                        let means = real.iter().enumerate().map(|(layer, features)| {
                            self.class_means.update(&format!("scale{nth}.layer{layer}"), features, &faces.one_hots)
                        });
                        feature_matching(&means.collect::<Result<Vec<_>>>()?, &prior)?
                    }
                });
            }
            terms.push((Term::FeatureMatching, Tensor::stack(&losses, 0)?.sum_all()?));
        }
        Ok(terms)
    }

    /// What the frozen recognizer says of the images made.
    fn identity_term(
        &self,
        faces: &Faces,
        made: &Made,
        images: &Tensor,
        draws: &StepDraws,
        step: &mut Measured,
    ) -> Result<Tensor> {
        let Some(recognizer) = &self.identity else { return Ok(Tensor::zeros((), self.dtype, &self.device)?) };
        let settings = &self.settings;
        let see = |images: &Tensor| -> Result<(Tensor, Vec<Tensor>)> {
            let grey = pixels::signed_to_grey(images)?;
            let seen = if settings.perturb { perturb(&grey, &draws.perturbation)? } else { grey };
            Ok(recognizer.network.features_and_maps(&seen)?)
        };
        let (features, maps) = see(images)?;
        // The real side has no graph: neither its images nor the network's weights are variables.
        let (real, real_maps) = see(&faces.images)?;
        let mut sum = Vec::new();
        for (branch, features) in made.parts(&features)? {
            let wanted = match (branch, settings.identity_distance) {
                (Branch::Prior, IdentityDistance::Cosine) => {
                    let own = recognizer.centres.index_select(&faces.labels, 0)?;
                    match made.blend_of(branch) {
                        Some(blend) => blend.led_away(&own, &recognizer.centres.mean_keepdim(0)?)?,
                        None => own,
                    }
                }
                _ => real.clone(),
            };
            let distance = identity(&features, &wanted, settings.identity_distance)?;
            step.add(name(branch, "made/encoded_identity", "made/prior_identity"), &distance)?;
            let share = match branch {
                Branch::Prior => settings.prior_identity_factor(self.images_seen),
                Branch::Encoded => 1.0,
            };
            // Mostly it is whole, and a launch is saved.
            sum.push(if share == 1.0 { distance } else { distance.affine(share, 0.0)? });
            if settings.identity_verdict > 0.0 {
                let logits = recognizer.network.classify(&features)?;
                let (verdict, hits) = verdict(&logits, faces, made, branch)?;
                step.add(name(branch, "made/encoded_verdict", "made/prior_verdict"), &verdict)?;
                step.add(name(branch, "made/encoded_accuracy", "made/prior_accuracy"), &hits)?;
                sum.push(verdict.affine(share * settings.identity_verdict, 0.0)?);
            }
        }
        if settings.identity_maps > 0.0 {
            let encoded: Result<Option<Vec<Tensor>>> =
                maps.iter().map(|layer| made.part(layer, Branch::Encoded).transpose()).collect();
            if let Some(encoded) = encoded? {
                let distance = identity_maps(&encoded, &real_maps)?.to_dtype(self.dtype)?;
                step.add("made/encoded_maps", &distance)?;
                sum.push(distance.affine(settings.identity_maps, 0.0)?);
            }
        }
        Ok(Tensor::stack(&sum, 0)?.sum_all()?)
    }
}

/// What naming a branch's people costs by these `logits (B, classes)`, and how often the right one is named: of a
/// mixture the one with the largest share.
fn verdict(logits: &Tensor, faces: &Faces, made: &Made, branch: Branch) -> Result<(Tensor, Tensor)> {
    if made.blend_of(branch).is_none() {
        return Ok((classification(logits, &faces.labels)?, accuracy(logits, &faces.labels)?));
    }
    let shares = made.part(&made.shares, branch).transpose()?.unwrap_or_else(|| faces.one_hots.clone());
    Ok((shared_classification(logits, &shares)?, accuracy(logits, &shares.argmax(1)?)?))
}

fn name(branch: Branch, encoded: &'static str, prior: &'static str) -> &'static str {
    match branch {
        Branch::Encoded => encoded,
        Branch::Prior => prior,
    }
}
