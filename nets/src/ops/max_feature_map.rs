//! Max-feature-map (Wu et al., "A Light CNN for Deep Face Representation", 2018): the larger of
//! the first and the second half of the channels, with the convolution's bias before it and the
//! 2x2 max-pooling after it in the same pass.

use super::bias::{check_channels, column_sum};
use super::element::{Element, for_element_type, output, same_dtype, values};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `y_j = max(x_j + b_j, x_{j+n} + b_{j+n})`: `x (B,H,W,2n)` or `(B,2n)` and `bias (2n)` to `n`
/// channels. The gradient goes to the larger half; a tie is split evenly.
pub fn max_feature_map(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    apply(x, bias, Window { pool: 1 })
}

/// [`max_feature_map`], then the maximum of each 2x2 window: `(B,H,W,2n)` to `(B,H/2,W/2,n)`, for
/// even `H` and `W`. Of equal maxima in a window the first in reading order gets the gradient.
pub fn max_feature_map_pool(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    if height % 2 != 0 || width % 2 != 0 {
        bail!("max-feature-map: 2x2 pooling expects even extents, found {height}x{width}")
    }
    apply(x, bias, Window { pool: 2 })
}

fn apply(x: &Tensor, bias: &Tensor, window: Window) -> Result<Tensor> {
    same_dtype("max-feature-map", x.dtype(), bias.dtype())?;
    check_channels("max-feature-map", x, bias, 1)?;
    if bias.dim(0)? % 2 != 0 {
        bail!("max-feature-map: expected an even number of channels, found {}", bias.dim(0)?)
    }
    x.contiguous()?.apply_op2(&bias.contiguous()?, MaxFeatureMap { window })
}

/// Side of the pooling window: 1 or 2.
#[derive(Clone, Copy)]
struct Window {
    pool: usize,
}

/// One output row: the input rows of its windows and how they lie.
struct RowPair {
    width: usize,
    channels: usize,
}

impl Window {
    /// Width and channels of an input row, and the output's dimensions.
    fn shapes(self, shape: &Shape) -> Result<(RowPair, Vec<usize>)> {
        match *shape.dims() {
            [rows, channels] => Ok((RowPair { width: 1, channels }, vec![rows, channels / 2])),
            [batch, height, width, channels] => {
                let dims = vec![batch, height / self.pool, width / self.pool, channels / 2];
                Ok((RowPair { width, channels }, dims))
            }
            _ => bail!("max-feature-map: expected 2 or 4 dimensions, found {shape:?}"),
        }
    }

    /// Offsets into the input rows of the pixels of output column `x`'s window, in reading order.
    fn pixels(self, row: &RowPair, x: usize) -> impl Iterator<Item = usize> + use<> {
        let (width, channels, pool) = (row.width, row.channels, self.pool);
        (0..pool * pool).map(move |tap| (tap / pool * width + x * pool + tap % pool) * channels)
    }
}

struct MaxFeatureMap {
    window: Window,
}

impl CustomOp2 for MaxFeatureMap {
    fn name(&self) -> &'static str {
        "max-feature-map"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (row, dims) = self.window.shapes(l1.shape())?;
        for_element_type!(s1, "max-feature-map", T => {
            Ok(output::<T>(forward(self.window, &row, values((s1, l1))?, values((s2, l2))?), dims))
        })
    }

    fn bwd(&self, x: &Tensor, bias: &Tensor, _y: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let route = MaxFeatureMapGradient { window: self.window };
        let dx = x.apply_op3_no_bwd(bias, &g.contiguous()?, &route)?;
        let db = bias.track_op().then(|| column_sum(&dx)).transpose()?;
        Ok((x.track_op().then_some(dx), db))
    }
}

/// From x, bias and the output's gradient to the gradient of x.
struct MaxFeatureMapGradient {
    window: Window,
}

impl CustomOp3 for MaxFeatureMapGradient {
    fn name(&self) -> &'static str {
        "max-feature-map-gradient"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (row, _) = self.window.shapes(l1.shape())?;
        for_element_type!(s1, "max-feature-map-gradient", T => {
            let (x, bias, g) = (values((s1, l1))?, values((s2, l2))?, values((s3, l3))?);
            Ok(output::<T>(backward(self.window, &row, x, bias, g), l1.shape()))
        })
    }
}

fn forward<T: Element>(window: Window, row: &RowPair, x: &[T], bias: &[T]) -> Vec<T> {
    let half = row.channels / 2;
    let (rows_in, rows_out) = (window.pool * row.width * row.channels, row.width / window.pool * half);
    let mut y = vec![T::ZERO; x.len() / rows_in * rows_out];
    y.par_chunks_mut(rows_out).with_min_len(min_rows(rows_in)).zip(x.par_chunks(rows_in)).for_each_init(
        || vec![T::ZERO; half],
        |winners, (y, x)| {
            for (column, y) in y.chunks_exact_mut(half).enumerate() {
                for (tap, pixel) in window.pixels(row, column).enumerate() {
                    if tap == 0 {
                        compete(&x[pixel..pixel + row.channels], bias, y);
                        continue;
                    }
                    compete(&x[pixel..pixel + row.channels], bias, winners);
                    y.iter_mut().zip(winners.iter()).for_each(|(y, &winner)| *y = larger(winner, *y));
                }
            }
        },
    );
    y
}

/// The maxima of one pixel's halves.
fn compete<T: Element>(pixel: &[T], bias: &[T], winners: &mut [T]) {
    let ((low, high), (low_bias, high_bias)) = (pixel.split_at(winners.len()), bias.split_at(winners.len()));
    let halves = low.iter().zip(low_bias).zip(high.iter().zip(high_bias));
    for (winner, ((&low, &low_bias), (&high, &high_bias))) in winners.iter_mut().zip(halves) {
        *winner = larger(low + low_bias, high + high_bias);
    }
}

fn backward<T: Element>(window: Window, row: &RowPair, x: &[T], bias: &[T], g: &[T]) -> Vec<T> {
    let half = row.channels / 2;
    let (rows_in, rows_out) = (window.pool * row.width * row.channels, row.width / window.pool * half);
    let mut dx = vec![T::ZERO; x.len()];
    let rows = dx.par_chunks_mut(rows_in).with_min_len(min_rows(rows_in));
    rows.zip(x.par_chunks(rows_in)).zip(g.par_chunks(rows_out)).for_each_init(
        || Scratch { winners: vec![T::ZERO; half], maxima: vec![T::ZERO; half], rest: vec![T::ZERO; half] },
        |scratch, ((dx, x), g)| {
            for (column, g) in g.chunks_exact(half).enumerate() {
                if window.pool > 1 {
                    for (tap, pixel) in window.pixels(row, column).enumerate() {
                        compete(&x[pixel..pixel + row.channels], bias, &mut scratch.winners);
                        let maxima = scratch.maxima.iter_mut().zip(&scratch.winners);
                        maxima.for_each(|(maximum, &v)| *maximum = if tap == 0 { v } else { larger(v, *maximum) });
                    }
                }
                // What is left to give away: a window's first maximum takes it all.
                scratch.rest.copy_from_slice(g);
                for pixel in window.pixels(row, column) {
                    let pixels = pixel..pixel + row.channels;
                    if window.pool > 1 {
                        compete(&x[pixels.clone()], bias, &mut scratch.winners);
                    }
                    scratch.give(window, &x[pixels.clone()], bias, &mut dx[pixels]);
                }
            }
        },
    );
    dx
}

/// Buffers of one task, each a value per output channel.
struct Scratch<T> {
    winners: Vec<T>,
    maxima: Vec<T>,
    rest: Vec<T>,
}

impl<T: Element> Scratch<T> {
    /// Routes what is left of the gradient to the halves of one pixel.
    fn give(&mut self, window: Window, pixel: &[T], bias: &[T], dx: &mut [T]) {
        let half = self.rest.len();
        let ((low, high), (low_bias, high_bias)) = (pixel.split_at(half), bias.split_at(half));
        let (low_dx, high_dx) = dx.split_at_mut(half);
        let halves = low.iter().zip(low_bias).zip(high.iter().zip(high_bias));
        let taken = self.rest.iter_mut().zip(self.winners.iter().zip(&self.maxima));
        let outputs = low_dx.iter_mut().zip(high_dx);
        for (((low_dx, high_dx), ((&low, &low_bias), (&high, &high_bias))), (rest, (winner, maximum))) in
            outputs.zip(halves).zip(taken)
        {
            let wins = window.pool == 1 || winner == maximum;
            let share = if wins { *rest } else { T::ZERO };
            *rest = if wins { T::ZERO } else { *rest };
            let (low, high) = (low + low_bias, high + high_bias);
            let low_share = if low > high { T::ONE } else { T::ZERO };
            let low_share = if low == high { T::HALF } else { low_share };
            *low_dx = share * low_share;
            *high_dx = share * (T::ONE - low_share);
        }
    }
}

fn larger<T: Element>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// Rows a task takes at least, so that small ones are not outweighed by their scheduling.
fn min_rows(row_len: usize) -> usize {
    (1usize << 13).div_ceil(row_len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};
    use candle_core::{Device, Var};

    fn zeros(channels: usize) -> Result<Tensor> {
        Tensor::zeros(channels, candle_core::DType::F64, &Device::Cpu)
    }

    #[test]
    fn halves_compete_not_neighbours() -> Result<()> {
        let x = Tensor::new(&[[1.0, -2.0, 3.0, 0.5, 4.0, -1.0]], &Device::Cpu)?;
        assert_eq!(max_feature_map(&x, &zeros(6)?)?.to_vec2::<f64>()?, [[1.0, 4.0, 3.0]]);
        Ok(())
    }

    #[test]
    fn the_gradient_reaches_only_the_winner_and_ties_split() -> Result<()> {
        let x = Var::new(&[[1.0, 2.0, 0.0, 2.0]], &Device::Cpu)?;
        let gradients = max_feature_map(&x, &zeros(4)?)?.sum_all()?.backward()?;
        let dx = gradients.get(&x).expect("x takes part").to_vec2::<f64>()?;
        assert_eq!(dx, [[1.0, 0.5, 0.0, 0.5]]);
        Ok(())
    }

    #[test]
    fn a_unique_maximum_of_a_window_gets_the_whole_gradient() -> Result<()> {
        let x = Var::from_tensor(&Tensor::arange(0.0, 32.0, &Device::Cpu)?.reshape((1, 4, 4, 2))?)?;
        let gradients = max_feature_map_pool(&x, &zeros(2)?)?.sum_all()?.backward()?;
        let dx = gradients.get(&x).expect("x takes part").flatten_all()?.to_vec1::<f64>()?;
        assert_eq!(dx.iter().sum::<f64>(), 4.0);
        assert_eq!([dx[11], dx[15], dx[27], dx[31]], [1.0; 4]);
        Ok(())
    }

    #[test]
    fn fused_equals_composed() -> Result<()> {
        let (x, bias) = (random(&[2, 6, 4, 10], 1)?, random(&[10], 2)?);
        let sum = x.broadcast_add(&bias)?;
        let slow = sum.narrow(3, 0, 5)?.maximum(&sum.narrow(3, 5, 5)?)?;
        let difference = |a: Tensor, b: &Tensor| (a - b)?.abs()?.max_all()?.to_scalar::<f64>();
        assert_eq!(difference(max_feature_map(&x, &bias)?, &slow)?, 0.0);
        let pooled = slow.permute((0, 3, 1, 2))?.contiguous()?.max_pool2d(2)?.permute((0, 2, 3, 1))?;
        assert_eq!(difference(max_feature_map_pool(&x, &bias)?, &pooled)?, 0.0);
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        check_gradients(&[random(&[2, 4, 4, 6], 1)?, random(&[6], 2)?], |v| max_feature_map(&v[0], &v[1]))?;
        check_gradients(&[random(&[3, 6], 1)?, random(&[6], 2)?], |v| max_feature_map(&v[0], &v[1]))?;
        check_gradients(&[random(&[2, 4, 6, 6], 1)?, random(&[6], 2)?], |v| max_feature_map_pool(&v[0], &v[1]))
    }

    #[test]
    fn the_second_moment_of_unit_normals_is_preserved() -> Result<()> {
        // E[max(a, b)^2] = 1: why weights of variance 1 / fan-in keep the signal.
        let mut draws = crate::chance::Chance::new(5, "moments").at(0, 0);
        let normals: Vec<f64> = (0..200_000).map(|_| draws.normal()).collect();
        let y = max_feature_map(&Tensor::from_vec(normals, (1000, 200), &Device::Cpu)?, &zeros(200)?)?;
        let moment = y.sqr()?.mean_all()?.to_scalar::<f64>()?;
        assert!((moment - 1.0).abs() < 0.02, "{moment}");
        Ok(())
    }
}
