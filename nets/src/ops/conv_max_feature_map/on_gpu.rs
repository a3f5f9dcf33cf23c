//! The same layer on a GPU: cuDNN's convolution, then one kernel for bias, halves and windows. The
//! convolution's output lives for as long as that takes; the backward pass needs the winners alone.

use super::super::conv::{Kind, convolve};
use super::super::kernels::{self, cuda};
use super::ConvMaxFeatureMap;
use candle_core::{CudaStorage, DType, Result, Tensor, bail};
use std::sync::PoisonError;

impl ConvMaxFeatureMap {
    pub(super) fn result_dims(&self) -> [usize; 4] {
        let g = &self.geometry;
        [g.batch, g.out_height / self.pool, g.out_width / self.pool, g.filters / 2]
    }

    pub(super) fn forward_on_gpu(&self, [x, weight, bias]: [cuda::Argument; 3]) -> Result<CudaStorage> {
        let (device, dtype) = (&x.0.device, candle_core::backend::BackendStorage::dtype(x.0));
        let dims = self.result_dims();
        let convolved = convolve(Kind::Forward, &self.geometry, x, weight)?;
        let y = cuda::room(device, dtype, &dims)?;
        let winners = cuda::room(device, DType::U8, &dims)?;
        let launch = kernels::compete(dims.iter().product(), dims[3], self.pool, self.geometry.out_width);
        let outputs = [cuda::address_of_new(&y)?, cuda::address_of_new(&winners)?];
        let inputs = [cuda::address_of_new(&convolved)?, cuda::address(bias)?];
        cuda::run(&launch, device, dtype, &[inputs, outputs].concat())?;
        *self.winners_on_gpu.lock().unwrap_or_else(PoisonError::into_inner) = Some(winners);
        Ok(y)
    }

    pub(super) fn gradients_on_gpu(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        g: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let winners = self.winners_on_gpu.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(winners) = winners.as_ref() else { bail!("conv-max-feature-map: no forward pass: this is a bug") };
        let (dims, geometry, dtype) = (self.result_dims(), &self.geometry, x.dtype());
        cuda::with_storages(&[x, weight, g], |arguments| {
            let [x_at, weight_at, g_at] = *arguments else { bail!("expected three storages: this is a bug") };
            let device = &g_at.0.device;
            let full = geometry.result_dims(Kind::Forward);
            let convolved = cuda::room(device, dtype, &full)?;
            let launch = kernels::give(dims.iter().product(), dims[3], self.pool, geometry.out_width);
            let inputs = [cuda::address(g_at)?, cuda::address_of_new(winners)?];
            cuda::run(&launch, device, dtype, &[&inputs[..], &[cuda::address_of_new(&convolved)?]].concat())?;
            let layout = candle_core::Layout::contiguous(full.to_vec());
            let convolved = (&convolved, &layout);
            let dx = x.track_op().then(|| convolve(Kind::DataGradient, geometry, convolved, weight_at)).transpose()?;
            let dweight =
                weight.track_op().then(|| convolve(Kind::FilterGradient, geometry, x_at, convolved)).transpose()?;
            let rows = full[0] * full[1] * full[2];
            let dbias = bias.track_op().then(|| cuda::column_sum(convolved, rows, full[3])).transpose()?;
            Ok([
                dx.map(|dx| cuda::tensor(dx, x.shape())),
                dweight.map(|dweight| cuda::tensor(dweight, weight.shape())),
                dbias.map(|dbias| cuda::tensor(dbias, bias.shape())),
            ])
        })
    }
}
