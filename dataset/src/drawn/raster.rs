//! Which surface each pixel shows, and which surfaces the lamp sees.
//!
//! Four samples a pixel decide visibility; each surface in a pixel is shaded once, at the middle
//! of its samples. So edges are smooth and shading stays cheap.

use nets::pixels::IMAGE_SIZE;

use super::mesh::{Placed, View};
use super::noise;
use super::vector::{Rotation, V3, step};

/// Samples along each axis.
const SAMPLES: usize = 2 * IMAGE_SIZE;
const NOTHING: u32 = u32::MAX;

/// Nearest triangle of each sample.
pub(super) struct Visible {
    nearest: Vec<(f32, u32)>,
    /// Per mesh, vertices in sample coordinates.
    flat: Vec<Vec<(f32, f32)>>,
}

/// One surface in one pixel.
#[derive(Clone, Copy)]
pub(super) struct Fragment {
    /// Index of the mesh.
    pub(super) mesh: usize,
    /// Share of the pixel.
    pub(super) cover: f32,
    /// In the camera's frame.
    pub(super) seen: V3,
    pub(super) normal: V3,
    /// In the head's frame.
    pub(super) point: V3,
    pub(super) address: (f32, f32),
    pub(super) openness: f32,
}

impl Visible {
    pub(super) fn new(meshes: &[Placed], view: &View) -> Self {
        let mut nearest = vec![(f32::NEG_INFINITY, NOTHING); SAMPLES * SAMPLES];
        let mut flat = Vec::with_capacity(meshes.len());
        for (index, placed) in meshes.iter().enumerate() {
            let points: Vec<(f32, f32)> = placed
                .seen
                .iter()
                .map(|&seen| {
                    let (x, y) = view.pixel(seen);
                    (2.0 * x + 0.5, 2.0 * y + 0.5)
                })
                .collect();
            fill(placed, &points, |p| p.2, &mut nearest, SAMPLES, (index as u32) << 24);
            flat.push(points);
        }
        Self { nearest, flat }
    }

    /// The surfaces of a pixel, at most four; what remains of the cover is background.
    pub(super) fn fragments(&self, meshes: &[Placed], x: usize, y: usize) -> impl Iterator<Item = Fragment> {
        let mut found: [Option<(u32, f32, f32, f32)>; 4] = [None; 4];
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (sx, sy) = (2 * x + dx, 2 * y + dy);
            let (_, id) = self.nearest[sy * SAMPLES + sx];
            if id == NOTHING {
                continue;
            }
            for slot in &mut found {
                match slot {
                    Some((known, count, mx, my)) if *known >> 24 == id >> 24 => {
                        (*count, *mx, *my) = (*count + 1.0, *mx + sx as f32, *my + sy as f32);
                        break;
                    }
                    Some(_) => {}
                    None => {
                        *slot = Some((id, 1.0, sx as f32, sy as f32));
                        break;
                    }
                }
            }
        }
        found
            .into_iter()
            .flatten()
            .map(move |(id, count, mx, my)| self.fragment(meshes, id, count, (mx / count, my / count)))
    }

    fn fragment(&self, meshes: &[Placed], id: u32, count: f32, at: (f32, f32)) -> Fragment {
        let mesh = (id >> 24) as usize;
        let placed = &meshes[mesh];
        let corners = corners(placed.mesh.columns, id & 0x00ff_ffff);
        let flat = &self.flat[mesh];
        let [a, b, c] = corners.map(|corner| flat[corner]);
        let area = edge(a, b, c);
        // Outside the triangle the weights extrapolate; a sliver must not extrapolate far.
        let (wa, wb) = ((edge(b, c, at) / area).clamp(-0.5, 1.5), (edge(c, a, at) / area).clamp(-0.5, 1.5));
        let weights = [wa, wb, 1.0 - wa - wb];
        let blend = |values: &[V3]| {
            values[corners[0]] * weights[0] + values[corners[1]] * weights[1] + values[corners[2]] * weights[2]
        };
        let number = |get: &dyn Fn(usize) -> f32| {
            get(corners[0]) * weights[0] + get(corners[1]) * weights[1] + get(corners[2]) * weights[2]
        };
        let grid = &placed.mesh;
        Fragment {
            mesh,
            cover: count * 0.25,
            seen: blend(&placed.seen),
            normal: blend(&placed.normals).unit(),
            point: blend(&grid.points),
            address: (number(&|corner| grid.address[corner].0), number(&|corner| grid.address[corner].1)),
            openness: if grid.openness.is_empty() { 1.0 } else { number(&|corner| grid.openness[corner]) },
        }
    }
}

/// Depths as the lamp sees them.
pub(super) struct Shadow {
    rotation: Rotation,
    nearest: Vec<(f32, u32)>,
    softness: f32,
}

impl Shadow {
    const SIZE: usize = 112;
    /// Half the width that the map covers.
    const REACH: f32 = 2.3;

    pub(super) fn new(meshes: &[Placed], towards: V3, softness: f32) -> Self {
        let right = V3(0.0, 1.0, 0.0).cross(towards).unit();
        let rotation = Rotation([right, towards.cross(right), towards]);
        let mut nearest = vec![(f32::NEG_INFINITY, NOTHING); Self::SIZE * Self::SIZE];
        for placed in meshes {
            let turned: Vec<V3> = placed.seen.iter().map(|&seen| rotation.apply(seen)).collect();
            let flat: Vec<(f32, f32)> = turned.iter().map(|p| (Self::place(p.0), Self::place(p.1))).collect();
            let towards = rotation.0[2];
            fill(placed, &flat, |p| towards.dot(p), &mut nearest, Self::SIZE, 0);
        }
        Self { rotation, nearest, softness }
    }

    fn place(x: f32) -> f32 {
        (x / Self::REACH * 0.5 + 0.5) * Self::SIZE as f32
    }

    /// How much of the lamp a point sees, 0 to 1.
    pub(super) fn light(&self, seen: V3) -> f32 {
        let place = self.rotation.apply(seen);
        let (x, y) = (Self::place(place.0), Self::place(place.1));
        let mut sum = 0.0;
        for (dx, dy, weight) in [
            (0.0, 0.0, 4.0),
            (-1.0, 0.0, 2.0),
            (1.0, 0.0, 2.0),
            (0.0, -1.0, 2.0),
            (0.0, 1.0, 2.0),
            (-0.8, -0.8, 1.0),
            (0.8, -0.8, 1.0),
            (-0.8, 0.8, 1.0),
            (0.8, 0.8, 1.0),
        ] {
            sum += weight * self.open(x + dx * self.softness, y + dy * self.softness, place.2);
        }
        sum * (1.0 / 16.0)
    }

    /// Bilinear between the four nearest comparisons, so that shadow edges have no steps.
    fn open(&self, x: f32, y: f32, depth: f32) -> f32 {
        let (fx, fy) = (x.floor(), y.floor());
        let (tx, ty) = (x - fx, y - fy);
        let one = |x: i32, y: i32| {
            let last = Self::SIZE as i32 - 1;
            let (blocker, _) = self.nearest[y.clamp(0, last) as usize * Self::SIZE + x.clamp(0, last) as usize];
            step(0.16, 0.05, blocker - depth)
        };
        let (x, y) = (fx as i32, fy as i32);
        let top = one(x, y) * (1.0 - tx) + one(x + 1, y) * tx;
        let bottom = one(x, y + 1) * (1.0 - tx) + one(x + 1, y + 1) * tx;
        top * (1.0 - ty) + bottom * ty
    }
}

/// Vertices of triangle `number` of a grid: two a cell.
fn corners(columns: usize, number: u32) -> [usize; 3] {
    let (cell, half) = ((number / 2) as usize, number % 2);
    let at = cell / (columns - 1) * columns + cell % (columns - 1);
    match half {
        0 => [at, at + 1, at + columns],
        _ => [at + columns + 1, at + columns, at + 1],
    }
}

fn edge(a: (f32, f32), b: (f32, f32), p: (f32, f32)) -> f32 {
    (b.0 - a.0) * (p.1 - a.1) - (b.1 - a.1) * (p.0 - a.0)
}

/// Draws all triangles of a mesh into a square buffer of the nearest.
fn fill(
    placed: &Placed,
    flat: &[(f32, f32)],
    depth: impl Fn(V3) -> f32,
    nearest: &mut [(f32, u32)],
    size: usize,
    tag: u32,
) {
    let mesh = &placed.mesh;
    let triangles = (mesh.columns - 1) * (mesh.rows() - 1) * 2;
    let last = size as f32 - 1.0;
    for number in 0..triangles as u32 {
        let corners = corners(mesh.columns, number);
        if !mesh.cut.is_empty() && corners.iter().all(|&corner| mesh.cut[corner] < -0.12) {
            continue;
        }
        let [a, b, c] = corners.map(|corner| flat[corner]);
        let area = edge(a, b, c);
        let (left, right) = (a.0.min(b.0).min(c.0).ceil().max(0.0), a.0.max(b.0).max(c.0).floor().min(last));
        let (top, bottom) = (a.1.min(b.1).min(c.1).ceil().max(0.0), a.1.max(b.1).max(c.1).floor().min(last));
        if left > right || top > bottom || area == 0.0 {
            continue;
        }
        let [za, zb, zc] = corners.map(|corner| depth(placed.seen[corner]));
        let inverse = 1.0 / area;
        for y in top as usize..=bottom as usize {
            for x in left as usize..=right as usize {
                let at = (x as f32, y as f32);
                let (wa, wb) = (edge(b, c, at) * inverse, edge(c, a, at) * inverse);
                let wc = 1.0 - wa - wb;
                if wa < 0.0 || wb < 0.0 || wc < 0.0 {
                    continue;
                }
                let z = wa * za + wb * zb + wc * zc;
                let slot = &mut nearest[y * size + x];
                if z <= slot.0 || !exists(placed, corners, [wa, wb, wc]) {
                    continue;
                }
                *slot = (z, tag | number);
            }
        }
    }
}

/// Whether a cut surface exists at a place; its edge is frayed along the strands.
fn exists(placed: &Placed, corners: [usize; 3], weights: [f32; 3]) -> bool {
    let mesh = &placed.mesh;
    if mesh.cut.is_empty() {
        return true;
    }
    let blend = |get: &dyn Fn(usize) -> f32| (0..3).map(|i| get(corners[i]) * weights[i]).sum::<f32>();
    let cut = blend(&|corner| mesh.cut[corner]);
    if cut.abs() > 0.12 {
        return cut > 0.0;
    }
    let (angle, y) = (blend(&|corner| mesh.address[corner].0), blend(&|corner| mesh.address[corner].1));
    let fray =
        noise::smooth(angle * 34.0 + y * 2.0, y * 1.5, 77) * 0.07 + noise::smooth(angle * 90.0, y * 4.0, 78) * 0.04;
    cut + fray > 0.0
}
