//! How traits spread between people: sizes around a mean, colours along palettes.

use nets::chance::Draws;

use super::difficulty::{BONES, COLOURS, FEATURES};
use super::vector::{V3, step};

/// Draws of one person; bounded normals keep every face plausible.
pub(super) struct Traits<'a>(pub(super) &'a mut Draws);

impl Traits<'_> {
    pub(super) fn normal(&mut self, mean: f32, deviation: f32) -> f32 {
        mean + deviation * (self.0.normal() as f32).clamp(-2.2, 2.2)
    }

    pub(super) fn bone(&mut self, mean: f32, deviation: f32) -> f32 {
        self.normal(mean, deviation * BONES)
    }

    pub(super) fn feature(&mut self, mean: f32, deviation: f32) -> f32 {
        self.normal(mean, deviation * FEATURES)
    }

    pub(super) fn unit(&mut self) -> f32 {
        self.0.unit() as f32
    }

    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }
}

/// Linear colours from fair to deep; between them the hue wanders a little.
pub(super) fn skin_tone(t: &mut Traits, depth: f32) -> V3 {
    const TONES: [V3; 5] = [
        V3(0.80, 0.56, 0.45),
        V3(0.70, 0.45, 0.33),
        V3(0.55, 0.33, 0.215),
        V3(0.36, 0.20, 0.125),
        V3(0.205, 0.112, 0.07),
    ];
    let tone = along(&TONES, depth.clamp(0.0, 0.999) * 4.0);
    let warmth = t.normal(0.0, 0.045 * COLOURS);
    tone.times(V3(1.0 + warmth * 0.4, 1.0, 1.0 - warmth * 1.6))
}

/// Blue over green to brown, the darker the more likely with deep skin.
pub(super) fn iris_colour(t: &mut Traits, depth: f32) -> V3 {
    const COLOURS: [V3; 5] = [
        V3(0.10, 0.20, 0.34),
        V3(0.13, 0.22, 0.22),
        V3(0.12, 0.19, 0.07),
        V3(0.17, 0.095, 0.03),
        V3(0.05, 0.024, 0.012),
    ];
    let place = ((0.15 + depth * 1.1 + t.between(-0.35, 0.35)) * 4.0).clamp(0.0, 3.999);
    along(&COLOURS, place) * t.between(0.85, 1.25)
}

/// Fair to dark as the skin is, sometimes red, grey with age.
pub(super) fn hair_colour(t: &mut Traits, age: f32, depth: f32) -> V3 {
    const FAIR_TO_DARK: [V3; 5] = [
        V3(0.52, 0.36, 0.17),
        V3(0.30, 0.15, 0.055),
        V3(0.16, 0.07, 0.03),
        V3(0.06, 0.030, 0.017),
        V3(0.016, 0.012, 0.011),
    ];
    let place = ((0.05 + depth * 1.2 + t.between(-0.3, 0.5)) * 4.0).clamp(0.0, 3.999);
    let mut colour = along(&FAIR_TO_DARK, place);
    if depth < 0.45 && t.unit() < 0.1 {
        colour = V3(0.36, 0.105, 0.03);
    }
    let grey = step(0.35, 0.85, age + t.between(-0.1, 0.1));
    colour.mix(V3(0.42, 0.41, 0.40), grey * 0.85)
}

/// The colour at `place`, from 0 to below 4, between neighbours of a palette.
fn along(palette: &[V3; 5], place: f32) -> V3 {
    let below = place as usize;
    palette[below].mix(palette[below + 1], place - below as f32)
}
