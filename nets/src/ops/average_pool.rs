//! Averages over windows: the encoder's 2x2 and the critics' pyramid.

use super::element::{Argument, Element, output, with_values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Mean of each 2x2 window: `(B,H,W,C)` to `(B,H/2,W/2,C)`, for even `H` and `W`.
pub fn average_pool2(x: &Tensor) -> Result<Tensor> {
    apply(x, Window { size: 2, padding: 0 })
}

/// The critics' second scale (pix2pixHD): 3x3 windows at stride 2 and padding 1, padding not
/// counted, so that a constant image stays constant up to its edges. `(B,H,W,C)` to
/// `(B,H/2,W/2,C)`, for even `H` and `W`.
pub fn pyramid_down(x: &Tensor) -> Result<Tensor> {
    apply(x, Window { size: 3, padding: 1 })
}

fn apply(x: &Tensor, window: Window) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    if height % 2 != 0 || width % 2 != 0 || height * width == 0 {
        bail!("average pooling by two expects even extents, found {height}x{width}")
    }
    AveragePool { window }.apply([x])
}

/// A square window at stride 2.
#[derive(Clone, Copy)]
struct Window {
    size: usize,
    padding: usize,
}

impl Window {
    /// The part of the window of output `position` that lies inside `extent`.
    fn range(self, position: usize, extent: usize) -> std::ops::Range<usize> {
        let start = 2 * position;
        start.saturating_sub(self.padding)..(start + self.size - self.padding).min(extent)
    }

    #[cfg(feature = "cuda")]
    fn over(self, images: usize, height: usize, width: usize, channels: usize) -> kernels::Pool {
        kernels::Pool { images, height, width, channels, size: self.size, padding: self.padding }
    }
}

struct AveragePool {
    window: Window,
}

impl Op<1> for AveragePool {
    fn name(&self) -> &'static str {
        "average-pool"
    }

    fn on_cpu(&self, inputs: [Argument; 1]) -> Result<(CpuStorage, Shape)> {
        let (batch, height, width, channels) = inputs[0].shape().dims4()?;
        let dims = (batch, height / 2, width / 2, channels);
        with_values!(self, inputs, T, [x] => {
            let mut y = vec![T::ZERO; x.len() / 4];
            y.par_chunks_mut(height * width / 4 * channels).zip(x.par_chunks(height * width * channels)).for_each(|(y, x)| {
                visit(self.window, height, width, |at_y, at_x, weight| {
                    let weight = T::of(weight);
                    let source = &x[at_x * channels..][..channels];
                    y[at_y * channels..][..channels].iter_mut().zip(source).for_each(|(y, &x)| *y += x * weight);
                });
            });
            Ok(output::<T>(y, dims))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 1]) -> Result<(CudaStorage, Shape)> {
        let (images, height, width, channels) = inputs[0].shape().dims4()?;
        let pool = self.window.over(images, height, width, channels);
        cuda::compute(&pool.average(), &inputs, (images, height / 2, width / 2, channels))
    }

    fn gradients(&self, [_x]: [&Tensor; 1], _y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(Spread { window: self.window }.apply([g])?)])
    }
}

/// The adjoint: every output's gradient spread over its window.
struct Spread {
    window: Window,
}

impl Op<1> for Spread {
    fn name(&self) -> &'static str {
        "average-pool-adjoint"
    }

    fn on_cpu(&self, inputs: [Argument; 1]) -> Result<(CpuStorage, Shape)> {
        let (batch, half_height, half_width, channels) = inputs[0].shape().dims4()?;
        let (height, width) = (2 * half_height, 2 * half_width);
        with_values!(self, inputs, T, [g] => {
            let mut dx = vec![T::ZERO; g.len() * 4];
            dx.par_chunks_mut(height * width * channels).zip(g.par_chunks(height * width / 4 * channels)).for_each(|(dx, g)| {
                visit(self.window, height, width, |at_y, at_x, weight| {
                    let weight = T::of(weight);
                    let source = &g[at_y * channels..][..channels];
                    dx[at_x * channels..][..channels].iter_mut().zip(source).for_each(|(dx, &g)| *dx += g * weight);
                });
            });
            Ok(output::<T>(dx, (batch, height, width, channels)))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 1]) -> Result<(CudaStorage, Shape)> {
        let (images, half_height, half_width, channels) = inputs[0].shape().dims4()?;
        let (height, width) = (2 * half_height, 2 * half_width);
        let pool = self.window.over(images, height, width, channels);
        cuda::compute(&pool.average_adjoint(), &inputs, (images, height, width, channels))
    }

    fn gradients(&self, [_g]: [&Tensor; 1], _dx: &Tensor, gg: &Tensor) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(apply(gg, self.window)?)])
    }
}

/// Calls back for every (output position, input position, weight) of one image.
fn visit(window: Window, height: usize, width: usize, mut visitor: impl FnMut(usize, usize, f64)) {
    for (out_y, out_x) in (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (y, x))) {
        let (rows, columns) = (window.range(out_y, height), window.range(out_x, width));
        let weight = 1.0 / (rows.len() * columns.len()) as f64;
        for (y, x) in rows.flat_map(|y| columns.clone().map(move |x| (y, x))) {
            visitor(out_y * (width / 2) + out_x, y * width + x, weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};

    #[test]
    fn a_constant_image_stays_constant_up_to_its_edges() -> Result<()> {
        let x = (random(&[1, 128, 128, 1], 1)? * 0.0)?.affine(1.0, 0.7)?;
        let y = pyramid_down(&x)?;
        assert_eq!(y.dims(), [1, 64, 64, 1]);
        assert!((y - 0.7)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
        Ok(())
    }

    #[test]
    fn down_is_linear() -> Result<()> {
        let (x, y) = (random(&[2, 8, 8, 3], 1)?, random(&[2, 8, 8, 3], 2)?);
        let mixed = pyramid_down(&((&x * 0.3)? + (&y * 0.7)?)?)?;
        let apart = ((pyramid_down(&x)? * 0.3)? + (pyramid_down(&y)? * 0.7)?)?;
        assert!((mixed - apart)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-14);
        Ok(())
    }

    #[test]
    fn two_by_two_equals_candles_own() -> Result<()> {
        let x = random(&[2, 6, 4, 3], 1)?;
        let slow = x.permute((0, 3, 1, 2))?.contiguous()?.avg_pool2d(2)?.permute((0, 2, 3, 1))?;
        assert!((average_pool2(&x)? - slow)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
        Ok(())
    }

    #[test]
    fn down_is_the_mean_of_the_pixels_inside_its_window() -> Result<()> {
        let [batch, height, width, channels] = [2, 6, 8, 3];
        let x = random(&[batch, height, width, channels], 1)?.flatten_all()?.to_vec1::<f64>()?;
        let mut means = Vec::new();
        for (image, p, q, channel) in (0..batch * height * width * channels / 4).map(|at| {
            let pixel = at / channels;
            (pixel / (height * width / 4), pixel / (width / 2) % (height / 2), pixel % (width / 2), at % channels)
        }) {
            let (mut sum, mut count) = (0.0, 0.0);
            for row in (2 * p).saturating_sub(1)..=2 * p + 1 {
                for column in (2 * q).saturating_sub(1)..=2 * q + 1 {
                    sum += x[((image * height + row) * width + column) * channels + channel];
                    count += 1.0;
                }
            }
            means.push(sum / count);
        }
        let x = Tensor::from_vec(x, (batch, height, width, channels), &candle_core::Device::Cpu)?;
        let slow = Tensor::from_vec(means, (batch, height / 2, width / 2, channels), x.device())?;
        assert!((pyramid_down(&x)? - slow)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        check_gradients(&[random(&[2, 4, 6, 3], 1)?], |v| average_pool2(&v[0]))?;
        check_gradients(&[random(&[2, 4, 6, 3], 1)?], |v| pyramid_down(&v[0]))
    }
}
