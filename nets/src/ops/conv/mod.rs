//! Convolution as three bilinear kinds, closed under differentiation.
//!
//! With images `x (B,H,W,C)`, filters `w (K,R,R,C)` and outputs `y (B,OH,OW,K)`:
//!
//! | kind | from | to | is |
//! |---|---|---|---|
//! | `Forward` | x, w | y | a convolution |
//! | `DataGradient` | y, w | x | its adjoint: the transposed convolution |
//! | `FilterGradient` | x, y | w | the filters' gradient |
//!
//! Each is the backward of the others, so gradients of any order come from three kernels.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod cudnn;
mod geometry;
mod kernel;
mod product;
#[cfg(test)]
mod reference;
pub(super) mod tiles;

use super::element::{Argument, Precision, output, same_dtype, with_values};
use super::op::{Apply, Input, Op};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, Result, Shape, Tensor, bail};
pub(super) use cpu::{data_gradient_of_image, roll, strip_rows, unroll};
#[cfg(feature = "cuda")]
pub(super) use cuda::convolve;
#[cfg(feature = "cuda")]
pub(crate) use cudnn::left_to_definition;
pub(super) use geometry::{Geometry, Kind};
pub(super) use product::product;
pub(super) use tiles::fit;

/// Convolution without bias: `x (B,H,W,C)` with `w (K,R,R,C)` to `(B,OH,OW,K)`, where
/// `OH = (H + 2 padding - R) / stride + 1`.
pub fn conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (filters, size, size_x, filter_channels) = w.dims4()?;
    if channels != filter_channels || size != size_x {
        bail!("conv2d: expected square filters over {channels} channels, found {:?}", w.dims())
    }
    if height + 2 * padding < size || width + 2 * padding < size || stride == 0 {
        bail!("conv2d: filters of {size} do not fit images of {height}x{width} with padding {padding}")
    }
    let out = |extent: usize| (extent + 2 * padding - size) / stride + 1;
    let geometry = Geometry {
        batch,
        height,
        width,
        channels,
        filters,
        out_height: out(height),
        out_width: out(width),
        size,
        stride,
        padding,
    };
    Conv { kind: Kind::Forward, geometry }.apply(x, w)
}

/// Transposed convolution without bias: `y (B,OH,OW,K)` with `w (K,R,R,C)` to `(B,H,W,C)`, where
/// `H = (OH - 1) stride + R - 2 padding`. A deconvolution of size 4, stride 2, padding 1 doubles
/// the image.
pub fn conv_transpose2d(y: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    let (batch, out_height, out_width, filters) = y.dims4()?;
    let (in_filters, size, size_x, channels) = w.dims4()?;
    if filters != in_filters || size != size_x {
        bail!("conv_transpose2d: expected square filters from {filters} channels, found {:?}", w.dims())
    }
    if (out_height - 1) * stride + size <= 2 * padding || (out_width - 1) * stride + size <= 2 * padding {
        bail!("conv_transpose2d: padding {padding} leaves nothing of {out_height}x{out_width}")
    }
    let extent = |out: usize| (out - 1) * stride + size - 2 * padding;
    let geometry = Geometry {
        batch,
        height: extent(out_height),
        width: extent(out_width),
        channels,
        filters,
        out_height,
        out_width,
        size,
        stride,
        padding,
    };
    Conv { kind: Kind::DataGradient, geometry }.apply(y, w)
}

/// Matrix product with transposed weights, `x (B,I)` with `w (O,I)` to `(B,O)`: the 1x1 convolution
/// of 1x1 images, whose result does not depend on the number of threads as candle's own may.
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let (batch, inputs) = x.dims2()?;
    let (outputs, weight_inputs) = w.dims2()?;
    if inputs != weight_inputs {
        bail!("linear: expected weights over {inputs} inputs, found {:?}", w.dims())
    }
    let images = x.reshape((batch, 1, 1, inputs))?;
    conv2d(&images, &w.reshape((outputs, 1, 1, inputs))?, 1, 0)?.reshape((batch, outputs))
}

/// The graph node: one kind over one geometry.
#[derive(Clone, Copy)]
struct Conv {
    kind: Kind,
    geometry: Geometry,
}

impl Conv {
    fn apply(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        same_dtype(self.name(), a.dtype(), b.dtype())?;
        Apply::apply(self, [a, b])
    }

    fn as_kind(&self, kind: Kind) -> Self {
        Self { kind, geometry: self.geometry }
    }
}

impl Op<2> for Conv {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Forward => "conv2d",
            Kind::DataGradient => "conv-transpose2d",
            Kind::FilterGradient => "conv2d-filter-gradient",
        }
    }

    fn on_cpu(&self, inputs: [Argument; 2]) -> Result<(CpuStorage, Shape)> {
        let precision = Precision::of(inputs[0].dtype());
        with_values!(self, inputs, T, [a, b] => {
            let result = cpu::convolve(self.kind, &self.geometry, precision, a, b);
            Ok(output::<T>(result, self.geometry.result_dims(self.kind).to_vec()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [super::kernels::cuda::Argument; 2]) -> Result<(CudaStorage, Shape)> {
        let result = cuda::convolve(self.kind, &self.geometry, inputs[0], inputs[1])?;
        Ok((result, self.geometry.result_dims(self.kind).to_vec().into()))
    }

    fn gradients(&self, [a, b]: [&Tensor; 2], _result: &Tensor, gradient: &Tensor) -> Result<[Option<Tensor>; 2]> {
        use Kind::{DataGradient, FilterGradient, Forward};
        let run = |wanted: bool, kind, left: &Tensor, right: &Tensor| {
            wanted.then(|| self.as_kind(kind).apply(left, right)).transpose()
        };
        let (for_a, for_b) = (a.track_op(), b.track_op());
        Ok(match self.kind {
            Forward => [run(for_a, DataGradient, gradient, b)?, run(for_b, FilterGradient, a, gradient)?],
            DataGradient => [run(for_a, Forward, gradient, b)?, run(for_b, FilterGradient, gradient, a)?],
            FilterGradient => [run(for_a, DataGradient, b, gradient)?, run(for_b, Forward, a, gradient)?],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check_gradients, random};

    /// Size, stride and padding of every convolution in the networks, on small odd images too.
    const CASES: [(usize, usize, usize, usize); 7] =
        [(5, 1, 2, 6), (1, 1, 0, 5), (3, 1, 1, 7), (4, 2, 1, 8), (3, 2, 1, 8), (2, 1, 0, 2), (1, 1, 0, 1)];

    #[test]
    fn every_kind_equals_its_slow_reference() -> Result<()> {
        for (size, stride, padding, extent) in CASES {
            for batch in [1, 3] {
                let x = random(&[batch, extent, extent, 3], 1)?;
                let w = random(&[5, size, size, 3], 2)?;
                let y = conv2d(&x, &w, stride, padding)?;
                let out = y.dim(1)?;
                let geometry = Geometry {
                    batch,
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
                let g = random(y.dims(), 3)?;
                for (kind, a, b) in
                    [(Kind::Forward, &x, &w), (Kind::DataGradient, &g, &w), (Kind::FilterGradient, &x, &g)]
                {
                    let fast = Conv { kind, geometry }.apply(a, b)?.flatten_all()?.to_vec1::<f64>()?;
                    let slow = reference::convolve(
                        kind,
                        &geometry,
                        &a.flatten_all()?.to_vec1()?,
                        &b.flatten_all()?.to_vec1()?,
                    );
                    let worst = fast.iter().zip(&slow).map(|(f, s)| (f - s).abs()).fold(0.0, f64::max);
                    assert!(worst < 1e-12, "{kind:?} {geometry:?}: {worst}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_equal_finite_differences() -> Result<()> {
        for (size, stride, padding, extent) in CASES {
            let x = random(&[2, extent, extent, 2], 1)?;
            let w = random(&[3, size, size, 2], 2)?;
            check_gradients(&[x, w.clone()], |v| conv2d(&v[0], &v[1], stride, padding))?;
            if size >= stride && size > padding * 2 {
                let y = random(&[2, 3, 3, 3], 4)?;
                check_gradients(&[y, w], |v| conv_transpose2d(&v[0], &v[1], stride, padding))?;
            }
        }
        check_gradients(&[random(&[3, 4], 5)?, random(&[2, 4], 6)?], |v| linear(&v[0], &v[1]))
    }

    #[test]
    fn gradients_in_tiles_equal_finite_differences() -> Result<()> {
        // Eight channels and 64 positions: the fewest that tiles are for. An odd extent has tiles at its edge
        // that reach beyond it.
        for (size, stride, padding, extent) in [(3, 1, 1, 9), (4, 2, 1, 18)] {
            let (x, w) = (random(&[1, extent, extent, 8], 1)?, random(&[8, size, size, 8], 2)?);
            let y = conv2d(&x, &w, stride, padding)?;
            check_gradients(&[x, w.clone()], |v| conv2d(&v[0], &v[1], stride, padding))?;
            check_gradients(&[y, w], |v| conv_transpose2d(&v[0], &v[1], stride, padding))?;
        }
        Ok(())
    }

    #[test]
    fn the_filter_gradient_differentiates_again() -> Result<()> {
        // What the gradient penalty relies on: a transposed convolution inside the loss.
        let (y, w) = (random(&[2, 4, 4, 3], 1)?, random(&[3, 4, 4, 2], 2)?);
        check_gradients(&[y, w], |v| conv2d(&conv_transpose2d(&v[0], &v[1], 2, 1)?, &v[1], 2, 1))
    }

    #[test]
    fn large_and_small_geometries_take_different_paths_to_the_same_values() -> Result<()> {
        // Wide enough to leave the path that unrolls the whole batch at once.
        let (x, w) = (random(&[3, 128, 128, 16], 1)?, random(&[8, 3, 3, 16], 2)?);
        let together = conv2d(&x, &w, 1, 1)?;
        for image in 0..3 {
            let alone = conv2d(&x.narrow(0, image, 1)?, &w, 1, 1)?;
            let difference = (together.narrow(0, image, 1)? - alone)?.abs()?.max_all()?.to_scalar::<f64>()?;
            assert!(difference < 1e-12, "{difference}");
        }
        let y = random(&[3, 64, 64, 8], 3)?;
        let w = random(&[8, 4, 4, 16], 4)?;
        let together = conv_transpose2d(&y, &w, 2, 1)?;
        let alone = conv_transpose2d(&y.narrow(0, 2, 1)?, &w, 2, 1)?;
        let difference = (together.narrow(0, 2, 1)? - alone)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(difference < 1e-12, "{difference}");
        Ok(())
    }

    #[test]
    fn unfitting_shapes_are_refused_with_both_sizes() -> Result<()> {
        let x = random(&[1, 4, 4, 3], 1)?;
        let error = conv2d(&x, &random(&[2, 3, 3, 4], 2)?, 1, 1).unwrap_err().to_string();
        assert!(error.contains("over 3 channels") && error.contains("[2, 3, 3, 4]"), "{error}");
        assert!(conv2d(&x, &random(&[2, 9, 9, 3], 2)?, 1, 1).is_err());
        Ok(())
    }
}
