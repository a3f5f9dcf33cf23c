//! Small vectors, colours and the smooth steps of which the faces are made.
//!
//! Only additions, multiplications, divisions and square roots happen per pixel, all of which
//! IEEE 754 fixes to the last bit; sines and powers come from `libm`. So a face has the same bytes
//! on every machine.

use std::ops::{Add, Mul, Sub};

/// A point, direction or linear RGB colour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct V3(pub(super) f32, pub(super) f32, pub(super) f32);

impl V3 {
    pub(super) const ZERO: Self = Self(0.0, 0.0, 0.0);
    pub(super) const ONE: Self = Self(1.0, 1.0, 1.0);

    pub(super) fn dot(self, other: Self) -> f32 {
        self.0 * other.0 + self.1 * other.1 + self.2 * other.2
    }

    pub(super) fn cross(self, other: Self) -> Self {
        Self(
            self.1 * other.2 - self.2 * other.1,
            self.2 * other.0 - self.0 * other.2,
            self.0 * other.1 - self.1 * other.0,
        )
    }

    pub(super) fn unit(self) -> Self {
        self * (1.0 / self.dot(self).max(1e-20).sqrt())
    }

    /// Component by component.
    pub(super) fn times(self, other: Self) -> Self {
        Self(self.0 * other.0, self.1 * other.1, self.2 * other.2)
    }

    pub(super) fn mix(self, other: Self, share: f32) -> Self {
        self + (other - self) * share
    }
}

impl Add for V3 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1, self.2 + other.2)
    }
}

impl Sub for V3 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0, self.1 - other.1, self.2 - other.2)
    }
}

impl Mul<f32> for V3 {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        Self(self.0 * factor, self.1 * factor, self.2 * factor)
    }
}

/// Rows of a rotation matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation(pub(super) [V3; 3]);

impl Rotation {
    /// Yaw about the vertical axis (positive turns the face to the right of the image), then
    /// pitch (positive looks down), then roll, in radians. x points right, y down, z to the viewer.
    pub(super) fn new(yaw: f32, pitch: f32, roll: f32) -> Self {
        let (sy, cy) = (libm::sinf(yaw), libm::cosf(yaw));
        let (sp, cp) = (libm::sinf(pitch), libm::cosf(pitch));
        let (sr, cr) = (libm::sinf(roll), libm::cosf(roll));
        let after_yaw = [V3(cy, 0.0, sy), V3(0.0, 1.0, 0.0), V3(-sy, 0.0, cy)];
        let after_pitch = [after_yaw[0], after_yaw[1] * cp + after_yaw[2] * sp, after_yaw[2] * cp - after_yaw[1] * sp];
        Self([after_pitch[0] * cr - after_pitch[1] * sr, after_pitch[0] * sr + after_pitch[1] * cr, after_pitch[2]])
    }

    pub(super) fn apply(&self, v: V3) -> V3 {
        V3(self.0[0].dot(v), self.0[1].dot(v), self.0[2].dot(v))
    }

    pub(super) fn undo(&self, v: V3) -> V3 {
        self.0[0] * v.0 + self.0[1] * v.1 + self.0[2] * v.2
    }
}

pub(super) fn mix(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

/// 0 below `from`, 1 above `to`, smooth between; also falling, when `from > to`.
#[inline(always)]
pub(super) fn step(from: f32, to: f32, x: f32) -> f32 {
    // A reciprocal, because it is known at compile time wherever the ends are.
    let t = ((x - from) * (1.0 / (to - from))).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The largest whole number not above `x`, for numbers of pictures' size. The standard library's
/// is a call on processors that are only promised SSE2.
#[inline(always)]
pub(super) fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

/// The smallest whole number not below `x`.
#[inline(always)]
pub(super) fn ceil(x: f32) -> f32 {
    -floor(-x)
}

/// A smooth hill of height 1 and radii `rx`, `ry` at the origin, 0 outside.
#[inline(always)]
pub(super) fn hill(x: f32, y: f32, rx: f32, ry: f32) -> f32 {
    let (x, y) = (x * (1.0 / rx), y * (1.0 / ry));
    let q = 1.0 - x * x - y * y;
    if q <= 0.0 { 0.0 } else { q * q * q }
}

/// `x` to the power `2^doublings`.
pub(super) fn power(mut x: f32, doublings: u32) -> f32 {
    for _ in 0..doublings {
        x *= x;
    }
    x
}
