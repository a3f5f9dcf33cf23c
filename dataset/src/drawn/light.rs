//! Lamps: one key light with soft shadows, light from sky and ground, and a rim light.

use super::moment::Light;
use super::raster::Shadow;
use super::vector::{V3, power, step};

/// The light of one picture.
pub(super) struct Lamps<'a> {
    pub(super) towards: V3,
    pub(super) key: V3,
    /// Halfway between the lamp and the camera.
    pub(super) half: V3,
    light: &'a Light,
    shadow: Shadow,
}

impl<'a> Lamps<'a> {
    pub(super) fn new(light: &'a Light, shadow: Shadow) -> Self {
        let half = (light.towards + V3(0.0, 0.0, 1.0)).unit();
        Self { towards: light.towards, key: light.key, half, light, shadow }
    }

    /// How much of the key light arrives, 0 to 1.
    pub(super) fn shadow(&self, seen: V3) -> f32 {
        self.shadow.light(seen)
    }

    /// Light of sky and ground on a surface.
    pub(super) fn ambient(&self, normal: V3) -> V3 {
        let up = 0.5 - 0.5 * normal.1;
        self.light.ground.mix(self.light.sky, up)
    }

    /// Light from behind one side, on edges only.
    pub(super) fn rim(&self, normal: V3) -> V3 {
        let side = normal.0 * self.light.rim_side;
        self.light.rim * (step(0.35, 1.0, side) * (1.0 - normal.2.max(0.0)))
    }

    /// Diffuse light on skin: red light scatters below the surface and comes out beyond the
    /// edge of the light, so that edge is soft and warm.
    pub(super) fn on_skin(&self, normal: V3, shadow: f32, openness: f32) -> V3 {
        let facing = normal.dot(self.towards);
        let wrapped = |wrap: f32| ((facing + wrap) / (1.0 + wrap)).max(0.0);
        // Blood reddens the edge of a shadow.
        let through = V3(shadow.sqrt(), shadow, shadow);
        let key = self.key.times(V3(wrapped(0.32), wrapped(0.16), wrapped(0.10))).times(through);
        let bounce = V3(1.0, 0.62, 0.5) * (0.06 * shadow);
        (key + self.key.times(bounce)) * (0.55 + 0.45 * openness) + self.ambient(normal) * openness + self.rim(normal)
    }

    /// Sheen of the key light on a surface, before colour; `doublings` sets its sharpness.
    pub(super) fn sheen(&self, normal: V3, shadow: f32, doublings: u32) -> f32 {
        let along = normal.dot(self.half).max(0.0);
        if along < 0.5 {
            return 0.0;
        }
        power(along, doublings) * shadow
    }
}
