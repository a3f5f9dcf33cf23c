//! Smooth noise from integer hashing: skin, strands, cloth, film grain.

use super::vector::floor;

/// 32 well-mixed bits of three integers.
pub(super) fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77) ^ seed;
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

/// Uniform in `[-1, 1)`.
pub(super) fn signed(x: i32, y: i32, seed: u32) -> f32 {
    hash(x, y, seed) as i32 as f32 * (1.0 / 2_147_483_648.0)
}

/// Value noise on the unit grid, in `[-1, 1]`.
pub(super) fn smooth(x: f32, y: f32, seed: u32) -> f32 {
    let (fx, fy) = (floor(x), floor(y));
    let (tx, ty) = (x - fx, y - fy);
    let (tx, ty) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
    let (x, y) = (fx as i32, fy as i32);
    let top = signed(x, y, seed) * (1.0 - tx) + signed(x + 1, y, seed) * tx;
    let bottom = signed(x, y + 1, seed) * (1.0 - tx) + signed(x + 1, y + 1, seed) * tx;
    top * (1.0 - ty) + bottom * ty
}

/// Near-normal with unit variance: the sum of four uniforms, cheap enough for each pixel.
pub(super) fn grain(x: i32, y: i32, seed: u32) -> f32 {
    let h = hash(x, y, seed);
    let sum = (h & 0xff) + ((h >> 8) & 0xff) + ((h >> 16) & 0xff) + (h >> 24);
    (sum as f32 - 510.0) * (1.0 / 147.8)
}
