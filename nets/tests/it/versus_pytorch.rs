//! Every network, output and gradient, against an independent PyTorch program in float64
//! (`nets/reference/make.py`).

use crate::formula::{self, CLASSES, fill, grey_images, images, labels, latents, tensor, unit, weights};
use crate::reference::{GRADIENT_LIMIT, OUTPUT_LIMIT, Reference};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use nets::{
    Capacity, Conditioning, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, Generator,
    GeneratorConfig, Initialization, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Scale, Width,
};

const COLOURS: [(usize, &str); 2] = [(1, "grey"), (3, "rgb")];
/// In the number type of work, and of proofs.
const TOLERANCES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-11)];

/// Outputs by name.
type Outputs = Vec<(String, Tensor)>;

/// Builds a network and runs it on the inputs of its reference.
type Run = dyn Fn(VarBuilder, DType) -> Result<Outputs>;

/// One network of one shape.
struct Case {
    name: String,
    outputs: Box<Run>,
}

/// Images of a critic's reference.
const CRITIC_BATCH: usize = 4;

/// Images of the other references.
fn batch(width: Width) -> usize {
    if width == Width::Tiny { 2 } else { 1 }
}

fn named<const N: usize>(outputs: [(&str, Tensor); N]) -> Outputs {
    outputs.map(|(name, output)| (name.to_owned(), output)).into()
}

fn encoders(width: Width) -> Vec<Case> {
    let mut cases = Vec::new();
    for (channels, colour) in COLOURS {
        for downsampling in [Downsampling::Strided, Downsampling::Pooled] {
            let name = format!("encoder-{downsampling}-{colour}-{width}");
            let config = EncoderConfig { channels, width, downsampling, initialization: Initialization::FanIn };
            let case = name.clone();
            let outputs = move |vb: VarBuilder<'_>, dtype| {
                let x = images(&case, [batch(width), 128, channels], dtype)?;
                let posterior = Encoder::new(&config, vb)?.forward(&x)?;
                Ok(named([("mu", posterior.mu), ("logvar", posterior.logvar)]))
            };
            cases.push(Case { name, outputs: Box::new(outputs) });
        }
    }
    cases
}

fn generators(width: Width) -> Vec<Case> {
    let mut cases = Vec::new();
    for (channels, colour) in COLOURS {
        for conditioning in [Conditioning::Start, Conditioning::EveryLayer] {
            let name = format!("generator-{conditioning}-{colour}-{width}");
            let initialization = Initialization::FanIn;
            let config = GeneratorConfig { channels, width, classes: CLASSES, initialization, conditioning };
            let case = name.clone();
            let outputs = move |vb: VarBuilder<'_>, dtype| {
                let (z, c) = (latents(&case, batch(width), dtype)?, labels(batch(width), dtype)?);
                Ok(named([("image", Generator::new(&config, vb)?.forward(&z, &c)?)]))
            };
            cases.push(Case { name, outputs: Box::new(outputs) });
        }
    }
    cases
}

/// The shape, side of the images and name of every critic of a width.
fn critic_shapes(width: Width) -> Vec<(DiscriminatorConfig, usize, String)> {
    let mut shapes = Vec::new();
    for (channels, colour) in COLOURS {
        for capacity in [Capacity::Full, Capacity::Compact] {
            for (scale, size, scale_name) in [(Scale::Full128, 128, "full128"), (Scale::Half64, 64, "half64")] {
                let initialization = Initialization::FanIn;
                let classes = CLASSES;
                let config = DiscriminatorConfig {
                    channels,
                    width,
                    classes,
                    capacity,
                    scale,
                    initialization,
                    projection: false,
                };
                shapes.push((config, size, format!("discriminator-{capacity}-{scale_name}-{colour}-{width}")));
            }
        }
    }
    shapes
}

fn critics(width: Width) -> Vec<Case> {
    let cases = critic_shapes(width).into_iter().map(|(config, size, name)| {
        let case = name.clone();
        let outputs = move |vb: VarBuilder<'_>, dtype| {
            let x = images(&case, [CRITIC_BATCH, size, config.channels], dtype)?;
            let critique = Discriminator::new(&config, vb)?.forward(&x)?;
            let mut outputs = named([("src", critique.src), ("cls", critique.cls)]);
            let features = critique.features.into_iter().enumerate();
            outputs.extend(features.map(|(nth, feature)| (format!("features.{nth}"), feature)));
            Ok(outputs)
        };
        Case { name, outputs: Box::new(outputs) }
    });
    cases.collect()
}

fn light_cnns(width: Width) -> Vec<Case> {
    let cases = [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2].map(|kind| {
        let name = format!("{kind}-{width}");
        let config = LightCnnConfig { kind, width, classes: CLASSES };
        let case = name.clone();
        let outputs = move |vb: VarBuilder<'_>, dtype| {
            let net = LightCnn::new(&config, vb)?;
            let feature = net.features(&grey_images(&case, batch(width), dtype)?)?;
            let logits = net.classify(&feature)?;
            Ok(named([("feature", feature), ("logits", logits)]))
        };
        Case { name, outputs: Box::new(outputs) }
    });
    cases.into()
}

fn check_outputs(cases: impl Fn(Width) -> Vec<Case>) -> Result<()> {
    let reference = Reference::open()?;
    for case in Width::ALL.into_iter().flat_map(cases) {
        for (dtype, tolerance) in TOLERANCES {
            for (output, found) in (case.outputs)(weights(&case.name, dtype), dtype)? {
                let name = format!("{}/{output}", case.name);
                let distance = reference.distance(&name, &found, OUTPUT_LIMIT)?;
                assert!(distance <= tolerance, "{name} in {dtype:?}: {distance:e} from PyTorch's");
            }
        }
    }
    Ok(())
}

/// Gradients of every variable, of the sum of all outputs times fixed numbers.
fn check_gradients(cases: Vec<Case>) -> Result<()> {
    let reference = Reference::open()?;
    for case in cases {
        let parameters = Parameters::new(0, DType::F64, &Device::Cpu);
        (case.outputs)(parameters.var_builder(), DType::F64)?;
        fill(&parameters, &case.name)?;
        let mut loss = Tensor::new(0f64, &Device::Cpu)?;
        for (name, output) in (case.outputs)(parameters.var_builder(), DType::F64)? {
            let probe = unit(&format!("{}/probe.{name}", case.name), output.elem_count());
            loss = (loss + (&output * tensor(&probe, output.dims(), DType::F64)?)?.sum_all()?)?;
        }
        compare(&reference, &format!("{}/gradient/", case.name), &parameters, &loss.backward()?)?;
    }
    Ok(())
}

fn compare(reference: &Reference, prefix: &str, parameters: &Parameters, gradients: &GradStore) -> Result<()> {
    let vars = parameters.vars();
    let with_gradient: Vec<&str> =
        vars.iter().filter(|(_, var)| gradients.get(var).is_some()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(with_gradient, reference.names_below(prefix), "variables that {prefix} reaches");
    for (name, var) in &vars {
        let Some(gradient) = gradients.get(var) else { continue };
        let distance = reference.distance(&format!("{prefix}{name}"), gradient, GRADIENT_LIMIT)?;
        assert!(distance <= 1e-9, "{prefix}{name}: {distance:e} from PyTorch's");
    }
    Ok(())
}

#[test]
fn encoders_equal_pytorchs_at_every_width() -> Result<()> {
    check_outputs(encoders)
}

#[test]
fn generators_equal_pytorchs_at_every_width() -> Result<()> {
    check_outputs(generators)
}

#[test]
fn critics_equal_pytorchs_at_every_width() -> Result<()> {
    check_outputs(critics)
}

#[test]
fn light_cnns_equal_pytorchs_at_every_width() -> Result<()> {
    check_outputs(light_cnns)
}

#[test]
fn gradients_of_every_network_equal_autograds() -> Result<()> {
    for cases in [encoders, generators, critics, light_cnns] {
        check_gradients(cases(Width::Tiny))?;
    }
    Ok(())
}

#[test]
fn the_gradient_penalty_and_its_gradient_equal_double_backward() -> Result<()> {
    let reference = Reference::open()?;
    for (config, size, case) in critic_shapes(Width::Tiny) {
        let parameters = Parameters::new(0, DType::F64, &Device::Cpu);
        let critic = Discriminator::new(&config, parameters.var_builder())?;
        fill(&parameters, &case)?;
        let gradient =
            critic.input_gradient(&formula::images(&case, [CRITIC_BATCH, size, config.channels], DType::F64)?)?;
        let distance = reference.distance(&format!("{case}/input_gradient"), &gradient, OUTPUT_LIMIT)?;
        assert!(distance <= 1e-11, "{case}: input gradient {distance:e} from autograd's");

        let norm = gradient.flatten_from(1)?.sqr()?.sum(1)?.sqrt()?;
        let penalty = norm.affine(1.0, -1.0)?.sqr()?.mean_all()?.affine(10.0, 0.0)?;
        let expected = reference.scalar(&format!("{case}/penalty"))?;
        assert!((penalty.to_scalar::<f64>()? - expected).abs() <= 1e-11 * expected, "{case}");
        compare(&reference, &format!("{case}/penalty_gradient/"), &parameters, &penalty.backward()?)?;
    }
    Ok(())
}
