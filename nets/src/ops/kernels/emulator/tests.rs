//! Every kernel, as it is launched, against the CPU's op in f64.

use super::super::{self as kernels, Launch, Norm, Pool};
use super::Emulator;
use crate::gradient_check::random;
use crate::ops::conv::{Geometry, Kind};
use crate::ops::{self, Activation};
use crate::optim::{Adam, AdamConfig, MovingAverage, Multipliers, Sgd, SgdConfig, gradient_norm};
use crate::parameters::Parameters;
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Init;
use safetensors::View;

/// The number types: names, and the largest error that their own rounding explains.
const NUMBERS: [(DType, &str, f64); 4] =
    [(DType::F64, "f64", 1e-12), (DType::F32, "f32", 1e-5), (DType::BF16, "bf16", 1e-2), (DType::F16, "f16", 2e-3)];

/// Values as they lie in memory, from an address that suits every type.
struct Memory {
    words: Vec<u64>,
    bytes: usize,
    dtype: DType,
}

impl Memory {
    fn of(tensor: &Tensor, dtype: DType) -> Result<Self> {
        let tensor = tensor.flatten_all()?.to_dtype(dtype)?;
        let data = tensor.data().into_owned();
        let mut words = vec![0; data.len().div_ceil(8)];
        for (word, bytes) in words.iter_mut().zip(data.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        Ok(Self { words, bytes: data.len(), dtype })
    }

    /// What is never written stays no number, and fails every comparison.
    fn unwritten(dtype: DType, len: usize) -> Result<Self> {
        Self::of(&Tensor::full(f64::NAN, len, &Device::Cpu)?, dtype)
    }

    fn address(&mut self) -> u64 {
        self.words.as_mut_ptr() as u64
    }

    fn tensor(self, dims: &[usize]) -> Result<Tensor> {
        let bytes: Vec<u8> = self.words.into_iter().flat_map(u64::to_ne_bytes).take(self.bytes).collect();
        Ok(Tensor::from_raw_buffer(&bytes, self.dtype, dims, &Device::Cpu)?.to_dtype(DType::F64)?)
    }
}

/// One number type of the emulator.
#[derive(Clone, Copy)]
struct Machine {
    emulator: &'static Emulator,
    dtype: DType,
    name: &'static str,
    tolerance: f64,
}

/// Runs a test for every number type, where there is a compiler.
fn for_each_number(test: impl Fn(Machine) -> Result<()>) -> Result<()> {
    let Some(emulator) = Emulator::get() else { return Ok(()) };
    for (dtype, name, tolerance) in NUMBERS {
        test(Machine { emulator, dtype, name, tolerance }).context(name)?;
    }
    Ok(())
}

impl Machine {
    /// Random values that this number type holds exactly.
    fn random(&self, dims: &[usize], seed: u64) -> Result<Tensor> {
        Ok(random(dims, seed)?.to_dtype(self.dtype)?.to_dtype(DType::F64)?)
    }

    fn accumulator(&self) -> DType {
        if self.dtype == DType::F64 { DType::F64 } else { DType::F32 }
    }

    /// Runs a launch on inputs of this number type; gives its outputs, each of a type and shape.
    fn outputs(&self, launch: &Launch, inputs: &[&Tensor], outputs: &[(DType, &[usize])]) -> Result<Vec<Tensor>> {
        let inputs: Vec<_> = inputs.iter().map(|&input| (input, self.dtype)).collect();
        self.typed_outputs(launch, &inputs, outputs)
    }

    /// As [`outputs`](Self::outputs), of inputs of several types.
    fn typed_outputs(
        &self,
        launch: &Launch,
        inputs: &[(&Tensor, DType)],
        outputs: &[(DType, &[usize])],
    ) -> Result<Vec<Tensor>> {
        let mut memory = inputs.iter().map(|(input, dtype)| Memory::of(input, *dtype)).collect::<Result<Vec<_>>>()?;
        for (dtype, dims) in outputs {
            memory.push(Memory::unwritten(*dtype, dims.iter().product())?);
        }
        let addresses: Vec<u64> = memory.iter_mut().map(Memory::address).collect();
        self.emulator.run(launch, self.name, &addresses)?;
        let written = memory.into_iter().skip(inputs.len()).zip(outputs);
        written.map(|(memory, (_, dims))| memory.tensor(dims)).collect()
    }

    fn output(&self, launch: &Launch, inputs: &[&Tensor], dims: &[usize]) -> Result<Tensor> {
        Ok(self.outputs(launch, inputs, &[(self.dtype, dims)])?.remove(0))
    }

    /// Runs a launch that changes tensors of one type where they are, and reads a scalar of f64 behind them;
    /// gives them as they are after it.
    fn updated(&self, launch: &Launch, tensors: &[&Tensor], scalar: f64) -> Result<Vec<Tensor>> {
        let mut memory = tensors.iter().map(|tensor| Memory::of(tensor, self.dtype)).collect::<Result<Vec<_>>>()?;
        memory.push(Memory::of(&Tensor::new(scalar, &Device::Cpu)?, DType::F64)?);
        let addresses: Vec<u64> = memory.iter_mut().map(Memory::address).collect();
        self.emulator.run(launch, self.name, &addresses)?;
        memory.into_iter().zip(tensors).map(|(memory, tensor)| memory.tensor(tensor.dims())).collect()
    }

    fn column_sum(&self, x: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
        let parts = kernels::column_parts(rows);
        let shape = (self.accumulator(), &[parts, columns][..]);
        let parts_sums = self.outputs(&kernels::column_sum_parts(rows, columns), &[x], &[shape])?.remove(0);
        self.column_total(&parts_sums, parts, columns)
    }

    fn column_total(&self, parts_sums: &Tensor, parts: usize, columns: usize) -> Result<Tensor> {
        let launch = kernels::column_sum_total(parts, columns);
        let outputs = self.typed_outputs(&launch, &[(parts_sums, self.accumulator())], &[(self.dtype, &[columns])]);
        Ok(outputs?.remove(0))
    }

    /// Holds a result against what it should be, relative to the largest value.
    fn same(&self, what: &str, found: &Tensor, expected: &Tensor) -> Result<()> {
        ensure!(found.dims() == expected.dims(), "{what}: {:?}, expected {:?}", found.dims(), expected.dims());
        let largest = expected.abs()?.max_all()?.to_scalar::<f64>()?.max(1e-3);
        let (found, expected) = (found.flatten_all()?.to_vec1::<f64>()?, expected.flatten_all()?.to_vec1::<f64>()?);
        for (at, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            // What is no number is near nothing.
            let near = (found - expected).abs() <= self.tolerance * largest;
            ensure!(near, "{what} at {at}: expected {expected}, found {found}");
        }
        Ok(())
    }
}

/// The gradients of `sum(weights * function(inputs))`.
fn gradients(
    inputs: &[&Tensor],
    weights: &Tensor,
    function: impl Fn(&[Tensor]) -> candle_core::Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let vars = inputs.iter().map(|input| Var::from_tensor(input)).collect::<candle_core::Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let store = (function(&tensors)? * weights)?.sum_all()?.backward()?;
    vars.iter().map(|var| Ok(store.get(var).context("an input has no gradient")?.clone())).collect()
}

#[test]
fn bias_and_its_gradient() -> Result<()> {
    for_each_number(|m| {
        let (x, bias) = (m.random(&[7, 5, 13], 1)?, m.random(&[13], 2)?);
        let y = m.output(&kernels::bias(7 * 5 * 13, 13), &[&x, &bias], x.dims())?;
        m.same("bias", &y, &ops::bias(&x, &bias)?)?;
        // As of more values than a grid has threads.
        let launch = Launch { grid: [1, 1, 1], ..kernels::bias(7 * 5 * 13, 13) };
        m.same("bias, several each", &m.output(&launch, &[&x, &bias], x.dims())?, &y)?;
        for (rows, columns) in [(1, 3), (3000, 7), (5000, 1), (1025, 70)] {
            let x = m.random(&[rows, columns], 3)?;
            m.same("column sum", &m.column_sum(&x, rows, columns)?, &x.sum(0)?)?;
        }
        Ok(())
    })
}

#[test]
fn leaky_relu_and_its_mask() -> Result<()> {
    for_each_number(|m| {
        // Values by themselves, and by eights.
        for (slope, channels) in [(0.01, 13), (0.0, 13), (0.01, 16), (0.0, 16)] {
            let (count, dims) = (7 * 5 * channels, [7, 5, channels]);
            let (x, bias, g) = (m.random(&dims, 1)?, m.random(&[channels], 2)?, m.random(&dims, 3)?);
            let y = m.output(&kernels::leaky_relu(count, channels, slope), &[&x, &bias], x.dims())?;
            m.same("leaky relu", &y, &ops::leaky_relu(&x, &bias, slope)?)?;
            let masked = m.output(&kernels::leaky_relu_mask(count, slope), &[&x, &g], x.dims())?;
            m.same("mask", &masked, &ops::leaky_relu_mask(&x, &g, slope)?)?;
        }
        Ok(())
    })
}

#[test]
fn pixels_leave_as_the_same_bytes() -> Result<()> {
    for_each_number(|m| {
        let levels: Vec<f64> = (0..=255).map(|byte| f64::from(byte) / 127.5 - 1.0).collect();
        let others = [-1.5, 1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1.0];
        let values = Tensor::new([&levels[..], &others].concat(), &Device::Cpu)?.to_dtype(m.dtype)?;
        let values = values.to_dtype(DType::F64)?;
        let count = values.elem_count();
        let bytes = m.outputs(&kernels::quantise(count), &[&values], &[(DType::U8, &[count])])?.remove(0);
        let expected = values.to_vec1::<f64>()?.into_iter().map(|value| crate::pixels::quantize(value as f32));
        ensure!(bytes.to_vec1::<f64>()? == expected.map(f64::from).collect::<Vec<_>>());
        Ok(())
    })
}

#[test]
fn the_last_layer_ends_in_the_bytes_of_its_steps() -> Result<()> {
    for_each_number(|m| {
        for channels in [1, 3] {
            let (sums, bias) = (m.random(&[5, 7, channels], 1)?, m.random(&[channels], 2)?);
            let count = sums.elem_count();
            let launch = kernels::last_layer(count, channels);
            let bytes = m.outputs(&launch, &[&sums, &bias], &[(DType::U8, &[count])])?.remove(0);
            let expected = ops::quantise(&ops::bias(&sums, &bias)?.tanh()?)?.flatten_all()?.to_dtype(DType::F64)?;
            ensure!(bytes.to_vec1::<f64>()? == expected.to_vec1::<f64>()?);
        }
        Ok(())
    })
}

#[test]
fn a_whole_last_layer_ends_in_the_same_bytes() -> Result<()> {
    for_each_number(|m| {
        // As small as can be, and as large.
        for (height, width, inputs, channels) in [(1, 1, 8, 1), (3, 5, 16, 1), (4, 3, 24, 3), (2, 3, 256, 1)] {
            let (y, w) = (m.random(&[2, height, width, inputs], 1)?, m.random(&[inputs, 4, 4, channels], 2)?);
            // Small sums, so that bytes of all levels are there.
            let (w, bias) = (w.affine(0.1, 0.0)?.to_dtype(m.dtype)?.to_dtype(DType::F64)?, m.random(&[channels], 3)?);
            let launch = kernels::whole_last_layer([2, height, width, inputs], channels).context("it fits")?;
            let dims = [2, 2 * height, 2 * width, channels];
            let bytes = m.outputs(&launch, &[&y, &w, &bias], &[(DType::U8, &dims)])?.remove(0);
            let expected = ops::last_layer(&y, &w, &bias)?.to_dtype(DType::F64)?;
            // In fewer digits than f64's, a byte may fall to the other side of a half.
            let worst = (bytes - expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
            ensure!(worst <= if m.dtype == DType::F64 { 0.0 } else { 1.0 }, "{worst} levels");
        }
        ensure!(
            kernels::whole_last_layer([2, 4, 4, 12], 1).is_none()
                && kernels::whole_last_layer([2, 4, 4, 512], 1).is_none()
        );
        Ok(())
    })
}

#[test]
fn instance_norm_and_its_gradients() -> Result<()> {
    for_each_number(|m| {
        // Channels by themselves, and by eights.
        for [images, height, width, channels] in [[2, 3, 5, 4], [3, 8, 9, 37], [1, 2, 2, 16], [2, 17, 20, 32]] {
            for (activation, conditional) in [
                (Activation::Identity, false),
                (Activation::Relu, false),
                (Activation::Identity, true),
                (Activation::Relu, true),
            ] {
                let dims = [images, height, width, channels];
                // A mean far from zero, as sums of squares would not bear it.
                let x = m.random(&dims, 1)?.affine(1.0, 4.0)?.to_dtype(m.dtype)?.to_dtype(DType::F64)?;
                let affine = if conditional { vec![images, channels] } else { vec![channels] };
                let (scale, shift) = (m.random(&affine, 2)?, m.random(&affine, 3)?);
                let (positions, relu) = (height * width, activation == Activation::Relu);
                let norm = Norm { images, positions, channels, relu, conditional, epsilon: 1e-5 };
                let y = m.output(&norm.forward(), &[&x, &scale, &shift], &dims)?;
                m.same("norm", &y, &ops::instance_norm(&x, &scale, &shift, activation)?)?;

                let g = m.random(&dims, 4)?;
                let parts = [images, 2 * channels];
                let outputs = [(m.dtype, &dims[..]), (m.accumulator(), &parts[..])];
                let outputs = m.outputs(&norm.gradient(), &[&x, &scale, &shift, &g], &outputs)?;
                // Those of an image of its own are a total of one.
                let (count, columns) = if conditional { (1, images) } else { (images, 1) };
                let affine =
                    m.column_total(&outputs[1], count, columns * 2 * channels)?.reshape((columns, 2, channels))?;
                let affine = |row: usize| affine.narrow(1, row, 1)?.reshape(scale.dims());
                let expected =
                    gradients(&[&x, &scale, &shift], &g, |v| ops::instance_norm(&v[0], &v[1], &v[2], activation))?;
                m.same("norm's gradient of x", &outputs[0], &expected[0])?;
                m.same("norm's gradient of scale", &affine(0)?, &expected[1])?;
                m.same("norm's gradient of shift", &affine(1)?, &expected[2])?;
            }
        }
        Ok(())
    })
}

#[test]
fn max_feature_map_and_its_gradient() -> Result<()> {
    for_each_number(|m| {
        let (x, bias, g) = (m.random(&[6, 7, 10], 1)?, m.random(&[10], 2)?, m.random(&[6, 7, 5], 3)?);
        let y = m.output(&kernels::max_feature_map(6 * 7 * 5, 5), &[&x, &bias], &[6, 7, 5])?;
        m.same("max-feature-map", &y, &ops::max_feature_map(&x, &bias)?)?;
        let dx = m.output(&kernels::max_feature_map_gradient(6 * 7 * 5, 5), &[&x, &bias, &g], x.dims())?;
        let expected = gradients(&[&x], &g, |v| ops::max_feature_map(&v[0], &bias))?;
        m.same("max-feature-map's gradient", &dx, &expected[0])
    })
}

#[test]
fn a_layer_behind_its_convolution() -> Result<()> {
    for_each_number(|m| {
        // Channels by themselves, and by eights.
        for (pool, half) in [(1, 5), (2, 5), (1, 16), (2, 16)] {
            let [images, height, width] = [2, 6, 8];
            let dims = [images, height / pool, width / pool, half];
            let count = dims.iter().product();
            let (convolved, bias) = (m.random(&[images, height, width, 2 * half], 1)?, m.random(&[2 * half], 2)?);
            let launch = kernels::compete(count, half, pool, width);
            let outputs = m.outputs(&launch, &[&convolved, &bias], &[(m.dtype, &dims), (DType::U8, &dims)])?;
            // Filters of one pixel, each of one channel: what it convolves is the image itself.
            let identity = Tensor::eye(2 * half, DType::F64, &Device::Cpu)?.reshape((2 * half, 1, 1, 2 * half))?;
            let layer = |x: &Tensor| ops::conv_max_feature_map(x, &identity, &bias, 0, pool == 2);
            m.same("layer", &outputs[0], &layer(&convolved)?)?;

            let g = m.random(&dims, 3)?;
            let launch = kernels::give(count, half, pool, width);
            let inputs = [(&g, m.dtype), (&outputs[1], DType::U8)];
            let given = m.typed_outputs(&launch, &inputs, &[(m.dtype, convolved.dims())])?.remove(0);
            m.same("layer's gradient", &given, &gradients(&[&convolved], &g, |v| layer(&v[0]))?[0])?;
        }
        Ok(())
    })
}

#[test]
fn what_is_no_number_wins_and_ties_split() -> Result<()> {
    for_each_number(|m| {
        let zeros = Tensor::zeros(2, DType::F64, &Device::Cpu)?;
        for place in 0..8 {
            let mut x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
            x[place] = f64::NAN;
            let x = Tensor::new(&x, &Device::Cpu)?.reshape((1, 2, 2, 2))?;
            let launch = kernels::compete(1, 1, 2, 2);
            let outputs = m.outputs(&launch, &[&x, &zeros], &[(m.dtype, &[1]), (DType::U8, &[1])])?;
            ensure!(outputs[0].to_vec1::<f64>()?[0].is_nan(), "place {place}");
        }
        let ones = Tensor::ones(8, DType::F64, &Device::Cpu)?;
        let outputs =
            m.outputs(&kernels::compete(1, 1, 2, 2), &[&ones, &zeros], &[(m.dtype, &[1]), (DType::U8, &[1])])?;
        let (one, launch) = (Tensor::new(&[1.0], &Device::Cpu)?, kernels::give(1, 1, 2, 2));
        let inputs = [(&one, m.dtype), (&outputs[1], DType::U8)];
        let given = m.typed_outputs(&launch, &inputs, &[(m.dtype, &[8])])?.remove(0);
        ensure!(given.to_vec1::<f64>()? == [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        Ok(())
    })
}

#[test]
fn pools_and_their_gradients() -> Result<()> {
    for_each_number(|m| {
        for [images, height, width, channels] in [[2, 6, 8, 3], [1, 2, 2, 1], [3, 4, 2, 70]] {
            let (dims, half) = ([images, height, width, channels], [images, height / 2, width / 2, channels]);
            let (x, g) = (m.random(&dims, 1)?, m.random(&half, 2)?);
            for (size, padding) in [(2, 0), (3, 1)] {
                let pool = Pool { images, height, width, channels, size, padding };
                let average = |x: &Tensor| if padding == 0 { ops::average_pool2(x) } else { ops::pyramid_down(x) };
                m.same("average", &m.output(&pool.average(), &[&x], &half)?, &average(&x)?)?;
                let dx = m.output(&pool.average_adjoint(), &[&g], &dims)?;
                m.same("average's gradient", &dx, &gradients(&[&x], &g, |v| average(&v[0]))?[0])?;
            }
            let count = half.iter().product();
            let y = m.output(&kernels::max_average_pool(count, width, channels), &[&x], &half)?;
            m.same("max-average", &y, &ops::max_average_pool2(&x)?)?;
            let launch = kernels::max_average_pool_gradient(count, width, channels);
            let dx = m.output(&launch, &[&x, &g], &dims)?;
            let expected = gradients(&[&x], &g, |v| ops::max_average_pool2(&v[0]))?;
            m.same("max-average's gradient", &dx, &expected[0])?;
        }
        Ok(())
    })
}

#[test]
fn every_kind_of_convolution() -> Result<()> {
    // Size, stride, padding, extent.
    let cases = [
        (5, 1, 2, 6),
        (1, 1, 0, 5),
        (3, 1, 1, 7),
        (4, 2, 1, 8),
        (3, 2, 1, 8),
        (2, 1, 0, 2),
        (1, 1, 0, 1),
        (4, 2, 1, 2),
        (3, 1, 1, 70),
    ];
    for_each_number(|m| {
        for (size, stride, padding, extent) in cases {
            let (x, w) = (m.random(&[2, extent, extent, 3], 1)?, m.random(&[5, size, size, 3], 2)?);
            let out = (extent + 2 * padding - size) / stride + 1;
            let geometry = Geometry {
                batch: 2,
                height: extent,
                width: extent,
                channels: 3,
                filters: 5,
                out_height: out,
                out_width: out,
                size,
                stride,
                padding,
            };
            let g = m.random(&[2, out, out, 5], 3)?;
            let run = |kind: Kind, a: &Tensor, b: &Tensor| {
                m.output(&kernels::convolution(kind, &geometry), &[a, b], &geometry.result_dims(kind))
            };
            let convolve = |v: &[Tensor]| ops::conv2d(&v[0], &v[1], stride, padding);
            let expected = gradients(&[&x, &w], &g, convolve)?;
            m.same("forward", &run(Kind::Forward, &x, &w)?, &convolve(&[x.clone(), w.clone()])?)?;
            m.same("data gradient", &run(Kind::DataGradient, &g, &w)?, &expected[0])?;
            let (parts, values) = (kernels::filter_parts(&geometry), geometry.filters * geometry.window());
            let launch = kernels::convolution(Kind::FilterGradient, &geometry);
            let sums = m.outputs(&launch, &[&x, &g], &[(m.accumulator(), &[parts, values])])?.remove(0);
            let found = m.column_total(&sums, parts, values)?.reshape(w.dims())?;
            m.same("filter gradient", &found, &expected[1])?;
        }
        Ok(())
    })
}

/// One variable `w` and a gradient of it.
fn variable(m: Machine, len: usize) -> Result<(Parameters, Tensor, Tensor)> {
    let parameters = Parameters::new(7, DType::F64, &Device::Cpu);
    parameters.var_builder().get_with_hints(len, "w", Init::Const(0.0))?;
    let w = m.random(&[len], 1)?;
    parameters.load(&[("w".to_owned(), w.clone())].into())?;
    Ok((parameters, w, m.random(&[len], 2)?))
}

/// A step's gradients, by a loss whose gradient they are.
fn store(parameters: &Parameters, gradient: &Tensor) -> Result<candle_core::backprop::GradStore> {
    let (_, var) = parameters.vars().remove(0);
    Ok((var.as_tensor() * gradient)?.sum_all()?.backward()?)
}

#[test]
fn optimizers_take_the_same_steps() -> Result<()> {
    let len = 300;
    for_each_number(|m| {
        // No half-precision number holds a mean of squares of decay 0.999.
        if m.tolerance > 1e-5 {
            return Ok(());
        }
        let (parameters, w, g) = variable(m, len)?;
        let config = AdamConfig::default();
        let mut adam = Adam::new(&parameters, config)?;
        let mut found = vec![w, g.zeros_like()?, g.zeros_like()?];
        for step in 1..=3 {
            let gradients = store(&parameters, &g)?;
            adam.step(&gradients, &gradient_norm(&parameters, &gradients)?, 0.1)?;
            let correction = |beta: f64| 1.0 - beta.powi(step);
            let step = kernels::AdamStep {
                beta1: config.beta1,
                beta2: config.beta2,
                rate: 0.1 / correction(config.beta1),
                correction: correction(config.beta2),
                epsilon: config.epsilon,
            };
            let launch = kernels::adam(len, step);
            found = m.updated(&launch, &[&found[0], &found[1], &found[2], &g], 1.0)?;
            found = m.updated(&launch, &[&found[0], &found[1], &found[2], &g], f64::NAN)?;
        }
        let state = adam.state()?;
        m.same("adam's weights", &found[0], &parameters.tensors()?["w"])?;
        m.same("adam's mean", &found[1], &state["w.mean"])?;
        m.same("adam's square", &found[2], &state["w.square"])?;

        let (parameters, w, g) = variable(m, len)?;
        let config = SgdConfig { momentum: 0.9, weight_decay: 0.01 };
        let mut sgd = Sgd::new(&parameters, config, |_| Multipliers::ONE)?;
        let mut found = vec![w.clone(), g.zeros_like()?];
        for _ in 0..3 {
            let gradients = store(&parameters, &g)?;
            let norm = gradient_norm(&parameters, &gradients)?;
            sgd.step(&gradients, &norm, 2.0, 0.1)?;
            let launch = kernels::sgd(len, 0.9, 2.0, 0.01, 0.1);
            found = m.updated(&launch, &[&found[0], &found[1], &g], norm.to_scalar()?)?;
            found = m.updated(&launch, &[&found[0], &found[1], &g], f64::INFINITY)?;
        }
        m.same("sgd's weights", &found[0], &parameters.tensors()?["w"])?;
        m.same("sgd's velocity", &found[1], &sgd.state()?["w"])?;

        let mut average = MovingAverage::new(&parameters)?;
        let old = average.tensors()?.remove("w").context("the variable has an average")?;
        parameters.load(&[("w".to_owned(), g.clone())].into())?;
        average.update(&parameters, 0.75)?;
        let old = old.to_dtype(m.dtype)?.to_dtype(DType::F64)?;
        let found = m.updated(&kernels::moving_average(len, 0.25), &[&old, &g], 0.0)?;
        m.same("moving average", &found[0], &average.tensors()?["w"])
    })
}

#[test]
fn sums_over_whole_tensors() -> Result<()> {
    for_each_number(|m| {
        // One partial sum, and several.
        for count in [1, 300, 10_000] {
            let (x, y) = (m.random(&[count], 1)?, m.random(&[count], 2)?);
            let parts = (m.accumulator(), &[kernels::sum_parts(count)][..]);

            let mean = |sums: &Tensor| -> Result<Tensor> {
                let launch = kernels::mean_of_parts(count);
                Ok(m.typed_outputs(&launch, &[(sums, m.accumulator())], &[(m.dtype, &[])])?.remove(0))
            };
            let sums = m.outputs(&kernels::distance_sums(count), &[&x, &y], &[parts])?.remove(0);
            m.same("distance", &mean(&sums)?, &ops::mean_distance(&x, &y)?)?;
            let g = m.random(&[], 3)?;
            let dx = m.output(&kernels::distance_gradient(count), &[&x, &y, &g], &[count])?;
            m.same("distance's gradient", &dx, &gradients(&[&x], &g, |v| ops::mean_distance(&v[0], &y))?[0])?;

            let unit = m.output(&kernels::unit(count, 1e-12), &[&x], &[count])?;
            m.same("unit", &unit, &ops::unit(&x, 1e-12)?)?;

            // Behind the sums of another tensor.
            let all = (DType::F64, &[1 + kernels::sum_parts(count)][..]);
            let sums = m.outputs(&kernels::square_sums(count, 1), &[&x], &[all])?.remove(0);
            let sums = sums.narrow(0, 1, kernels::sum_parts(count))?;
            let whole = Machine { dtype: DType::F64, name: "f64", ..m };
            let norm = whole.output(&kernels::root_of_sum(sums.elem_count()), &[&sums], &[])?;
            m.same("norm", &norm, &x.sqr()?.sum_all()?.sqrt()?)?;
        }
        Ok(())
    })
}

#[test]
fn a_magnitude_is_a_distance_from_nothing() -> Result<()> {
    for_each_number(|m| {
        let x = m.random(&[300], 1)?;
        let (mut values, mut sums) = (Memory::of(&x, m.dtype)?, Memory::unwritten(m.accumulator(), 1)?);
        m.emulator.run(&kernels::distance_sums(300), m.name, &[values.address(), 0, sums.address()])?;
        m.same("magnitude", &(sums.tensor(&[])? / 300.0)?, &ops::mean_magnitude(&x)?)
    })
}

#[test]
fn a_weight_over_its_norm() -> Result<()> {
    for_each_number(|m| {
        for (outputs, inputs) in [(1, 7), (40, 300)] {
            let count = outputs * inputs;
            let (w, left, right) =
                (m.random(&[outputs, inputs], 1)?, m.random(&[1, outputs], 2)?, m.random(&[1, inputs], 3)?);
            let parts = (m.accumulator(), &[kernels::sum_parts(count)][..]);
            let sums = m.outputs(&kernels::bilinear_sums(count, inputs), &[&w, &left, &right], &[parts])?.remove(0);
            let outputs_of_it = [(m.dtype, w.dims()), (m.accumulator(), &[][..])];
            let inputs_of_it = [(&w, m.dtype), (&sums, m.accumulator())];
            let divided = m.typed_outputs(&kernels::divided(count), &inputs_of_it, &outputs_of_it)?;
            m.same("divided", &divided[0], &ops::divided(&w, &left, &right)?)?;

            let g = m.random(w.dims(), 4)?;
            let sums = m.outputs(&kernels::product_sums(count), &[&g, &w], &[parts])?.remove(0);
            let inputs_of_it = [
                (&g, m.dtype),
                (&sums, m.accumulator()),
                (&divided[1], m.accumulator()),
                (&left, m.dtype),
                (&right, m.dtype),
            ];
            let launch = kernels::divided_gradient(count, inputs);
            let dw = m.typed_outputs(&launch, &inputs_of_it, &[(m.dtype, w.dims())])?.remove(0);
            m.same("gradient", &dw, &gradients(&[&w], &g, |v| ops::divided(&v[0], &left, &right))?[0])?;
        }
        Ok(())
    })
}
