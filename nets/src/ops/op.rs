//! An op as it is written here, and its way into candle's graph.

use super::element::Argument;
#[cfg(feature = "cuda")]
use super::kernels::cuda;
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Error, Layout, Result, Shape, Tensor};

/// What is known of an input wherever its values are.
pub(crate) trait Input {
    fn shape(&self) -> &Shape;
    fn dtype(&self) -> DType;
    /// Of all its values.
    #[cfg(feature = "cuda")]
    fn count(&self) -> usize;
}

impl<S: BackendStorage> Input for (&S, &Layout) {
    fn shape(&self) -> &Shape {
        self.1.shape()
    }

    fn dtype(&self) -> DType {
        self.0.dtype()
    }

    #[cfg(feature = "cuda")]
    fn count(&self) -> usize {
        self.1.shape().elem_count()
    }
}

/// An op of `N` tensors, each in one piece.
pub(crate) trait Op<const N: usize>: Send + Sync + 'static {
    /// In messages.
    fn name(&self) -> &'static str;

    /// On a processor.
    fn on_cpu(&self, inputs: [Argument; N]) -> Result<(CpuStorage, Shape)>;

    /// On a GPU.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self, _inputs: [cuda::Argument; N]) -> Result<(CudaStorage, Shape)> {
        candle_core::bail!("{}: expected tensors on the CPU, found one on a GPU", self.name())
    }

    /// The gradients of its inputs, as far as they are wanted, from that of its result `y`.
    fn gradients(&self, _inputs: [&Tensor; N], _y: &Tensor, _g: &Tensor) -> Result<[Option<Tensor>; N]> {
        Err(Error::BackwardNotSupported { op: self.name() })
    }
}

/// How an op is applied.
pub(crate) trait Apply<const N: usize> {
    /// As a part of candle's graph.
    fn apply(self, inputs: [&Tensor; N]) -> Result<Tensor>;

    /// Alone: no gradient goes through it.
    fn compute(self, inputs: [&Tensor; N]) -> Result<Tensor>;
}

impl<T: Op<1>> Apply<1> for T {
    fn apply(self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        x.contiguous()?.apply_op1(InGraph(self))
    }

    fn compute(self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        x.contiguous()?.apply_op1_no_bwd(&InGraph(self))
    }
}

impl<T: Op<2>> Apply<2> for T {
    fn apply(self, [a, b]: [&Tensor; 2]) -> Result<Tensor> {
        a.contiguous()?.apply_op2(&b.contiguous()?, InGraph(self))
    }

    fn compute(self, [a, b]: [&Tensor; 2]) -> Result<Tensor> {
        a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &InGraph(self))
    }
}

impl<T: Op<3>> Apply<3> for T {
    fn apply(self, [a, b, c]: [&Tensor; 3]) -> Result<Tensor> {
        a.contiguous()?.apply_op3(&b.contiguous()?, &c.contiguous()?, InGraph(self))
    }

    fn compute(self, [a, b, c]: [&Tensor; 3]) -> Result<Tensor> {
        a.contiguous()?.apply_op3_no_bwd(&b.contiguous()?, &c.contiguous()?, &InGraph(self))
    }
}

/// An op in the form that candle asks for.
struct InGraph<T>(T);

impl<T: Op<1>> CustomOp1 for InGraph<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.0.on_cpu([(storage, layout)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.0.on_gpu([(storage, layout)])
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let [x] = self.0.gradients([x], y, g)?;
        Ok(x)
    }
}

impl<T: Op<2>> CustomOp2 for InGraph<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        self.0.on_cpu([(s1, l1), (s2, l2)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        self.0.on_gpu([(s1, l1), (s2, l2)])
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, y: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok(self.0.gradients([a, b], y, g)?.into())
    }
}

impl<T: Op<3>> CustomOp3 for InGraph<T> {
    fn name(&self) -> &'static str {
        self.0.name()
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
        self.0.on_cpu([(s1, l1), (s2, l2), (s3, l3)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.0.on_gpu([(s1, l1), (s2, l2), (s3, l3)])
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok(self.0.gradients([a, b, c], y, g)?.into())
    }
}
