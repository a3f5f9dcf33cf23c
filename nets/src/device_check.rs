//! Every op and network on a device, in one of its number types, held against f64 on the CPU: what a
//! GPU must pass before its figures mean anything.

use crate::gradient_check::random;
use crate::ops::{self, Activation};
use crate::optim::{Adam, AdamConfig, MovingAverage, Multipliers, Sgd, SgdConfig, gradient_norm};
use crate::{
    Capacity, Conditioning, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, Generator,
    GeneratorConfig, Initialization, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Scale, Width, pixels,
};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var, bail};
use candle_nn::{Init, VarBuilder};

/// How far something lies from what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was computed, as in `conv2d 4x4/2, gradient 1`.
    pub what: String,
    /// Length of the difference over the length of what is right.
    pub error: f64,
    /// What the number type explains.
    pub bound: f64,
}

impl Finding {
    /// Whether the number type explains the error; of what is no number it never does.
    pub fn is_right(&self) -> bool {
        self.error <= self.bound
    }
}

/// What is compared, and how exactly.
#[derive(Clone, Debug)]
pub struct Check {
    /// Where.
    pub device: Device,
    /// In which numbers.
    pub dtype: DType,
    /// Whether f32 factors may have been rounded to TF32.
    pub tf32: bool,
}

/// How many times its numbers' rounding a whole network may be off, for one op's.
const DEEP: f64 = 10.0;

impl Check {
    /// The ops, forward and backward.
    ///
    /// # Errors
    /// When one can't be computed at all.
    pub fn ops(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let all = &mut findings;
        for (size, stride, padding, extent, inputs, outputs) in [
            (5, 1, 2, 12, 1, 96),
            (1, 1, 0, 16, 48, 96),
            (3, 1, 1, 17, 48, 96),
            (4, 2, 1, 16, 64, 128),
            (3, 2, 1, 16, 1, 64),
        ] {
            let name = format!("conv2d {size}x{size}/{stride}");
            let inputs = [random(&[4, extent, extent, inputs], 1)?, random(&[outputs, size, size, inputs], 2)?];
            self.compare(all, &name, &inputs, |v| ops::conv2d(&v[0], &v[1], stride, padding))?;
        }
        for (inputs, outputs, extent) in [(128, 64, 8), (64, 1, 16), (64, 3, 16), (512, 64, 2)] {
            let name = format!("conv-transpose2d {inputs} to {outputs}");
            let inputs = [random(&[3, extent, extent, inputs], 1)?, random(&[inputs, 4, 4, outputs], 2)?];
            self.compare(all, &name, &inputs, |v| ops::conv_transpose2d(&v[0], &v[1], 2, 1))?;
        }
        let double = [random(&[2, 4, 4, 3], 1)?, random(&[3, 4, 4, 2], 2)?];
        self.compare(all, "conv of its adjoint", &double, |v| {
            ops::conv2d(&ops::conv_transpose2d(&v[0], &v[1], 2, 1)?, &v[1], 2, 1)
        })?;
        let matrices = [random(&[37, 786], 1)?, random(&[530, 786], 2)?];
        self.compare(all, "linear", &matrices, |v| ops::linear(&v[0], &v[1]))?;

        let image = [random(&[3, 12, 10, 70], 1)?, random(&[70], 2)?, random(&[70], 3)?];
        self.compare(all, "bias", &image[..2], |v| ops::bias(&v[0], &v[1]))?;
        // Channels that a kernel takes one by one, and by eights.
        let eights = [random(&[3, 18, 16, 64], 1)?, random(&[64], 2)?, random(&[64], 3)?];
        for (inputs, how) in [(&image, ""), (&eights, ", by eights")] {
            for slope in [0.01, 0.0] {
                let name = format!("leaky-relu {slope}{how}");
                self.compare(all, &name, &inputs[..2], |v| ops::leaky_relu(&v[0], &v[1], slope))?;
            }
            for activation in [Activation::Identity, Activation::Relu] {
                self.compare(all, &format!("instance-norm, {activation:?}{how}"), inputs, |v| {
                    ops::instance_norm(&v[0], &v[1], &v[2], activation)
                })?;
            }
        }
        let of_each = [eights[0].clone(), random(&[3, 64], 2)?, random(&[3, 64], 3)?];
        self.compare(all, "instance-norm of each image's own", &of_each, |v| {
            ops::instance_norm(&v[0], &v[1], &v[2], Activation::Relu)
        })?;
        self.compare(all, "max-feature-map", &image[..2], |v| ops::max_feature_map(&v[0], &v[1]))?;
        self.compare(all, "average-pool", &image[..1], |v| ops::average_pool2(&v[0]))?;
        self.compare(all, "pyramid-down", &image[..1], |v| ops::pyramid_down(&v[0]))?;
        self.compare(all, "max-average-pool", &image[..1], |v| ops::max_average_pool2(&v[0]))?;
        for pool in [false, true] {
            let layer = [random(&[3, 12, 12, 24], 1)?, random(&[64, 3, 3, 24], 2)?, random(&[64], 3)?];
            let before = all.len();
            self.compare(all, &format!("layer, pooled {pool}"), &layer, |v| {
                ops::conv_max_feature_map(&v[0], &v[1], &v[2], 1, pool)
            })?;
            if pool {
                // Behind its value come the gradients.
                all[before + 1..].iter_mut().for_each(|finding| finding.bound = self.competing_bound());
            }
        }
        let two = [random(&[3, 40, 70], 1)?, random(&[3, 40, 70], 2)?];
        self.compare(all, "mean-distance", &two, |v| ops::mean_distance(&v[0], &v[1]))?;
        self.compare(all, "mean-magnitude", &two[..1], |v| {
            ops::mean_distance(&v[0], &v[0].detach())? + ops::mean_magnitude(&v[0])?
        })?;
        let vectors = [ops::unit(&random(&[1, 40], 3)?, 1e-12)?, ops::unit(&random(&[1, 210], 4)?, 1e-12)?];
        self.compare(all, "divided", &[random(&[40, 3, 70], 5)?], |v| {
            let vectors = [0, 1].map(|nth: usize| vectors[nth].to_dtype(v[0].dtype())?.to_device(v[0].device()));
            let [left, right] = vectors;
            ops::divided(&v[0], &left?, &right?)
        })?;
        self.optimizers(all)?;
        Ok(findings)
    }

    /// The networks, at a width that the CPU bears, forward and with the gradients of all weights.
    ///
    /// # Errors
    /// As [`ops`](Self::ops).
    pub fn networks(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let all = &mut findings;
        let (width, classes, initialization) = (Width::Small, 19, Initialization::FanIn);
        let x = random(&[2, 128, 128, 1], 1)?.affine(0.3, 0.0)?;
        let latents = [random(&[2, LATENT], 2)?, Tensor::full(1.0 / 19.0, (2, 19), &Device::Cpu)?];
        let generator =
            GeneratorConfig { channels: 1, width, classes, initialization, conditioning: Conditioning::Start };
        self.network(all, "generator", &latents, |vb| Generator::new(&generator, vb), |g, v| g.forward(&v[0], &v[1]))?;
        let encoder = EncoderConfig { channels: 1, width, downsampling: Downsampling::Strided, initialization };
        let images = std::slice::from_ref(&x);
        self.network(all, "encoder", images, |vb| Encoder::new(&encoder, vb), |e, v| Ok(e.forward(&v[0])?.mu))?;
        let (capacity, scale) = (Capacity::Compact, Scale::Full128);
        let critic =
            DiscriminatorConfig { channels: 1, width, classes, capacity, scale, initialization, projection: false };
        let build = |vb: VarBuilder| Discriminator::new(&critic, vb);
        self.network(all, "critic", images, build, |d, v| Ok(d.forward(&v[0])?.cls))?;
        self.network(all, "critic's input gradient", images, build, |d, v| d.input_gradient(&v[0]))?;
        for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2] {
            let config = LightCnnConfig { kind, width, classes };
            let grey = [x.affine(0.5, 0.5)?];
            self.network(
                all,
                &kind.to_string(),
                &grey,
                |vb| LightCnn::new(&config, vb),
                |n, v| n.classify(&n.features(&v[0])?),
            )?;
        }
        Ok(findings)
    }

    /// Whether the generator gives a row the same bits at every place of a tile, whoever its neighbours
    /// are, and every time; and whether bytes made on the device are those made on the CPU. Errors are
    /// shares of values that differ.
    ///
    /// # Errors
    /// As [`ops`](Self::ops).
    pub fn rows(&self) -> Result<Vec<Finding>> {
        let (rows, classes) = (16, 19);
        let config = GeneratorConfig {
            channels: 1,
            width: Width::Small,
            classes,
            initialization: Initialization::FanIn,
            conditioning: Conditioning::Start,
        };
        let parameters = Parameters::new(5, self.dtype, &self.device);
        let generator = Generator::new(&config, parameters.var_builder())?;
        let z = self.there(&random(&[rows, LATENT], 1)?)?;
        let c = self.there(&random(&[rows, classes], 2)?.abs()?)?;
        let images = |z: &Tensor, c: &Tensor| generator.forward(z, c)?.detach().to_dtype(DType::F32);
        let (first, again) = (images(&z, &c)?, images(&z, &c)?);
        let turned = |x: &Tensor| Tensor::cat(&[x.narrow(0, 5, rows - 5)?, x.narrow(0, 0, 5)?], 0);
        let moved = images(&turned(&z)?, &turned(&c)?)?;
        let bytes = pixels::to_bytes(&first)?;
        let on_cpu = pixels::to_bytes(&first.to_device(&Device::Cpu)?)?;
        let differing = bytes.iter().zip(&on_cpu).filter(|(a, b)| a != b).count() as f64 / on_cpu.len() as f64;
        let made = generator.bytes(&z, &c)?.flatten_all()?.to_vec1::<u8>()?;
        // Between its steps the one rounds to its numbers, the other doesn't.
        let levels = if matches!(self.dtype, DType::F32 | DType::F64) { 1.0 } else { 4.0 };
        let furthest = made.iter().zip(&bytes).map(|(made, byte)| made.abs_diff(*byte)).max();
        let exact = |what: &str, error| Finding { what: what.to_owned(), error, bound: 0.0 };
        let share = |a: &Tensor, b: &Tensor| -> Result<f64> {
            let count = a.ne(b)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
            Ok(f64::from(count) / a.elem_count() as f64)
        };
        #[cfg_attr(not(feature = "cuda"), allow(unused_mut))]
        let mut findings = vec![
            exact("generator, twice", share(&first, &again)?),
            exact("generator, rows moved", share(&turned(&first)?, &moved)?),
            exact("bytes of images", differing),
            Finding {
                what: "levels from bytes to images".to_owned(),
                error: furthest.unwrap_or_default().into(),
                bound: levels,
            },
        ];
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = &self.device {
            findings.extend(self.tiles(device, generator, &z, &c, &made)?);
        }
        Ok(findings)
    }

    /// Whether tiles come out of a graph as they do without one, and with the next one under way.
    #[cfg(feature = "cuda")]
    fn tiles(
        &self,
        device: &candle_core::CudaDevice,
        generator: Generator,
        z: &Tensor,
        c: &Tensor,
        bytes: &[u8],
    ) -> Result<Vec<Finding>> {
        let numbers = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let (latents, labels) = (numbers(z)?, numbers(c)?);
        let function = move |inputs: &[Tensor]| generator.bytes(&inputs[0], &inputs[1]);
        let mut pipeline = crate::device::Pipeline::new(device, &[z.dims(), c.dims()], bytes.len(), function)?;
        let other: Vec<f32> = latents.iter().map(|value| -value).collect();
        let mut differing = 0;
        pipeline.begin(&[&latents, &labels])?;
        for _ in 0..3 {
            pipeline.begin(&[&other, &labels])?;
            differing += pipeline.finish()?.iter().zip(bytes).filter(|(a, b)| a != b).count();
            pipeline.begin(&[&latents, &labels])?;
            pipeline.finish()?;
        }
        let captured = if pipeline.uncaptured().is_some() { 1.0 } else { 0.0 };
        let what = match pipeline.uncaptured() {
            Some(reason) => format!("tiles are not captured: {reason}"),
            None => "tiles are captured".to_owned(),
        };
        let error = differing as f64 / (3 * bytes.len()) as f64;
        Ok(vec![
            Finding { what, error: captured, bound: 0.0 },
            Finding { what: "bytes of tiles".to_owned(), error, bound: 0.0 },
        ])
    }

    /// The largest error that one op's rounding explains.
    fn bound(&self) -> f64 {
        match self.dtype {
            DType::F64 => 1e-10,
            DType::F32 if self.tf32 => 3e-3,
            DType::F32 => 2e-5,
            DType::F16 => 5e-3,
            _ => 2e-2,
        }
    }

    /// The same for gradients that go to the largest of several sums: where two compete closely, rounding one of
    /// them in between sends its whole gradient the other way. Of three significant digits one in some hundred does.
    fn competing_bound(&self) -> f64 {
        match self.dtype {
            DType::BF16 => 0.15,
            DType::F16 => 0.05,
            _ => self.bound(),
        }
    }

    fn there(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.to_dtype(self.dtype)?.to_device(&self.device)
    }

    /// A function and its gradients here and there.
    fn compare(
        &self,
        findings: &mut Vec<Finding>,
        what: &str,
        inputs: &[Tensor],
        function: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        // What the number type can't hold is no fault of the device.
        let inputs = inputs.iter().map(|x| x.to_dtype(self.dtype)?.to_dtype(DType::F64)).collect::<Result<Vec<_>>>()?;
        let right = run(&inputs, None, &function)?;
        let there = inputs.iter().map(|x| self.there(x)).collect::<Result<Vec<_>>>()?;
        let found = run(&there, Some(self), &function)?;
        let names = std::iter::once(what.to_owned()).chain((0..).map(|nth| format!("{what}, gradient {nth}")));
        for ((found, right), what) in found.iter().zip(&right).zip(names) {
            findings.push(Finding { what, error: error(found, right)?, bound: self.bound() });
        }
        Ok(())
    }

    /// A network of the same weights here and there, and the gradients of all of them together.
    fn network<N>(
        &self,
        findings: &mut Vec<Finding>,
        what: &str,
        inputs: &[Tensor],
        build: impl Fn(VarBuilder) -> Result<N>,
        function: impl Fn(&N, &[Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        let run = |dtype: DType, device: &Device| -> Result<(Tensor, Vec<Tensor>)> {
            let parameters = Parameters::new(3, dtype, device);
            let network = build(parameters.var_builder())?;
            let inputs = inputs.iter().map(|x| x.to_dtype(self.dtype)?.to_dtype(dtype)?.to_device(device));
            let y = function(&network, &inputs.collect::<Result<Vec<_>>>()?)?;
            let weights = random(y.dims(), 99)?.to_dtype(dtype)?.to_device(device)?;
            let gradients = (&y * weights)?.sum_all()?.backward()?;
            let vars = parameters.vars();
            let gradients = vars
                .iter()
                .filter_map(|(_, var)| gradients.get(var))
                .map(|gradient| gradient.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all());
            Ok((y.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?, gradients.collect::<Result<_>>()?))
        };
        let ((right, right_gradients), (found, found_gradients)) =
            (run(DType::F64, &Device::Cpu)?, run(self.dtype, &self.device)?);
        let bound = DEEP * self.bound();
        findings.push(Finding { what: what.to_owned(), error: error(&found, &right)?, bound });
        let all = |gradients: &[Tensor]| Tensor::cat(gradients, 0);
        let error = error(&all(&found_gradients)?, &all(&right_gradients)?)?;
        // Where two values compete closely, rounding sends the whole gradient the other way.
        findings.push(Finding { what: format!("{what}, gradients"), error, bound: 3.0 * bound.max(1e-3) });
        Ok(())
    }

    /// Three steps of each optimizer, whose state no half-precision number can hold.
    fn optimizers(&self, findings: &mut Vec<Finding>) -> Result<()> {
        if !matches!(self.dtype, DType::F32 | DType::F64) {
            return Ok(());
        }
        let run = |dtype: DType, device: &Device| -> Result<Vec<Tensor>> {
            let parameters = Parameters::new(7, dtype, device);
            let init = Init::Randn { mean: 0.0, stdev: 1.0 };
            let w = parameters.var_builder().get_with_hints((300, 7), "w", init)?;
            let target = random(&[300, 7], 8)?.to_dtype(dtype)?.to_device(device)?;
            let mut adam = Adam::new(&parameters, AdamConfig::default())?;
            let config = SgdConfig { momentum: 0.9, weight_decay: 0.01 };
            let mut sgd = Sgd::new(&parameters, config, |_| Multipliers::ONE)?;
            let mut average = MovingAverage::new(&parameters)?;
            for _ in 0..3 {
                let gradients = || -> Result<(GradStore, Tensor)> {
                    let gradients = (&w - &target)?.sqr()?.sum_all()?.backward()?;
                    let norm = gradient_norm(&parameters, &gradients)?;
                    Ok((gradients, norm))
                };
                let (of_adam, norm) = gradients()?;
                adam.step(&of_adam, &norm, 0.1)?;
                let (of_sgd, norm) = gradients()?;
                sgd.step(&of_sgd, &norm, 20.0, 0.1)?;
                // Neither moves for a norm that is no number.
                let nothing = norm.affine(f64::NAN, 0.0)?;
                adam.step(&of_adam, &nothing, 0.1)?;
                sgd.step(&of_sgd, &nothing, 20.0, 0.1)?;
                average.update(&parameters, 0.75)?;
            }
            let tensors = [parameters.tensors()?, adam.state()?, sgd.state()?, average.tensors()?];
            let floats = tensors.into_iter().flatten().filter(|(_, tensor)| tensor.dtype() == dtype);
            floats.map(|(_, tensor)| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)).collect()
        };
        let (right, found) = (run(DType::F64, &Device::Cpu)?, run(self.dtype, &self.device)?);
        for (nth, (found, right)) in found.iter().zip(&right).enumerate() {
            let what = format!("optimizers, tensor {nth}");
            findings.push(Finding { what, error: error(found, right)?, bound: self.bound().min(2e-5) });
        }
        Ok(())
    }
}

/// A function's value and the gradients of its inputs, in f64 on the CPU.
fn run(
    inputs: &[Tensor],
    there: Option<&Check>,
    function: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let vars = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = function(&tensors)?;
    let weights = random(y.dims(), 99)?;
    let weights = match there {
        Some(check) => check.there(&weights)?,
        None => weights,
    };
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    let mut all = vec![y.detach()];
    for (nth, var) in vars.iter().enumerate() {
        let Some(gradient) = gradients.get(var) else { bail!("input {nth} has no gradient") };
        all.push(gradient.clone());
    }
    all.iter().map(|tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)).collect()
}

fn error(found: &Tensor, right: &Tensor) -> Result<f64> {
    let length = |tensor: &Tensor| Ok::<_, candle_core::Error>(tensor.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt());
    Ok(length(&(found - right)?)? / length(right)?.max(f64::MIN_POSITIVE))
}
