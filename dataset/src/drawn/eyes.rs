//! Eyes: lids, lashes, a wet ball with iris, pupil and the lamp's reflection.

use super::light::Lamps;
use super::raster::Fragment;
use super::skin::{Face, Surface};
use super::vector::{V3, hill, mix, step};

/// Paints the eyes over shaded skin.
pub(super) fn paint(face: &Face, fragment: &Fragment, lamps: &Lamps, skin: V3, surface: &Surface) -> V3 {
    let eyes = &face.person.eyes;
    let mood = &face.moment.face;
    let (x, y) = (fragment.point.0, fragment.point.1);
    let side = if x < 0.0 { -1.0 } else { 1.0 };
    // Local frame: u grows outwards, v downwards, turned by the tilt of the lids.
    let u = x * side - eyes.spacing;
    let v = y + eyes.tilt * u;
    let t = u / eyes.half_width;
    if t.abs() > 2.0 || v.abs() > 0.42 {
        return skin;
    }
    let soft = face.pixel * 0.65;
    // The upper lid peaks off-centre; both lids meet in the corners.
    let skewed = (t - eyes.peak * (1.0 - t * t).max(0.0)).clamp(-1.0, 1.0);
    let arc = (1.0 - skewed * skewed).max(0.0);
    let smile = mood.smile.max(0.0);
    let lower = eyes.lower * arc * (1.0 - 0.35 * smile) + 0.004;
    // A closing lid comes down to the lower one.
    let upper = mix(lower - 0.012, -eyes.upper * arc * (1.0 - 0.12 * arc), mood.open);
    let open = step(-soft, soft, v - upper) * step(soft, -soft, v - lower) * step(1.03, 0.97, t.abs());

    // Skin around: lid crease, shadow of the fold, bags, make-up.
    let fold = upper - eyes.crease - 0.012;
    let crease = step(0.022 + soft, 0.0, (v - fold).abs()) * step(1.15, 0.8, t.abs()) * step(0.012, 0.045, eyes.crease);
    let lid = step(fold, fold + 0.03, v) * step(upper + 0.02, upper - 0.01, v) * step(1.15, 0.85, t.abs());
    let bag = hill(t * 0.75, v - lower - 0.085, 1.0, 0.075) * eyes.bags;
    let mut around = skin * (1.0 - 0.42 * crease - 0.14 * bag - 0.10 * lid);
    let shadow = hill(t * 0.62, v - upper + 0.09, 1.0, 0.17) * face.moment.worn.make_up;
    around = around.times(V3(1.0 - 0.38 * shadow, 1.0 - 0.50 * shadow, 1.0 - 0.46 * shadow));
    let corner = hill(t + 1.12, v * 4.0, 0.42, 0.42);
    around = around.times(V3(1.0 - 0.22 * corner, 1.0 - 0.36 * corner, 1.0 - 0.34 * corner));

    let mut colour = around;
    if open > 0.0 {
        colour = around.mix(ball(face, fragment, lamps, u * side, v, t, upper, side), open);
    }
    // Lashes: a dark rim, thicker outside and above, softer below.
    let made = 0.35 * face.moment.worn.make_up;
    let thick = 0.010 + (0.016 + 0.012 * (t + 1.0).max(0.0)) * (eyes.lashes + made);
    let reach = step(1.10 + 0.1 * eyes.lashes, 0.97, t.abs());
    let above = step(thick + soft, thick - soft, (v - upper + thick * 0.45).abs()) * reach;
    let below = step(0.010 + soft, 0.0, (v - lower - 0.004).abs()) * step(1.05, 0.8, t.abs()) * (0.22 + 0.4 * made);
    let lash = V3(0.012, 0.008, 0.007);
    let strength = 0.62 + 0.35 * (eyes.lashes + made).min(1.0);
    colour.mix(lash, (above * strength).min(0.97)).mix(lash + around * 0.25, below * surface.openness.min(1.0))
}

/// The eyeball between the lids.
#[allow(clippy::too_many_arguments)] // One place of one eye; a struct would only rename them.
fn ball(face: &Face, fragment: &Fragment, lamps: &Lamps, x: f32, v: f32, t: f32, upper: f32, side: f32) -> V3 {
    let eyes = &face.person.eyes;
    let mood = &face.moment.face;
    let soft = face.pixel * 0.6;
    let (dx, dy) = (x - mood.gaze.0, v - mood.gaze.1 + 0.012);
    let radius = (dx * dx + dy * dy).sqrt();

    // A ball's normal, flatter than the lids around it.
    let bend = 2.2;
    let normal = (fragment.normal + V3(x * bend * 0.6, v * bend * 0.5, 0.35)).unit();
    let light = lamps.on_skin(normal, fragment.lit, 0.9);
    // The upper lid and its lashes throw a soft shadow on the ball.
    let lid_shade = mix(0.50, 1.0, step(0.0, 0.075, v - upper)) * mix(0.62, 1.0, step(1.02, 0.55, t.abs()));

    let white = V3(0.66, 0.63, 0.61).mix(V3(0.60, 0.34, 0.30), 0.75 * step(-0.72, -1.0, t * side * side));
    let iris = eyes.iris;
    let outer = radius / iris;
    let rays = super::noise::smooth(libm::atan2f(dy, dx) * 7.0, outer * 2.0, face.person.grain ^ 11);
    // Light gathers in the half of the iris away from the lamp.
    let gather = ((dy * 0.8 - dx * lamps.towards.0) / iris).clamp(-1.0, 1.0);
    let bright = (1.0 + 0.30 * rays + 0.55 * gather) * mix(1.35, 0.55, step(0.25, 1.0, outer));
    let mut colour = white.mix(eyes.colour * (bright * 1.35), step(iris + soft, iris - soft, radius));
    let limbus = step(0.02 + soft, 0.0, (radius - iris).abs()) * 0.55;
    colour = colour.mix(eyes.colour * 0.15, limbus);
    let pupil = iris * mood.pupil;
    colour = colour.mix(V3(0.006, 0.005, 0.005), step(pupil + soft, pupil - soft, radius));
    let lit = colour.times(light) * lid_shade;

    // Reflections of the lamp and, softer, of the ground.
    let at = (lamps.towards.0 * 0.042, lamps.towards.1 * 0.05 + 0.004);
    let (gx, gy) = (dx - at.0, dy - at.1);
    let spark = step(0.024 + soft, 0.024 - soft, (gx * gx + gy * gy).sqrt());
    let soft_spark = hill(dx + at.0 * 1.4, dy + at.1 * 1.2, 0.05, 0.04) * 0.10;
    let strength = 0.35 + 0.4 * lamps.key.1;
    lit + V3::ONE * ((spark * 0.85 + soft_spark) * strength * step(0.0, 0.03, v - upper))
}
