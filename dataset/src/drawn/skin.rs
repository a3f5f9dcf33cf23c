//! Skin: tone, blush, freckles, brows, lips, nostrils, beard. Everything painted on the face but
//! the eyes.

use super::eyes;
use super::light::Lamps;
use super::moment::Moment;
use super::noise;
use super::person::Person;
use super::raster::Fragment;
use super::vector::{V3, hill, mix, step};

/// One person's face in one moment.
pub(super) struct Face<'a> {
    pub(super) person: &'a Person,
    pub(super) moment: &'a Moment,
    /// Width of a pixel in face units: how soft painted edges must be.
    pub(super) pixel: f32,
    pub(super) gap: f32,
}

/// What a place of the face is made of.
pub(super) struct Surface {
    pub(super) albedo: V3,
    /// Strength and sharpness of the sheen.
    pub(super) sheen: f32,
    pub(super) sharp: u32,
    /// Darkening of the light itself, where the mesh is too coarse to shade a fold.
    pub(super) openness: f32,
}

impl Face<'_> {
    /// Light that leaves the skin towards the camera.
    pub(super) fn shade(&self, fragment: &Fragment, lamps: &Lamps) -> V3 {
        let (x, y) = (fragment.point.0, fragment.point.1);
        let front = fragment.point.2 > 0.25;
        let mut surface = self.bare(x, y, fragment);
        if front {
            self.paint_beard(x, y, &mut surface);
            self.paint_folds(x, y, &mut surface);
            self.paint_nose(x, y, &mut surface);
            self.paint_mouth(x, y, &mut surface);
            self.paint_brow(x, y, &mut surface);
        }
        let light = lamps.on_skin(fragment.normal, fragment.lit, surface.openness);
        let edge = 1.0 - fragment.normal.2.clamp(0.0, 1.0);
        let fresnel = 0.6 + 2.2 * edge * edge * edge;
        let sheen = lamps.sheen(fragment.normal, fragment.lit, surface.sharp) * surface.sheen * fresnel;
        let skin = surface.albedo.times(light) + lamps.key * sheen;
        if front { eyes::paint(self, fragment, lamps, skin, &surface) } else { skin }
    }

    fn bare(&self, x: f32, y: f32, fragment: &Fragment) -> Surface {
        let Person { skin, age, .. } = self.person;
        let grain = self.person.grain;
        let side = x.abs();
        // Blood shows in cheeks, nose and ears.
        let blood = hill(side - 0.55, y - 0.52, 0.45, 0.38) * 0.75
            + hill(x, y - 0.58, 0.26, 0.24) * 0.6
            + hill(side - 1.1, y - 0.3, 0.2, 0.45) * 0.5
            + hill(x, y - self.person.bones.chin + 0.2, 0.3, 0.2) * 0.25;
        let blood = blood * (0.35 + 0.9 * skin.ruddiness + 0.4 * self.moment.worn.make_up);
        let mut albedo = skin.tone.times(V3(1.0 + 0.04 * blood, 1.0 - 0.26 * blood, 1.0 - 0.24 * blood));
        let mottle = noise::smooth(x * 6.0, y * 6.0, grain) * 0.6 + noise::smooth(x * 17.0, y * 17.0, grain ^ 1) * 0.4;
        albedo = albedo * (1.0 + (0.025 + 0.03 * age) * mottle);
        if skin.freckles > 0.0 {
            let where_they_are = hill(side - 0.3, y - 0.42, 0.75, 0.45);
            let spot = noise::smooth(x * 21.0, y * 21.0, grain ^ 2);
            let spots = step(0.28, 0.62, spot) * where_they_are * skin.freckles;
            albedo = albedo.times(V3(1.0 - 0.28 * spots, 1.0 - 0.42 * spots, 1.0 - 0.5 * spots));
        }
        for &(mx, my, radius) in &skin.moles {
            let (dx, dy) = (x - mx, y - my);
            let distance = (dx * dx + dy * dy).sqrt();
            let mole = step(radius + self.pixel * 0.7, radius - self.pixel * 0.7, distance) * 0.75;
            albedo = albedo.mix(skin.tone.times(V3(0.22, 0.15, 0.14)), mole);
        }
        let oily = hill(x, y - 0.3, 0.32, 0.6) * 0.6 + hill(x, y + 0.6, 0.6, 0.4) * 0.6 + 0.55;
        // Under the jaw the head itself hides the sky.
        let under = mix(1.0, 0.62, step(self.person.bones.chin - 0.25, self.person.bones.chin + 0.25, y));
        Surface { albedo, sheen: 0.10 * skin.shine * oily, sharp: 4, openness: fragment.openness * under }
    }

    fn paint_brow(&self, x: f32, y: f32, surface: &mut Surface) {
        let brows = &self.person.brows;
        let face = &self.moment.face;
        let side = x.abs();
        let along = (side - brows.inner + 0.05 * face.frown) / brows.length;
        if !(-0.1..=1.1).contains(&along) || !(-0.7..=0.1).contains(&y) {
            return;
        }
        let t = along.clamp(0.0, 1.0);
        let arch = 4.0 * brows.arch * t * (1.0 - 0.75 * t) * (1.0 + 0.2 * (t - 0.6));
        let middle = -brows.height - face.brows - arch
            + brows.slope * (0.5 - t)
            + 0.055 * face.frown * (1.0 - t) * (1.0 - t)
            + 0.07 * t * t;
        let half = brows.thickness * (0.80 + 0.35 * t - 0.95 * t * t) * 0.5 + 0.004;
        // Hairs lean outwards: noise stretched along the leaning direction.
        let lean = (y - middle) * 0.8;
        let hairs = noise::smooth((side + lean) * 46.0, (y - middle) * 9.0 + x.signum() * 40.0, self.person.grain ^ 6);
        let distance = (y - middle).abs() - half;
        let soft = self.pixel * 0.75 + 0.012;
        let ends = step(-0.08, 0.10, along) * step(1.08, 0.86, along);
        let cover = step(soft, -soft, distance) * ends * brows.density * (0.82 + 0.35 * hairs);
        let colour = self.person.hair.colour.mix(V3(0.03, 0.018, 0.012), 0.45);
        surface.albedo = surface.albedo.mix(colour, cover.clamp(0.0, 0.96));
        surface.sheen *= 1.0 - 0.8 * cover.clamp(0.0, 1.0);
    }

    fn paint_folds(&self, x: f32, y: f32, surface: &mut Surface) {
        let age = self.person.age;
        let smile = self.moment.face.smile.max(0.0);
        let side = x.abs();
        // From the wings of the nose to the corners of the mouth.
        let t = ((y - 0.58) / 0.5).clamp(0.0, 1.0);
        let middle = self.person.nose.width * 1.15 + (0.24 + 0.09 * smile) * t - 0.10 * t * t + 0.02;
        let mut dark = 0.0;
        if (0.5..1.2).contains(&y) {
            let depth = (0.06 + 0.40 * age + 0.26 * smile) * step(0.50, 0.72, y) * step(1.16, 0.88, y);
            dark += 0.40 * depth * step(0.085, 0.0, (side - middle).abs());
        }
        // Between the brows, and across the forehead.
        let frown = self.moment.face.frown.max(0.35 * age);
        dark += 0.3 * frown * step(0.035, 0.0, (side - 0.055).abs()) * hill(0.0, y + 0.24, 1.0, 0.16);
        let lift = (age - 0.25).max(0.0) + 4.0 * self.moment.face.brows.max(0.0);
        let forehead = hill(x, y + 0.62, 0.62, 0.2);
        if forehead * lift > 0.0 {
            dark += 0.22 * lift * forehead * step(0.72, 0.98, libm::sinf((y + 0.10 * x * x) * 52.0));
        }
        // Beside the eyes.
        let corner = hill(side - 0.78, y - 0.02, 0.15, 0.17);
        if corner > 0.0 {
            let crow = step(0.6, 1.0, libm::sinf(libm::atan2f(y - 0.01, side - 0.52) * 9.0));
            dark += 0.25 * (age * 0.8 + 0.5 * smile * age) * crow * corner;
        }
        // The groove above the lip.
        dark += 0.10 * step(0.05, 0.0, side) * hill(0.0, y - 0.82, 1.0, 0.11);
        surface.openness *= 1.0 - dark.min(0.8);
    }

    fn paint_nose(&self, x: f32, y: f32, surface: &mut Surface) {
        let nose = &self.person.nose;
        let spread = nose.width * (1.0 + 0.1 * self.moment.face.smile.max(0.0));
        let nostril = hill(x.abs() - spread * 0.50, y - nose.length - 0.068, 0.07, 0.034);
        let wing = hill(x.abs() - spread * 1.12, y - nose.length - 0.02, 0.04, 0.1);
        let shade = hill(x, y - nose.length - 0.10, spread * 1.3, 0.08);
        surface.albedo = surface.albedo.mix(V3(0.03, 0.012, 0.009), (1.25 * nostril).min(0.92));
        surface.openness *= 1.0 - 0.35 * wing - 0.30 * shade;
        surface.sheen *= 1.0 - nostril;
    }

    fn paint_mouth(&self, x: f32, y: f32, surface: &mut Surface) {
        let mouth = &self.person.mouth;
        let face = &self.moment.face;
        let half = mouth.half_width * (1.0 + 0.20 * face.smile.max(0.0) - 0.06 * face.smile.min(0.0).abs());
        let t = x / half;
        if t.abs() > 1.25 || (y - 1.0).abs() > 0.45 {
            return;
        }
        let inside = (1.0 - t * t).max(0.0);
        let edge = inside.sqrt();
        let bend = (mouth.corners + 0.105 * face.smile) * t * t;
        let middle = 1.0 - bend + 0.012 * (1.0 - 9.0 * x * x).max(0.0);
        let thin = 1.0 - 0.25 * face.smile.max(0.0);
        // Cupid's bow: a dip in the middle between two peaks.
        let bow = 1.0 - mouth.bow * hill(x, 0.0, half * 0.26, 1.0) * 0.55;
        let upper_inner = middle - self.gap * 0.30 * inside;
        let upper_edge = upper_inner - mouth.upper * thin * inside * (0.55 + 0.45 * edge) * bow;
        let lower_inner = middle + self.gap * 0.70 * edge * (0.6 + 0.4 * inside);
        let lower_edge = lower_inner + mouth.lower * thin * edge * (0.35 + 0.65 * inside);
        let soft = self.pixel * 0.7;
        let within = |top: f32, bottom: f32| step(-soft, soft, y - top) * step(soft, -soft, y - bottom);

        let red = mouth.redness;
        let bare = self.person.skin.tone.times(V3(0.90 - 0.05 * red, 0.62 - 0.22 * red, 0.60 - 0.18 * red));
        let lips = bare.mix(self.moment.worn.lipstick, 0.75 * self.moment.worn.make_up);
        let cracks = 1.0 + 0.06 * noise::smooth(x * 60.0, y * 8.0, self.person.grain ^ 7);
        let on_lips = within(upper_edge, lower_edge) * step(1.02, 0.94, t.abs());
        let shaded = if y < middle { 0.80 } else { 1.05 };
        surface.albedo = surface.albedo.mix(lips * (shaded * cracks), on_lips * 0.92);
        surface.sheen = mix(surface.sheen, if y > middle { 0.20 } else { 0.08 }, on_lips);
        if on_lips > 0.5 {
            surface.sharp = 5;
        }

        // The open mouth: dark, with the upper teeth, a little blue from the shadow of the lip.
        if self.gap > 0.0 {
            let open = within(upper_inner, lower_inner) * step(1.0, 0.9, t.abs());
            let teeth_end = upper_inner + (self.gap * 0.72).min(0.09) * (0.4 + 0.6 * edge);
            let between = 0.10 * step(0.75, 1.0, libm::sinf((x + 0.04) * 78.0).abs());
            let white = V3(0.56, 0.52, 0.46) * ((0.55 + 0.45 * inside) * (1.0 - between));
            let inner = V3(0.055, 0.014, 0.013).mix(white, within(upper_inner - 0.1, teeth_end));
            surface.albedo = surface.albedo.mix(inner, open);
            surface.openness = mix(surface.openness, 0.8, open);
            surface.sheen *= 1.0 - 0.7 * open;
        }
        // The line between closed lips, and its corners.
        let line_half = 0.011 + 0.006 * inside;
        let distance = (y - middle).abs().min(if self.gap > 0.0 { 1.0 } else { f32::MAX });
        let line = if self.gap > 0.0 {
            0.0
        } else {
            step(line_half + soft, line_half - soft, distance) * step(1.08, 0.96, t.abs())
        };
        let corner = hill(x.abs() - half * 1.02, y - 1.0 + mouth.corners + 0.105 * face.smile, 0.06, 0.045);
        surface.albedo = surface.albedo.mix(V3(0.075, 0.025, 0.02), (0.75 * line).max(0.5 * corner));
        // Shadow under the lower lip.
        let below = hill(x, y - lower_edge - 0.055, half * 0.75, 0.07);
        surface.openness *= 1.0 - 0.30 * below;
    }

    fn paint_beard(&self, x: f32, y: f32, surface: &mut Surface) {
        let amount = self.moment.worn.beard;
        if amount <= 0.02 || y < 0.2 {
            return;
        }
        let side = x.abs();
        let lips = hill(x, y - 1.0, 0.42, 0.16);
        // Cheek line from the ears to the corners of the mouth, and the moustache.
        let cheek = step(-0.05, 0.22, y - 1.02 + 0.75 * (side - 0.32).max(0.0) - 0.05);
        let moustache = hill(x, y - 0.85, 0.44, 0.15);
        let chin = hill(x, y - 1.32, 0.5, 0.42);
        let area = (cheek.max(1.4 * moustache).max(chin)).min(1.0) * (1.0 - (1.6 * lips).min(1.0)) * step(2.0, 1.7, y);
        let hairs = noise::smooth(x * 42.0, y * 22.0, self.person.grain ^ 8) * 0.55
            + noise::smooth(x * 85.0, y * 40.0, self.person.grain ^ 9) * 0.45;
        let full = step(0.35, 0.9, amount);
        let cover = area * mix(0.38 * amount + 0.05, 0.92, full) * (0.86 + 0.22 * hairs);
        let colour = self.person.hair.colour.mix(V3(0.03, 0.02, 0.015), 0.3) * (1.0 + 0.35 * hairs * full);
        let stubble = self.person.skin.tone.times(V3(0.42, 0.45, 0.52));
        surface.albedo = surface.albedo.mix(stubble.mix(colour, full), cover.clamp(0.0, 0.95));
        surface.sheen *= 1.0 - 0.6 * cover.clamp(0.0, 1.0);
    }
}
