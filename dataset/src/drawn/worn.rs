//! Things worn: glasses, hats, scarves.

use super::attire::{Glasses, Hat};
use super::head::{CROWN, Head};
use super::light::Lamps;
use super::mesh::{Material, Mesh, View};
use super::noise;
use super::person::Person;
use super::raster::Fragment;
use super::vector::{V3, mix, step};

/// A knitted cap or a cap with a brim.
pub(super) fn hat(hat: &Hat, head: &Head) -> Vec<Mesh> {
    let ribs = if hat.brim { 0.0 } else { 24.0 };
    let top = CROWN - 0.22;
    let crown = Mesh::around(Material::Cloth { colour: hat.colour, ribs }, 61, 24, |angle, row| {
        let (sin, cos) = (libm::sinf(angle), libm::cosf(angle));
        let rise = 1.0 - (1.0 - row) * (1.0 - row) * 0.55 - 0.45 * (1.0 - row);
        let edge = -hat.edge + 0.22 * (0.5 - 0.5 * cos);
        let y = top + (edge - top) * rise;
        let section = head.section((CROWN + (y - top) * (edge - CROWN) / (edge - top)).min(-0.3));
        let fold = if hat.brim { 0.0 } else { 0.05 * step(0.74, 0.78, row) };
        let lift = 0.13 + fold;
        let back = if cos > 0.0 { section.front } else { section.back };
        V3((section.width + lift) * sin, y, (back * 1.02 + lift) * cos)
    });
    let mut meshes = vec![crown];
    if hat.brim {
        let section = head.section(-hat.edge);
        let mut brim = Mesh::new(Material::Cloth { colour: hat.colour * 0.85, ribs: 0.0 }, 31);
        for row in 0..6 {
            let out = row as f32 / 5.0;
            for column in 0..31 {
                let angle = (column as f32 / 30.0 - 0.5) * 2.5;
                let (sin, cos) = (libm::sinf(angle), libm::cosf(angle));
                let reach = 0.10 + 0.62 * out * (0.35 + 0.65 * cos.max(0.0));
                let droop = 0.10 * out + 0.22 * sin * sin;
                brim.points.push(V3(
                    (section.width + reach * 0.35) * sin,
                    -hat.edge + droop,
                    (section.front + reach) * cos,
                ));
                brim.address.push((angle, out));
            }
        }
        meshes.push(brim);
    }
    meshes
}

/// A scarf around the neck.
pub(super) fn scarf(colour: V3, head: &Head) -> Mesh {
    let middle = head.chin + 0.36;
    Mesh::around(Material::Cloth { colour, ribs: 17.0 }, 49, 15, |angle, row| {
        let around = (row * 2.0 - 1.0) * 1.9;
        let (sin, cos) = (libm::sinf(around), libm::cosf(around));
        let lump = 0.05 * noise::smooth(angle * 1.7, around, 91);
        let reach = 0.80 + 0.26 * cos + lump;
        V3(reach * libm::sinf(angle), middle + 0.34 * sin + 0.08 * libm::cosf(angle), -0.12 + reach * libm::cosf(angle))
    })
}

/// Light on cloth.
pub(super) fn shade(colour: V3, ribs: f32, fragment: &Fragment, lamps: &Lamps) -> V3 {
    let (angle, y) = fragment.address;
    let weave = noise::smooth(angle * 40.0, y * 46.0, 21) * 0.08;
    let knit = if ribs > 0.0 { 0.20 * libm::sinf(angle * ribs) + 0.08 * libm::sinf(y * 62.0) } else { 0.0 };
    let facing = fragment.normal.dot(lamps.towards);
    let diffuse = ((facing + 0.12) / 1.12).max(0.0) * fragment.lit;
    let light = lamps.ambient(fragment.normal) * 0.85 + lamps.key * diffuse + lamps.rim(fragment.normal);
    (colour * (1.0 + weave + knit)).times(light)
}

/// Two ends, in pixels.
type Segment = ((f32, f32), (f32, f32));

/// Glasses, drawn in their own plane in front of the eyes.
pub(super) struct Spectacles<'a> {
    glasses: &'a Glasses,
    depth: f32,
    spacing: f32,
    /// Hinge and end of each side piece, in pixels, nearer side last; `None` when hidden.
    arms: [Option<Segment>; 2],
    pixel: f32,
}

impl<'a> Spectacles<'a> {
    pub(super) fn new(glasses: &'a Glasses, person: &Person, head: &Head, view: &View) -> Self {
        let depth = head.point(0.0, -0.02).2 + 0.05;
        let spacing = person.eyes.spacing + 0.02;
        let arm = |side: f32| {
            let turned = view.rotation.apply(V3(side, 0.0, 0.0));
            if turned.2 < -0.12 {
                return None;
            }
            let hinge = view.rotation.apply(V3(side * (spacing + glasses.half_width), -0.07, depth - 0.06));
            let ear = view.rotation.apply(V3(side * (person.bones.width + 0.05), -0.02, 0.0));
            Some((view.pixel(hinge), view.pixel(ear)))
        };
        Self { glasses, depth, spacing, arms: [arm(-1.0), arm(1.0)], pixel: 1.0 / view.scale() }
    }

    /// Lays the glasses over one pixel, of which `bare` shows skin: hair and air hide the side
    /// pieces, which run along the temples.
    pub(super) fn over(&self, view: &View, lamps: &Lamps, at: (f32, f32), bare: f32, behind: V3) -> V3 {
        let glasses = self.glasses;
        let (px, py) = view.on_plane(at, self.depth);
        let mut colour = behind;
        let soft = self.pixel * 0.6;
        let half = glasses.thickness * 0.5 + 0.006;
        let edge = self.lens(px, py);
        if edge < 0.0 {
            // Sky in the upper part of the lens, and its tint.
            let sky = 0.05 + 0.16 * step(0.2, -0.5, py / glasses.half_height + 0.35 * px.abs());
            let tint = glasses.tint;
            colour = colour * (1.0 - tint) + lamps.ambient(V3(0.0, -1.0, 0.0)) * (sky * (0.25 + 0.4 * tint));
        }
        let mut cover = step(soft, -soft, edge.abs() - half);
        let bridge_y = -0.05 - 0.05 * (1.0 - (px / 0.14) * (px / 0.14)).max(0.0);
        let inside = self.spacing - glasses.half_width;
        if px.abs() < inside.max(0.05) {
            cover = cover.max(step(soft, -soft, (py - bridge_y).abs() - half));
        }
        for &(from, to) in self.arms.iter().flatten() {
            let distance = segment_distance(at, from, to) * self.pixel;
            cover = cover.max(step(soft, -soft, distance - half * 0.9) * bare);
        }
        if cover <= 0.0 {
            return colour;
        }
        let gleam = 0.10 + 0.25 * step(0.01, -0.01, py + 0.07);
        let lit =
            glasses.colour.times(lamps.ambient(V3(0.0, -0.7, 0.7)) + lamps.key * 0.6) + lamps.key * (0.05 * gleam);
        colour.mix(lit, cover)
    }

    /// Signed distance to the rim of the nearer lens.
    fn lens(&self, x: f32, y: f32) -> f32 {
        let glasses = self.glasses;
        let dx = (x.abs() - self.spacing).abs();
        let dy = (y - 0.035).abs();
        let corner = mix(0.25, 0.98, glasses.round) * glasses.half_height;
        let (qx, qy) = (dx - glasses.half_width + corner, dy - glasses.half_height + corner);
        let outside = (qx.max(0.0) * qx.max(0.0) + qy.max(0.0) * qy.max(0.0)).sqrt();
        outside + qx.max(qy).min(0.0) - corner
    }
}

fn segment_distance(p: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (px, py) = (p.0 - from.0, p.1 - from.1);
    let t = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-6)).clamp(0.0, 1.0);
    let (ex, ey) = (px - t * dx, py - t * dy);
    (ex * ex + ey * ey).sqrt()
}
