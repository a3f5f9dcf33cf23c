//! What a step moves, what it leaves alone, and that it learns.

use super::*;
use crate::losses::reading::{CriticLoss, CriticReading, PriorMatch};
use crate::settings::{Augment, Balance, Model, Overrides, Preset};
use dataset::{Dataset, OpenOptions};
use nets::{Conditioning, LightCnn, LightCnnConfig, LightCnnKind, Width, ops};
use std::collections::BTreeMap;

const CLASSES: usize = 4;

/// A batch of drawn faces: two images of each identity.
fn batch(channels: usize) -> Result<Batch> {
    let options = OpenOptions { channels, ..OpenOptions::default() };
    let faces = Dataset::open("demo:identities=4,images=2,seed=1", &options)?;
    let images = (0..faces.len()).map(|image| faces.read(image).map(dataset::Image::into_pixels));
    let pixels = images.collect::<dataset::Result<Vec<_>>>()?.concat();
    Ok(Batch {
        index: 0,
        rows: faces.len(),
        channels,
        pixels: pixels.into(),
        labels: (0..faces.len()).map(|image| faces.image_identity(image) as u32).collect(),
        sources: vec![recognizer::Source::Real; faces.len()],
        mixtures: Vec::new(),
    })
}

fn identity() -> Result<IdentityNetwork> {
    let config = LightCnnConfig { kind: LightCnnKind::Nine, width: Width::Tiny, classes: CLASSES };
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    LightCnn::new(&config, parameters.var_builder())?;
    let centres = nets::gradient_check::random(&[CLASSES, nets::FEATURE], 1)?.to_dtype(DType::F32)?;
    let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    IdentityNetwork::new(config, names, parameters.tensors()?, centres, DType::F32, &Device::Cpu)
}

fn learner(settings: &Settings) -> Result<Learner> {
    let identity = settings.needs_identity().then(identity).transpose()?;
    Learner::new(settings, CLASSES, identity, DType::F32, &Device::Cpu)
}

fn small_budget() -> Settings {
    Settings { warm_up: 0, ramp: 0, batch: 8, ..Preset::SmallBudget.settings(Width::Tiny, 1_000_000) }
}

fn hinge() -> Settings {
    let critic_loss = CriticLoss::Hinge;
    Settings { critic_loss, spectral_norm: true, lambda_gp: 0.0, projection: true, ..small_budget() }
}

fn values(parameters: &Parameters) -> Result<BTreeMap<String, Vec<f32>>> {
    let tensors = parameters.tensors()?.into_iter();
    Ok(tensors
        .map(|(name, tensor)| Ok((name, tensor.flatten_all()?.to_vec1()?)))
        .collect::<candle_core::Result<_>>()?)
}

#[test]
fn each_step_moves_its_own_networks_and_no_others() -> Result<()> {
    let mut learner = learner(&small_budget())?;
    let batch = batch(1)?;
    let critics = learner.critics.as_ref().expect("this model has critics").parameters.clone();
    let recognizer = |learner: &Learner| -> Result<Vec<Vec<f32>>> {
        let weights = &learner.identity.as_ref().expect("given above").weights;
        Ok(weights.values().map(|tensor| tensor.flatten_all()?.to_vec1()).collect::<candle_core::Result<_>>()?)
    };
    let (eg, d, fr) = (values(&learner.parameters)?, values(&critics)?, recognizer(&learner)?);
    let (faces, draws) = (learner.faces(&batch)?, learner.draws(&batch)?);
    let made = learner.make_live(&faces, &draws)?;

    learner.critic_step(&faces, &made, &draws, &mut Measured::default())?;
    assert_eq!((values(&learner.parameters)?, recognizer(&learner)?), (eg.clone(), fr.clone()));
    let moved = values(&critics)?;
    assert!(d.iter().all(|(name, before)| moved[name] != *before), "every critic weight moves");

    learner.generator_step(&faces, &made, &draws, &mut Measured::default())?;
    assert_eq!((values(&critics)?, recognizer(&learner)?), (moved, fr));
    let moved = values(&learner.parameters)?;
    for (name, before) in eg {
        assert!(moved[&name] != before, "{name} stays");
    }
    Ok(())
}

#[test]
fn even_deconvolutions_stay_even_in_training_and_in_the_average() -> Result<()> {
    let uneven = |tensors: BTreeMap<String, Tensor>| -> Result<f32> {
        let filters = tensors.iter().filter(|(name, _)| name.strip_prefix("generator.").is_some_and(is_deconvolution));
        let mut most = (0, 0f32);
        for (_, filters) in filters {
            let excess = (even(filters)? - filters)?.abs()?.max_all()?.to_scalar::<f32>()?;
            most = (most.0 + 1, most.1.max(excess));
        }
        assert_eq!(most.0, 6);
        Ok(most.1)
    };
    let learner_of = |even_deconvolutions| learner(&Settings { even_deconvolutions, ..small_budget() });
    let (mut asked, unasked) = (learner_of(true)?, learner_of(false)?);
    assert!(uneven(asked.average.tensors()?)? < 1e-6 && uneven(unasked.parameters.tensors()?)? > 1e-3);
    for _ in 0..3 {
        asked.step(&batch(1)?)?;
    }
    assert!(uneven(asked.parameters.tensors()?)? < 1e-6 && uneven(asked.average.tensors()?)? < 1e-6);
    Ok(())
}

#[test]
fn the_frozen_recognizer_still_moves_the_images() -> Result<()> {
    // All that is left is the identity term: G can only move through the recognizer.
    let settings = Settings {
        balance: Balance::Weights,
        lambda_adv: 0.0,
        lambda_cls: 0.0,
        lambda_fm: 0.0,
        lambda_pixel: 0.0,
        lambda_kl: 0.0,
        ..small_budget()
    };
    let mut learner = learner(&settings)?;
    let before = values(&learner.parameters)?;
    learner.step(&batch(1)?)?;
    let after = values(&learner.parameters)?;
    assert!(before.iter().all(|(name, values)| after[name] != *values));
    Ok(())
}

#[test]
fn frozen_views_follow_their_weights() -> Result<()> {
    let mut learner = learner(&small_budget())?;
    let batch = batch(1)?;
    let (faces, draws) = (learner.faces(&batch)?, learner.draws(&batch)?);
    let images = |learner: &Learner, networks: &Networks| -> Result<Vec<f32>> {
        Ok(learner.make(&faces, &draws, networks)?.images.flatten_all()?.to_vec1()?)
    };
    let before = images(&learner, &learner.frozen)?;
    learner.step(&batch)?;
    let after = images(&learner, &learner.frozen)?;
    assert_ne!(before, after);
    assert_eq!(after, images(&learner, &learner.live)?);
    let critic = &learner.critics.as_ref().expect("this model has critics").scales[1];
    let half = ops::pyramid_down(&faces.images)?;
    let values = |network: &nets::Discriminator| network.forward(&half)?.value()?.to_vec1::<f32>();
    assert_eq!(values(&critic.live)?, values(&critic.frozen)?);
    Ok(())
}

#[test]
fn spectral_norms_follow_their_weights_and_turn_with_the_critics_alone() -> Result<()> {
    let mut learner = learner(&hinge())?;
    let batch = batch(1)?;
    let vectors = |learner: &Learner| -> Result<Vec<Vec<f32>>> {
        let norm = learner.critics.as_ref().and_then(|critics| critics.spectral_norm.as_ref()).expect("asked for");
        Ok(norm.tensors().values().map(|tensor| tensor.flatten_all()?.to_vec1()).collect::<candle_core::Result<_>>()?)
    };
    let (faces, draws) = (learner.faces(&batch)?, learner.draws(&batch)?);
    let made = learner.make_live(&faces, &draws)?;
    let before = vectors(&learner)?;
    learner.critic_step(&faces, &made, &draws, &mut Measured::default())?;
    let turned = vectors(&learner)?;
    assert_ne!(before, turned);
    let values = |learner: &Learner| -> Result<Vec<f32>> {
        let critic = &learner.critics.as_ref().expect("this model has critics").scales[0];
        Ok(critic.frozen.forward(&faces.images)?.value()?.to_vec1()?)
    };
    let stale = values(&learner)?;
    learner.generator_step(&faces, &made, &draws, &mut Measured::default())?;
    assert_eq!(vectors(&learner)?, turned);
    assert_ne!(values(&learner)?, stale);
    Ok(())
}

#[test]
fn r1_comes_at_every_sixteenth_step_and_weighs_for_all() -> Result<()> {
    let logistic = Settings { critic_loss: CriticLoss::Logistic, lambda_gp: 0.0, r1_gamma: 0.2, ..small_budget() };
    let mut learner = learner(&logistic)?;
    let batch = batch(1)?;
    let (faces, draws) = (learner.faces(&batch)?, learner.draws(&batch)?);
    let made = learner.make_live(&faces, &draws)?;
    let mut at = |steps: u64, gamma: f64| -> Result<(Option<f64>, Vec<f32>)> {
        (learner.steps, learner.settings.r1_gamma) = (steps, gamma);
        let mut step = Measured::default();
        let gradients = learner.critic_gradients(&faces, &made, &draws, &mut step)?;
        let vars = learner.critics.as_ref().expect("this model has critics").parameters.vars();
        let (_, weight) = vars.into_iter().find(|(name, _)| name == "d1.conv1.weight").expect("the first layer");
        let gradient = gradients.get(&weight).expect("it takes part").flatten_all()?.to_vec1::<f32>()?;
        Ok((step.fetch(0)?.mean("critic/r1"), gradient))
    };
    let without = at(16, 0.0)?;
    assert_eq!(at(15, 0.2)?, without);
    let (with, double) = (at(16, 0.2)?, at(32, 0.4)?);
    assert!(with.0 > Some(0.0) && with.0 == double.0, "{with:?}");
    let more = |than: &[f32], some: &[f32]| -> f32 {
        some.iter().zip(than).map(|(some, than)| (some - than).powi(2)).sum::<f32>().sqrt()
    };
    let (one, two) = (more(&without.1, &with.1), more(&without.1, &double.1));
    assert!(one > 0.0 && (two / one - 2.0).abs() < 1e-2, "{one} {two}");
    Ok(())
}

#[test]
fn every_model_and_reading_takes_its_steps() -> Result<()> {
    let model = |model| -> Result<Settings> {
        let overrides = Overrides { model: Some(model), ..Overrides::default() };
        Ok(Settings { warm_up: 0, ..Settings::resolve(Width::Tiny, None, 1000, &overrides)? })
    };
    let paper = Preset::Paper.settings(Width::Tiny, 1000);
    let cases = [
        ("paper", paper.clone()),
        ("as printed", Settings { critic_reading: CriticReading::AsPrinted, ..paper }),
        ("copies", Settings { augment: Augment::ColourTranslationCutout, ..small_budget() }),
        ("every layer", Settings { conditioning: Conditioning::EveryLayer, ..small_budget() }),
        ("hinge", hinge()),
        ("logistic", Settings { critic_loss: CriticLoss::Logistic, lambda_gp: 0.0, r1_gamma: 0.2, ..small_budget() }),
        ("projection", Settings { projection: true, ..small_budget() }),
        ("class means", Settings { prior_match: PriorMatch::ClassMean, ..small_budget() }),
        ("two critic steps", Settings { critic_steps: 2, ..small_budget() }),
        ("colour", Settings { channels: 3, ..small_budget() }),
        ("without identity term", {
            let without = Overrides { lambda_id: Some(0.0), ..Overrides::default() };
            Settings { warm_up: 0, ..Settings::resolve(Width::Tiny, None, 1000, &without)? }
        }),
        ("cvae", model(Model::Cvae)?),
        ("cgan", model(Model::Cgan)?),
    ];
    for (name, settings) in cases {
        let mut learner = learner(&settings)?;
        let batch = batch(settings.channels)?;
        let mut figures = Figures::default();
        for _ in 0..2 {
            figures.merge(&learner.step(&batch)?);
        }
        let has = |figure: &str| figures.mean(figure).is_some();
        assert_eq!(has("loss/pixel"), settings.has_encoder(), "{name}");
        assert_eq!(has("loss/adversarial"), settings.has_critics(), "{name}");
        assert_eq!(has("loss/identity"), settings.lambda_id > 0.0, "{name}");
        assert!(figures.means().iter().all(|(_, value)| value.is_finite()), "{name}");
    }
    Ok(())
}

#[test]
fn critics_wait_for_the_end_of_the_warm_up() -> Result<()> {
    let mut learner = learner(&Settings { warm_up: 8, ramp: 16, ..small_budget() })?;
    let batch = batch(1)?;
    assert_eq!(learner.step(&batch)?.mean("critic/gain"), None);
    assert!(learner.step(&batch)?.mean("critic/gain").is_some());
    Ok(())
}

#[test]
fn identity_of_random_latents_comes_with_the_critics_unless_it_is_asked_for_before() -> Result<()> {
    let waiting = Settings { warm_up: 8, ramp: 16, ..small_budget() };
    // By the first step and the second: none and half of it, or all.
    for (settings, shares) in [
        (waiting.clone(), [None, Some(0.5)]),
        (Settings { warm_up_prior: true, ..waiting.clone() }, [Some(1.0); 2]),
        // Without critics there is nothing to wait for.
        (Settings { lambda_adv: 0.0, lambda_cls: 0.0, lambda_fm: 0.0, ..waiting }, [Some(1.0); 2]),
    ] {
        let mut learner = learner(&settings)?;
        let batch = batch(1)?;
        for share in shares {
            let step = learner.step(&batch)?;
            let figure = |name: &str| step.mean(name).expect("measured");
            let of = |branch: &str| {
                figure(&format!("made/{branch}_identity")) + 0.1 * figure(&format!("made/{branch}_verdict"))
            };
            assert_eq!(step.mean("made/prior_identity").is_some(), share.is_some());
            let prior = share.map_or(0.0, |share| share * of("prior"));
            let (expected, found) = (of("encoded") + figure("made/encoded_maps") + prior, figure("loss/identity"));
            assert!((expected - found).abs() < 1e-4 * expected, "{share:?}: expected {expected}, found {found}");
        }
    }
    Ok(())
}

#[test]
fn e_and_g_move_at_every_fifth_step_of_the_critics() -> Result<()> {
    let mut learner = learner(&Settings { critic_steps: 5, warm_up: 16, ..small_budget() })?;
    let batch = batch(1)?;
    let mut moves = Vec::new();
    for _ in 0..10 {
        let before = values(&learner.parameters)?;
        let figures = learner.step(&batch)?;
        let moved = values(&learner.parameters)? != before;
        assert_eq!(moved, figures.mean("loss/pixel").is_some());
        moves.push((figures.mean("critic/gain").is_some(), moved));
    }
    // Two batches before the critics come; then whenever a multiple of five is reached.
    let critics_alone = [(true, false); 4];
    let expected =
        [&[(false, true); 2], &critics_alone[..2], &[(true, true)], &critics_alone, &[(true, true)]].concat();
    assert_eq!(moves, expected);
    Ok(())
}

#[test]
fn an_estimate_times_a_step_of_e_and_g_among_those_of_the_critics() -> Result<()> {
    let mut learner = learner(&Settings { critic_steps: 3, ..small_budget() })?;
    let (rate, figures) = crate::estimate::measure(&mut learner, &batch(1)?, 0)?;
    assert!(rate > 0.0);
    assert!(figures.mean("loss/pixel").is_some() && figures.mean("critic/gain").is_some());
    Ok(())
}

#[test]
fn the_encoder_sees_its_images_from_the_start() -> Result<()> {
    let learner = learner(&small_budget())?;
    let faces = learner.faces(&batch(1)?)?;
    let encoder = learner.live.encoder.as_ref().expect("this model has an encoder");
    let mu = encoder.forward(&faces.images)?.mu;
    let centred = mu.broadcast_sub(&mu.mean_keepdim(0)?)?;
    let deviation = centred.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?;
    assert!(deviation > 1e-3, "{deviation}");
    Ok(())
}

#[test]
fn autoencoding_alone_learns_eight_images_by_heart() -> Result<()> {
    let overrides = Overrides {
        model: Some(Model::Cvae),
        batch: Some(8),
        learning_rate: Some(3e-3),
        lambda_kl: Some(1e-3),
        ..Overrides::default()
    };
    let mut learner = learner(&Settings::resolve(Width::Tiny, None, 1_000_000, &overrides)?)?;
    let batch = batch(1)?;
    let mut pixel = f64::INFINITY;
    for _ in 0..400 {
        pixel = learner.step(&batch)?.mean("loss/pixel").expect("measured");
        if pixel < 0.1 {
            break;
        }
    }
    assert!(pixel < 0.1, "{pixel}");
    Ok(())
}

#[test]
fn a_critic_tells_fixed_fakes_apart_with_slopes_near_one() -> Result<()> {
    // E and G stand still, so the critics face the same fakes all the time.
    let settings = Settings { critic_learning_rate: 1e-3, lambda_cls: 0.0, ..small_budget() };
    let mut learner = learner(&settings)?;
    let batch = batch(1)?;
    let faces = learner.faces(&batch)?;
    let made = learner.make(&faces, &learner.draws(&batch)?, &learner.frozen)?;
    let mut last = (0.0, 0.0);
    for step in 0..400 {
        learner.steps = step;
        let draws = learner.draws(&batch)?;
        let mut measured = Measured::default();
        learner.critic_step(&faces, &made, &draws, &mut measured)?;
        let figures = measured.fetch(0)?;
        let mean = |name| figures.mean(name).expect("measured");
        last = (mean("critic/gain"), mean("critic/slope"));
        if last.0 > 1.0 && (0.7..1.3).contains(&last.1) {
            return Ok(());
        }
    }
    panic!("gain and slope: {last:?}")
}

#[test]
fn between_steps_of_e_and_g_critics_see_their_weights_as_they_are() -> Result<()> {
    let mut learner = learner(&Settings { critic_steps: 2, ..small_budget() })?;
    learner.compute_in(DType::F64)?;
    let batch = batch(1)?;
    for _ in 0..3 {
        learner.step(&batch)?;
    }
    learner.cast_generator()?;
    let z = nets::gradient_check::random(&[1, nets::LATENT], 1)?;
    let c = learner.code.of_labels(&Tensor::zeros(1, DType::U32, &learner.device)?)?.to_dtype(DType::F64)?;
    let image =
        |networks: &Networks| Ok::<_, Error>(networks.generator.forward(&z, &c)?.flatten_all()?.to_vec1::<f64>()?);
    assert_eq!(image(&learner.live)?, image(&learner.frozen)?);
    Ok(())
}

#[test]
fn networks_in_other_numbers_learn_the_same_into_the_same_weights() -> Result<()> {
    // More digits than the weights have: the only other type that a processor computes in.
    let (mut plain, mut cast) = (learner(&small_budget())?, learner(&small_budget())?);
    cast.compute_in(DType::F64)?;
    let batch = batch(1)?;
    let mut before = values(&cast.parameters)?;
    for step in 0..2 {
        let (expected, found) = (plain.step(&batch)?, cast.step(&batch)?);
        for (name, expected) in expected.means() {
            let found = found.mean(name).expect("both measure the same");
            // Norms in every layer of fresh weights make much of little, and so does Adam, which has moved the weights of
            // the second step.
            let bound = [1e-3, 1e-2][step] * expected.abs().max(1.0);
            assert!((found - expected).abs() < bound, "{name} in step {step}: expected {expected}, found {found}");
        }
        let after = values(&cast.parameters)?;
        assert!(before.iter().all(|(name, values)| after[name] != *values), "a weight stays in step {step}");
        before = after;
    }
    Ok(())
}
