//! Standard normal numbers by the dozen: the bits of Box and Muller's method (1958) over the pinned `libm`, in
//! loops that the compiler turns into vectors.
//!
//! The logarithm, sine and cosine are fdlibm's, as `libm` has them, operation by operation, for the few
//! arguments that occur here: no subnormals, angles of one turn. (fdlibm: Copyright (C) 1993 by Sun
//! Microsystems, Inc. All rights reserved. Permission to use, copy, modify, and distribute this software is
//! freely granted, provided that this notice is preserved.)

use multiversion::multiversion;
use std::f64::consts::TAU;

/// Pairs at once.
pub(super) const PAIRS: usize = 32;

/// Of each pair of uniform numbers in `[0, 1)` its two normal numbers.
#[multiversion(targets = "simd")]
pub(super) fn pairs(radii: &[f64; PAIRS], turns: &[f64; PAIRS]) -> ([f64; PAIRS], [f64; PAIRS]) {
    let (mut first, mut second) = ([0.0; PAIRS], [0.0; PAIRS]);
    for nth in 0..PAIRS {
        let radius = (-2.0 * ln(1.0 - radii[nth])).sqrt();
        let (sine, cosine) = sin_cos(TAU * turns[nth]);
        (first[nth], second[nth]) = (radius * cosine, radius * sine);
    }
    for nth in 0..PAIRS {
        let angle = TAU * turns[nth];
        if is_near_an_axis(angle) {
            let radius = libm::sqrt(-2.0 * libm::log(1.0 - radii[nth]));
            (first[nth], second[nth]) = (radius * libm::cos(angle), radius * libm::sin(angle));
        }
    }
    (first, second)
}

/// Of a number in `[2^-53, 1]`.
#[inline(always)]
fn ln(x: f64) -> f64 {
    const LN2_HI: f64 = f64::from_bits(0x3fe62e42fee00000);
    const LN2_LO: f64 = f64::from_bits(0x3dea39ef35793c76);
    const LG: [f64; 7] = [
        f64::from_bits(0x3fe5555555555593),
        f64::from_bits(0x3fd999999997fa04),
        f64::from_bits(0x3fd2492494229359),
        f64::from_bits(0x3fcc71c51d8e78af),
        f64::from_bits(0x3fc7466496cb03de),
        f64::from_bits(0x3fc39a09d078c69f),
        f64::from_bits(0x3fc2f112df3e5244),
    ];
    let bits = x.to_bits();
    // x = 2^k m with m in [sqrt(1/2), sqrt(2)).
    let high = (bits >> 32) as u32 + (0x3ff00000 - 0x3fe6a09e);
    let k = f64::from((high >> 20) as i32 - 0x3ff);
    let high = (high & 0x000fffff) + 0x3fe6a09e;
    let f = f64::from_bits((u64::from(high) << 32) | (bits & 0xffffffff)) - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (LG[1] + w * (LG[3] + w * LG[5]));
    let odd = z * (LG[0] + w * (LG[2] + w * (LG[4] + w * LG[6])));
    s * (half_square + (odd + even)) + k * LN2_LO - half_square + f + k * LN2_HI
}

/// The upper half of a number's bits.
#[inline(always)]
fn upper(x: f64) -> u32 {
    (x.to_bits() >> 32) as u32
}

/// Whether an angle is so near a multiple of a quarter turn that `libm` reduces it with more bits.
#[inline(always)]
fn is_near_an_axis(angle: f64) -> bool {
    const QUARTER_AND_HALF: u32 = 0x921fb;
    let upper = upper(angle);
    let below_five_eighths = upper > 0x3fe921fb && upper <= 0x400f6a7a;
    (below_five_eighths && upper & 0xfffff == QUARTER_AND_HALF) || upper == 0x4012d97c || upper == 0x401921fb
}

/// Sine and cosine of an angle in `[0, TAU)` that is not [near an axis](is_near_an_axis).
#[inline(always)]
fn sin_cos(angle: f64) -> (f64, f64) {
    /// The first 33 bits of a quarter turn, and the rest.
    const QUARTER: f64 = f64::from_bits(0x3ff921fb54400000);
    const REST: f64 = f64::from_bits(0x3dd0b4611a626331);
    let upper = upper(angle);
    let quarters = i32::from(upper > 0x3fe921fb)
        + i32::from(upper > 0x4002d97c)
        + i32::from(upper > 0x400f6a7a)
        + i32::from(upper > 0x4015fdbc);
    let n = f64::from(quarters);
    let z = angle - n * QUARTER;
    let x = z - n * REST;
    let y = (z - x) - n * REST;
    let (sine, cosine) = (sine(x, y, quarters == 0), cosine(x, y));
    let (a, b) = if quarters & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
    let sine = if quarters & 2 == 0 { a } else { -a };
    let cosine = if (quarters + 1) & 2 == 0 { b } else { -b };
    (sine, cosine)
}

/// Of `x + y`, at most an eighth of a turn; `whole` says that there is no `y`.
#[inline(always)]
fn sine(x: f64, y: f64, whole: bool) -> f64 {
    const S: [f64; 6] = [
        f64::from_bits(0xbfc5555555555549),
        f64::from_bits(0x3f8111111110f8a6),
        f64::from_bits(0xbf2a01a019c161d5),
        f64::from_bits(0x3ec71de357b1fe7d),
        f64::from_bits(0xbe5ae5e68a2b9ceb),
        f64::from_bits(0x3de5d93a5acfd57c),
    ];
    let z = x * x;
    let w = z * z;
    let r = S[1] + z * (S[2] + z * S[3]) + z * w * (S[4] + z * S[5]);
    let v = z * x;
    let alone = x + v * (S[0] + z * r);
    let with = x - ((z * (0.5 * y - v * r) - y) - v * S[0]);
    if whole { alone } else { with }
}

/// Of `x + y`, at most an eighth of a turn.
#[inline(always)]
fn cosine(x: f64, y: f64) -> f64 {
    const C: [f64; 6] = [
        f64::from_bits(0x3fa555555555554c),
        f64::from_bits(0xbf56c16c16c15177),
        f64::from_bits(0x3efa01a019cb1590),
        f64::from_bits(0xbe927e4f809c52ad),
        f64::from_bits(0x3e21ee9ebdb4b1c4),
        f64::from_bits(0xbda8fae9be8838d4),
    ];
    let z = x * x;
    let w = z * z;
    let r = z * (C[0] + z * (C[1] + z * C[2])) + w * w * (C[3] + z * (C[4] + z * C[5]));
    let half = 0.5 * z;
    let w = 1.0 - half;
    w + (((1.0 - w) - half) + (z * r - x * y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    fn have_the_bits_of_libm(radii: [f64; PAIRS], turns: [f64; PAIRS]) {
        let (first, second) = pairs(&radii, &turns);
        for nth in 0..PAIRS {
            let radius = libm::sqrt(-2.0 * libm::log(1.0 - radii[nth]));
            let angle = TAU * turns[nth];
            let expected = [radius * libm::cos(angle), radius * libm::sin(angle)].map(f64::to_bits);
            assert_eq!([first[nth], second[nth]].map(f64::to_bits), expected, "{} {}", radii[nth], turns[nth]);
        }
    }

    #[test]
    fn vectors_give_the_bits_of_libm() {
        let mut draws = Chance::new(3, "normals").at(0, 0);
        for _ in 0..20_000 {
            have_the_bits_of_libm(std::array::from_fn(|_| draws.unit()), std::array::from_fn(|_| draws.unit()));
        }
    }

    #[test]
    fn so_they_do_at_every_corner() {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        // Around each eighth of a turn, by a step, by many, and by what the reductions are cut at.
        let near = |centre: f64| {
            let away = (0..54).flat_map(|bits| [(1u64 << bits) as f64 * STEP, -((1u64 << bits) as f64) * STEP]);
            std::iter::once(0.0).chain(away).map(move |away| centre + away).filter(|unit| (0.0..1.0).contains(unit))
        };
        let corners: Vec<f64> = (0..=8).flat_map(|eighth| near(f64::from(eighth) / 8.0)).collect();
        for &turn in &corners {
            for chunk in corners.chunks(PAIRS) {
                let radii = std::array::from_fn(|nth| chunk.get(nth).copied().unwrap_or(0.0));
                have_the_bits_of_libm(radii, [turn; PAIRS]);
            }
        }
    }
}
