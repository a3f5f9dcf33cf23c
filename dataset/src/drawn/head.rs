//! The shape of head, ears, neck and shoulders: a skull of two superellipses, and a relief of
//! smooth hills for everything in front of it.

use super::mesh::{Material, Mesh};
use super::moment::Moment;
use super::person::Person;
use super::vector::{V3, hill, mix, step};

/// Height of the widest part, above the eyes.
const WIDEST: f32 = -0.3;
/// Height of the crown.
pub(super) const CROWN: f32 = -1.62;
/// Depth of the face in front of the axis, and of the skull behind it.
const FRONT: f32 = 1.12;
const BACK: f32 = 1.25;
/// Half the angle that the face mesh covers; behind the ears is hair or nothing.
const REACH: f32 = 2.1;

/// The head's shape in one moment.
pub(super) struct Head<'a> {
    person: &'a Person,
    smile: f32,
    frown: f32,
    pub(super) gap: f32,
    pub(super) chin: f32,
}

/// Outline of the skull at one height.
#[derive(Clone, Copy)]
pub(super) struct Section {
    pub(super) width: f32,
    pub(super) front: f32,
    pub(super) back: f32,
}

impl<'a> Head<'a> {
    pub(super) fn new(person: &'a Person, moment: &Moment) -> Self {
        let face = &moment.face;
        Self { person, smile: face.smile, frown: face.frown, gap: face.gap, chin: person.bones.chin + 0.6 * face.gap }
    }

    pub(super) fn section(&self, y: f32) -> Section {
        let bones = &self.person.bones;
        let superellipse = |t: f32, n: f32| libm::powf((1.0 - libm::powf(t.clamp(0.0, 1.0), n)).max(0.0), 1.0 / n);
        if y < WIDEST {
            let t = (WIDEST - y) / (WIDEST - CROWN);
            let (round, long) = (superellipse(t, 2.3), superellipse(t, 2.5));
            return Section { width: bones.width * round, front: FRONT * long, back: BACK * round };
        }
        let t = (y - WIDEST) / (self.chin - WIDEST);
        let taper = 1.0 - bones.taper * t.clamp(0.0, 1.0) * t.clamp(0.0, 1.0);
        let fullness = bones.cheeks * 1.2 * hill(0.0, y - 0.75, 1.0, 0.75);
        Section {
            width: (bones.width + fullness) * superellipse(t, bones.squareness) * taper,
            front: FRONT * superellipse(t, 5.5) * (1.0 - 0.05 * t),
            back: BACK * superellipse(t, 2.2),
        }
    }

    /// The point of the face at frontal coordinates.
    pub(super) fn point(&self, x: f32, y: f32) -> V3 {
        let section = self.section(y);
        let s = (x / section.width).clamp(-1.0, 1.0);
        V3(x, y, section.front * bulge(s.abs()) + self.relief(x, y))
    }

    /// Height of the features over the skull.
    fn relief(&self, x: f32, y: f32) -> f32 {
        let Person { bones, eyes, brows, nose, mouth, .. } = self.person;
        let side = x.abs();
        let smile = self.smile.max(0.0);
        let mut z = 0.0;
        // Brow and eyes.
        z += bones.brow_ridge * 1.6 * hill(side - 0.4, y + 0.9 * brows.height, 0.55, 0.26);
        z -= bones.socket * hill(side - eyes.spacing + 0.03, y - 0.01, 0.42, 0.30);
        z += 0.085 * hill(side - eyes.spacing, y + 0.005, 0.28, 0.21);
        z -= 0.03 * self.frown * hill(side - 0.07, y + 0.2, 0.05, 0.13);
        // Cheeks.
        z += bones.cheekbones * 1.5 * hill(side - 0.66, y - 0.3, 0.5, 0.36);
        z += bones.cheeks * hill(side - 0.55, y - 0.8, 0.45, 0.5);
        z += 0.075 * smile * hill(side - 0.5, y - 0.52, 0.34, 0.28);
        z -= 0.03 * (0.4 + smile) * hill(side - 0.36 - 0.25 * (y - 0.7), y - 0.78, 0.08, 0.3);
        // Mouth and chin.
        z += 0.075 * hill(x, y - 0.97, 0.58, 0.44);
        let lips = mouth.half_width * (1.0 + 0.16 * smile);
        z += 0.055 * hill(x, y - 1.0 + 0.6 * mouth.upper + 0.5 * self.gap, lips * 0.95, mouth.upper * 1.15 + 0.02);
        z += 0.075 * hill(x, y - 1.0 - 0.55 * mouth.lower - 0.5 * self.gap, lips * 0.85, mouth.lower * 1.05 + 0.02);
        z -= 0.035 * hill(x, y - 1.0, lips, 0.035);
        z -= 0.05 * hill(x, y - 1.0 - mouth.lower - 0.12 - self.gap, 0.36, 0.11);
        z += bones.chin_forward * hill(x, y - self.chin + 0.22, 0.36, 0.28);
        z + self.nose_height(x, y, nose)
    }

    fn nose_height(&self, x: f32, y: f32, nose: &super::person::Nose) -> f32 {
        let root = -0.18;
        // The nose ends lowest in the middle.
        let end = nose.length + 0.085 - 1.1 * x * x;
        if y < root || y > end + 0.06 || x.abs() > 0.5 {
            return 0.0;
        }
        let along = (y - root) / (nose.length - root);
        let rise = along.clamp(0.0, 1.0);
        // The back of the nose: shallow at the root, highest at the tip.
        let height =
            mix(nose.bridge, nose.projection, rise * (0.45 + 0.55 * rise)) + nose.hump * 4.0 * rise * (1.0 - rise);
        let half = mix(nose.bridge_width, nose.width * 0.84, rise * rise) * 2.1;
        let across = hill(x, 0.0, half, 1.0);
        let tip = nose.tip * hill(x, y - nose.length + 0.02, 0.19, 0.17);
        let spread = nose.width * (1.0 + 0.1 * self.smile.max(0.0));
        let wings = 0.135 * hill(x.abs() - spread * 0.80, y - nose.length + 0.005, 0.125, 0.125);
        let underside = step(end + 0.045, end - 0.075, y);
        (height * across * step(0.0, 0.22, along) + tip + wings) * underside
    }

    /// The face from ear to ear.
    pub(super) fn mesh(&self) -> Mesh {
        const COLUMNS: usize = 71;
        let columns: Vec<(f32, f32, f32)> = (0..COLUMNS)
            .map(|column| {
                let place = column as f32 / (COLUMNS - 1) as f32 * 2.0 - 1.0;
                // Denser in the middle, where nose and mouth are.
                let angle = REACH * place * (0.62 + 0.38 * place * place);
                let s = libm::sinf(angle);
                let front = if angle.abs() <= std::f32::consts::FRAC_PI_2 { bulge(s.abs()) } else { -bulge(s.abs()) };
                (angle, s, front)
            })
            .collect();
        let mut mesh = Mesh::new(Material::Skin, COLUMNS);
        for y in self.heights() {
            let section = self.section(y);
            for &(angle, s, front) in &columns {
                let x = section.width * s;
                let z = match front {
                    front if front > 0.0 => section.front * front + self.relief(x, y) * step(0.0, 0.35, front),
                    front => section.back * front,
                };
                mesh.points.push(V3(x, y, z));
                mesh.address.push((angle, y));
            }
        }
        mesh.one_sided = true;
        mesh.openness = openness(&mesh);
        mesh
    }

    /// Rows: coarse over the skull, 1.8 pixels over the face, denser where the chin turns under.
    fn heights(&self) -> Vec<f32> {
        let mut heights = Vec::with_capacity(73);
        heights.extend((0..10).map(|row| {
            let t = row as f32 / 10.0;
            CROWN + (-0.5 - CROWN) * t * (0.4 + 0.6 * t)
        }));
        heights.extend((0..48).map(|row| -0.5 + 1.85 * row as f32 / 48.0));
        heights.extend((0..=14).map(|row| {
            let rest = 1.0 - row as f32 / 14.0;
            self.chin - (self.chin - 1.35) * rest * rest
        }));
        heights
    }

    pub(super) fn ear(&self, side: f32) -> Mesh {
        let size = self.person.ears;
        let section = self.section(0.25);
        Mesh::around(Material::Skin, 17, 13, |angle, row| {
            let (sin, cos) = (libm::sinf(row * std::f32::consts::PI), libm::cosf(row * std::f32::consts::PI));
            let ridge = 0.045 * libm::cosf(angle) * sin;
            let x = side * (section.width * 0.97 + 0.055 * size + 0.05 * sin * libm::sinf(angle).abs());
            let lean = 0.08 * cos;
            V3(x + side * ridge, 0.26 - 0.31 * size * cos, -0.06 - lean + 0.17 * size * sin * libm::sinf(angle))
        })
    }

    pub(super) fn neck(&self) -> Mesh {
        let width = self.person.bones.width * 0.56;
        Mesh::around(Material::Skin, 33, 12, |angle, row| {
            let y = 0.7 + 2.2 * row;
            let flare = 1.0 + 0.5 * step(0.55, 1.0, row);
            V3(width * flare * libm::sinf(angle), y, -0.12 - 0.12 * row + 0.62 * flare * libm::cosf(angle))
        })
    }

    pub(super) fn shoulders(&self, colour: V3) -> Mesh {
        Mesh::around(Material::Cloth { colour, ribs: 0.0 }, 41, 12, |angle, row| {
            let spread = 0.72 + 1.9 * step(0.0, 0.8, row);
            let y = self.chin + 0.38 + 0.45 * row + 0.85 * row * row;
            V3(spread * libm::sinf(angle), y, -0.25 + (0.72 + 0.4 * row) * libm::cosf(angle))
        })
    }
}

/// Cross-section of the front: a little flatter than a circle.
fn bulge(s: f32) -> f32 {
    libm::powf((1.0 - libm::powf(s.min(1.0), 2.35)).max(0.0), 1.0 / 2.35)
}

/// Folds are darker than hills: height against the mean height some steps away.
fn openness(mesh: &Mesh) -> Vec<f32> {
    const STEPS: usize = 4;
    let (columns, rows) = (mesh.columns, mesh.rows());
    let depth = |row: usize, column: usize| mesh.points[row * columns + column].2;
    let mut open = vec![1.0; columns * rows];
    for row in STEPS..rows - STEPS {
        for column in STEPS..columns - STEPS {
            let around = depth(row - STEPS, column)
                + depth(row + STEPS, column)
                + depth(row, column - STEPS)
                + depth(row, column + STEPS);
            let fold = around * 0.25 - depth(row, column);
            open[row * columns + column] = (1.0 - 2.6 * fold).clamp(0.45, 1.08);
        }
    }
    open
}
