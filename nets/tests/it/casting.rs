//! Networks that compute in other numbers than their weights have: they give and learn the same, but for
//! rounding, and the gradients reach the weights.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use nets::gradient_check::random;
use nets::{
    Capacity, Conditioning, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, Generator,
    GeneratorConfig, Initialization, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Scale, Width,
};

/// Output and all gradients of a network of f64 weights: plain, and cast to f32 for its computation.
fn agrees<N>(
    inputs: &[Tensor],
    build: impl Fn(VarBuilder) -> Result<N>,
    run: impl Fn(&N, &[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let plain = build(parameters.var_builder())?;
    let cast = build(parameters.cast(DType::F32))?;
    let (expected, found) = (run(&plain, inputs)?, run(&cast, inputs)?);
    assert_eq!((expected.dtype(), found.dtype()), (DType::F64, DType::F64));
    let near = |found: &Tensor, expected: &Tensor| -> Result<bool> {
        let largest = |tensor: &Tensor| tensor.abs()?.max_all()?.to_scalar::<f64>();
        let difference = largest(&(found - expected)?)?;
        Ok(difference > 0.0 && difference < 1e-4 * largest(expected)?)
    };
    assert!(near(&found, &expected)?);
    let weights = random(expected.dims(), 9)?;
    let gradients = |y: &Tensor| (y * &weights)?.sum_all()?.backward();
    let (expected, found) = (gradients(&expected)?, gradients(&found)?);
    for (name, var) in parameters.vars() {
        let Some(expected) = expected.get(&var) else { continue };
        let found = found.get(&var).unwrap_or_else(|| panic!("{name} has no gradient"));
        assert_eq!(found.dtype(), DType::F64);
        assert!(near(found, expected)?, "{name}");
    }
    Ok(())
}

#[test]
fn cast_networks_agree_with_their_weights() -> Result<()> {
    let (width, classes, initialization) = (Width::Tiny, 5, Initialization::FanIn);
    let x = random(&[2, 128, 128, 1], 1)?.affine(0.3, 0.0)?;
    let images = std::slice::from_ref(&x);
    // By these no value lies so near the corner of a ReLU that rounding takes it to the other side, where
    // gradients jump.
    let latents = [random(&[2, LATENT], 4)?, Tensor::full(0.2, (2, 5), &Device::Cpu)?];
    let generator = GeneratorConfig { channels: 1, width, classes, initialization, conditioning: Conditioning::Start };
    agrees(&latents, |vb| Generator::new(&generator, vb), |g, v| g.forward(&v[0], &v[1]))?;
    let encoder = EncoderConfig { channels: 1, width, downsampling: Downsampling::Strided, initialization };
    agrees(images, |vb| Encoder::new(&encoder, vb), |e, v| Ok(e.forward(&v[0])?.mu))?;
    let (capacity, scale) = (Capacity::Compact, Scale::Full128);
    let critic =
        DiscriminatorConfig { channels: 1, width, classes, capacity, scale, initialization, projection: false };
    agrees(images, |vb| Discriminator::new(&critic, vb), |d, v| Ok(d.forward(&v[0])?.cls))?;
    let recognizer = LightCnnConfig { kind: LightCnnKind::Nine, width, classes };
    agrees(images, |vb| LightCnn::new(&recognizer, vb), |n, v| n.classify(&n.features(&v[0])?))
}
