//! What is known about a drawn image besides who it shows: its nuisance, in the words and units of
//! the field.

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::who_and_when;

/// When and how an image was taken. Left and right are the image's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    /// Turn of the head; positive turns the face to the right.
    pub yaw_degrees: f32,
    /// Nod; positive looks down.
    pub pitch_degrees: f32,
    /// Lean of the head before the alignment, which takes it out but for `tilt_degrees`.
    pub roll_degrees: f32,
    /// How far the camera is, in distances between eyes and mouth; near ones enlarge the nose.
    pub distance: f32,
    /// Error of the alignment: the eyes' midpoint lies so far right of column 64.
    pub shift_right_pixels: f32,
    /// Error of the alignment: the eyes' midpoint lies so far below row 40.
    pub shift_down_pixels: f32,
    /// Error of the alignment: the distance between eyes and mouth in units of 48 pixels.
    pub size: f32,
    /// Error of the alignment: the line of the eyes, positive when its right end is lower.
    pub tilt_degrees: f32,

    /// Where the light comes from: 0 in front, positive from the right.
    pub light_azimuth_degrees: f32,
    /// How high the light stands: 0 level with the face, 90 overhead.
    pub light_height_degrees: f32,
    /// 0 soft to 1 hard and directed.
    pub light_hardness: f32,
    /// Strength of a light from behind: 0 none, to 1; negative when it comes from the left.
    pub rim_light: f32,

    /// -1 sad to 1 broad smile.
    pub smile: f32,
    /// Gap between the lips in distances between eyes and mouth; 0 is closed.
    pub mouth_gap: f32,
    /// Opening of the eyes: 1 is the person's usual one, below 0.1 they are closed.
    pub eyes_open: f32,
    /// Brows lifted (positive) or lowered, in distances between eyes and mouth.
    pub brows: f32,
    /// 0 to 1.
    pub frown: f32,
    /// Where the eyes look, in distances between eyes and mouth: right and down.
    pub gaze: (f32, f32),

    /// Hair worn unlike usually.
    pub other_hair: bool,
    /// 0 none to 1 full.
    pub beard: f32,
    /// 0 none to 1 strong.
    pub make_up: f32,
    /// Worn or not.
    pub glasses: Option<Glasses>,
    /// Worn or not.
    pub hat: Option<Hat>,
    /// Worn or not.
    pub scarf: bool,

    /// Exposure error in stops; positive is too bright.
    pub exposure_stops: f32,
    /// 1 is usual.
    pub contrast: f32,
    /// 1 is usual.
    pub saturation: f32,
    /// Standard deviation of the blur.
    pub blur_pixels: f32,
    /// Standard deviation of the noise, in units of the whole range.
    pub noise: f32,
}

/// Kinds of glasses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Glasses {
    /// The eyes are seen.
    Clear,
    /// Sunglasses.
    Dark,
}

/// Kinds of hats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hat {
    /// A cap without a brim.
    Knitted,
    /// A cap whose brim may shade the eyes.
    Brimmed,
}

/// What [`super::draw`] makes an image of, besides the person; takes microseconds.
pub fn circumstances(identity: u32, image: u32, seed: u64) -> Circumstances {
    let (person, moment) = who_and_when(identity, image, seed);
    let Moment { pose, light, face, worn, camera, .. } = moment;
    Circumstances {
        yaw_degrees: pose.yaw.to_degrees(),
        pitch_degrees: pose.pitch.to_degrees(),
        roll_degrees: pose.roll.to_degrees(),
        distance: pose.distance,
        shift_right_pixels: pose.shift.0,
        shift_down_pixels: pose.shift.1,
        size: pose.size,
        tilt_degrees: pose.turn.to_degrees(),
        light_azimuth_degrees: light.azimuth.to_degrees(),
        light_height_degrees: light.height.to_degrees(),
        light_hardness: light.hardness,
        // The middle channel carries a light's strength, the others its tint.
        rim_light: light.rim.1 * light.rim_side,
        smile: face.smile,
        mouth_gap: face.gap,
        eyes_open: face.open,
        brows: face.brows,
        frown: face.frown,
        gaze: face.gaze,
        other_hair: worn.style != person.hair.style,
        beard: worn.beard,
        make_up: worn.make_up,
        glasses: worn.glasses.map(|glasses| if glasses.is_dark() { Glasses::Dark } else { Glasses::Clear }),
        hat: worn.hat.map(|hat| if hat.brim { Hat::Brimmed } else { Hat::Knitted }),
        scarf: worn.scarf.is_some(),
        exposure_stops: libm::log2f(camera.exposure),
        contrast: camera.contrast,
        saturation: camera.saturation,
        blur_pixels: camera.blur,
        noise: camera.noise,
    }
}
