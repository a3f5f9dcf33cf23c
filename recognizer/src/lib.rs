//! Trains and evaluates LightCNN from any source of batches.
//!
//! - [`batch`]: what a training loop eats. [`BatchSource`] is implemented by a folder on disk and
//!   by the gRPC stream, so that one loop runs the real-only baseline and online augmentation.
//! - [`metrics`]: every figure, over plain scores and features.

pub mod batch;
pub mod metrics;

pub use batch::{Batch, BatchSource, Source, SourceError};
