//! Instance norm (Ulyanov et al., 2016) with learned scale and shift and no running statistics, so
//! that training and serving are one function; with the ReLU that mostly follows it. Scale and shift may be
//! each image's own, made of what it shows (conditional instance norm, Dumoulin et al., 2017).

use super::bias::{check_channels, sum_columns};
use super::element::{Argument, Element, output, same_dtype, with_values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
use multiversion::multiversion;
use rayon::prelude::*;

/// Added to the variance.
const EPSILON: f64 = 1e-5;

/// What follows the norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(0, v)`.
    Relu,
}

/// Normalises every channel of every image over its positions, then scales, shifts and activates:
/// `x (B,H,W,C)`, `scale (C)`, `shift (C)` to `(B,H,W,C)`; or `scale (B,C)`, `shift (B,C)`, for each image
/// its own.
///
/// # Errors
/// On a single position per image, where the norm is zero whatever the input.
pub fn instance_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, activation: Activation) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    if height * width < 2 {
        bail!("instance norm needs more than one position per image, found {height}x{width}")
    }
    for vector in [scale, shift] {
        same_dtype("instance-norm", x.dtype(), vector.dtype())?;
        match vector.dims() {
            [_, _] => check_images(x, vector)?,
            _ => check_channels("instance-norm", x, vector)?,
        }
    }
    if scale.rank() != shift.rank() {
        bail!("instance-norm: expected a scale and a shift of one shape, found {:?} and {:?}", scale, shift)
    }
    InstanceNorm { activation }.apply([x, scale, shift])
}

/// Refuses vectors that are not one for each image.
fn check_images(x: &Tensor, vectors: &Tensor) -> Result<()> {
    let (images, _, _, channels) = x.dims4()?;
    match vectors.dims() == [images, channels] {
        true => Ok(()),
        false => bail!("instance-norm: expected vectors of shape [{images}, {channels}], found {:?}", vectors.dims()),
    }
}

/// The vector of image `nth`: its own, or the one of all.
fn of_image<T>(vectors: &[T], channels: usize, nth: usize) -> &[T] {
    if vectors.len() == channels { vectors } else { &vectors[nth * channels..][..channels] }
}

struct InstanceNorm {
    activation: Activation,
}

impl Op<3> for InstanceNorm {
    fn name(&self) -> &'static str {
        "instance-norm"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        let (_, height, width, channels) = inputs[0].shape().dims4()?;
        let image = height * width * channels;
        with_values!(self, inputs, T, [x, scale, shift] => {
            let mut y = vec![T::ZERO; x.len()];
            y.par_chunks_mut(image).zip(x.par_chunks(image)).enumerate().for_each(|(nth, (y, x))| {
                let [scale, shift] = [scale, shift].map(|vectors| of_image(vectors, channels, nth));
                normalise(y, x, scale, shift, self.activation);
            });
            Ok(output::<T>(y, inputs[0].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 3]) -> Result<(CudaStorage, Shape)> {
        let norm = self.over(inputs[0].shape(), inputs[1].shape().rank() == 2)?;
        cuda::compute(&norm.forward(), &inputs, inputs[0].shape())
    }

    fn gradients(&self, [x, scale, shift]: [&Tensor; 3], y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 3]> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return self.gradients_on_gpu(x, scale, shift, &g.contiguous()?);
        }
        // A ReLU's output is positive exactly where its gradient passes.
        let g = match self.activation {
            Activation::Identity => g.contiguous()?,
            Activation::Relu => super::leaky_relu_mask(&y.detach(), g, 0.0)?,
        };
        let dx = InputGradient.compute([x, scale, &g])?;
        let sums = AffineGradient.compute([x, scale, &g])?;
        let part = |wanted: bool, row: usize| wanted.then(|| affine_part(&sums, row, scale)).transpose();
        Ok([x.track_op().then_some(dx), part(scale.track_op(), 0)?, part(shift.track_op(), 1)?])
    }
}

/// The gradient of the scale (row 0) or the shift (row 1), in their shape, out of `(.., 2, C)`.
fn affine_part(sums: &Tensor, row: usize, scale: &Tensor) -> Result<Tensor> {
    sums.narrow(sums.rank() - 2, row, 1)?.contiguous()?.reshape(scale.dims())
}

#[cfg(feature = "cuda")]
impl InstanceNorm {
    fn over(&self, shape: &Shape, conditional: bool) -> Result<kernels::Norm> {
        let (images, height, width, channels) = shape.dims4()?;
        let relu = self.activation == Activation::Relu;
        Ok(kernels::Norm { images, positions: height * width, channels, relu, conditional, epsilon: EPSILON })
    }

    /// All three gradients from one kernel, which finds the moments and the ReLU's side again.
    fn gradients_on_gpu(&self, x: &Tensor, scale: &Tensor, shift: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let norm = self.over(x.shape(), scale.rank() == 2)?;
        // What is an image's own is a total of one.
        let (count, rows) = if norm.conditional { (1, norm.images) } else { (norm.images, 1) };
        let (dx, affine) = cuda::with_storages(&[x, scale, shift, g], |arguments| {
            let (storage, _) = arguments[0];
            let (device, dtype) = (&storage.device, x.dtype());
            let dx = cuda::room(device, dtype, x.shape())?;
            let parts = cuda::room(device, cuda::accumulator(dtype), (norm.images, 2 * norm.channels))?;
            let mut buffers = arguments.iter().map(|&argument| cuda::address(argument)).collect::<Result<Vec<_>>>()?;
            buffers.extend([cuda::address_of_new(&dx)?, cuda::address_of_new(&parts)?]);
            cuda::run(&norm.gradient(), device, dtype, &buffers)?;
            Ok((dx, cuda::column_total(&parts, dtype, count, rows * 2 * norm.channels)?))
        })?;
        let affine = cuda::tensor(affine, (rows, 2, norm.channels));
        let part = |wanted: bool, row: usize| wanted.then(|| affine_part(&affine, row, scale)).transpose();
        let dx = x.track_op().then(|| cuda::tensor(dx, x.shape()));
        Ok([dx, part(scale.track_op(), 0)?, part(shift.track_op(), 1)?])
    }
}

/// From x, scale and the gradient behind the activation to the gradient of x.
struct InputGradient;

impl Op<3> for InputGradient {
    fn name(&self) -> &'static str {
        "instance-norm-input-gradient"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        let (_, height, width, channels) = inputs[0].shape().dims4()?;
        let image = height * width * channels;
        with_values!(self, inputs, T, [x, scale, g] => {
            let mut dx = vec![T::ZERO; x.len()];
            let images = dx.par_chunks_mut(image).zip(x.par_chunks(image)).zip(g.par_chunks(image)).enumerate();
            images.for_each(|(nth, ((dx, x), g))| input_gradient(dx, x, g, of_image(scale, channels, nth)));
            Ok(output::<T>(dx, inputs[0].shape()))
        })
    }
}

/// From x, scale and the gradient behind the activation to `(2, C)`, or `(B, 2, C)` where each image has its
/// own: the gradients of scale and shift.
struct AffineGradient;

impl Op<3> for AffineGradient {
    fn name(&self) -> &'static str {
        "instance-norm-affine-gradient"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        let (images, height, width, channels) = inputs[0].shape().dims4()?;
        let image = height * width * channels;
        with_values!(self, inputs, T, [x, _scale, g] => {
            let per_image: Vec<T> = x
                .par_chunks(image)
                .zip(g.par_chunks(image))
                .flat_map_iter(|(x, g)| {
                    let (sum_g, sum_gx) = gradient_sums(&moments(x, channels), x, g);
                    sum_gx.into_iter().chain(sum_g)
                })
                .collect();
            Ok(match inputs[1].shape().rank() {
                2 => output::<T>(per_image, (images, 2, channels)),
                _ => output::<T>(sum_columns(&per_image, 2 * channels), (2, channels)),
            })
        })
    }
}

/// Mean and inverse standard deviation of each channel of one image.
struct Moments<T> {
    mean: Vec<T>,
    inverse_deviation: Vec<T>,
}

#[multiversion(targets = "simd")]
fn moments<T: Element>(x: &[T], channels: usize) -> Moments<T> {
    let count = T::of((x.len() / channels) as f64);
    let mut mean = vec![T::ZERO; channels];
    for row in x.chunks_exact(channels) {
        mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += value);
    }
    mean.iter_mut().for_each(|mean| *mean /= count);
    // A second pass over the deviations: the difference of large sums would cancel.
    let mut variance = vec![T::ZERO; channels];
    for row in x.chunks_exact(channels) {
        for ((variance, &value), &mean) in variance.iter_mut().zip(row).zip(&mean) {
            *variance += (value - mean) * (value - mean);
        }
    }
    let inverse = |variance: T| T::ONE / (variance / count + T::of(EPSILON)).sqrt();
    Moments { mean, inverse_deviation: variance.into_iter().map(inverse).collect() }
}

/// One image. Of what is no number the ReLU, too, gives back what it got: a zero would hide it.
#[multiversion(targets = "simd")]
fn normalise<T: Element>(y: &mut [T], x: &[T], scale: &[T], shift: &[T], activation: Activation) {
    let (channels, relu) = (scale.len(), activation == Activation::Relu);
    let Moments { mean, inverse_deviation } = moments(x, channels);
    for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
        let moments = mean.iter().zip(&inverse_deviation).zip(scale.iter().zip(shift));
        for ((y, &x), ((&mean, &inverse), (&scale, &shift))) in y.iter_mut().zip(x).zip(moments) {
            let value = (x - mean) * inverse * scale + shift;
            *y = if relu & (value <= T::ZERO) { T::ZERO } else { value };
        }
    }
}

/// One image's gradient, from that behind the activation.
#[multiversion(targets = "simd")]
fn input_gradient<T: Element>(dx: &mut [T], x: &[T], g: &[T], scale: &[T]) {
    let channels = scale.len();
    let moments = moments(x, channels);
    let (mut mean_g, mut mean_gx) = gradient_sums(&moments, x, g);
    let count = T::of((x.len() / channels) as f64);
    mean_g.iter_mut().chain(&mut mean_gx).for_each(|sum| *sum /= count);
    let Moments { mean, inverse_deviation } = moments;
    for ((dx, x), g) in dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels)).zip(g.chunks_exact(channels)) {
        let moments = mean.iter().zip(&inverse_deviation).zip(mean_g.iter().zip(&mean_gx)).zip(scale);
        for (((dx, &x), &g), (((&mean, &inverse), (&mean_g, &mean_gx)), &scale)) in
            dx.iter_mut().zip(x).zip(g).zip(moments)
        {
            *dx = scale * inverse * (g - mean_g - (x - mean) * inverse * mean_gx);
        }
    }
}

/// Per channel, the sums of the gradient and of its product with the normalised value.
#[multiversion(targets = "simd")]
fn gradient_sums<T: Element>(moments: &Moments<T>, x: &[T], g: &[T]) -> (Vec<T>, Vec<T>) {
    let Moments { mean, inverse_deviation } = moments;
    let channels = mean.len();
    let (mut sum_g, mut sum_gx) = (vec![T::ZERO; channels], vec![T::ZERO; channels]);
    for (x, g) in x.chunks_exact(channels).zip(g.chunks_exact(channels)) {
        let moments = mean.iter().zip(inverse_deviation);
        for (((sum_g, sum_gx), (&x, &g)), (&mean, &inverse)) in
            sum_g.iter_mut().zip(&mut sum_gx).zip(x.iter().zip(g)).zip(moments)
        {
            *sum_g += g;
            *sum_gx += g * ((x - mean) * inverse);
        }
    }
    (sum_g, sum_gx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};

    fn slow(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim((1, 2))?)?;
        let variance = centred.sqr()?.mean_keepdim((1, 2))?;
        let normal = centred.broadcast_div(&(variance + EPSILON)?.sqrt()?)?;
        normal.broadcast_mul(scale)?.broadcast_add(shift)?.relu()
    }

    #[test]
    fn fused_equals_composed() -> Result<()> {
        let (x, scale, shift) = (random(&[2, 3, 5, 4], 1)?, random(&[4], 2)?, random(&[4], 3)?);
        let fast = instance_norm(&x, &scale, &shift, Activation::Relu)?;
        let difference = (fast - slow(&x, &scale, &shift)?)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(difference < 1e-13, "{difference}");
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        for affine in [&[4][..], &[2, 4]] {
            let inputs = [random(&[2, 3, 5, 4], 1)?, random(affine, 2)?, random(affine, 3)?];
            for activation in [Activation::Identity, Activation::Relu] {
                check_gradients(&inputs, |v| instance_norm(&v[0], &v[1], &v[2], activation))?;
            }
        }
        Ok(())
    }

    #[test]
    fn an_image_with_a_scale_and_shift_of_its_own_is_normalised_as_alone_with_them() -> Result<()> {
        let (x, scale, shift) = (random(&[3, 3, 5, 4], 1)?, random(&[3, 4], 2)?, random(&[3, 4], 3)?);
        let together = instance_norm(&x, &scale, &shift, Activation::Relu)?;
        for nth in 0..3 {
            let alone = instance_norm(&x.narrow(0, nth, 1)?, &scale.get(nth)?, &shift.get(nth)?, Activation::Relu)?;
            let values = |image: &Tensor| image.flatten_all()?.to_vec1::<f64>();
            assert_eq!(values(&together.narrow(0, nth, 1)?)?, values(&alone)?);
        }
        for wrong in [&[3, 5][..], &[2, 4], &[4]] {
            assert!(instance_norm(&x, &random(wrong, 2)?, &shift, Activation::Relu).is_err(), "{wrong:?}");
        }
        Ok(())
    }

    #[test]
    fn the_spatial_mean_after_the_norm_is_its_shift() -> Result<()> {
        // Why no average pooling may follow directly: it would return a constant.
        let (x, scale, shift) = (random(&[2, 8, 8, 3], 1)?, random(&[3], 2)?, random(&[3], 3)?);
        let mean = instance_norm(&x, &scale, &shift, Activation::Identity)?.mean((1, 2))?;
        let difference = mean.broadcast_sub(&shift)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(difference < 1e-6, "{difference}");
        Ok(())
    }

    #[test]
    fn what_is_no_number_stays_visible_in_its_image_and_channel() -> Result<()> {
        let mut values = random(&[2, 3, 5, 2], 1)?.flatten_all()?.to_vec1::<f64>()?;
        values[7] = f64::NAN;
        let x = Tensor::from_vec(values, (2, 3, 5, 2), &candle_core::Device::Cpu)?;
        for activation in [Activation::Identity, Activation::Relu] {
            let y = instance_norm(&x, &random(&[2], 2)?, &random(&[2], 3)?, activation)?;
            for (at, value) in y.flatten_all()?.to_vec1::<f64>()?.into_iter().enumerate() {
                assert_eq!(value.is_nan(), at < 30 && at % 2 == 1, "{activation:?} at {at}");
            }
        }
        Ok(())
    }

    #[test]
    fn one_position_is_refused() -> Result<()> {
        let error = instance_norm(&random(&[2, 1, 1, 3], 1)?, &random(&[3], 2)?, &random(&[3], 3)?, Activation::Relu);
        assert!(error.unwrap_err().to_string().contains("more than one position"));
        Ok(())
    }
}
