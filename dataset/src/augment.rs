//! The standard augmentation: a flip and a small shift, the same for every row of a batch,
//! whether it is real or made.

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
        let reach = u64::from(self.shift.min(IMAGE_SIZE as u8 - 1));
        let flip = draws.chance(0.5) && self.flip;
        let right = draws.below(2 * reach + 1) as isize - reach as isize;
        let down = draws.below(2 * reach + 1) as isize - reach as isize;
        move_pixels(pixels, channels, flip, right, down);
    }
}

/// Mirrors first, then shifts: target `(x, y)` shows what was at `(x - right, y - down)`.
fn move_pixels(pixels: &mut [u8], channels: usize, flip: bool, right: isize, down: isize) {
    let size = IMAGE_SIZE as isize;
    assert_eq!(pixels.len(), IMAGE_SIZE * IMAGE_SIZE * channels, "an image of {channels} channels: this is a bug");
    if (flip, right, down) == (false, 0, 0) {
        return;
    }
    let original = pixels.to_vec();
    for y in 0..size {
        let from_row = (y - down).clamp(0, size - 1) * size;
        for x in 0..size {
            let column = (x - right).clamp(0, size - 1);
            let column = if flip { size - 1 - column } else { column };
            let from = (from_row + column) as usize * channels;
            let to = (y * size + x) as usize * channels;
            pixels[to..to + channels].copy_from_slice(&original[from..from + channels]);
        }
    }
}
