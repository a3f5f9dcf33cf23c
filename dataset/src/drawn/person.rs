//! Who is drawn: everything about a face that stays the same from picture to picture.
//!
//! Lengths are in units of the distance from the eyes' midpoint to the mouth's (48 pixels when
//! seen from the front), y pointing down from the eyes, so the mouth is at y = 1.

use nets::chance::Draws;

use super::difficulty::{COLOURS, FEATURES};
use super::traits::{Traits, hair_colour, iris_colour, skin_tone};
use super::vector::V3;

/// One person.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// Seeds the noise of skin and strands.
    pub(super) grain: u32,
    /// 0 young to 1 old.
    pub(super) age: f32,
    pub(super) bones: Bones,
    pub(super) eyes: Eyes,
    pub(super) brows: Brows,
    pub(super) nose: Nose,
    pub(super) mouth: Mouth,
    pub(super) skin: Skin,
    pub(super) hair: Hair,
    /// How much beard grows: 0 none, 1 full.
    pub(super) beard: f32,
    pub(super) ears: f32,
}

/// Shape of the skull and jaw.
#[derive(Clone, Debug)]
pub(super) struct Bones {
    pub(super) width: f32,
    pub(super) chin: f32,
    /// Exponent of the jaw's outline: 2 oval, 3 square.
    pub(super) squareness: f32,
    /// How much the lower face narrows.
    pub(super) taper: f32,
    pub(super) brow_ridge: f32,
    pub(super) cheekbones: f32,
    pub(super) cheeks: f32,
    pub(super) chin_forward: f32,
    pub(super) socket: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Eyes {
    /// Half the distance between the pupils.
    pub(super) spacing: f32,
    pub(super) half_width: f32,
    pub(super) upper: f32,
    pub(super) lower: f32,
    /// Rise of the outer corner per unit outwards.
    pub(super) tilt: f32,
    /// Where along its width the upper lid is highest, -1 inner to 1 outer.
    pub(super) peak: f32,
    pub(super) iris: f32,
    pub(super) colour: V3,
    pub(super) crease: f32,
    pub(super) lashes: f32,
    pub(super) bags: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Brows {
    pub(super) height: f32,
    pub(super) thickness: f32,
    pub(super) arch: f32,
    pub(super) slope: f32,
    pub(super) inner: f32,
    pub(super) length: f32,
    pub(super) density: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Nose {
    pub(super) length: f32,
    pub(super) width: f32,
    pub(super) bridge: f32,
    pub(super) bridge_width: f32,
    pub(super) projection: f32,
    pub(super) hump: f32,
    pub(super) tip: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Mouth {
    pub(super) half_width: f32,
    pub(super) upper: f32,
    pub(super) lower: f32,
    pub(super) bow: f32,
    pub(super) corners: f32,
    pub(super) redness: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Skin {
    pub(super) tone: V3,
    pub(super) ruddiness: f32,
    pub(super) freckles: f32,
    pub(super) shine: f32,
    /// Moles: x, y, radius.
    pub(super) moles: Vec<(f32, f32, f32)>,
}

/// How hair is worn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Cropped,
    Short,
    SideParted,
    Bob,
    Long,
    Curly,
    TiedBack,
    Receding,
}

#[derive(Clone, Debug)]
pub(super) struct Hair {
    pub(super) style: Style,
    pub(super) colour: V3,
    /// Height of the hairline above the eyes.
    pub(super) line: f32,
    /// Dip of the hairline in the middle (positive: widow's peak).
    pub(super) peak: f32,
    pub(super) volume: f32,
    pub(super) wave: f32,
    /// -1 or 1.
    pub(super) part: f32,
    /// How far a fringe falls over the forehead; 0 none.
    pub(super) fringe: f32,
}

impl Person {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let grain = draws.next_u64() as u32;
        let mut t = Traits(draws);
        // A few hidden directions tie traits together, as they are tied in people: without them
        // faces look assembled from parts.
        let masculine = t.unit();
        let m = masculine * 2.0 - 1.0;
        let age = t.unit() * t.unit();
        let depth = t.unit();
        let depth = 0.5 + (depth - 0.5) * COLOURS;

        let bones = Bones {
            width: t.bone(1.09 + 0.015 * m, 0.04),
            chin: t.bone(1.62 + 0.035 * m, 0.05),
            squareness: t.bone(2.55 + 0.22 * m, 0.17).max(2.05),
            taper: t.bone(0.11 - 0.045 * m, 0.045),
            brow_ridge: t.bone(0.035 + 0.025 * m, 0.015),
            cheekbones: t.bone(0.05 - 0.01 * m, 0.02),
            cheeks: t.bone(0.015 - 0.02 * age, 0.035),
            chin_forward: t.bone(0.09 + 0.02 * m, 0.03),
            socket: t.bone(0.13 + 0.02 * m, 0.02),
        };
        let eyes = Eyes {
            spacing: t.bone(0.455, 0.022),
            half_width: t.feature(0.212, 0.011),
            upper: t.feature(0.098 - 0.01 * m, 0.013),
            lower: t.feature(0.064, 0.008),
            tilt: t.feature(0.05 - 0.03 * m, 0.065),
            peak: t.feature(-0.05, 0.13),
            iris: t.feature(0.100, 0.004),
            colour: iris_colour(&mut t, depth),
            crease: t.feature(0.065, 0.025).clamp(0.0, 0.12),
            lashes: t.feature(0.55 - 0.3 * m, 0.12).clamp(0.15, 1.0),
            bags: (0.15 + 0.6 * age + t.feature(0.0, 0.15)).clamp(0.0, 1.0),
        };
        let brows = Brows {
            height: t.feature(0.285 - 0.025 * m, 0.028).max(0.2),
            thickness: t.feature(0.062 + 0.014 * m, 0.013).max(0.032),
            arch: t.feature(0.055 - 0.02 * m, 0.025),
            slope: t.feature(0.0, 0.07),
            inner: t.feature(0.17 - 0.01 * m, 0.025).max(0.1),
            length: t.feature(0.58, 0.035),
            density: t.feature(0.78 + 0.1 * m, 0.11).clamp(0.35, 1.0),
        };
        let nose = Nose {
            length: t.bone(0.59 + 0.015 * m, 0.03),
            width: t.bone(0.175 + 0.01 * m + 0.022 * depth, 0.018),
            bridge: t.bone(0.1 + 0.015 * m - 0.02 * depth, 0.022),
            bridge_width: t.bone(0.115 + 0.01 * m, 0.013),
            projection: t.bone(0.255 + 0.02 * m, 0.035),
            hump: t.bone(0.01 + 0.012 * m, 0.02),
            tip: t.feature(0.09, 0.02),
        };
        let mouth = Mouth {
            half_width: t.feature(0.335, 0.028),
            upper: t.feature(0.088 - 0.014 * m + 0.02 * depth, 0.015).max(0.04),
            lower: t.feature(0.122 - 0.014 * m + 0.02 * depth, 0.018).max(0.06),
            bow: t.feature(0.35, 0.14).clamp(0.05, 0.8),
            corners: t.feature(0.0, 0.025),
            redness: t.feature(0.45 - 0.2 * m, 0.15).clamp(0.05, 0.9),
        };
        let skin = Skin {
            tone: skin_tone(&mut t, depth),
            ruddiness: t.feature(0.4, 0.2).clamp(0.0, 1.0),
            freckles: if t.unit() < 0.25 * (1.0 - depth) * FEATURES { t.between(0.4, 1.0) } else { 0.0 },
            shine: t.between(0.6, 1.3),
            moles: moles(&mut t),
        };
        let hair = hair(&mut t, masculine, age, depth);
        let beard = if masculine > 0.55 { ((masculine - 0.55) * 2.2 * t.unit().max(0.25)).min(1.0) } else { 0.0 };
        let ears = t.feature(1.0, 0.1);
        Self { grain, age, bones, eyes, brows, nose, mouth, skin, hair, beard, ears }
    }
}

fn moles(t: &mut Traits) -> Vec<(f32, f32, f32)> {
    let count = (t.unit() * t.unit() * 4.0 * FEATURES) as usize;
    (0..count).map(|_| (t.between(-0.75, 0.75), t.between(-0.1, 1.4), t.between(0.014, 0.028))).collect()
}

fn hair(t: &mut Traits, masculine: f32, age: f32, depth: f32) -> Hair {
    use Style::*;
    let style = match (masculine > 0.5, t.unit()) {
        (true, x) if x < 0.22 => Cropped,
        (true, x) if x < 0.50 => Short,
        (true, x) if x < 0.72 => SideParted,
        (true, x) if x < 0.82 => Curly,
        (true, x) if x < 0.82 + 0.14 * age.max(0.3) => Receding,
        (true, x) if x < 0.95 => Long,
        (true, _) => TiedBack,
        (false, x) if x < 0.34 => Long,
        (false, x) if x < 0.58 => Bob,
        (false, x) if x < 0.76 => TiedBack,
        (false, x) if x < 0.90 => Curly,
        (false, _) => SideParted,
    };
    Hair {
        style,
        colour: hair_colour(t, age, depth),
        line: t.feature(0.74 + if style == Receding { 0.2 } else { 0.0 }, 0.055),
        peak: t.feature(0.01, 0.03),
        volume: t.between(0.7, 1.35),
        wave: t.unit(),
        part: if t.unit() < 0.5 { -1.0 } else { 1.0 },
        fringe: if matches!(style, Bob | Long | Short) && t.unit() < 0.4 { t.between(0.3, 0.5) } else { 0.0 },
    }
}
