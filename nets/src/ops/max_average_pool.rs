//! The pooling of LightCNN-29 v2: maximum plus average of each 2x2 window.

use super::element::{Argument, Element, output, with_values};
#[cfg(feature = "cuda")]
use super::kernels::{self, cuda};
use super::op::{Apply, Input, Op};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Maximum plus mean of each 2x2 window: `(B,H,W,C)` to `(B,H/2,W/2,C)`, for even `H` and `W`. Of
/// equal maxima the first in reading order gets the maximum's gradient.
pub fn max_average_pool2(x: &Tensor) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    if height % 2 != 0 || width % 2 != 0 {
        bail!("2x2 pooling expects even extents, found {height}x{width}")
    }
    MaxAveragePool.apply([x])
}

struct MaxAveragePool;

impl Op<1> for MaxAveragePool {
    fn name(&self) -> &'static str {
        "max-average-pool"
    }

    fn on_cpu(&self, inputs: [Argument; 1]) -> Result<(CpuStorage, Shape)> {
        let (batch, height, width, channels) = inputs[0].shape().dims4()?;
        with_values!(self, inputs, T, [x] => {
            let mut y = vec![T::ZERO; x.len() / 4];
            let quarter = T::of(0.25);
            y.par_chunks_mut(width / 2 * channels).zip(x.par_chunks(2 * width * channels)).for_each(|(y, rows)| {
                for (at, y) in y.iter_mut().enumerate() {
                    let taps = window(at, width, channels).map(|tap| rows[tap]);
                    let sum = taps[0] + taps[1] + taps[2] + taps[3];
                    *y = taps[first_maximum(taps)] + sum * quarter;
                }
            });
            Ok(output::<T>(y, (batch, height / 2, width / 2, channels)))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 1]) -> Result<(CudaStorage, Shape)> {
        let (images, height, width, channels) = inputs[0].shape().dims4()?;
        let dims = (images, height / 2, width / 2, channels);
        let launch = kernels::max_average_pool(inputs[0].count() / 4, width, channels);
        cuda::compute(&launch, &inputs, dims)
    }

    fn gradients(&self, [x]: [&Tensor; 1], _y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(InputGradient.compute([x, g])?)])
    }
}

/// From x and the output's gradient to the gradient of x.
struct InputGradient;

impl Op<2> for InputGradient {
    fn name(&self) -> &'static str {
        "max-average-pool-gradient"
    }

    fn on_cpu(&self, inputs: [Argument; 2]) -> Result<(CpuStorage, Shape)> {
        let (_, _, width, channels) = inputs[0].shape().dims4()?;
        with_values!(self, inputs, T, [x, g] => {
            let mut dx = vec![T::ZERO; x.len()];
            let rows = dx.par_chunks_mut(2 * width * channels).zip(x.par_chunks(2 * width * channels));
            rows.zip(g.par_chunks(width / 2 * channels)).for_each(|((dx, x), g)| {
                for (at, &g) in g.iter().enumerate() {
                    let taps = window(at, width, channels);
                    let winner = first_maximum(taps.map(|tap| x[tap]));
                    for (nth, tap) in taps.into_iter().enumerate() {
                        let share = if nth == winner { T::of(1.25) } else { T::of(0.25) };
                        dx[tap] = g * share;
                    }
                }
            });
            Ok(output::<T>(dx, inputs[0].shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 2]) -> Result<(CudaStorage, Shape)> {
        let (_, _, width, channels) = inputs[0].shape().dims4()?;
        let launch = kernels::max_average_pool_gradient(inputs[1].count(), width, channels);
        cuda::compute(&launch, &inputs, inputs[0].shape())
    }
}

/// Offsets, in two input rows, of the window of the output value at `at`.
fn window(at: usize, width: usize, channels: usize) -> [usize; 4] {
    let corner = at / channels * 2 * channels + at % channels;
    [corner, corner + channels, corner + width * channels, corner + (width + 1) * channels]
}

fn first_maximum<T: Element>(taps: [T; 4]) -> usize {
    (1..4).fold(0, |best, tap| if taps[tap] > taps[best] { tap } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};

    #[test]
    fn equals_candles_two_pools() -> Result<()> {
        let x = random(&[2, 6, 4, 3], 1)?;
        let nchw = x.permute((0, 3, 1, 2))?.contiguous()?;
        let slow = (nchw.max_pool2d(2)? + nchw.avg_pool2d(2)?)?.permute((0, 2, 3, 1))?;
        assert!((max_average_pool2(&x)? - slow)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        check_gradients(&[random(&[2, 4, 6, 3], 1)?], |v| max_average_pool2(&v[0]))
    }
}
