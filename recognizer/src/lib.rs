//! Trains and evaluates LightCNN (Wu et al. 2018) from any source of batches.
//!
//! In the order in which an image passes:
//!
//! - [`batch`]: what a training loop eats. [`BatchSource`] is implemented by [`FolderSource`], a
//!   data set on disk, and by the gRPC stream, so that one loop runs the real-only baseline and
//!   online augmentation.
//! - `prefetch`: the next batches, made on another thread.
//! - [`train`](mod@train): the loop, its losses and its checkpoints.
//! - [`card`]: a checkpoint read back as a network.
//! - [`embed`](mod@embed): images to features; [`evaluate`]: features to figures on pairs.
//! - [`generated`]: generated images judged beside held-out real ones.
//! - [`flags`]: the flags that all commands which train a recognizer share.
//! - [`metrics`]: every figure of the project, over plain scores and features.

pub mod batch;
pub mod card;
pub mod embed;
mod error;
pub mod evaluate;
pub mod flags;
mod folder;
pub mod generated;
pub mod metrics;
mod prefetch;
pub mod train;

pub use batch::{
    Batch, BatchSource, CheckpointRecorder, Labels, LatePlace, LossRecorder, Mixture, Part, Source, SourceError,
};
pub use card::{Card, Recognizer, load};
pub use embed::{classify, embed, embed_pixels, embed_unless};
pub use error::{Error, Result};
pub use evaluate::{Evaluation, PairSet};
pub use folder::{FolderSettings, FolderSource};
pub use train::{Loss, Outcome, Rhythm, Schedule, Session, TrainConfig, Trainer, train};
