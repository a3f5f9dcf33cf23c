//! The two ops that only MTCNN uses, on NHWC tensors. They have no gradient: its weights are published,
//! and nothing here trains them.

use crate::ops::element::{Argument, Element, output, same_dtype, with_values};
use crate::ops::op::{Apply, Input, Op};
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Values at a time for a thread.
const CHUNK: usize = 1 << 14;

/// `x (..., C)` plus `bias (C)`, and where that is negative times `slope (C)`.
pub(super) fn bias_prelu(x: &Tensor, bias: &Tensor, slope: &Tensor) -> Result<Tensor> {
    same_dtype("bias-prelu", x.dtype(), bias.dtype())?;
    same_dtype("bias-prelu", x.dtype(), slope.dtype())?;
    let channels = x.dims().last().copied().unwrap_or(0);
    if channels == 0 || bias.dims() != [channels] || slope.dims() != [channels] {
        bail!("bias-prelu: expected two vectors of {channels}, found {:?} and {:?}", bias.dims(), slope.dims())
    }
    BiasPrelu.compute([x, bias, slope])
}

/// Maximum of windows of 2x2 or 3x3 at every other place: `(B,H,W,C)` to
/// `(B,ceil((H - window) / 2) + 1,...,C)`. The last windows may reach beyond the end, where nothing is.
pub(super) fn max_pool(x: &Tensor, window: usize) -> Result<Tensor> {
    let (_, height, width, channels) = x.dims4()?;
    if height < window || width < window || channels == 0 {
        bail!("max-pool: expected at least {window}x{window} pixels, found {height}x{width} of {channels} channels")
    }
    MaxPool { window }.compute([x])
}

struct BiasPrelu;

impl Op<3> for BiasPrelu {
    fn name(&self) -> &'static str {
        "bias-prelu"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        with_values!(self, inputs, T, [x, bias, slope] => {
            let mut y = x.to_vec();
            y.par_chunks_mut(bias.len() * CHUNK.div_ceil(bias.len())).for_each(|rows| {
                for row in rows.chunks_exact_mut(bias.len()) {
                    for ((value, &bias), &slope) in row.iter_mut().zip(bias).zip(slope) {
                        let sum = *value + bias;
                        *value = if sum < T::ZERO { sum * slope } else { sum };
                    }
                }
            });
            Ok(output::<T>(y, inputs[0].shape()))
        })
    }
}

struct MaxPool {
    window: usize,
}

impl Op<1> for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool"
    }

    fn on_cpu(&self, inputs: [Argument; 1]) -> Result<(CpuStorage, Shape)> {
        let (batch, height, width, channels) = inputs[0].shape().dims4()?;
        let extent = |length: usize| (length - self.window).div_ceil(2) + 1;
        let (out_height, out_width) = (extent(height), extent(width));
        with_values!(self, inputs, T, [x] => {
            let mut y = vec![T::ZERO; batch * out_height * out_width * channels];
            y.par_chunks_mut(out_width * channels).enumerate().for_each(|(row, y)| {
                let (image, top) = (row / out_height, row % out_height * 2);
                let x = &x[image * height * width * channels..][..height * width * channels];
                for (place, y) in y.chunks_exact_mut(channels).enumerate() {
                    let left = place * 2;
                    y.copy_from_slice(&x[(top * width + left) * channels..][..channels]);
                    for at_y in top..(top + self.window).min(height) {
                        for at_x in left..(left + self.window).min(width) {
                            let pixel = &x[(at_y * width + at_x) * channels..][..channels];
                            // As in PyTorch, NaN wins, and so is seen.
                            y.iter_mut().zip(pixel).for_each(|(y, &x)| {
                                if x > *y || x.is_nan() {
                                    *y = x;
                                }
                            });
                        }
                    }
                }
            });
            Ok(output::<T>(y, (batch, out_height, out_width, channels)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::random;
    use candle_core::Device;

    #[test]
    fn the_last_window_may_reach_beyond_the_end() -> Result<()> {
        let row = Tensor::new(&[1f64, 3.0, 2.0, 0.0, 5.0], &Device::Cpu)?;
        let image = row.reshape((1, 1, 5, 1))?.broadcast_as((1, 5, 5, 1))?;
        let pooled = |window| max_pool(&image, window)?.get(0)?.get(0)?.flatten_all()?.to_vec1::<f64>();
        assert_eq!(pooled(2)?, [3.0, 2.0, 5.0]);
        assert_eq!(pooled(3)?, [3.0, 5.0]);
        assert_eq!(max_pool(&random(&[2, 4, 6, 3], 1)?, 3)?.dims(), [2, 2, 3, 3]);
        let error = max_pool(&random(&[1, 2, 9, 1], 1)?, 3).unwrap_err().to_string();
        assert!(error.contains("at least 3x3 pixels, found 2x9"), "{error}");
        Ok(())
    }

    #[test]
    fn only_what_is_negative_behind_the_bias_is_scaled() -> Result<()> {
        let vector = |values: [f64; 2]| Tensor::new(&values, &Device::Cpu);
        let x = vector([-1.0, -1.0])?.reshape((1, 2))?;
        let y = bias_prelu(&x, &vector([0.5, 3.0])?, &vector([0.25, 0.25])?)?;
        assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [-0.125, 2.0]);
        assert!(bias_prelu(&x, &vector([0.5, 3.0])?, &x).is_err());
        Ok(())
    }
}
