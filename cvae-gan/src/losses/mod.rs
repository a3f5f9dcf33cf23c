//! The terms of the paper's objective (section 3.3, eq. 2 to 8), each under its own name: pure
//! functions of tensors, each a mean, so that a weight means the same at any batch size.
//!
//! With `x` a real image of identity `c`, `x_e = G(z_e, c)` its reconstruction and
//! `x_r = G(z_r, c)` an image from a random latent:
//!
//! | term | critics minimise | E and G minimise |
//! |---|---|---|
//! | [`adversarial`] | minus the gain | the fakes' part of it |
//! | [`gradient_penalty`] | it, times its weight | nothing: they would be paid for a large one |
//! | [`r1`] | it, in its place, at some steps | nothing |
//! | [`classification`] | of `x` | of `x_e` and `x_r` |
//! | [`feature_matching`] | | `x` against `x_e` and `x_r` |
//! | [`pixel`] | | `x` against `x_e` |
//! | [`kl`] | | of E's latents |
//! | [`identity`] | | `x` against `x_e` and `x_r`, to the recognizer |
//!
//! Where the equations can be read in several ways, [`reading`] names the ways.

pub mod adversarial;
pub mod classification;
mod distance;
pub mod feature_matching;
pub mod gradient_penalty;
pub mod identity;
pub mod kl;
pub mod pixel;
pub mod r1;
pub mod reading;
