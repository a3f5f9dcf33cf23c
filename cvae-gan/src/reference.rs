//! The whole of L_D and L_EG and the gradients of every weight, held against PyTorch in float64.
//!
//! `reference/make.py` writes the expected values; weights, images and latents come from the same
//! integer formula on both sides. PyTorch differentiates the gradient penalty twice, this side
//! writes it as a forward graph.

use crate::augment::{Augmentation, Change};
use crate::blend::{Blend, Mixture};
use crate::draws::{Perturbation, StepDraws};
use crate::label_code::one_hots;
use crate::learner::{Faces, Gradients, Learner};
use crate::losses::reading::{CriticLoss, CriticReading, IdentityDistance, PriorMatch};
use crate::measured::Measured;
use crate::settings::{Augment, Balance, LabelCode, Preset, Settings};
use crate::{IdentityNetwork, Result};
use candle_core::{DType, Device, Tensor};
use nets::pixels::IMAGE_SIZE;
use nets::{Conditioning, FEATURE, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Width};
use serde::Deserialize;
use std::collections::BTreeMap;

const CLASSES: usize = 3;
const BATCH: usize = 2;
const LABELS: [u32; BATCH] = [2, 0];

#[derive(Deserialize)]
struct Expected {
    terms: BTreeMap<String, f64>,
    critic_gradients: BTreeMap<String, [f64; 2]>,
    generator_gradients: BTreeMap<String, [f64; 2]>,
}

fn expected(case: &str) -> Expected {
    let mut cases: BTreeMap<String, Expected> =
        serde_json::from_str(include_str!("../reference/expected.json")).expect("the script's output");
    cases.remove(case).expect("a case of the script")
}

/// Values in `[-1, 1)`, a function of the name and the position, as in the script.
fn uniform(name: &str, dims: &[usize]) -> Result<Tensor> {
    let seed = name.bytes().fold(2_166_136_261u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(16_777_619));
    let value = |i: u32| {
        let mut x = i.wrapping_mul(2_654_435_761).wrapping_add(seed);
        for _ in 0..2 {
            x = (x ^ (x >> 16)).wrapping_mul(0x045d_9f3b);
        }
        f64::from(x ^ (x >> 16)) / f64::from(1u32 << 31) - 1.0
    };
    let count = dims.iter().product::<usize>() as u32;
    Ok(Tensor::from_vec((0..count).map(value).collect::<Vec<_>>(), dims, &Device::Cpu)?)
}

fn weights(parameters: &Parameters, prefix: &str) -> Result<()> {
    for (name, var) in parameters.vars() {
        let dims = var.dims();
        let value = uniform(&format!("{prefix}{name}"), dims)?;
        var.set(&match dims.len() {
            _ if name.ends_with("scale") => value.affine(0.1, 1.0)?,
            1 => value.affine(0.1, 0.0)?,
            _ => value.affine((6.0 / (value.elem_count() / dims[0]) as f64).sqrt(), 0.0)?,
        })?;
    }
    Ok(())
}

fn learner(settings: &Settings) -> Result<Learner> {
    let config = LightCnnConfig { kind: LightCnnKind::Nine, width: Width::Tiny, classes: CLASSES };
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    LightCnn::new(&config, parameters.var_builder())?;
    weights(&parameters, "recognizer.")?;
    let centres = uniform("centres", &[CLASSES, FEATURE])?;
    let names = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let identity = IdentityNetwork::new(config, names, parameters.tensors()?, centres, DType::F64, &Device::Cpu)?;
    let mut learner = Learner::new(settings, CLASSES, Some(identity), DType::F64, &Device::Cpu)?;
    weights(&learner.parameters, "")?;
    let critics = learner.critics.as_mut().expect("this model has critics");
    weights(&critics.parameters, "")?;
    if let Some(norm) = &mut critics.spectral_norm {
        let start = norm.tensors().into_iter().map(|(name, vector)| {
            let values = uniform(&name, vector.dims())?;
            let length = values.sqr()?.sum_all()?.sqrt()?;
            Ok((name, values.broadcast_div(&length)?))
        });
        norm.load(&start.collect::<Result<_>>()?)?;
        norm.turn(&critics.parameters)?;
    }
    learner.refresh_critics()?;
    Ok(learner)
}

fn faces() -> Result<Faces> {
    let images = uniform("x", &[BATCH, 128, 128, 1])?;
    let one_hots = one_hots(&LABELS, CLASSES, DType::F64, &Device::Cpu)?;
    Ok(Faces { images, labels: Tensor::new(&LABELS, &Device::Cpu)?, one_hots })
}

fn draws(borrowed: f64, settings: &Settings) -> Result<StepDraws> {
    let augment = settings.augment;
    // The second of the three is the first again.
    let mixtures =
        [Mixture { shares: [0.5, 0.125, 0.375], spread: 0.8 }, Mixture { shares: [1.0, 0.0, 0.0], spread: 0.0 }];
    let blended = settings.blended_share > 0.0;
    let changes = [
        Change { brightness: 0.3, contrast: 0.6, down: 5, right: -7, cut: None },
        Change { brightness: -0.2, contrast: 1.4, down: -16, right: 3, cut: Some([20, 100]) },
    ];
    let augmentation = |changes: [Change; BATCH]| {
        let asked = augment != Augment::None;
        asked.then(|| Augmentation::new(&changes, IMAGE_SIZE, DType::F64, &Device::Cpu)).transpose()
    };
    let column = |values: [f64; 2]| Tensor::new(&values, &Device::Cpu);
    Ok(StepDraws {
        encoding: uniform("encoding", &[BATCH, LATENT])?,
        prior: uniform("prior", &[BATCH, LATENT])?,
        borrowed: column([borrowed, 0.0])?.reshape((BATCH, 1))?,
        blend: blended.then(|| Blend::new(&mixtures, &LABELS, DType::F64, &Device::Cpu)).transpose()?,
        real_share: uniform("real share", &[BATCH, 1, 1, 1])?.affine(0.5, 0.5)?,
        penalty_branch: column([1.0, 0.0])?.reshape((BATCH, 1, 1, 1))?,
        perturbation: Perturbation { right: 2, down: -3, blur: true, contrast: 0.8, brightness: 0.05 },
        critic_augmentation: augmentation(changes)?,
        generator_augmentation: augmentation([changes[1], changes[0]])?,
    })
}

fn assert_near(what: &str, found: f64, expected: f64, scale: f64) {
    assert!((found - expected).abs() <= 1e-9 * scale.abs().max(1e-6), "{what}: expected {expected}, found {found}");
}

/// Compares each weight's gradient: its norm, and its product with a probe.
fn assert_gradients(parameters: &Parameters, found: &Gradients, expected: &BTreeMap<String, [f64; 2]>) -> Result<()> {
    let mut compared = 0;
    for (name, var) in parameters.vars() {
        let Some(gradient) = found.get(&var) else { continue };
        let norm = gradient.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        let probe = uniform(&format!("probe.{name}"), gradient.dims())?;
        let product = (gradient * probe)?.sum_all()?.to_scalar::<f64>()?;
        let [expected_norm, expected_product] = expected[&name];
        assert_near(&name, norm, expected_norm, expected_norm);
        assert_near(&name, product, expected_product, expected_norm);
        compared += 1;
    }
    assert_eq!(compared, expected.len());
    Ok(())
}

fn compare(settings: &Settings, case: &str, borrowed: f64) -> Result<()> {
    let expected = expected(case);
    let mut learner = learner(settings)?;
    let (faces, draws) = (faces()?, draws(borrowed, settings)?);
    let made = learner.make_live(&faces, &draws)?;

    let mut step = Measured::default();
    let gradients = learner.critic_gradients(&faces, &made, &draws, &mut step)?;
    let figures = step.fetch(0)?;
    let term = |name: &str| expected.terms[name];
    // Figures of the critics are means over both scales.
    for (figure, stem) in [("gain", "gain"), ("penalty", "penalty"), ("r1", "r1"), ("classification", "critic_class")] {
        let scales = [0, 1].map(|scale| expected.terms.get(&format!("{stem}{scale}")));
        let wanted = scales[0].zip(scales[1]).map(|(first, second)| (first + second) / 2.0);
        let found = figures.mean(&format!("critic/{figure}"));
        assert_eq!(found.is_some(), wanted.is_some(), "{stem}");
        let Some((found, wanted)) = found.zip(wanted) else { continue };
        assert_near(stem, found, wanted, wanted);
    }
    let critics = learner.critics.as_ref().expect("this model has critics").parameters.clone();
    assert_gradients(&critics, &gradients, &expected.critic_gradients)?;

    let mut step = Measured::default();
    let gradients = learner.generator_gradients(&faces, &made, &draws, &mut step)?;
    let figures = step.fetch(0)?;
    for name in ["adversarial", "classification", "feature_matching", "pixel", "kl", "identity"] {
        assert_near(name, figures.mean(&format!("loss/{name}")).expect("measured"), term(name), term(name));
    }
    assert_gradients(&learner.parameters, &gradients, &expected.generator_gradients)
}

#[test]
fn the_papers_recipe_equals_pytorch() -> Result<()> {
    compare(&paper(), "paper", 0.0)
}

#[test]
fn the_other_readings_equal_pytorch() -> Result<()> {
    let settings = Settings {
        label_length: 4.0,
        swap: 0.5,
        critic_reading: CriticReading::AsPrinted,
        lambda_gp: 10.0,
        prior_match: PriorMatch::BatchMean,
        perturb: true,
        identity_distance: IdentityDistance::Cosine,
        identity_verdict: 0.3,
        identity_maps: 0.7,
        lambda_adv: 0.5,
        lambda_cls: 0.2,
        lambda_fm: 0.3,
        lambda_kl: 0.02,
        free_nats: 100.0,
        lambda_id: 0.4,
        ..paper()
    };
    compare(&settings, "other", 1.0)
}

#[test]
fn every_addition_at_once_equals_pytorch() -> Result<()> {
    let settings = Settings {
        augment: Augment::ColourTranslationCutout,
        conditioning: Conditioning::EveryLayer,
        critic_loss: CriticLoss::Hinge,
        spectral_norm: true,
        lambda_gp: 0.0,
        projection: true,
        // More than there are.
        free_nats: 600.0,
        ..paper()
    };
    compare(&settings, "modern", 0.0)
}

#[test]
fn the_logistic_game_equals_pytorch() -> Result<()> {
    let critic_loss = CriticLoss::Logistic;
    compare(&Settings { critic_loss, lambda_gp: 0.0, projection: true, r1_gamma: 0.3, ..paper() }, "logistic", 0.0)
}

#[test]
fn mixtures_of_people_equal_pytorch() -> Result<()> {
    let settings = Settings {
        blended_share: 0.5,
        label_length: 4.0,
        conditioning: Conditioning::EveryLayer,
        projection: true,
        prior_match: PriorMatch::BatchMean,
        identity_distance: IdentityDistance::Cosine,
        identity_verdict: 0.3,
        ..paper()
    };
    compare(&settings, "blended", 0.0)
}

fn paper() -> Settings {
    let paper = Preset::Paper.settings(Width::Tiny, 1000);
    assert_eq!((paper.balance, paper.label_code), (Balance::Weights, LabelCode::OneHot));
    Settings { capacity: nets::Capacity::Compact, ..paper }
}
