//! Which surface each pixel shows, and which surfaces the lamp sees.
//!
//! Four samples a pixel decide visibility; each surface in a pixel is shaded once, at the middle
//! of its samples. So edges are smooth and shading stays cheap.

use nets::pixels::IMAGE_SIZE;

use super::mesh::{Placed, View};
use super::noise;
use super::vector::{Rotation, V3, ceil, floor};

/// Samples along each axis.
const SAMPLES: usize = 2 * IMAGE_SIZE;
const NOTHING: u32 = u32::MAX;
/// The shadow map only asks how far, not what.
const SHADOW: u32 = 0;

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
    /// How much of the lamp it sees, 0 to 1.
    pub(super) lit: f32,
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
            fill(placed, &points, |p| p.2, &mut nearest, SAMPLES, (index as u32 + 1) << 24);
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
        let mesh = (id >> 24) as usize - 1;
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
            lit: 1.0,
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
            fill(placed, &flat, |p| towards.dot(p), &mut nearest, Self::SIZE, SHADOW);
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
        // Five places of a disc, turned so that no two share a row or column.
        let mut sum = 2.0 * self.open(x, y, place.2);
        for (dx, dy) in [(0.9, 0.35), (-0.35, 0.9), (-0.9, -0.35), (0.35, -0.9)] {
            sum += self.open(x + dx * self.softness, y + dy * self.softness, place.2);
        }
        sum * (1.0 / 6.0)
    }

    /// Bilinear between the four nearest comparisons, so that shadow edges have no steps.
    fn open(&self, x: f32, y: f32, depth: f32) -> f32 {
        let (fx, fy) = (floor(x), floor(y));
        let (tx, ty) = (x - fx, y - fy);
        let one = |x: i32, y: i32| {
            let last = Self::SIZE as i32 - 1;
            let (blocker, _) = self.nearest[y.clamp(0, last) as usize * Self::SIZE + x.clamp(0, last) as usize];
            let hidden = ((blocker - depth - 0.05) * (1.0 / 0.11)).clamp(0.0, 1.0);
            1.0 - hidden
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
    let last = size as f32 - 1.0;
    for cell_row in 0..mesh.rows() - 1 {
        for cell in 0..mesh.columns - 1 {
            let at = cell_row * mesh.columns + cell;
            let number = ((cell_row * (mesh.columns - 1) + cell) * 2) as u32;
            let quad = [at, at + 1, at + mesh.columns, at + mesh.columns + 1];
            if !mesh.cut.is_empty() && quad.iter().all(|&corner| mesh.cut[corner] < -0.12) {
                continue;
            }
            for (half, corners) in [[quad[0], quad[1], quad[2]], [quad[3], quad[2], quad[1]]].into_iter().enumerate() {
                let [a, b, c] = corners.map(|corner| flat[corner]);
                let area = edge(a, b, c);
                if area == 0.0 || (area < 0.0 && mesh.one_sided && tag != SHADOW) {
                    continue;
                }
                let (left, right) = (ceil(a.0.min(b.0).min(c.0)).max(0.0), floor(a.0.max(b.0).max(c.0)).min(last));
                let (top, bottom) = (ceil(a.1.min(b.1).min(c.1)).max(0.0), floor(a.1.max(b.1).max(c.1)).min(last));
                if left > right || top > bottom {
                    continue;
                }
                // Weights and depth change by equal steps from sample to sample.
                let [za, zb, zc] = corners.map(|corner| depth(placed.seen[corner]));
                let inverse = 1.0 / area;
                let (wa_x, wa_y) = ((b.1 - c.1) * inverse, (c.0 - b.0) * inverse);
                let (wb_x, wb_y) = ((c.1 - a.1) * inverse, (a.0 - c.0) * inverse);
                let (wa_0, wb_0) = (edge(b, c, (left, top)) * inverse, edge(c, a, (left, top)) * inverse);
                let (width, height) = ((right - left) as usize, (bottom - top) as usize);
                for down in 0..=height {
                    let row = (top as usize + down) * size + left as usize;
                    let (wa_row, wb_row) = (wa_0 + wa_y * down as f32, wb_0 + wb_y * down as f32);
                    for (across, slot) in nearest[row..=row + width].iter_mut().enumerate() {
                        let (wa, wb) = (wa_row + wa_x * across as f32, wb_row + wb_x * across as f32);
                        let wc = 1.0 - wa - wb;
                        let z = wa * za + wb * zb + wc * zc;
                        // One test instead of four: which of them fails is hard to predict.
                        if (wa >= 0.0) & (wb >= 0.0) & (wc >= 0.0) & (z > slot.0) {
                            let sample = (left as usize + across, top as usize + down);
                            if exists(placed, corners, [wa, wb, wc], sample) {
                                *slot = (z, tag | number | half as u32);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether a cut surface exists at a sample. Its edge is frayed along the strands and soft: the
/// four samples of a pixel ask for different margins.
fn exists(placed: &Placed, corners: [usize; 3], weights: [f32; 3], sample: (usize, usize)) -> bool {
    let mesh = &placed.mesh;
    if mesh.cut.is_empty() {
        return true;
    }
    let [a, b, c] = corners;
    let cut = mesh.cut[a] * weights[0] + mesh.cut[b] * weights[1] + mesh.cut[c] * weights[2];
    if cut.abs() > 0.12 {
        return cut > 0.0;
    }
    let place = [mesh.address[a], mesh.address[b], mesh.address[c]];
    let angle = place[0].0 * weights[0] + place[1].0 * weights[1] + place[2].0 * weights[2];
    let y = place[0].1 * weights[0] + place[1].1 * weights[1] + place[2].1 * weights[2];
    let fray =
        noise::smooth(angle * 22.0 + y * 2.0, y * 1.2, 77) * 0.045 + noise::smooth(angle * 52.0, y * 3.0, 78) * 0.04;
    let margin = [-0.036, 0.012, 0.036, -0.012][(sample.0 & 1) + 2 * (sample.1 & 1)];
    cut + fray > margin
}
