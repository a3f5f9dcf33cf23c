//! A LightCNN layer in one op: convolution, bias, max-feature-map and the 2x2 maximum after it.
//!
//! The convolution's output, the largest tensor of the network, never reaches memory: each strip
//! of it is reduced while it is still in its core's cache, and the backward pass needs only which
//! of the candidates won, one byte an output value. The slow twin is [`conv2d`](super::conv2d)
//! followed by [`max_feature_map`](super::max_feature_map).

#[cfg(feature = "cuda")]
mod on_gpu;

use super::bias::add_rows;
use super::conv::{Geometry, fit, product, roll, strip_rows, tiles, unroll};
use super::element::{Argument, Element, Precision, for_element_type, output, same_dtype, values, with_values};
#[cfg(feature = "cuda")]
use super::kernels::cuda;
use super::max_feature_map::{exceeds, larger};
use super::op::{Apply, Op};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Device, Result, Shape, Storage, Tensor, bail};
use multiversion::multiversion;
use rayon::prelude::*;
use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// `x (B,H,W,C)` with filters `weight (2n,R,R,C)` at stride 1 and `bias (2n)` to `(B,OH,OW,n)`, or
/// with `pool` to `(B,OH/2,OW/2,n)`, for even `OH` and `OW`.
pub fn conv_max_feature_map(x: &Tensor, weight: &Tensor, bias: &Tensor, padding: usize, pool: bool) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (filters, size, size_x, filter_channels) = weight.dims4()?;
    if channels != filter_channels || size != size_x || filters % 2 != 0 || bias.dims() != [filters] {
        let (weight, bias) = (weight.dims(), bias.dims());
        bail!(
            "expected an even number of square filters over {channels} channels and a bias each, found {weight:?} and {bias:?}"
        )
    }
    if height + 2 * padding < size || width + 2 * padding < size {
        bail!("filters of {size} do not fit images of {height}x{width} with padding {padding}")
    }
    let (out_height, out_width) = (height + 2 * padding - size + 1, width + 2 * padding - size + 1);
    if pool && (out_height % 2 != 0 || out_width % 2 != 0) {
        bail!("2x2 pooling expects even extents, found {out_height}x{out_width}")
    }
    same_dtype("conv-max-feature-map", x.dtype(), weight.dtype())?;
    same_dtype("conv-max-feature-map", x.dtype(), bias.dtype())?;
    let geometry =
        Geometry { batch, height, width, channels, filters, out_height, out_width, size, stride: 1, padding };
    let op = ConvMaxFeatureMap {
        geometry,
        precision: Precision::of(x.dtype()),
        pool: if pool { 2 } else { 1 },
        winners: Mutex::default(),
        #[cfg(feature = "cuda")]
        winners_on_gpu: Mutex::default(),
    };
    op.apply([x, weight, bias])
}

struct ConvMaxFeatureMap {
    geometry: Geometry,
    /// Of images, filters and gradients.
    precision: Precision,
    /// Side of the window: 1 or 2.
    pool: usize,
    /// What the forward pass leaves for the backward pass: per output value, the winning pixel of
    /// the window times four, plus [`LOW`], [`HIGH`] or [`TIE`].
    winners: Mutex<Vec<u8>>,
    /// The same, where the forward pass was on a GPU.
    #[cfg(feature = "cuda")]
    winners_on_gpu: Mutex<Option<CudaStorage>>,
}

const LOW: u8 = 0;
const HIGH: u8 = 1;
const TIE: u8 = 2;
const TAP: u8 = 4;

/// Groups of images whose filter gradients are summed apart, then in order.
const PARTIAL_SUMS: usize = 8;

impl Op<3> for ConvMaxFeatureMap {
    fn name(&self) -> &'static str {
        "conv-max-feature-map"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        let (g, half) = (&self.geometry, self.geometry.filters / 2);
        let dims = (g.batch, g.out_height / self.pool, g.out_width / self.pool, half);
        with_values!(self, inputs, T, [x, weight, bias] => {
            let (y, winners) = self.forward::<T>(x, weight, bias);
            *self.winners.lock().unwrap_or_else(PoisonError::into_inner) = winners;
            Ok(output::<T>(y, dims))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 3]) -> Result<(CudaStorage, Shape)> {
        let dims = self.result_dims();
        Ok((self.forward_on_gpu(inputs)?, (&dims).into()))
    }

    fn gradients(&self, [x, weight, bias]: [&Tensor; 3], _y: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 3]> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return self.gradients_on_gpu(x, weight, bias, &g.contiguous()?);
        }
        let wanted = Wanted { x: x.track_op(), weight: weight.track_op() || bias.track_op() };
        let g = g.contiguous()?;
        let winners = self.winners.lock().unwrap_or_else(PoisonError::into_inner);
        let (x_storage, x_layout) = x.storage_and_layout();
        let (weight_storage, weight_layout) = weight.storage_and_layout();
        let (g_storage, g_layout) = g.storage_and_layout();
        let (Storage::Cpu(xs), Storage::Cpu(ws), Storage::Cpu(gs)) = (&*x_storage, &*weight_storage, &*g_storage)
        else {
            bail!("conv-max-feature-map: expected tensors on the CPU: this is a bug")
        };
        for_element_type!(xs, "conv-max-feature-map", T => {
            let (xs, ws, gs) = (&*values::<T>((xs, x_layout))?, &*values::<T>((ws, weight_layout))?, &*values::<T>((gs, g_layout))?);
            let gradients = self.backward(wanted, xs, ws, gs, &winners);
            let tensor = |wanted: bool, values: Vec<T>, shape: &Shape| {
                wanted.then(|| Tensor::from_vec(values, shape, &Device::Cpu)).transpose()
            };
            Ok([
                tensor(wanted.x, gradients.x, x.shape())?,
                tensor(weight.track_op(), gradients.weight, weight.shape())?,
                tensor(bias.track_op(), gradients.bias, bias.shape())?,
            ])
        })
    }
}

/// Which gradients are asked for: a frozen network's filters need none.
#[derive(Clone, Copy)]
struct Wanted {
    x: bool,
    weight: bool,
}

struct Gradients<T> {
    x: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
}

impl ConvMaxFeatureMap {
    /// Rows of the convolution's output in a strip: whole windows, and few enough for the cache.
    fn strip_rows(&self) -> usize {
        let rows = if self.in_tiles() { tiles::strip_rows(&self.geometry) } else { strip_rows(&self.geometry) };
        rows.next_multiple_of(self.pool).min(self.geometry.out_height)
    }

    /// Whether the convolution is faster in tiles.
    fn in_tiles(&self) -> bool {
        self.geometry.size == 3 && tiles::suit(&self.geometry)
    }

    /// Output values of `rows` rows of the convolution's output.
    fn reduced(&self, rows: usize) -> usize {
        rows / self.pool * (self.geometry.out_width / self.pool) * (self.geometry.filters / 2)
    }

    fn windows(&self) -> Windows {
        Windows { pool: self.pool, width: self.geometry.out_width, filters: self.geometry.filters }
    }

    fn forward<T: Element>(&self, x: &[T], weight: &[T], bias: &[T]) -> (Vec<T>, Vec<u8>) {
        let (g, half) = (&self.geometry, self.geometry.filters / 2);
        let (rows, image) = (self.strip_rows(), self.reduced(g.out_height));
        let filters = self.precision.matrix(weight, g.window()).transposed();
        let in_tiles = self.in_tiles().then(|| tiles::Strips::new(g, weight));
        let mut y = vec![T::ZERO; g.batch * image];
        let mut winners = vec![0u8; y.len()];
        let images = y.par_chunks_mut(image).zip(winners.par_chunks_mut(image)).zip(x.par_chunks(g.image_len()));
        images.for_each(|((y, winners), x)| {
            let strip = self.reduced(rows);
            let strips = y.par_chunks_mut(strip).zip(winners.par_chunks_mut(strip)).enumerate();
            strips.for_each_init(Buffers::default, |buffers, (nth, (y, winners))| {
                let positions = y.len() / half * self.pool * self.pool;
                let convolved = fit(&mut buffers.convolved, positions * g.filters);
                match &in_tiles {
                    Some(strips) => strips.strip(x, nth * rows, &mut buffers.tiles, convolved),
                    None => {
                        let columns = fit_columns(&mut buffers.columns, g, x, nth * rows, positions);
                        product(convolved, g.filters, self.precision.matrix(columns, g.window()), filters, false);
                    }
                }
                compete(self.windows(), convolved, bias, y, winners);
            });
        });
        (y, winners)
    }

    fn backward<T: Element>(&self, wanted: Wanted, x: &[T], weight: &[T], dy: &[T], winners: &[u8]) -> Gradients<T> {
        if self.in_tiles() {
            return self.backward_in_tiles(wanted, x, weight, dy, winners);
        }
        let g = &self.geometry;
        let image = self.reduced(g.out_height);
        let share = g.batch.div_ceil(PARTIAL_SUMS);
        let mut dx = vec![T::ZERO; if wanted.x { x.len() } else { 0 }];
        // With no gradient of x there is nothing to write, but still one part a group of images.
        let mut nothing: Vec<[T; 0]> = vec![[]; g.batch.div_ceil(share)];
        let parts: Vec<&mut [T]> = match wanted.x {
            true => dx.chunks_mut(share * g.image_len()).collect(),
            false => nothing.iter_mut().map(|none| &mut none[..]).collect(),
        };
        let sums: Vec<(Vec<T>, Vec<T>)> = parts
            .into_par_iter()
            .zip(x.par_chunks(share * g.image_len()))
            .zip(dy.par_chunks(share * image).zip(winners.par_chunks(share * image)))
            .map(|((dx, x), (dy, winners))| self.backward_part(wanted, dx, x, weight, dy, winners))
            .collect();
        let mut total = (vec![T::ZERO; weight.len()], vec![T::ZERO; g.filters]);
        for (weight, bias) in sums {
            total.0.iter_mut().zip(weight).for_each(|(sum, value)| *sum += value);
            total.1.iter_mut().zip(bias).for_each(|(sum, value)| *sum += value);
        }
        Gradients { x: dx, weight: total.0, bias: total.1 }
    }

    fn backward_in_tiles<T: Element>(
        &self,
        wanted: Wanted,
        x: &[T],
        weight: &[T],
        dy: &[T],
        winners: &[u8],
    ) -> Gradients<T> {
        let g = &self.geometry;
        let image_len = self.reduced(g.out_height);
        let write = |image: usize, rows: Range<usize>, convolved: &mut [T]| {
            let strip = image * image_len + self.reduced(rows.start)..image * image_len + self.reduced(rows.end);
            give(self.windows(), convolved, &dy[strip.clone()], &winners[strip]);
            let mut dbias = vec![T::ZERO; if wanted.weight { g.filters } else { 0 }];
            if wanted.weight {
                add_rows(&mut dbias, convolved);
            }
            dbias
        };
        let w = wanted.x.then_some(weight);
        let tiles::Gradients { x, w: weight, notes } = tiles::gradients_of_three(g, x, w, wanted.weight, write);
        let mut bias = vec![T::ZERO; g.filters];
        for strip in notes {
            bias.iter_mut().zip(strip).for_each(|(sum, value)| *sum += value);
        }
        Gradients { x, weight, bias }
    }

    /// The images of one group, in order: writes `dx` and gives the sums for filters and bias.
    fn backward_part<T: Element>(
        &self,
        wanted: Wanted,
        dx: &mut [T],
        x: &[T],
        weight: &[T],
        dy: &[T],
        winners: &[u8],
    ) -> (Vec<T>, Vec<T>) {
        let g = &self.geometry;
        let (rows, image) = (self.strip_rows(), self.reduced(g.out_height));
        let filters = self.precision.matrix(weight, g.window());
        let sizes = if wanted.weight { (weight.len(), g.filters) } else { (0, 0) };
        let (mut dweight, mut dbias) = (vec![T::ZERO; sizes.0], vec![T::ZERO; sizes.1]);
        let mut buffers = Buffers::default();
        let strips_per_image = g.out_height.div_ceil(rows);
        for strip in 0..x.len() / g.image_len() * strips_per_image {
            let (nth, first_row) = (strip / strips_per_image, strip % strips_per_image * rows);
            let height = rows.min(g.out_height - first_row);
            let positions = height * g.out_width;
            let reduced = nth * image + self.reduced(first_row)..nth * image + self.reduced(first_row + height);
            let convolved = fit(&mut buffers.convolved, positions * g.filters);
            give(self.windows(), convolved, &dy[reduced.clone()], &winners[reduced]);
            let convolved = self.precision.matrix(&buffers.convolved[..positions * g.filters], g.filters);
            let pixels = nth * g.image_len()..(nth + 1) * g.image_len();
            if wanted.weight {
                let columns = fit_columns(&mut buffers.columns, g, &x[pixels.clone()], first_row, positions);
                product(
                    &mut dweight,
                    g.window(),
                    convolved.transposed(),
                    self.precision.matrix(columns, g.window()),
                    true,
                );
                add_rows(&mut dbias, &buffers.convolved[..positions * g.filters]);
            }
            if wanted.x {
                let dx = &mut dx[pixels];
                if g.is_pointwise() {
                    let dx = &mut dx[first_row * g.width * g.channels..][..positions * g.channels];
                    product(dx, g.channels, convolved, filters, false);
                } else {
                    let columns = fit(&mut buffers.columns, positions * g.window());
                    product(columns, g.window(), convolved, filters, false);
                    roll(g, columns, first_row, dx);
                }
            }
        }
        (dweight, dbias)
    }
}

/// One task's scratch memory; it stays in the core's cache from strip to strip.
struct Buffers<T> {
    columns: Vec<T>,
    convolved: Vec<T>,
    tiles: tiles::Buffers<T>,
}

impl<T> Default for Buffers<T> {
    fn default() -> Self {
        Self { columns: Vec::new(), convolved: Vec::new(), tiles: tiles::Buffers::default() }
    }
}

/// The unrolled windows of a strip: the image's own values where a window is one pixel.
fn fit_columns<'a, T: Element>(
    buffer: &'a mut Vec<T>,
    g: &Geometry,
    x: &'a [T],
    first_row: usize,
    positions: usize,
) -> &'a [T] {
    if g.is_pointwise() {
        return &x[first_row * g.width * g.channels..][..positions * g.channels];
    }
    let columns = fit(buffer, positions * g.window());
    unroll(g, x, first_row, columns);
    columns
}

/// The windows of a strip of the convolution's output.
#[derive(Clone, Copy)]
struct Windows {
    /// Side of each: 1 or 2.
    pool: usize,
    /// Pixels of a row.
    width: usize,
    /// Values of a pixel.
    filters: usize,
}

impl Windows {
    /// Where the pixels of a window begin, in reading order.
    #[inline(always)]
    fn pixels(self, window: usize) -> impl Iterator<Item = usize> {
        let Self { pool, width, filters } = self;
        let (row, column) = (window / (width / pool), window % (width / pool));
        (0..pool * pool).map(move |tap| ((row * pool + tap / pool) * width + column * pool + tap % pool) * filters)
    }
}

/// Lets the halves of each pixel compete with each other and with the earlier pixels of its window.
#[multiversion(targets = "simd")]
fn compete<T: Element>(windows: Windows, convolved: &[T], bias: &[T], y: &mut [T], winners: &mut [u8]) {
    let half = windows.filters / 2;
    let (low_bias, high_bias) = bias.split_at(half);
    for (window, (y, winners)) in y.chunks_exact_mut(half).zip(winners.chunks_exact_mut(half)).enumerate() {
        for (tap, pixel) in windows.pixels(window).enumerate() {
            let (low, high) = convolved[pixel..pixel + windows.filters].split_at(half);
            let halves = low.iter().zip(low_bias).zip(high.iter().zip(high_bias));
            for ((y, winner), ((&low, &low_bias), (&high, &high_bias))) in y.iter_mut().zip(&mut *winners).zip(halves) {
                let (low, high) = (low + low_bias, high + high_bias);
                let side = if low > high { LOW } else { HIGH };
                let side = if low == high { TIE } else { side };
                let value = larger(low, high);
                let wins = (tap == 0) | exceeds(value, *y);
                *y = if wins { value } else { *y };
                *winner = if wins { tap as u8 * TAP + side } else { *winner };
            }
        }
    }
}

/// Writes each pixel's share of the gradient to its two halves.
#[multiversion(targets = "simd")]
fn give<T: Element>(windows: Windows, convolved: &mut [T], dy: &[T], winners: &[u8]) {
    let half = windows.filters / 2;
    for (window, (dy, winners)) in dy.chunks_exact(half).zip(winners.chunks_exact(half)).enumerate() {
        for (tap, pixel) in windows.pixels(window).enumerate() {
            let tap = tap as u8 * TAP;
            let (low, high) = convolved[pixel..pixel + windows.filters].split_at_mut(half);
            for (((low, high), &dy), &winner) in low.iter_mut().zip(high).zip(dy).zip(winners) {
                let half = if winner == tap + TIE { dy * T::HALF } else { T::ZERO };
                *low = if winner == tap + LOW { dy } else { half };
                *high = if winner == tap + HIGH { dy } else { half };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{conv2d, max_feature_map};
    use super::*;
    use crate::gradient_check::{check_gradients, random};
    use candle_core::Var;

    /// Extent, channels, outputs, size, padding, pooling: small and larger than one strip.
    const CASES: [(usize, usize, usize, usize, usize, bool); 6] = [
        (6, 3, 4, 3, 1, true),
        (6, 3, 4, 3, 1, false),
        (4, 5, 2, 1, 0, false),
        (8, 1, 3, 5, 2, true),
        (64, 40, 3, 3, 1, true),
        (96, 64, 2, 1, 0, true),
    ];

    /// The maximum of each 2x2 window, first over its rows, then over its columns.
    fn max_pool2(x: &Tensor) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let windows = x.reshape((batch, height / 2, 2, width / 2, 2 * channels))?;
        let rows = windows.get_on_dim(2, 0)?.maximum(&windows.get_on_dim(2, 1)?)?;
        rows.narrow(3, 0, channels)?.maximum(&rows.narrow(3, channels, channels)?)
    }

    #[test]
    fn fused_equals_composed_forward_and_backward() -> Result<()> {
        for (extent, channels, outputs, size, padding, pool) in CASES {
            let x = Var::from_tensor(&random(&[3, extent, extent, channels], 1)?)?;
            let weight = Var::from_tensor(&random(&[2 * outputs, size, size, channels], 2)?)?;
            let bias = Var::from_tensor(&random(&[2 * outputs], 3)?)?;
            let slow = max_feature_map(&conv2d(&x, &weight, 1, padding)?, &bias)?;
            let slow = if pool { max_pool2(&slow)? } else { slow };
            let fast = conv_max_feature_map(&x, &weight, &bias, padding, pool)?;
            let worst = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.max_all()?.to_scalar::<f64>();
            assert!(worst(&fast, &slow)? < 1e-11);
            let weights = random(fast.dims(), 4)?;
            let (slow, fast) = ((slow * &weights)?.sum_all()?.backward()?, (fast * &weights)?.sum_all()?.backward()?);
            for var in [&x, &weight, &bias] {
                let (Some(slow), Some(fast)) = (slow.get(var), fast.get(var)) else { panic!("a gradient is missing") };
                assert!(worst(fast, slow)? < 1e-9, "{extent} {size} {pool}: {}", worst(fast, slow)?);
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        for (extent, channels, outputs, size, padding, pool) in &CASES[..4] {
            let inputs = [
                random(&[2, *extent, *extent, *channels], 1)?,
                random(&[2 * outputs, *size, *size, *channels], 2)?,
                random(&[2 * outputs], 3)?,
            ];
            check_gradients(&inputs, |v| conv_max_feature_map(&v[0], &v[1], &v[2], *padding, *pool))?;
        }
        Ok(())
    }

    #[test]
    fn what_is_no_number_wins_from_either_half_and_any_place() -> Result<()> {
        let weight = Tensor::ones((2, 1, 1, 1), candle_core::DType::F64, &Device::Cpu)?;
        let output = |x: [f64; 4], bias: [f64; 2], pool: bool| {
            let x = Tensor::new(&x, &Device::Cpu)?.reshape((1, 2, 2, 1))?;
            let y = conv_max_feature_map(&x, &weight, &Tensor::new(&bias, &Device::Cpu)?, 0, pool)?;
            y.flatten_all()?.to_vec1::<f64>()
        };
        for pool in [false, true] {
            for bias in [[f64::NAN, 0.0], [0.0, f64::NAN]] {
                assert!(output([1.0; 4], bias, pool)?.iter().all(|y| y.is_nan()), "{bias:?}, pooled {pool}");
            }
            for place in 0..4 {
                let mut x = [1.0, 2.0, 3.0, 4.0];
                x[place] = f64::NAN;
                for (at, y) in output(x, [0.0; 2], pool)?.into_iter().enumerate() {
                    assert_eq!(y.is_nan(), pool || at == place, "{place}, pooled {pool}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn ties_split_evenly() -> Result<()> {
        let x = Var::from_tensor(&Tensor::ones((1, 2, 2, 1), candle_core::DType::F64, &Device::Cpu)?)?;
        let weight = Tensor::ones((2, 1, 1, 1), candle_core::DType::F64, &Device::Cpu)?;
        let bias = Var::from_tensor(&Tensor::zeros(2, candle_core::DType::F64, &Device::Cpu)?)?;
        let gradients = conv_max_feature_map(&x, &weight, &bias, 0, true)?.sum_all()?.backward()?;
        let of = |var: &Var| gradients.get(var).expect("takes part").flatten_all()?.to_vec1::<f64>();
        assert_eq!(of(&x)?, [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(of(&bias)?, [0.5, 0.5]);
        Ok(())
    }
}
