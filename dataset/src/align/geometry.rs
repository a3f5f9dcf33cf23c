//! LightCNN's geometry (Wu et al. 2018): eyes level, 48 pixels from their midpoint down to the mouth's,
//! the eyes' midpoint at (64, 40) of 128 x 128 pixels.
//!
//! Points are `[x, y]` in pixels, the first pixel's centre at 0.

/// Where the midpoint of the eyes comes to lie.
pub const EYES: [f64; 2] = [64.0, 40.0];
/// How far below it the midpoint of the mouth's corners lies.
pub const EYES_TO_MOUTH: f64 = 48.0;
/// A mouth that is less than this below the eyes, in pixels of the photograph, gives no scale.
const LEAST_FACE: f64 = 1.0;

/// A rotation, a scale and a shift: `(a x - b y, b x + a y) + shift`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    a: f64,
    b: f64,
    shift: [f64; 2],
}

impl Similarity {
    /// From a photograph to the aligned image, by the landmarks left eye, right eye, nose, left and right
    /// corner of the mouth. `None` when they make no upright face: the mouth not below the eyes.
    pub fn of_landmarks(landmarks: &[[f32; 2]; 5]) -> Option<Self> {
        let [left_eye, right_eye, _, left_mouth, right_mouth] = landmarks.map(|point| point.map(f64::from));
        let (eyes, mouth) = (midpoint(left_eye, right_eye), midpoint(left_mouth, right_mouth));
        let (across_x, across_y) = (right_eye[0] - left_eye[0], right_eye[1] - left_eye[1]);
        let across = across_x.hypot(across_y);
        // Two eyes in one place say nothing of the head's turn.
        let (cos, sin) = if across > 0.0 { (across_x / across, across_y / across) } else { (1.0, 0.0) };
        // How far the mouth is below the line through the eyes.
        let below = cos * (mouth[1] - eyes[1]) - sin * (mouth[0] - eyes[0]);
        if !below.is_finite() || below < LEAST_FACE {
            return None;
        }
        let scale = EYES_TO_MOUTH / below;
        let turn = Self { a: scale * cos, b: -scale * sin, shift: [0.0; 2] };
        let [x, y] = turn.apply(eyes);
        Some(Self { shift: [EYES[0] - x, EYES[1] - y], ..turn })
    }

    /// Where a point comes to lie.
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.a * x - self.b * y + self.shift[0], self.b * x + self.a * y + self.shift[1]]
    }

    /// The way back.
    pub fn inverse(&self) -> Self {
        let squared = self.a * self.a + self.b * self.b;
        let back = Self { a: self.a / squared, b: -self.b / squared, shift: [0.0; 2] };
        let [x, y] = back.apply(self.shift);
        Self { shift: [-x, -y], ..back }
    }

    /// Pixels of the target for each pixel of the source.
    pub fn scale(&self) -> f64 {
        self.a.hypot(self.b)
    }

    /// How far the source is turned, clockwise as it is seen, in degrees.
    pub fn degrees(&self) -> f64 {
        self.b.atan2(self.a).to_degrees()
    }
}

fn midpoint(one: [f64; 2], other: [f64; 2]) -> [f64; 2] {
    [(one[0] + other[0]) / 2.0, (one[1] + other[1]) / 2.0]
}
