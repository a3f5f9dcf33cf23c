//! The standard augmentation: a flip and a small shift, the same for every row of a batch,
//! whether it is real or made; and a change of brightness beside it.

use nets::chance::Draws;
use nets::pixels::IMAGE_SIZE;
use serde::{Deserialize, Serialize};

/// What is done to one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Mirror left and right with probability 1/2.
    pub flip: bool,
    /// Largest shift along each axis, in pixels, at most 127. Edges are replicated.
    pub shift: u8,
}

/// Flip with probability 1/2, shift by up to 8 pixels.
pub const STANDARD: Augmentation = Augmentation { flip: true, shift: 8 };

/// Leaves images as they are.
pub const NONE: Augmentation = Augmentation { flip: false, shift: 0 };

impl Augmentation {
    /// Augments one image in place: `128 * 128 * channels` bytes in HWC order.
    ///
    /// Always takes the same draws (flip, then right, then down), so that a row's other draws
    /// don't move when a part is switched off.
    ///
    /// # Panics
    /// When the length doesn't fit the channels: this is a bug of the caller.
    pub fn apply(&self, pixels: &mut [u8], channels: usize, draws: &mut Draws) {
        let original = pixels.to_vec();
        self.copy(&original, pixels, channels, draws);
    }

    /// As [`apply`](Self::apply), from one image to another, in one pass.
    ///
    /// # Panics
    /// As there.
    pub fn copy(&self, from: &[u8], to: &mut [u8], channels: usize, draws: &mut Draws) {
        let reach = u64::from(self.shift.min(IMAGE_SIZE as u8 - 1));
        let flip = draws.chance(0.5) && self.flip;
        let right = draws.below(2 * reach + 1) as isize - reach as isize;
        let down = draws.below(2 * reach + 1) as isize - reach as isize;
        copy_moved(from, to, channels, flip, right, down);
    }
}

/// Makes an image brighter or darker in place, by a factor drawn evenly from `1 - reach` to
/// `1 + reach`, with `reach` in `[0, 1)`. Values are rounded, and cut at white. Takes one draw.
///
/// Beside [`Augmentation`], which moves pixels and leaves their values: streams are without it.
pub fn brighten(pixels: &mut [u8], reach: f64, draws: &mut Draws) {
    let factor = draws.uniform(1.0 - reach, 1.0 + reach);
    let table: [u8; 256] = std::array::from_fn(|value| (value as f64 * factor).round().min(255.0) as u8);
    pixels.iter_mut().for_each(|pixel| *pixel = table[*pixel as usize]);
}

/// Mirrors first, then shifts: target `(x, y)` shows what is at `(x - right, y - down)`.
fn copy_moved(from: &[u8], to: &mut [u8], channels: usize, flip: bool, right: isize, down: isize) {
    let bytes = IMAGE_SIZE * IMAGE_SIZE * channels;
    assert!(from.len() == bytes && to.len() == bytes, "images of {channels} channels: this is a bug");
    match channels {
        _ if (flip, right, down) == (false, 0, 0) => to.copy_from_slice(from),
        1 => copy_rows(from.as_chunks::<1>().0, to.as_chunks_mut::<1>().0, flip, right, down),
        3 => copy_rows(from.as_chunks::<3>().0, to.as_chunks_mut::<3>().0, flip, right, down),
        _ => unreachable!("images have 1 or 3 channels: this is a bug"),
    }
}

/// Whole rows at a time: this runs for every row of every batch, also where rows are only copied.
fn copy_rows<const C: usize>(from: &[[u8; C]], to: &mut [[u8; C]], flip: bool, right: isize, down: isize) {
    let last = IMAGE_SIZE as isize - 1;
    let shift = right.unsigned_abs();
    let mut mirrored = [[0u8; C]; IMAGE_SIZE];
    for (y, target) in (0..).zip(to.chunks_exact_mut(IMAGE_SIZE)) {
        let start = (y - down).clamp(0, last) as usize * IMAGE_SIZE;
        let mut row = &from[start..start + IMAGE_SIZE];
        if flip {
            mirrored.iter_mut().rev().zip(row).for_each(|(target, pixel)| *target = *pixel);
            row = &mirrored;
        }
        if right >= 0 {
            target[..shift].fill(row[0]);
            target[shift..].copy_from_slice(&row[..IMAGE_SIZE - shift]);
        } else {
            target[..IMAGE_SIZE - shift].copy_from_slice(&row[shift..]);
            target[IMAGE_SIZE - shift..].fill(row[IMAGE_SIZE - 1]);
        }
    }
}
