//! The whole of L_D and L_EG and the gradients of every weight, held against PyTorch in float64.
//!
//! `reference/make.py` writes the expected values; weights, images and latents come from the same
//! integer formula on both sides. PyTorch differentiates the gradient penalty twice, this side
//! writes it as a forward graph.

use crate::draws::{Perturbation, StepDraws};
use crate::figures::Figures;
use crate::learner::{Faces, Gradients, Learner};
use crate::losses::reading::{CriticReading, IdentityDistance, PriorMatch};
use crate::settings::{Balance, LabelCode, Preset, Settings};
use crate::{IdentityNetwork, Result};
use candle_core::{DType, Device, Tensor};
use nets::{FEATURE, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Width};
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
    let learner = Learner::new(settings, CLASSES, Some(identity), DType::F64, &Device::Cpu)?;
    weights(&learner.parameters, "")?;
    weights(&learner.critics.as_ref().expect("this model has critics").parameters, "")?;
    Ok(learner)
}

fn faces() -> Result<Faces> {
    let images = uniform("x", &[BATCH, 128, 128, 1])?;
    Ok(Faces { images, labels: Tensor::new(&LABELS, &Device::Cpu)? })
}

fn draws(borrowed: f64) -> Result<StepDraws> {
    let column = |values: [f64; 2]| Tensor::new(&values, &Device::Cpu);
    Ok(StepDraws {
        encoding: uniform("encoding", &[BATCH, LATENT])?,
        prior: uniform("prior", &[BATCH, LATENT])?,
        borrowed: column([borrowed, 0.0])?.reshape((BATCH, 1))?,
        real_share: uniform("real share", &[BATCH, 1, 1, 1])?.affine(0.5, 0.5)?,
        penalty_branch: column([1.0, 0.0])?.reshape((BATCH, 1, 1, 1))?,
        perturbation: Perturbation { right: 2, down: -3, blur: true, contrast: 0.8, brightness: 0.05 },
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
    let (faces, draws) = (faces()?, draws(borrowed)?);
    let made = learner.make_live(&faces, &draws)?;

    let mut figures = Figures::default();
    let gradients = learner.critic_gradients(&faces, &made, &draws, &mut figures)?;
    let term = |name: &str| expected.terms[name];
    // Figures of the critics are means over both scales.
    for (figure, stem) in [("gain", "gain"), ("penalty", "penalty"), ("classification", "critic_class")] {
        let wanted = (term(&format!("{stem}0")) + term(&format!("{stem}1"))) / 2.0;
        assert_near(stem, figures.mean(&format!("critic/{figure}")).expect("measured"), wanted, wanted);
    }
    let critics = learner.critics.as_ref().expect("this model has critics").parameters.clone();
    assert_gradients(&critics, &gradients, &expected.critic_gradients)?;

    let gradients = learner.generator_gradients(&faces, &made, &draws, &mut figures)?;
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
        lambda_id: 0.4,
        ..paper()
    };
    compare(&settings, "other", 1.0)
}

fn paper() -> Settings {
    let paper = Preset::Paper.settings(Width::Tiny, 1000);
    assert_eq!((paper.balance, paper.label_code), (Balance::Weights, LabelCode::OneHot));
    Settings { capacity: nets::Capacity::Compact, ..paper }
}
