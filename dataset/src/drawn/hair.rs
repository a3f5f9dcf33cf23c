//! Hair: a shell over the skull that exists where the hairline lets it, and its silky light.

use std::f32::consts::PI;

use super::head::{CROWN, Head};
use super::light::Lamps;
use super::mesh::{Material, Mesh};
use super::moment::Moment;
use super::noise;
use super::person::{Person, Style};
use super::raster::Fragment;
use super::vector::{Rotation, V3, mix, power, step};

/// How one style falls.
struct Cut {
    /// Thickness over the crown and at the sides.
    top: f32,
    sides: f32,
    /// Height at which it ends at the sides, and behind.
    side_end: f32,
    back_end: f32,
    /// Angle from which hair hangs in front of the shoulders; above pi for none.
    curtain: f32,
    /// Size of curls.
    curl: f32,
}

impl Cut {
    fn of(style: Style, volume: f32, wave: f32) -> Self {
        let none = 9.0;
        let cut = |top, sides, side_end, back_end, curtain, curl| Self {
            top: top * volume,
            sides,
            side_end,
            back_end,
            curtain,
            curl,
        };
        match style {
            Style::Cropped => cut(0.05, 0.025, 0.12, 0.9, none, 0.01),
            Style::Short => cut(0.17, 0.055, 0.22, 1.0, none, 0.02 + 0.03 * wave),
            Style::SideParted => cut(0.24, 0.075, 0.26, 1.0, none, 0.015 + 0.02 * wave),
            Style::Bob => cut(0.20, 0.15, 1.25, 1.35, 1.0, 0.02 + 0.03 * wave),
            Style::Long => cut(0.18, 0.14, 2.6, 2.6, 1.02, 0.02 + 0.05 * wave),
            Style::Curly => cut(0.34, 0.24, 0.75, 1.1, none, 0.075),
            Style::TiedBack => cut(0.07, 0.04, 0.2, 0.9, none, 0.008),
            Style::Receding => cut(0.045, 0.04, 0.2, 0.9, none, 0.01),
        }
    }
}

/// The shell. Under a hat it lies flat.
pub(super) fn mesh(person: &Person, moment: &Moment, head: &Head) -> Mesh {
    const COLUMNS: usize = 81;
    const ROWS: usize = 42;
    let worn = &moment.worn;
    let hair = &person.hair;
    let cut = Cut::of(worn.style, hair.volume, hair.wave);
    let under_hat = worn.hat.is_some();
    let end = cut.side_end.max(cut.back_end) + 0.15;
    let mut mesh = Mesh::new(Material::Hair, COLUMNS);
    // Only hair that hangs free shows its inside.
    mesh.one_sided = cut.side_end < 0.6;
    let angles: Vec<(f32, f32, f32)> = (0..COLUMNS)
        .map(|column| {
            let angle = (column as f32 / (COLUMNS - 1) as f32 * 2.0 - 1.0) * PI;
            (angle, libm::sinf(angle), libm::cosf(angle))
        })
        .collect();
    for row in 0..ROWS {
        let t = row as f32 / (ROWS - 1) as f32;
        // Denser at the crown, where the shell curves most.
        let y = CROWN - cut.top + (end - CROWN + cut.top) * t * (0.45 + 0.55 * t);
        let skull = head.section(((y - CROWN + cut.top) / (1.0 + cut.top)) + CROWN + 0.0);
        let skull = if y < -0.3 { skull } else { head.section(y) };
        let hanging = head.section(y.min(0.15));
        for &(angle, sin, cos) in &angles {
            let side = angle.abs();
            let falls = step(0.75, 1.25, side) * step(0.0, 0.5, y) * if cut.side_end > 0.6 { 1.0 } else { 0.0 };
            let width = mix(skull.width, hanging.width * (1.0 + 0.04 * y), falls);
            let depth =
                if cos > 0.0 { mix(skull.front, hanging.front, falls) } else { mix(skull.back, hanging.back, falls) };
            let edge = existence(&cut, person, moment, angle, sin, y);
            let high = step(0.2, -1.1, y);
            let lift = mix(cut.sides, cut.top, high) * step(-0.03, 0.3, edge).max(0.25);
            let curl = cut.curl
                * (noise::smooth(angle * 3.0, y * 3.0, person.grain)
                    + 0.8 * noise::smooth(angle * 8.0, y * 7.0, person.grain ^ 1));
            let parting = 1.0 - 0.55 * parting(worn.style, worn.part, sin, cos, y);
            let lift = if under_hat && y < -0.35 { 0.03 } else { (lift + curl) * parting };
            // A squarish cross-section as the skull's, so that the shell nowhere dips below it.
            let flat = 1.0 + 0.07 * (1.0 - (2.0 * cos * cos - 1.0) * (2.0 * cos * cos - 1.0));
            mesh.points.push(V3((width + lift) * sin * mix(1.0, flat, 0.5), y, (depth + lift) * cos * flat));
            mesh.address.push((angle, y));
            mesh.cut.push(edge);
        }
    }
    mesh
}

/// Positive where there is hair, in units from its edge.
fn existence(cut: &Cut, person: &Person, moment: &Moment, angle: f32, sin: f32, y: f32) -> f32 {
    let hair = &person.hair;
    let worn = &moment.worn;
    let side = angle.abs();
    let x = sin;
    // Forehead: the hairline, lower at the temples, with peak or receding corners.
    let mut line = -hair.line + 0.28 * x * x + hair.peak * (1.0 - x * x * 9.0).max(-0.6);
    if worn.style == Style::Receding {
        line -= 0.35 * step(0.9, 0.2, (x.abs() - 0.45).abs()) + 0.1;
    }
    if worn.style == Style::SideParted {
        line += 0.10 * step(-0.5, 0.6, -x * worn.part);
    }
    if worn.fringe > 0.0 {
        // A fringe swept from the parting.
        let swept = 0.5 + 0.5 * (x * worn.part).clamp(-1.0, 1.0);
        line += worn.fringe * (0.75 + 0.45 * swept) * step(1.0, 0.7, x.abs());
    }
    let temple = step(0.70, 1.38, side);
    let behind = step(1.45, 1.75, side);
    let ends = mix(mix(line, cut.side_end, temple), cut.back_end, behind);
    let cap = ends - y;
    // Locks in front of the shoulders.
    let locks = if cut.curtain < PI {
        let opening = cut.curtain + 0.10 * step(0.3, 1.2, y) - 0.12 * step(1.2, 2.2, y)
            + 0.05 * noise::smooth(y * 2.0, angle.signum() * 7.0, person.grain ^ 5);
        ((side - opening) * 1.1).min(cut.side_end - y)
    } else {
        f32::MIN
    };
    cap.max(locks.min(y + 0.7)).clamp(-1.0, 1.0)
}

/// 1 in the valley of the parting.
fn parting(style: Style, part: f32, sin: f32, cos: f32, y: f32) -> f32 {
    if !matches!(style, Style::SideParted | Style::Bob | Style::Long) || cos < -0.2 {
        return 0.0;
    }
    let offset = if style == Style::SideParted { 0.42 } else { 0.16 };
    step(0.16, 0.0, (sin - part * offset).abs()) * step(-0.7, -1.1, y)
}

/// Light on hair: strands along the fall of the shell shine in bands across it (Kajiya and Kay
/// 1989).
pub(super) fn shade(person: &Person, moment: &Moment, fragment: &Fragment, lamps: &Lamps, rotation: &Rotation) -> V3 {
    let (angle, y) = fragment.address;
    let grain = person.grain;
    let wave = 0.25 * person.hair.wave * noise::smooth(y * 2.2, 0.5, grain ^ 9);
    let across = angle + wave;
    let strand =
        noise::smooth(across * 26.0, y * 1.3, grain ^ 2) * 0.6 + noise::smooth(across * 70.0, y * 2.5, grain ^ 3) * 0.4;
    let lock = noise::smooth(across * 9.0, y * 0.8, grain ^ 4);
    let albedo = person.hair.colour * (1.0 + 0.30 * strand + 0.16 * lock);

    // Strands fall along the surface.
    let normal = fragment.normal;
    let down = V3(rotation.0[0].1, rotation.0[1].1, rotation.0[2].1);
    let tangent = (down - normal * (down.dot(normal) - 0.16 * strand)).unit();
    let shine = |shift: f32, doublings: u32| {
        let along = (tangent + fragment.normal * shift).unit().dot(lamps.half);
        power((1.0 - along * along).max(0.0).sqrt(), doublings)
    };
    let shadow = fragment.lit;
    let facing = fragment.normal.dot(lamps.towards);
    let diffuse = (facing * 0.65 + 0.35).clamp(0.0, 1.0);
    let sides = step(-0.25, 0.45, facing);
    let gloss = (shine(0.12, 5) * 0.16 * (0.7 + 0.6 * strand.max(0.0))) * sides;
    let second = shine(-0.18, 3) * 0.22 * sides;

    // Deep inside the shell, near its edges, little light arrives.
    let depth = if moment.worn.hat.is_some() { 0.8 } else { 1.0 };
    let ambient = lamps.ambient(fragment.normal) * (0.75 * depth);
    let key = lamps.key * shadow;
    albedo.times(ambient + key * diffuse + lamps.rim(fragment.normal))
        + key * gloss * 0.55
        + albedo.times(key) * second * 1.4
}
