//! Optimizers against their definitions, and states that go on with the same bits.

use super::*;
use candle_core::{DType, Device, Tensor};
use candle_nn::Init;

const UNIFORM: Init = Init::Uniform { lo: -1.0, up: 1.0 };

/// Two variables and the gradients of `sum(w^3)`.
fn problem(seed: u64) -> Result<Parameters> {
    let parameters = Parameters::new(seed, DType::F64, &Device::Cpu);
    parameters.var_builder().get_with_hints((3, 4), "a.weight", UNIFORM)?;
    parameters.var_builder().get_with_hints(5, "b.bias", UNIFORM)?;
    Ok(parameters)
}

fn gradients(parameters: &Parameters) -> Result<GradStore> {
    let mut loss = Tensor::new(0f64, &Device::Cpu)?;
    for (_, var) in parameters.vars() {
        loss = (loss + var.powf(3.0)?.sum_all()?)?;
    }
    loss.backward()
}

fn values(parameters: &Parameters) -> Result<Vec<f64>> {
    let tensors = parameters.tensors()?;
    let flat = tensors.values().map(|tensor| tensor.flatten_all()?.to_vec1::<f64>());
    Ok(flat.collect::<Result<Vec<_>>>()?.concat())
}

/// One of Adam's, at a rate of 0.01.
fn adam_step(adam: &mut Adam, parameters: &Parameters) -> Result<()> {
    let gradients = gradients(parameters)?;
    adam.step(&gradients, &gradient_norm(parameters, &gradients)?, 0.01)
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn sgd_follows_its_definition() -> Result<()> {
    let parameters = problem(1)?;
    let mut sgd = Sgd::new(&parameters, SgdConfig { momentum: 0.9, weight_decay: 0.1 }, |name| {
        if name.ends_with("bias") { Multipliers { rate: 2.0, decay: 0.0 } } else { Multipliers::ONE }
    })?;
    let mut expected = values(&parameters)?;
    let mut velocity = vec![0.0; expected.len()];
    for _ in 0..5 {
        let gradients = gradients(&parameters)?;
        let norm = gradient_norm(&parameters, &gradients)?;
        let limit = norm.to_scalar::<f64>()? / 2.0;
        sgd.step(&gradients, &norm, limit, 0.01)?;
        for (at, (w, v)) in expected.iter_mut().zip(&mut velocity).enumerate() {
            let (rate, decay) = if at < 12 { (0.01, 0.1) } else { (0.02, 0.0) };
            *v = 0.9 * *v + 0.5 * 3.0 * *w * *w + decay * *w;
            *w -= rate * *v;
        }
    }
    assert!(worst(&values(&parameters)?, &expected) < 1e-14);
    Ok(())
}

#[test]
fn adam_follows_its_definition() -> Result<()> {
    let parameters = problem(2)?;
    let mut adam = Adam::new(&parameters, AdamConfig::default())?;
    let mut expected = values(&parameters)?;
    let (mut m, mut v) = (vec![0.0; expected.len()], vec![0.0; expected.len()]);
    for step in 1..=5 {
        adam_step(&mut adam, &parameters)?;
        for ((w, m), v) in expected.iter_mut().zip(&mut m).zip(&mut v) {
            let g = 3.0 * *w * *w;
            *m = 0.5 * *m + 0.5 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            *w -= 0.01 * (*m / (1.0 - 0.5f64.powi(step))) / ((*v / (1.0 - 0.999f64.powi(step))).sqrt() + 1e-8);
        }
    }
    assert!(worst(&values(&parameters)?, &expected) < 1e-13);
    Ok(())
}

#[test]
fn a_loaded_state_goes_on_with_the_same_bits() -> Result<()> {
    let (one, other) = (problem(3)?, problem(4)?);
    let mut adam = Adam::new(&one, AdamConfig::default())?;
    let mut average = MovingAverage::new(&one)?;
    for _ in 0..3 {
        adam_step(&mut adam, &one)?;
        average.update(&one, 0.9)?;
    }
    let mut resumed = Adam::new(&other, AdamConfig::default())?;
    let mut resumed_average = MovingAverage::new(&other)?;
    other.load(&one.tensors()?)?;
    resumed.load_state(&adam.state()?)?;
    resumed_average.load(&average.tensors()?)?;
    for _ in 0..3 {
        adam_step(&mut adam, &one)?;
        adam_step(&mut resumed, &other)?;
        average.update(&one, 0.9)?;
        resumed_average.update(&other, 0.9)?;
    }
    assert_eq!(values(&one)?, values(&other)?);
    let bits = |average: &MovingAverage| -> Result<Vec<f64>> { average.tensors()?["b.bias"].to_vec1() };
    assert_eq!(bits(&average)?, bits(&resumed_average)?);
    Ok(())
}

#[test]
fn a_state_of_another_network_is_refused() -> Result<()> {
    let parameters = problem(5)?;
    let mut adam = Adam::new(&parameters, AdamConfig::default())?;
    let mut state = adam.state()?;
    state.remove("a.weight.mean");
    assert!(adam.load_state(&state).unwrap_err().to_string().contains("a.weight.mean"));
    let mut tensors = parameters.tensors()?;
    tensors.insert("c".into(), Tensor::zeros(1, DType::F64, &Device::Cpu)?);
    assert!(parameters.load(&tensors).unwrap_err().to_string().contains("expected 2 tensors, found 3"));
    Ok(())
}

#[test]
fn a_variable_created_later_is_refused_by_name() -> Result<()> {
    let parameters = problem(7)?;
    let mut adam = Adam::new(&parameters, AdamConfig::default())?;
    let mut sgd = Sgd::new(&parameters, SgdConfig { momentum: 0.9, weight_decay: 0.0 }, |_| Multipliers::ONE)?;
    parameters.var_builder().get_with_hints(2, "c.late", UNIFORM)?;
    let (gradients, before) = (gradients(&parameters)?, values(&parameters)?);
    let norm = gradient_norm(&parameters, &gradients)?;
    for error in [adam.step(&gradients, &norm, 0.1), sgd.step(&gradients, &norm, 0.0, 0.1)].map(Result::unwrap_err) {
        assert!(error.to_string().contains("found `c.late`, created later"), "{error}");
    }
    assert_eq!(values(&parameters)?, before);
    Ok(())
}

#[test]
fn the_norm_is_of_all_gradients_together() -> Result<()> {
    let parameters = problem(6)?;
    let expected = values(&parameters)?.iter().map(|w| (3.0 * w * w).powi(2)).sum::<f64>().sqrt();
    let norm = gradient_norm(&parameters, &gradients(&parameters)?)?;
    assert!((norm.to_scalar::<f64>()? - expected).abs() < 1e-12);
    assert_eq!([clip_factor(10.0, 5.0), clip_factor(4.0, 5.0), clip_factor(4.0, 0.0)], [0.5, 1.0, 1.0]);
    Ok(())
}

#[test]
fn no_step_is_made_by_a_norm_or_a_loss_that_is_no_number() -> Result<()> {
    let parameters = problem(8)?;
    let mut adam = Adam::new(&parameters, AdamConfig::default())?;
    let mut sgd = Sgd::new(&parameters, SgdConfig { momentum: 0.9, weight_decay: 0.0 }, |_| Multipliers::ONE)?;
    let (gradients, before) = (gradients(&parameters)?, values(&parameters)?);
    let norm = gradient_norm(&parameters, &gradients)?;
    let number = |value: f64| Tensor::new(value, &Device::Cpu);
    for wrong in [f64::NAN, f64::INFINITY] {
        for norm in [number(wrong)?, guarded(&norm, &[number(1.0)?, number(wrong)?])?] {
            adam.step(&gradients, &norm, 0.1)?;
            sgd.step(&gradients, &norm, 5.0, 0.1)?;
        }
    }
    assert_eq!(values(&parameters)?, before);
    assert_eq!(guarded(&norm, &[number(-1e300)?])?.to_scalar::<f64>()?, norm.to_scalar::<f64>()?);
    Ok(())
}
