//! What a network is: the encoder E, the generator G and the critics D of the CVAE-GAN (Huang, Xie,
//! Lai and Feng, "Conditional Face Synthesis for Data Augmentation", PRCV 2018), the LightCNN
//! recognizers, the MTCNN detector, and the ops and files they are made of.
//!
//! In the order in which an image passes:
//!
//! - [`pixels`]: bytes to `[-1, 1]` and `[0, 1]` and back, in one place;
//! - [`encoder`], [`generator`], [`discriminator`], [`light_cnn`]: the networks, each a plain
//!   config and a `new(config, VarBuilder)` that cannot tell training from serving;
//! - [`mtcnn`]: from a photograph to its faces and their landmarks;
//! - [`ops`]: what they compute with, on NHWC tensors, with right gradients;
//! - [`parameters`], [`optim`]: named variables, and optimizers whose state is keyed by the names;
//!   [`spectral_norm`]: weights of bounded slope;
//! - [`checkpoint`], [`bundle`]: the files that hold them; what a server serves; [`shards`]: in
//!   several files;
//! - [`legacy`]: files that PyTorch wrote, published LightCNN weights among them;
//! - [`chance`]: every random number as a function of `(seed, purpose, index, row)`;
//! - [`gradient_check`]: the proof that each op and loss must pass; [`device_check`]: that which a
//!   device must.
//!
//! Beside them [`device`] names where tensors live, [`fetch()`] brings what a step measured from there, and
//! [`sentence`] says what went wrong with one.

pub mod blocks;
pub mod bundle;
pub mod chance;
pub mod checkpoint;
pub mod device;
pub mod device_check;
pub mod discriminator;
pub mod encoder;
mod fetch;
mod file;
pub mod generator;
pub mod gradient_check;
pub mod legacy;
pub mod light_cnn;
pub mod mtcnn;
mod names;
pub mod ops;
pub mod optim;
pub mod parameters;
pub mod pixels;
mod sentence;
pub mod shards;
pub mod spectral_norm;

pub use blocks::{Initialization, Width};
pub use bundle::{Bundle, BundleInfo};
pub use discriminator::{Capacity, Critique, Discriminator, DiscriminatorConfig, Scale};
pub use encoder::{Downsampling, Encoder, EncoderConfig, Posterior};
pub use fetch::{fetch, measured};
pub use generator::{Conditioning, Generator, GeneratorConfig, even, is_deconvolution};
pub use light_cnn::{LightCnn, LightCnnConfig, LightCnnKind};
pub use mtcnn::Mtcnn;
pub use parameters::Parameters;
pub use sentence::sentence;
pub use spectral_norm::SpectralNorm;

/// Values in a latent.
pub const LATENT: usize = 256;

/// Values in a recognizer's feature.
pub const FEATURE: usize = 256;
