//! When and how a person is pictured: everything about an image that says nothing about who it is.

use nets::chance::Draws;

use super::attire::{Worn, cloth};
use super::difficulty::{ALIGNMENT, CAMERA, EXPRESSION, LIGHT, PITCH, YAW};
use super::person::Person;
use super::vector::{V3, mix};

/// One picture's circumstances.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// Seeds background, film grain and strands out of place.
    pub(super) grain: u32,
    pub(super) pose: Pose,
    pub(super) light: Light,
    pub(super) face: Expression,
    pub(super) worn: Worn,
    pub(super) camera: Camera,
    pub(super) background: Background,
}

#[derive(Clone, Debug)]
pub(super) struct Pose {
    pub(super) yaw: f32,
    pub(super) pitch: f32,
    pub(super) roll: f32,
    /// Distance of the camera in face units; near cameras enlarge the nose.
    pub(super) distance: f32,
    /// Errors of the alignment: right, down in pixels, size, turn in radians.
    pub(super) shift: (f32, f32),
    pub(super) size: f32,
    pub(super) turn: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Light {
    /// Unit vector towards the lamp or window.
    pub(super) towards: V3,
    pub(super) key: V3,
    /// From above, and from below.
    pub(super) sky: V3,
    pub(super) ground: V3,
    /// Light from behind one side, and that side.
    pub(super) rim: V3,
    pub(super) rim_side: f32,
    /// Half width of shadow edges, in units of the shadow map's pixels.
    pub(super) softness: f32,
    /// Of the direction: radians to the right of the camera and above the face.
    pub(super) azimuth: f32,
    pub(super) height: f32,
    /// 0 soft to 1 hard.
    pub(super) hardness: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Expression {
    /// -1 sad to 1 broad smile.
    pub(super) smile: f32,
    /// Gap between the lips in face units.
    pub(super) gap: f32,
    /// Factor of the opening of each eye.
    pub(super) open: f32,
    pub(super) brows: f32,
    pub(super) frown: f32,
    pub(super) gaze: (f32, f32),
    pub(super) pupil: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Camera {
    pub(super) exposure: f32,
    pub(super) contrast: f32,
    pub(super) balance: V3,
    /// Standard deviation of the blur in pixels.
    pub(super) blur: f32,
    pub(super) noise: f32,
    pub(super) saturation: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Background {
    pub(super) near: V3,
    pub(super) far: V3,
    /// Direction in which it changes.
    pub(super) slope: (f32, f32),
    /// Blurred discs: x, y, radius in pixels, colour.
    pub(super) discs: Vec<(f32, f32, f32, V3)>,
}

impl Moment {
    pub(super) fn new(person: &Person, draws: &mut Draws) -> Self {
        let grain = draws.next_u64() as u32;
        Self {
            grain,
            pose: Pose::new(draws),
            light: Light::new(draws),
            face: Expression::new(draws),
            worn: Worn::new(person, draws),
            camera: Camera::new(draws),
            background: Background::new(draws),
        }
    }
}

/// A normal number held to 2.2 deviations.
fn normal(draws: &mut Draws, deviation: f32) -> f32 {
    deviation * (draws.normal() as f32).clamp(-2.2, 2.2)
}

/// A uniform number.
pub(super) fn between(draws: &mut Draws, low: f32, high: f32) -> f32 {
    mix(low, high, draws.unit() as f32)
}

impl Pose {
    fn new(draws: &mut Draws) -> Self {
        let (shift, size, turn) = ALIGNMENT;
        Self {
            yaw: normal(draws, YAW),
            pitch: normal(draws, PITCH),
            roll: normal(draws, 0.08),
            distance: between(draws, 6.5, 16.0),
            shift: (normal(draws, shift), normal(draws, shift)),
            size: 1.0 + normal(draws, size),
            turn: normal(draws, turn),
        }
    }
}

impl Light {
    fn new(draws: &mut Draws) -> Self {
        let hardness = between(draws, 0.15, 1.0) * LIGHT;
        let azimuth = normal(draws, 0.75) * (0.4 + 0.6 * LIGHT);
        let height = 0.5 + normal(draws, 0.3);
        let towards =
            V3(libm::sinf(azimuth) * libm::cosf(height), -libm::sinf(height), libm::cosf(azimuth) * libm::cosf(height));
        let tint = |draws: &mut Draws, warmth: f32, strength: f32| {
            let warmth = warmth + normal(draws, 0.04);
            V3(1.0 + warmth, 1.0, 1.0 - 1.2 * warmth) * strength
        };
        let warm = normal(draws, 0.07);
        let ambient = mix(0.85, 0.2, hardness) * between(draws, 0.8, 1.2);
        let from_below = between(draws, 0.3, 0.6);
        let has_rim = draws.chance(0.35);
        let rim = between(draws, 0.3, 1.0);
        Self {
            towards,
            key: tint(draws, warm, mix(0.65, 1.75, hardness)),
            sky: tint(draws, -0.5 * warm - 0.04, ambient),
            ground: tint(draws, 0.1, ambient * from_below),
            rim: tint(draws, -warm, if has_rim { rim } else { 0.0 }),
            rim_side: if draws.chance(0.5) { 1.0 } else { -1.0 },
            softness: mix(3.2, 1.2, hardness),
            azimuth,
            height,
            hardness,
        }
    }
}

impl Expression {
    fn new(draws: &mut Draws) -> Self {
        let mood = draws.unit();
        let smile = match mood {
            x if x < 0.45 => between(draws, 0.35, 1.0),
            x if x < 0.9 => between(draws, -0.15, 0.3),
            _ => between(draws, -0.45, -0.15),
        } * EXPRESSION;
        let teeth = draws.chance(if smile > 0.35 { 0.6 } else { 0.12 });
        let gap = between(draws, 0.03, 0.14) * EXPRESSION;
        let closed = draws.chance(0.04);
        let open = between(draws, 0.72, 1.15) - 0.22 * smile.max(0.0);
        Self {
            smile,
            gap: if teeth && smile > -0.1 { gap } else { 0.0 },
            open: if closed { 0.06 } else { open },
            brows: normal(draws, 0.035 * EXPRESSION),
            frown: (between(draws, -0.8, 0.9) * EXPRESSION).max(0.0) * (1.0 - smile.max(0.0)),
            gaze: (normal(draws, 0.038), normal(draws, 0.016)),
            pupil: between(draws, 0.32, 0.55),
        }
    }
}

impl Camera {
    fn new(draws: &mut Draws) -> Self {
        let balance = normal(draws, 0.05 * CAMERA);
        let tint = normal(draws, 0.02 * CAMERA);
        let soft = draws.unit() as f32;
        Self {
            exposure: libm::exp2f(normal(draws, 0.25 * CAMERA)),
            contrast: 1.0 + normal(draws, 0.1 * CAMERA),
            balance: V3(1.0 + balance, 1.0 + tint, 1.0 - balance),
            blur: 0.25 + soft * soft * soft * 0.9 * CAMERA,
            noise: (0.004 + 0.016 * draws.unit() as f32 * draws.unit() as f32) * CAMERA,
            saturation: between(draws, 0.75, 1.15),
        }
    }
}

impl Background {
    fn new(draws: &mut Draws) -> Self {
        let near = cloth(draws).mix(V3::ONE * 0.3, 0.4) * between(draws, 0.6, 1.6);
        let far = cloth(draws).mix(near, 0.5) * between(draws, 0.6, 1.5);
        let angle = between(draws, 0.0, std::f32::consts::TAU);
        let count = draws.below(7);
        let discs = (0..count)
            .map(|_| {
                let place = (between(draws, -10.0, 138.0), between(draws, -10.0, 138.0));
                let colour = cloth(draws) * between(draws, 0.5, 2.5);
                (place.0, place.1, between(draws, 6.0, 30.0), colour)
            })
            .collect();
        Self { near, far, slope: (libm::cosf(angle), libm::sinf(angle)), discs }
    }
}
