//! bf16 on the CPU: what comes of an op is what f32 gives, rounded once, but that products are summed in another
//! order; gradients reach weights of f32.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use nets::gradient_check::random;
use nets::ops::{self, Activation};
use nets::{
    Capacity, Conditioning, Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, Initialization, LATENT,
    LightCnn, LightCnnConfig, LightCnnKind, Parameters, Scale, Width,
};

type Op = fn(&[Tensor]) -> Result<Tensor>;

/// Every op, with the extents of what it is given.
const OPS: &[(&str, &[&[usize]], Op)] = &[
    ("conv2d", &[&[2, 8, 8, 3], &[5, 3, 3, 3]], |v| ops::conv2d(&v[0], &v[1], 1, 1)),
    ("conv2d in tiles", &[&[2, 32, 32, 32], &[32, 3, 3, 32]], |v| ops::conv2d(&v[0], &v[1], 1, 1)),
    ("conv_transpose2d", &[&[2, 5, 5, 6], &[6, 4, 4, 4]], |v| ops::conv_transpose2d(&v[0], &v[1], 2, 1)),
    ("linear", &[&[3, 40], &[7, 40]], |v| ops::linear(&v[0], &v[1])),
    ("bias", &[&[2, 3, 4], &[4]], |v| ops::bias(&v[0], &v[1])),
    ("leaky_relu", &[&[2, 3, 4], &[4]], |v| ops::leaky_relu(&v[0], &v[1], 0.01)),
    ("max_feature_map", &[&[2, 3, 6], &[6]], |v| ops::max_feature_map(&v[0], &v[1])),
    ("conv_max_feature_map", &[&[2, 8, 8, 3], &[6, 3, 3, 3], &[6]], |v| {
        ops::conv_max_feature_map(&v[0], &v[1], &v[2], 1, true)
    }),
    ("instance_norm", &[&[2, 4, 4, 3], &[3], &[3]], |v| ops::instance_norm(&v[0], &v[1], &v[2], Activation::Relu)),
    ("average_pool2", &[&[2, 4, 4, 3]], |v| ops::average_pool2(&v[0])),
    ("pyramid_down", &[&[2, 4, 4, 3]], |v| ops::pyramid_down(&v[0])),
    ("max_average_pool2", &[&[2, 4, 4, 3]], |v| ops::max_average_pool2(&v[0])),
];

fn largest(tensor: &Tensor) -> Result<f32> {
    tensor.to_dtype(DType::F32)?.abs()?.max_all()?.to_scalar::<f32>()
}

/// Of `len` values of random inputs, those that bf16 has.
fn rounded(dims: &[usize], seed: u64) -> Result<Tensor> {
    random(dims, seed)?.to_dtype(DType::BF16)
}

#[test]
fn every_op_gives_what_f32_gives_rounded_once() -> Result<()> {
    for (name, dims, op) in OPS {
        let narrow: Vec<Tensor> =
            dims.iter().zip(1..).map(|(dims, seed)| rounded(dims, seed)).collect::<Result<_>>()?;
        let wide: Vec<Tensor> = narrow.iter().map(|tensor| tensor.to_dtype(DType::F32)).collect::<Result<_>>()?;
        let (found, expected) = (op(&narrow)?, op(&wide)?.to_dtype(DType::BF16)?);
        assert_eq!(found.dtype(), DType::BF16, "{name}");
        let numbers = |tensor: &Tensor| tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>();
        let (found, expected) = (numbers(&found)?, numbers(&expected)?);
        if !name.contains("conv") && !name.contains("linear") {
            assert_eq!(found, expected, "{name}");
        }
        // Sums in another order may fall to the other side of a rounding, but few do.
        let differing = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
        assert!(differing * 50 <= expected.len(), "{name}: {differing} of {} differ", expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let bound = expected.abs() / 128.0 + 1e-5;
            assert!((found - expected).abs() <= bound, "{name}: {found} beside {expected}");
        }
    }
    Ok(())
}

#[test]
fn gradients_of_every_op_are_those_of_f32_but_for_rounding() -> Result<()> {
    for (name, dims, op) in OPS {
        let vars = |dtype: DType| -> Result<Vec<candle_core::Var>> {
            let value = |(dims, seed): (&&[usize], u64)| rounded(dims, seed)?.to_dtype(dtype);
            dims.iter().zip(1..).map(|each| candle_core::Var::from_tensor(&value(each)?)).collect()
        };
        let gradients = |vars: &[candle_core::Var]| -> Result<Vec<Tensor>> {
            let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
            let y = op(&inputs)?;
            let weights = rounded(y.dims(), 9)?.to_dtype(y.dtype())?;
            let store = (y * weights)?.sum_all()?.backward()?;
            Ok(inputs.iter().map(|input| store.get(input).cloned().expect("every input has a gradient")).collect())
        };
        let (found, expected) = (gradients(&vars(DType::BF16)?)?, gradients(&vars(DType::F32)?)?);
        for (nth, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.dtype(), DType::BF16, "{name}");
            let difference = largest(&(found.to_dtype(DType::F32)? - expected)?)?;
            let bound = 0.02 * largest(expected)?;
            assert!(difference <= bound, "{name}, gradient {nth}: {difference} beyond {bound}");
        }
    }
    Ok(())
}

/// A network with weights of f32 that computes in bf16 gives about what it gives in f32, and every weight gets a
/// gradient of f32.
fn learns<N>(
    inputs: &[Tensor],
    build: impl Fn(VarBuilder) -> Result<N>,
    run: impl Fn(&N, &[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let plain = build(parameters.var_builder())?;
    let cast = build(parameters.cast(DType::BF16))?;
    let (expected, found) = (run(&plain, inputs)?, run(&cast, inputs)?);
    let difference = largest(&(&found - &expected)?)?;
    let bound = 0.1 * largest(&expected)?;
    assert!(difference > 0.0 && difference < bound, "{difference} beyond {bound}");
    let (of_plain, of_cast) = (expected.sqr()?.sum_all()?.backward()?, found.sqr()?.sum_all()?.backward()?);
    for (name, var) in parameters.vars() {
        let Some(expected) = of_plain.get(&var) else { continue };
        let found = of_cast.get(&var).unwrap_or_else(|| panic!("{name} has no gradient"));
        assert_eq!(found.dtype(), DType::F32);
        // Where a maximum or a corner fell to the other side gradients jump; on the whole they point the same way.
        let product = |a: &Tensor, b: &Tensor| (a * b)?.sum_all()?.to_scalar::<f32>();
        let cosine = product(found, expected)? / (product(found, found)? * product(expected, expected)?).sqrt();
        assert!(cosine > 0.9, "{name}: {cosine}");
    }
    Ok(())
}

#[test]
fn networks_compute_in_bf16_with_weights_of_f32() -> Result<()> {
    let (width, classes, initialization) = (Width::Tiny, 5, Initialization::FanIn);
    let x = random(&[2, 128, 128, 1], 1)?.affine(0.3, 0.0)?.to_dtype(DType::F32)?;
    let images = std::slice::from_ref(&x);
    let latents = [random(&[2, LATENT], 4)?.to_dtype(DType::F32)?, Tensor::full(0.2f32, (2, 5), &Device::Cpu)?];
    let generator =
        GeneratorConfig { channels: 1, width, classes, initialization, conditioning: Conditioning::EveryLayer };
    learns(&latents, |vb| Generator::new(&generator, vb), |g, v| g.forward(&v[0], &v[1]))?;
    let (capacity, scale) = (Capacity::Compact, Scale::Full128);
    let critic = DiscriminatorConfig { channels: 1, width, classes, capacity, scale, initialization, projection: true };
    learns(images, |vb| Discriminator::new(&critic, vb), |d, v| Ok(d.forward(&v[0])?.cls))?;
    let recognizer = LightCnnConfig { kind: LightCnnKind::Nine, width, classes };
    learns(images, |vb| LightCnn::new(&recognizer, vb), |n, v| n.classify(&n.features(&v[0])?))
}
