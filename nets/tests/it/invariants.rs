//! Properties of the networks that training and streams rely on.

use crate::formula::{CLASSES, fill, grey_images, images, labels, latents, tensor, weights};
use candle_core::{DType, Device, Result, Tensor, Var};
use nets::gradient_check::{check_gradients, random};
use nets::ops::{Activation, instance_norm, pyramid_down};
use nets::{
    Capacity, Conditioning, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, FEATURE,
    Generator, GeneratorConfig, Initialization, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Posterior,
    Scale, Width,
};

fn encoder_config(channels: usize, width: Width, downsampling: Downsampling) -> EncoderConfig {
    EncoderConfig { channels, width, downsampling, initialization: Initialization::FanIn }
}

fn generator_config(channels: usize, width: Width) -> GeneratorConfig {
    GeneratorConfig {
        channels,
        width,
        classes: CLASSES,
        initialization: Initialization::FanIn,
        conditioning: Conditioning::Start,
    }
}

fn critic_config(channels: usize, scale: Scale) -> DiscriminatorConfig {
    let (width, capacity, initialization) = (Width::Tiny, Capacity::Compact, Initialization::FanIn);
    DiscriminatorConfig { channels, width, classes: CLASSES, capacity, scale, initialization, projection: false }
}

fn largest(t: &Tensor) -> Result<f64> {
    t.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar()
}

fn doubles(values: &[f64], dims: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(values.to_vec(), dims, &Device::Cpu)
}

#[test]
fn shapes_are_the_papers_at_every_width_and_colour() -> Result<()> {
    for width in [Width::Small, Width::Tiny] {
        for channels in [1, 3] {
            let x = images("shapes", [2, 128, channels], DType::F32)?;
            let config = encoder_config(channels, width, Downsampling::Strided);
            let posterior = Encoder::new(&config, weights("shapes", DType::F32))?.forward(&x)?;
            assert_eq!([posterior.mu.dims(), posterior.logvar.dims()], [[2, LATENT]; 2]);

            let (z, c) = (latents("shapes", 2, DType::F32)?, labels(2, DType::F32)?);
            let generator = Generator::new(&generator_config(channels, width), weights("shapes", DType::F32))?;
            let image = generator.forward(&z, &c)?;
            assert_eq!(image.dims(), [2, 128, 128, channels]);
            assert!(largest(&image)? <= 1.0);

            for (scale, size, map) in [(Scale::Full128, 128, 2), (Scale::Half64, 64, 1)] {
                let config = DiscriminatorConfig { width, ..critic_config(channels, scale) };
                let critic = Discriminator::new(&config, weights("shapes", DType::F32))?;
                let critique = critic.forward(&images("shapes", [2, size, channels], DType::F32)?)?;
                assert_eq!(critique.src.dims(), [2, map, map, 1]);
                assert_eq!(critique.cls.dims(), [2, CLASSES]);
                assert_eq!(critique.value()?.dims(), [2]);
                let sides: Vec<usize> =
                    critique.features.iter().map(|feature| feature.dim(1)).collect::<Result<_>>()?;
                assert_eq!(sides, [4 * map, 2 * map, map]);
            }
        }
    }
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2] {
        let config = LightCnnConfig { kind, width: Width::Tiny, classes: 7 };
        let net = LightCnn::new(&config, weights("shapes", DType::F32))?;
        let feature = net.features(&grey_images("shapes", 2, DType::F32)?)?;
        assert_eq!(feature.dims(), [2, FEATURE]);
        assert_eq!(net.classify(&feature)?.dims(), [2, 7]);
    }
    Ok(())
}

#[test]
fn images_of_another_size_are_refused_with_both_sizes() -> Result<()> {
    let config = LightCnnConfig { kind: LightCnnKind::Nine, width: Width::Tiny, classes: 2 };
    let net = LightCnn::new(&config, weights("refusal", DType::F32))?;
    let error = net.features(&Tensor::zeros((1, 112, 112, 1), DType::F32, &Device::Cpu)?).unwrap_err().to_string();
    assert!(error.contains("[1, 128, 128, 1]") && error.contains("[1, 112, 112, 1]"), "{error}");
    let generator = Generator::new(&generator_config(1, Width::Tiny), weights("refusal", DType::F32))?;
    let z = latents("refusal", 2, DType::F32)?;
    let error = generator.forward(&z, &Tensor::zeros((2, 9), DType::F32, &Device::Cpu)?).map(drop).unwrap_err();
    assert!(error.to_string().contains("labels: expected shape [2, 5], found [2, 9]"), "{error}");

    let image = |side: usize, channels: usize| Tensor::zeros((1, side, side, channels), DType::F32, &Device::Cpu);
    let encoder = encoder_config(1, Width::Tiny, Downsampling::Strided);
    let encoder = Encoder::new(&encoder, weights("refusal", DType::F32))?;
    for (side, channels) in [(64, 1), (256, 1), (128, 3)] {
        let error = encoder.forward(&image(side, channels)?).map(drop).unwrap_err().to_string();
        let expected = format!("expected shape [1, 128, 128, 1], found [1, {side}, {side}, {channels}]");
        assert!(error.contains(&expected), "{error}");
    }
    for (scale, own) in [(Scale::Full128, 128), (Scale::Half64, 64)] {
        let critic = Discriminator::new(&critic_config(1, scale), weights("refusal", DType::F32))?;
        for (side, channels) in [(192 - own, 1), (2 * own, 1), (own, 3)] {
            let x = image(side, channels)?;
            let errors = [critic.forward(&x).map(drop), critic.input_gradient(&x).map(drop)].map(Result::unwrap_err);
            let expected = format!("expected shape [1, {own}, {own}, 1], found [1, {side}, {side}, {channels}]");
            assert!(errors.iter().all(|error| error.to_string().contains(&expected)), "{errors:?}");
        }
    }
    Ok(())
}

#[test]
fn the_divergence_has_its_closed_form() -> Result<()> {
    let posterior = |mu: &[f64], logvar: &[f64]| -> Result<Posterior> {
        Ok(Posterior { mu: doubles(mu, &[1, mu.len()])?, logvar: doubles(logvar, &[1, mu.len()])? })
    };
    assert_eq!(posterior(&[0.0, 0.0], &[0.0, 0.0])?.kl()?.to_scalar::<f64>()?, 0.0);
    let kl = posterior(&[1.0, 2.0], &[0.0, 2f64.ln()])?.kl()?.to_scalar::<f64>()?;
    assert!((kl - 2.6534264).abs() < 1e-7, "{kl}");
    for seed in 0..20 {
        let posterior = Posterior { mu: random(&[3, 8], seed)?, logvar: random(&[3, 8], seed + 100)? };
        assert!(posterior.kl()?.to_scalar::<f64>()? >= 0.0);
    }
    // The gradient with respect to mu is mu, here over a batch of one.
    let mu = Var::from_tensor(&random(&[1, 8], 5)?)?;
    let posterior = Posterior { mu: mu.as_tensor().clone(), logvar: random(&[1, 8], 6)? };
    let gradients = posterior.kl()?.backward()?;
    let gradient = gradients.get(&mu).expect("mu takes part");
    assert!(largest(&(gradient - mu.as_tensor())?)? < 1e-15);
    Ok(())
}

#[test]
fn a_narrow_posterior_gives_its_mean_and_samples_have_its_moments() -> Result<()> {
    let (mu, noise) = (random(&[2, LATENT], 1)?, random(&[2, LATENT], 2)?);
    let narrow = Posterior { mu: mu.clone(), logvar: mu.affine(0.0, -20.0)? };
    // The deviation is exp(-10) = 4.54e-5.
    assert!(largest(&(narrow.sample(&noise)? - &mu)?)? < 4.6e-5 * largest(&noise)?);

    let draws = 100_000;
    let noise = random(&[draws, 1], 3)?;
    let constant = |value: f64| doubles(&vec![value; draws], &[draws, 1]);
    let z = Posterior { mu: constant(1.5)?, logvar: constant(0.8)? }.sample(&noise)?;
    let mean = z.mean_all()?.to_scalar::<f64>()?;
    let variance = z.affine(1.0, -mean)?.sqr()?.mean_all()?.to_scalar::<f64>()?;
    assert!((mean / 1.5 - 1.0).abs() < 0.01 && (variance / 0.8f64.exp() - 1.0).abs() < 0.01, "{mean} {variance}");
    Ok(())
}

#[test]
fn the_encoder_sees_images_and_their_brightness_at_its_start() -> Result<()> {
    for initialization in [Initialization::FanIn, Initialization::Paper] {
        let config = EncoderConfig { initialization, ..encoder_config(1, Width::Small, Downsampling::Strided) };
        let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
        let encoder = Encoder::new(&config, parameters.var_builder())?;
        let x = images("brightness", [4, 128, 1], DType::F32)?;
        let mu = encoder.forward(&x)?.mu;
        let deviation = mu.broadcast_sub(&mu.mean_keepdim(0)?)?.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?;
        assert!(deviation > 1e-3, "{initialization}: {deviation}");
        let brighter = encoder.forward(&x.affine(1.0, 0.3)?)?.mu;
        assert!(largest(&(brighter - mu)?)? > 1e-3, "{initialization}");
    }
    Ok(())
}

#[test]
fn a_norm_over_one_position_is_refused_through_the_public_door() -> Result<()> {
    let (x, vector) = (random(&[2, 1, 1, 3], 1)?, random(&[3], 2)?);
    assert!(instance_norm(&x, &vector, &vector, Activation::Identity).is_err());
    Ok(())
}

#[test]
fn a_mixture_of_labels_is_the_same_mixture_of_embeddings() -> Result<()> {
    let config = GeneratorConfig { conditioning: Conditioning::EveryLayer, ..generator_config(1, Width::Tiny) };
    let generator = Generator::new(&config, weights("mixture", DType::F64))?;
    let z = latents("mixture", 1, DType::F64)?;
    // What the start is fed, and the scale and shift of every norm.
    let embed = |c: [f64; CLASSES]| -> Result<Vec<Tensor>> {
        let c = doubles(&c, &[1, CLASSES])?;
        let modulations = generator.modulations(&z, &c)?.into_iter().flatten();
        Ok(std::iter::once(generator.condition(&z, &c)?).chain(modulations).collect())
    };
    let mixed = embed([0.2, 0.3, 0.5, 0.0, 0.0])?;
    assert_eq!(mixed.len(), 1 + 2 * 5);
    let one_hot = |class: usize| {
        let mut c = [0.0; CLASSES];
        c[class] = 1.0;
        embed(c)
    };
    let parents = [one_hot(0)?, one_hot(1)?, one_hot(2)?];
    for (nth, mixed) in mixed.iter().enumerate() {
        let sum = ((&parents[0][nth] * 0.2)? + (&parents[1][nth] * 0.3)? + (&parents[2][nth] * 0.5)?)?;
        assert!(largest(&(mixed - sum)?)? < 1e-13, "{nth}");
        assert!(largest(&(&parents[0][nth] - &parents[1][nth])?)? > 1e-3, "{nth} does not depend on the label");
    }
    Ok(())
}

#[test]
fn another_label_and_another_latent_each_change_the_image() -> Result<()> {
    let parameters = Parameters::new(4, DType::F32, &Device::Cpu);
    let generator = Generator::new(&generator_config(3, Width::Tiny), parameters.var_builder())?;
    let z = latents("one", 2, DType::F32)?;
    let c = tensor(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], &[2, CLASSES], DType::F32)?;
    let swapped = Tensor::cat(&[c.narrow(0, 1, 1)?, c.narrow(0, 0, 1)?], 0)?;
    let image = generator.forward(&z, &c)?;
    assert!(largest(&(generator.forward(&z, &swapped)? - &image)?)? > 0.01);
    assert!(largest(&(generator.forward(&latents("two", 2, DType::F32)?, &c)? - &image)?)? > 0.01);
    Ok(())
}

#[test]
fn a_critic_that_says_nothing_has_no_input_gradient() -> Result<()> {
    // The penalty (||g|| - 1)^2 is then exactly 1.
    let parameters = Parameters::new(5, DType::F64, &Device::Cpu);
    let critic = Discriminator::new(&critic_config(3, Scale::Half64), parameters.var_builder())?;
    let mut tensors = parameters.tensors()?;
    let silent = tensors["src.weight"].zeros_like()?;
    tensors.insert("src.weight".into(), silent);
    parameters.load(&tensors)?;
    assert_eq!(largest(&critic.input_gradient(&images("silent", [2, 64, 3], DType::F64)?)?)?, 0.0);
    Ok(())
}

#[test]
fn the_input_gradient_predicts_how_the_value_changes() -> Result<()> {
    for (scale, size) in [(Scale::Full128, 128), (Scale::Half64, 64)] {
        let critic = Discriminator::new(&critic_config(1, scale), weights("slope", DType::F64))?;
        let x = images("slope", [2, size, 1], DType::F64)?;
        let direction = random(x.dims(), 7)?;
        let moved = |step: f64| critic.forward(&(&x + (&direction * step)?)?)?.value();
        let differences = ((moved(1e-6)? - moved(-1e-6)?)? / 2e-6)?;
        let predicted = (critic.input_gradient(&x)? * &direction)?.flatten_from(1)?.sum(1)?;
        assert!(largest(&(&differences - &predicted)?)? < 1e-6 * largest(&predicted)?);
    }
    Ok(())
}

#[test]
fn the_penaltys_gradient_equals_finite_differences_and_spares_the_image() -> Result<()> {
    let config = critic_config(1, Scale::Half64);
    let parameters = Parameters::new(0, DType::F64, &Device::Cpu);
    Discriminator::new(&config, parameters.var_builder())?;
    fill(&parameters, "penalty")?;
    let names: Vec<String> = parameters.vars().into_iter().map(|(name, _)| name).collect();
    let tensors: Vec<Tensor> = parameters.tensors()?.into_values().collect();
    let x = Var::from_tensor(&images("penalty", [2, 64, 1], DType::F64)?)?;
    let penalty = |values: &[Tensor]| -> Result<Tensor> {
        let weights = names.iter().cloned().zip(values.iter().cloned()).collect();
        let vb = candle_nn::VarBuilder::from_tensors(weights, DType::F64, &Device::Cpu);
        let gradient = Discriminator::new(&config, vb)?.input_gradient(&x)?;
        gradient.flatten_from(1)?.sqr()?.sum(1)?.sqrt()?.affine(1.0, -1.0)?.sqr()?.mean_all()
    };
    // Of the weights: the penalty does not depend on a bias except through the signs.
    let weights: Vec<usize> = (0..names.len()).filter(|&nth| names[nth].ends_with("weight")).collect();
    let used: Vec<usize> = weights.into_iter().filter(|&nth| names[nth] != "cls.weight").collect();
    let inputs: Vec<Tensor> = used.iter().map(|&nth| tensors[nth].clone()).collect();
    check_gradients(&inputs, |values| {
        let mut all = tensors.clone();
        used.iter().zip(values).for_each(|(&nth, value)| all[nth] = value.clone());
        penalty(&all)
    })?;

    let vars = tensors.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let live: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    assert!(penalty(&live)?.backward()?.get(&x).is_none());
    Ok(())
}

#[test]
fn down_commutes_with_interpolation() -> Result<()> {
    // So the second critic's penalty may interpolate before or after the pyramid.
    let (x, y) = (images("x", [1, 128, 3], DType::F64)?, images("y", [1, 128, 3], DType::F64)?);
    let mix = |a: &Tensor, b: &Tensor| (a * 0.3)? + (b * 0.7)?;
    let difference = (pyramid_down(&mix(&x, &y)?)? - mix(&pyramid_down(&x)?, &pyramid_down(&y)?)?)?;
    assert!(largest(&difference)? < 1e-15);
    Ok(())
}

#[test]
fn a_frozen_recognizer_passes_gradients_on_to_the_image() -> Result<()> {
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2] {
        let config = LightCnnConfig { kind, width: Width::Tiny, classes: 2 };
        let net = LightCnn::new(&config, weights("frozen", DType::F32))?;
        let x = Var::from_tensor(&images("frozen", [1, 128, 3], DType::F32)?)?;
        let feature = net.features(&nets::pixels::signed_to_grey(&x)?)?;
        let gradients = feature.abs()?.mean_all()?.backward()?;
        let gradient = gradients.get(&x).expect("the image takes part");
        assert_eq!(gradient.dims(), [1, 128, 128, 3]);
        assert!(largest(gradient)? > 0.0);
    }
    Ok(())
}

#[test]
fn weights_survive_a_round_trip_and_a_foreign_set_is_refused() -> Result<()> {
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2] {
        let config = LightCnnConfig { kind, width: Width::Tiny, classes: 3 };
        let (one, other) = (Parameters::new(1, DType::F32, &Device::Cpu), Parameters::new(2, DType::F32, &Device::Cpu));
        let first = LightCnn::new(&config, one.var_builder())?;
        let second = LightCnn::new(&config, other.var_builder())?;
        let x = grey_images("round trip", 1, DType::F32)?;
        let bits = |net: &LightCnn| net.features(&x)?.flatten_all()?.to_vec1::<f32>();
        let expected = bits(&first)?;
        assert_eq!(bits(&first)?, expected, "two passes of one network");
        assert_ne!(bits(&second)?, expected);

        let tensors = one.tensors()?;
        let mut missing = tensors.clone();
        missing.remove("fc2.weight");
        let mut extra = tensors.clone();
        extra.insert("module.fc2.weight".into(), tensors["fc2.weight"].clone());
        for foreign in [missing, extra] {
            assert!(other.load(&foreign).is_err());
            assert_ne!(bits(&second)?, expected, "nothing is loaded by halves");
        }
        other.load(&tensors)?;
        assert_eq!(bits(&second)?, expected);
    }
    Ok(())
}

#[test]
fn recognizers_start_near_the_loss_of_guessing_with_a_live_feature() -> Result<()> {
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2] {
        let parameters = Parameters::new(6, DType::F32, &Device::Cpu);
        let net = LightCnn::new(&LightCnnConfig { kind, width: Width::Small, classes: 100 }, parameters.var_builder())?;
        let feature = net.features(&grey_images("start", 4, DType::F32)?)?;
        let rms = feature.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?;
        let logits = net.classify(&feature)?;
        let loss = candle_nn::loss::cross_entropy(&logits, &Tensor::new(&[0u32, 1, 2, 3], &Device::Cpu)?)?;
        let loss = loss.to_scalar::<f32>()?;
        assert!((0.1..4.0).contains(&rms), "{kind}: feature of size {rms}");
        assert!((4.0..7.0).contains(&loss), "{kind}: loss {loss}, ln 100 = 4.6");
    }
    Ok(())
}
