//! The networks' own operations, on NHWC tensors, each forward and backward.
//!
//! candle stays the tensor, the autograd graph and the device; what a convolutional network spends
//! its time in is here, because candle's own convolutions and pooling are slow for these networks
//! and some of their gradients are wrong (a unique maximum in a 2x2 window of `max_pool2d` gets a
//! quarter of its gradient). Every op:
//!
//! - computes in f32 and f64, in f64 so that its gradient can be held against finite differences. Tensors of
//!   bf16 are computed with in f32 and rounded once: half the memory. What doesn't go in tiles, which need fewer
//!   multiplications than that saves, is summed in pairs of terms, by the processor's dot products of bf16 where
//!   it has them (AVX512_BF16) and to the same bits where it hasn't;
//! - gives the same bits whatever the number of threads: work is cut by the tensor's geometry only,
//!   and sums are taken in a fixed order;
//! - treats every image of a batch alike: a row's result does not depend on its neighbours;
//! - has its loops compiled for several sets of vector instructions, the widest of which that the
//!   processor has is taken when the program runs; no sum's order and no rounding depends on which,
//!   but that convolutions go in tiles only where a kernel for them is written (AVX2 with FMA);
//! - stands beside a slow reference that its tests compare it with.
//!
//! | op | forward | backward |
//! |---|---|---|
//! | [`conv2d`], [`conv_transpose2d`], [`linear`] | one of three bilinear kinds | the other two |
//! | [`max_feature_map`] | bias, maximum of halves | to the winner |
//! | [`conv_max_feature_map`] | convolution, the same, 2x2 maximum, strip by strip | by the winners' bytes |
//! | [`instance_norm`] | per image and channel, scale and shift, optional ReLU | fused |
//! | [`leaky_relu`], [`leaky_relu_mask`] | bias and slope | mask |
//! | [`average_pool2`], [`max_average_pool2`], [`pyramid_down`] | windows | adjoint |
//! | [`bias`] | added to every position | column sums |
//! | [`mean_distance`], [`mean_magnitude`] | mean of `|a - b|`, of `|x|` | signs; none |
//! | [`divided`], [`unit()`] | a weight over its spectral norm, a vector over its length | fused; none |
//! | [`quantise`] | to bytes | none |
//! | [`last_layer`] | transposed convolution, bias, tanh, to bytes | none |
//!
//! On a GPU (feature `cuda`) the convolutions are cuDNN's and cuBLAS's, by deterministic algorithms, and
//! everything else is a kernel of `kernels`; there bf16 and f16 compute as such, summing in f32.

mod average_pool;
mod bias;
pub(crate) mod conv;
mod conv_max_feature_map;
mod divided;
pub(crate) mod element;
mod instance_norm;
#[cfg(any(feature = "cuda", test))]
pub(crate) mod kernels;
mod last_layer;
mod leaky_relu;
mod max_average_pool;
mod max_feature_map;
mod mean_distance;
pub(crate) mod op;
mod quantise;

pub use average_pool::{average_pool2, pyramid_down};
pub use bias::bias;
pub use conv::{conv_transpose2d, conv2d, linear};
pub use conv_max_feature_map::conv_max_feature_map;
pub use divided::{divided, unit};
pub use instance_norm::{Activation, instance_norm};
pub use last_layer::last_layer;
pub use leaky_relu::{leaky_relu, leaky_relu_mask};
pub use max_average_pool::max_average_pool2;
pub use max_feature_map::max_feature_map;
pub use mean_distance::{mean_distance, mean_magnitude};
pub use quantise::quantise;
