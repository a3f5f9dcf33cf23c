//! Surfaces as grids of points, seen from the camera.

use super::moment::Pose;
use super::vector::{Rotation, V3};

/// What a surface is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Material {
    /// Face, ears and neck.
    Skin,
    Hair,
    /// Cloth of a colour; ribs a unit for knitwear, 0 for smooth cloth.
    Cloth {
        colour: V3,
        ribs: f32,
    },
}

/// A grid of points in the head's frame: x right, y down, z out of the face, the origin at the
/// height of the eyes inside the head.
#[derive(Clone, Debug)]
pub(super) struct Mesh {
    pub(super) material: Material,
    pub(super) columns: usize,
    pub(super) points: Vec<V3>,
    /// Angle around the head and height, for patterns that follow the surface.
    pub(super) address: Vec<(f32, f32)>,
    /// The surface exists where this is positive; empty means everywhere.
    pub(super) cut: Vec<f32>,
    /// Whether its back is never seen.
    pub(super) one_sided: bool,
    /// Brightness of light that reaches into folds; empty means 1.
    pub(super) openness: Vec<f32>,
}

impl Mesh {
    pub(super) fn new(material: Material, columns: usize) -> Self {
        Self {
            material,
            columns,
            points: Vec::new(),
            address: Vec::new(),
            cut: Vec::new(),
            one_sided: false,
            openness: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.points.len() / self.columns
    }

    /// A closed band or ball around the vertical axis: `shape(angle, row)` with the angle from -pi
    /// at the back over 0 in front to pi, `row` from 0 to 1.
    pub(super) fn around(material: Material, columns: usize, rows: usize, shape: impl Fn(f32, f32) -> V3) -> Self {
        let mut mesh = Self::new(material, columns);
        for row in 0..rows {
            let row = row as f32 / (rows - 1) as f32;
            for column in 0..columns {
                let angle = (column as f32 / (columns - 1) as f32 * 2.0 - 1.0) * std::f32::consts::PI;
                let point = shape(angle, row);
                mesh.points.push(point);
                mesh.address.push((angle, point.1));
            }
        }
        mesh
    }
}

/// From the head's frame to pixels: a turn, a near camera, then the alignment.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) rotation: Rotation,
    distance: f32,
    /// Alignment: `pixel = scale * turn(point) + offset`.
    along: (f32, f32),
    offset: (f32, f32),
}

impl View {
    /// Puts the midpoint of the eyes at (64, 40), level, and the mouth 48 pixels below, but for
    /// the pose's alignment errors.
    pub(super) fn new(pose: &Pose, left_eye: V3, right_eye: V3, mouth: V3) -> Self {
        let mut view = Self {
            rotation: Rotation::new(pose.yaw, pose.pitch, pose.roll),
            distance: pose.distance,
            along: (1.0, 0.0),
            offset: (0.0, 0.0),
        };
        let [left, right, mouth] = [left_eye, right_eye, mouth].map(|point| view.pixel(view.rotation.apply(point)));
        let (dx, dy) = (right.0 - left.0, right.1 - left.1);
        let length = (dx * dx + dy * dy).sqrt();
        let (cos, sin) = (dx / length, -dy / length);
        let middle = ((left.0 + right.0) * 0.5, (left.1 + right.1) * 0.5);
        let down = (mouth.1 - middle.1) * cos + (mouth.0 - middle.0) * sin;
        let scale = 48.0 / down * pose.size;
        let (ct, st) = (libm::cosf(pose.turn), libm::sinf(pose.turn));
        view.along = (scale * (cos * ct - sin * st), scale * (sin * ct + cos * st));
        let placed = view.pixel_of_flat(middle);
        view.offset = (64.0 + pose.shift.0 - placed.0, 40.0 + pose.shift.1 - placed.1);
        view
    }

    /// Pixel position of a point in the camera's frame; pixel centres are whole numbers.
    pub(super) fn pixel(&self, seen: V3) -> (f32, f32) {
        let near = self.distance / (self.distance - seen.2);
        self.pixel_of_flat((seen.0 * near, seen.1 * near))
    }

    fn pixel_of_flat(&self, flat: (f32, f32)) -> (f32, f32) {
        let (cos, sin) = self.along;
        (flat.0 * cos - flat.1 * sin + self.offset.0, flat.0 * sin + flat.1 * cos + self.offset.1)
    }

    /// Where the ray of a pixel meets the plane `z = depth` of the head's frame.
    pub(super) fn on_plane(&self, pixel: (f32, f32), depth: f32) -> (f32, f32) {
        let (cos, sin) = self.along;
        let (x, y) = (pixel.0 - self.offset.0, pixel.1 - self.offset.1);
        let square = cos * cos + sin * sin;
        let flat = V3((x * cos + y * sin) / square, (y * cos - x * sin) / square, 0.0);
        // The ray runs from the camera through the flat point.
        let camera = V3(0.0, 0.0, self.distance);
        let (from, to) = (self.rotation.undo(camera), self.rotation.undo(flat));
        let share = (from.2 - depth) / (from.2 - to.2);
        let point = from.mix(to, share);
        (point.0, point.1)
    }

    /// Pixels per unit.
    pub(super) fn scale(&self) -> f32 {
        (self.along.0 * self.along.0 + self.along.1 * self.along.1).sqrt()
    }
}

/// A mesh as the camera sees it.
pub(super) struct Placed {
    pub(super) mesh: Mesh,
    /// Points in the camera's frame.
    pub(super) seen: Vec<V3>,
    /// Unit normals in the camera's frame.
    pub(super) normals: Vec<V3>,
}

impl Placed {
    pub(super) fn new(mesh: Mesh, rotation: &Rotation) -> Self {
        let seen: Vec<V3> = mesh.points.iter().map(|&point| rotation.apply(point)).collect();
        let (columns, rows) = (mesh.columns, mesh.rows());
        let mut normals = Vec::with_capacity(seen.len());
        for row in 0..rows {
            let (up, down) = (row.saturating_sub(1) * columns, (row + 1).min(rows - 1) * columns);
            for column in 0..columns {
                let (left, right) = (column.saturating_sub(1), (column + 1).min(columns - 1));
                let here = row * columns;
                let across = seen[here + right] - seen[here + left];
                let along = seen[down + column] - seen[up + column];
                normals.push(across.cross(along).unit());
            }
        }
        Self { mesh, seen, normals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: V3 = V3(-0.45, 0.0, 0.8);
    const RIGHT: V3 = V3(0.45, 0.0, 0.8);
    const MOUTH: V3 = V3(0.0, 1.0, 0.85);

    fn middle(one: (f32, f32), other: (f32, f32)) -> (f32, f32) {
        ((one.0 + other.0) * 0.5, (one.1 + other.1) * 0.5)
    }

    fn near(found: (f32, f32), expected: (f32, f32)) {
        let apart = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
        assert!(apart < 1e-3, "expected {expected:?}, found {found:?}");
    }

    #[test]
    fn eyes_are_level_at_64_40_and_the_mouth_48_below_in_any_pose() {
        let turns = [-0.44, -0.1, 0.0, 0.3];
        for (yaw, pitch, roll) in turns.iter().flat_map(|&yaw| turns.map(|turn| (yaw, turn * 0.6, turn * 0.4))) {
            let pose = Pose { yaw, pitch, roll, distance: 8.0, shift: (0.0, 0.0), size: 1.0, turn: 0.0 };
            let view = View::new(&pose, LEFT, RIGHT, MOUTH);
            let [left, right, mouth] = [LEFT, RIGHT, MOUTH].map(|point| view.pixel(view.rotation.apply(point)));
            near(middle(left, right), (64.0, 40.0));
            assert!((left.1 - right.1).abs() < 1e-3 && left.0 < right.0, "{left:?} and {right:?}");
            assert!((mouth.1 - 88.0).abs() < 1e-3, "{mouth:?}");
        }
    }

    #[test]
    fn the_alignments_errors_are_those_of_the_pose() {
        let pose = Pose { yaw: 0.2, pitch: -0.1, roll: 0.1, distance: 8.0, shift: (1.5, -2.0), size: 1.1, turn: 0.05 };
        let view = View::new(&pose, LEFT, RIGHT, MOUTH);
        let [left, right, mouth] = [LEFT, RIGHT, MOUTH].map(|point| view.pixel(view.rotation.apply(point)));
        near(middle(left, right), (65.5, 38.0));
        let slope = libm::atan2f(right.1 - left.1, right.0 - left.0);
        assert!((slope - 0.05).abs() < 1e-4, "{slope}");
        // Square to the line of the eyes.
        let down = (mouth.1 - 38.0) * libm::cosf(slope) - (mouth.0 - 65.5) * libm::sinf(slope);
        assert!((down - 48.0 * 1.1).abs() < 1e-3, "{down}");
    }

    #[test]
    fn a_pixels_ray_meets_the_plane_where_the_point_is() {
        let pose = Pose { yaw: 0.3, pitch: -0.2, roll: 0.1, distance: 8.0, shift: (1.5, -2.0), size: 1.1, turn: 0.05 };
        let view = View::new(&pose, LEFT, RIGHT, MOUTH);
        near(view.on_plane(view.pixel(view.rotation.apply(V3(0.3, 0.4, 0.7))), 0.7), (0.3, 0.4));
    }
}
