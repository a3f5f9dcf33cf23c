//! How hard the drawn faces are: identity against nuisance, all in one place.
//!
//! Calibrated so that a small LightCNN-9 trained on a few dozen drawn identities verifies unseen
//! ones between 65 and 85 %: easy enough to learn something, hard enough to leave something to
//! gain. Version 1 lies there, with 75.98 +- 0.93 % of `demo:held-out`'s pairs (cosine):
//!
//! ```text
//! recognizer train --data demo --arch lightcnn-9 --width tiny --images 16000 --batch 32 --seed 1 \
//!     --pairs demo:held-out
//! ```
//!
//! Changing a number here changes the drawn faces: raise [`super::VERSION`] and measure again.

/// Spread of skull and nose shapes between people; 1 is about life-like, more is a gentle caricature.
pub(super) const BONES: f32 = 1.3;
/// Spread of eyes, brows, mouth and marks between people.
pub(super) const FEATURES: f32 = 1.3;
/// Spread of skin, hair and eye colours between people.
pub(super) const COLOURS: f32 = 1.0;

/// Standard deviation of the turn to the side, in radians.
pub(super) const YAW: f32 = 0.20;
/// Standard deviation of the nod, in radians.
pub(super) const PITCH: f32 = 0.12;
/// Error of the alignment: shift in pixels, relative size, turn in radians.
pub(super) const ALIGNMENT: (f32, f32, f32) = (1.0, 0.02, 0.02);

/// How directed light is: 0 always soft and frontal, 1 often hard and from the side.
pub(super) const LIGHT: f32 = 0.75;
/// Strength of expressions.
pub(super) const EXPRESSION: f32 = 0.9;
/// Factor of all chances of accessories.
pub(super) const ACCESSORIES: f32 = 1.0;
/// Chance that somebody wears the hair unlike usually.
pub(super) const OTHER_HAIR: f32 = 0.2;
/// Factor of blur, noise and exposure errors.
pub(super) const CAMERA: f32 = 1.0;
