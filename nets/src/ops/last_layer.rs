//! The last layer of a generator down to its bytes: no image of floating point numbers is ever written.

use super::conv::{Geometry, Kind, data_gradient_of_image};
use super::element::{Argument, Element, Precision, same_dtype, with_values};
use super::op::{Apply, Input, Op};
#[cfg(feature = "cuda")]
use super::{conv, kernels, kernels::cuda};
use crate::pixels::quantize;
use candle_core::{CpuStorage, Result, Shape, Tensor, WithDType, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, DType};
use rayon::prelude::*;

/// `quantise(tanh(conv_transpose2d(y, w, 2, 1) + bias))`: maps `y (B,H,W,K)`, filters `w (K,4,4,C)` and a bias
/// `(C)` to bytes `(B,2H,2W,C)`. It has no gradient; of bf16 nothing is rounded on the way.
pub fn last_layer(y: &Tensor, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (batch, out_height, out_width, filters) = y.dims4()?;
    let (in_filters, size, size_x, channels) = w.dims4()?;
    if filters != in_filters || (size, size_x) != (4, 4) {
        bail!("last-layer: expected 4x4 filters from {filters} channels, found {:?}", w.dims())
    }
    super::bias::check_channels("last-layer", w, bias)?;
    same_dtype("last-layer", y.dtype(), w.dtype())?;
    same_dtype("last-layer", y.dtype(), bias.dtype())?;
    let (height, width) = (2 * out_height, 2 * out_width);
    let (stride, padding) = (2, 1);
    let geometry = Geometry { batch, height, width, channels, filters, out_height, out_width, size, stride, padding };
    LastLayer(geometry).compute([y, w, bias])
}

struct LastLayer(Geometry);

impl LastLayer {
    fn shape(&self) -> Shape {
        self.0.result_dims(Kind::DataGradient).to_vec().into()
    }
}

impl Op<3> for LastLayer {
    fn name(&self) -> &'static str {
        "last-layer"
    }

    fn on_cpu(&self, inputs: [Argument; 3]) -> Result<(CpuStorage, Shape)> {
        let (g, precision) = (&self.0, Precision::of(inputs[0].dtype()));
        let mut bytes = vec![0; g.batch * g.image_len()];
        with_values!(self, inputs, T, [y, w, bias] => {
            let images = bytes.par_chunks_mut(g.image_len()).zip(y.par_chunks(g.output_len()));
            images.for_each_init(Default::default, |(columns, sums): &mut (Vec<T>, Vec<T>), (bytes, y)| {
                sums.clear();
                sums.resize(g.image_len(), T::ZERO);
                data_gradient_of_image(g, precision, y, w, columns, sums);
                let pixels = bytes.chunks_exact_mut(g.channels).zip(sums.chunks_exact(g.channels));
                pixels.for_each(|(bytes, sums)| {
                    for ((byte, &sum), &bias) in bytes.iter_mut().zip(sums).zip(bias) {
                        *byte = quantize((sum + bias).tanh().to_f64() as f32);
                    }
                });
            });
            Ok((CpuStorage::U8(bytes), self.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, inputs: [cuda::Argument; 3]) -> Result<(CudaStorage, Shape)> {
        let (device, dtype, g) = (&inputs[0].0.device, inputs[0].dtype(), &self.0);
        let whole = kernels::whole_last_layer([g.batch, g.out_height, g.out_width, g.filters], g.channels);
        let (y, bias) = (cuda::address(inputs[0])?, cuda::address(inputs[2])?);
        let bytes = cuda::room(device, DType::U8, self.shape())?;
        let bytes_at = cuda::address_of_new(&bytes)?;
        if let Some(launch) = whole.filter(|_| kernels::bears_eights(y)) {
            cuda::run(&launch, device, dtype, &[y, cuda::address(inputs[1])?, bias, bytes_at])?;
        } else {
            let sums = conv::convolve(Kind::DataGradient, g, inputs[0], inputs[1])?;
            let launch = kernels::last_layer(g.batch * g.image_len(), g.channels);
            cuda::run(&launch, device, dtype, &[cuda::address_of_new(&sums)?, bias, bytes_at])?;
        }
        Ok((bytes, self.shape()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::random;
    use crate::ops::{bias as add_bias, conv_transpose2d, quantise};
    use candle_core::DType;

    fn step_by_step(y: &Tensor, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
        quantise(&add_bias(&conv_transpose2d(y, w, 2, 1)?, bias)?.tanh()?)
    }

    #[test]
    fn bytes_are_those_of_its_steps() -> Result<()> {
        for (batch, extent, filters, channels) in [(1, 2, 3, 1), (3, 5, 4, 3), (2, 64, 8, 1)] {
            let arguments = [
                random(&[batch, extent, extent, filters], 1)?,
                random(&[filters, 4, 4, channels], 2)?,
                random(&[channels], 3)?,
            ];
            let flat = |bytes: &Tensor| bytes.flatten_all()?.to_vec1::<u8>();
            // In fewer digits than f64's, a byte may fall to the other side of a half.
            for (dtype, worst) in [(DType::F64, 0), (DType::F32, 1), (DType::BF16, 1)] {
                let given = arguments.iter().map(|x| x.to_dtype(dtype)).collect::<Result<Vec<_>>>()?;
                let bytes = last_layer(&given[0], &given[1], &given[2])?;
                assert_eq!(bytes.dims(), [batch, 2 * extent, 2 * extent, channels]);
                let exact = given.iter().map(|x| x.to_dtype(DType::F64)).collect::<Result<Vec<_>>>()?;
                let expected = flat(&step_by_step(&exact[0], &exact[1], &exact[2])?)?;
                let differ = |(found, expected): (u8, &u8)| found.abs_diff(*expected) > worst;
                assert!(!flat(&bytes)?.into_iter().zip(&expected).any(differ), "{dtype:?}");
                assert!(expected.iter().any(|&byte| byte < 64) && expected.iter().any(|&byte| byte > 192));
            }
        }
        Ok(())
    }

    #[test]
    fn an_image_is_the_same_in_any_batch() -> Result<()> {
        let y = random(&[3, 64, 64, 8], 1)?.to_dtype(DType::F32)?;
        let (w, bias) = (random(&[8, 4, 4, 1], 2)?.to_dtype(DType::F32)?, random(&[1], 3)?.to_dtype(DType::F32)?);
        let together = last_layer(&y, &w, &bias)?.get(2)?.flatten_all()?.to_vec1::<u8>()?;
        let alone = last_layer(&y.narrow(0, 2, 1)?, &w, &bias)?.flatten_all()?.to_vec1::<u8>()?;
        assert_eq!(together, alone);
        Ok(())
    }

    #[test]
    fn what_is_no_number_is_black_and_unfitting_shapes_are_refused() -> Result<()> {
        let (y, w) = (random(&[1, 2, 2, 3], 1)?, random(&[3, 4, 4, 1], 2)?);
        let bytes = last_layer(&(&y * f64::NAN)?, &w, &random(&[1], 3)?)?.flatten_all()?.to_vec1::<u8>()?;
        assert!(bytes.iter().all(|&byte| byte == 0));
        let refusal = |w: &Tensor, bias: &Tensor| last_layer(&y, w, bias).unwrap_err().to_string();
        assert!(refusal(&random(&[2, 4, 4, 1], 2)?, &random(&[1], 3)?).contains("from 3 channels, found [2, 4, 4, 1]"));
        assert!(refusal(&w, &random(&[2], 3)?).contains("expected a vector of 1, found [2]"));
        Ok(())
    }
}
