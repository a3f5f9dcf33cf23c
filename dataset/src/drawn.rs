//! Drawn faces: people who don't exist, made of arithmetic.
//!
//! An image is a function of `(identity, image, seed)` and of nothing else. It goes through these
//! files in order:
//!
//! 1. `person` draws who it is, of `traits`, and `moment` the circumstances: pose, light,
//!    expression, things worn (`attire`), camera. `difficulty` holds how far both may wander.
//! 2. `head`, `hair` and `worn` build surfaces as grids of points (`mesh`).
//! 3. `raster` finds what each pixel shows and what the lamp sees; `light` is the lamps.
//! 4. `skin`, `eyes`, `hair` and `worn` give each visible place its colour.
//! 5. `camera` adds the background and turns light into bytes.
//!
//! [`circumstances()`] tells what `moment` drew for an image, without drawing the image.
//!
//! No table of pictures and no platform's mathematics is used, so the bytes are the same on every
//! machine.

mod attire;
mod camera;
mod circumstances;
mod difficulty;
mod eyes;
mod hair;
mod head;
mod light;
mod mesh;
mod moment;
mod noise;
mod person;
mod raster;
mod skin;
mod traits;
mod vector;
mod worn;

use std::fmt;

use nets::chance::Chance;
use nets::pixels::IMAGE_SIZE;
use serde::{Deserialize, Serialize};

use crate::image::Image;
pub use circumstances::{Circumstances, Glasses, Hat, circumstances};
use head::Head;
use light::Lamps;
use mesh::{Material, Mesh, Placed, View};
use moment::Moment;
use person::Person;
use raster::{Fragment, Shadow, Visible};
use skin::Face;
use vector::{Rotation, V3};
use worn::Spectacles;

/// Raised whenever the same `(identity, image, seed)` gives other bytes than before.
pub const VERSION: u32 = 1;

/// A set of drawn faces: `identities` people from number `first` on, `images` of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DrawnSet {
    /// Number of the first identity. Sets of one seed whose numbers don't overlap share nobody.
    pub first: u32,
    /// How many identities.
    pub identities: u32,
    /// How many images of each.
    pub images: u32,
    /// Everything else follows from it.
    pub seed: u64,
}

/// Most images that one drawn set may have.
const MOST_IMAGES: u64 = 10_000_000;

impl DrawnSet {
    /// Whether it holds images at all, not too many, and every identity has a number.
    pub(crate) fn check(&self) -> Result<(), String> {
        let images = u64::from(self.identities) * u64::from(self.images);
        if images == 0 || images > MOST_IMAGES {
            return Err(format!("expected between 1 and {MOST_IMAGES} images in all, found {images}"));
        }
        match self.first.checked_add(self.identities) {
            Some(_) => Ok(()),
            None => Err("the last identity's number is too large".into()),
        }
    }

    /// Draws one of the set's images, RGB.
    pub fn draw(&self, identity: u32, image: u32) -> Image {
        draw(identity, image, self.seed)
    }

    /// Name of an identity, as a folder: `d0007`.
    pub fn identity_name(identity: u32) -> String {
        // Ten digits hold every number; names of up to four digits stay short. Both kinds sort as
        // their numbers do, because the longer ones begin with a later letter.
        if identity < 10_000 { format!("d{identity:04}") } else { format!("e{identity:010}") }
    }

    /// Name of an image without its ending, as in LFW: `d0007_0003` is the third.
    pub fn image_name(identity: u32, image: u32) -> String {
        let number = u64::from(image) + 1;
        let digits = if number < 10_000 { format!("{number:04}") } else { format!("x{number:010}") };
        format!("{}_{digits}", Self::identity_name(identity))
    }

    /// What the digest of the set is taken from.
    pub(crate) fn definition(&self) -> String {
        format!("drawn version {VERSION}, {self}\n")
    }
}

impl fmt::Display for DrawnSet {
    /// In the form that [`crate::demo::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, identities, images, seed } = self;
        write!(f, "demo:identities={identities},images={images},seed={seed},first={first}")
    }
}

/// Draws one image, 128 x 128 RGB, in LightCNN's geometry.
pub fn draw(identity: u32, image: u32, seed: u64) -> Image {
    let (person, moment) = who_and_when(identity, image, seed);
    picture(&person, &moment)
}

/// All that an image is made of: person and circumstances.
fn who_and_when(identity: u32, image: u32, seed: u64) -> (Person, Moment) {
    let person = Person::new(&mut Chance::new(seed, "drawn/person").at(u64::from(identity), 0));
    let mut draws = Chance::new(seed, "drawn/moment").at(u64::from(identity), u64::from(image));
    let moment = Moment::new(&person, &mut draws);
    (person, moment)
}

fn picture(person: &Person, moment: &Moment) -> Image {
    let head = Head::new(person, moment);
    let eye = |side: f32| head.point(side * person.eyes.spacing, 0.0);
    let view = View::new(&moment.pose, eye(-1.0), eye(1.0), head.point(0.0, 1.0));
    let meshes: Vec<Placed> =
        surfaces(person, moment, &head).into_iter().map(|mesh| Placed::new(mesh, &view.rotation)).collect();
    let visible = Visible::new(&meshes, &view);
    let shadow = Shadow::new(&meshes, moment.light.towards, moment.light.softness);
    let lamps = Lamps::new(&moment.light, shadow);
    let face = Face { person, moment, pixel: 1.0 / view.scale(), gap: head.gap };
    let spectacles = moment.worn.glasses.as_ref().map(|glasses| Spectacles::new(glasses, person, &head, &view));

    let mut light = Vec::with_capacity(IMAGE_SIZE * IMAGE_SIZE);
    for y in 0..IMAGE_SIZE {
        for x in 0..IMAGE_SIZE {
            let mut colour = V3::ZERO;
            let (mut cover, mut bare) = (0.0, 0.0);
            for fragment in visible.fragments(&meshes, x, y) {
                colour = colour + shade(&face, &meshes, &fragment, &lamps, &view.rotation) * fragment.cover;
                cover += fragment.cover;
                bare += if meshes[fragment.mesh].mesh.material == Material::Skin { fragment.cover } else { 0.0 };
            }
            let (x, y) = (x as f32, y as f32);
            if cover < 1.0 {
                colour = colour + camera::background(&moment.background, x, y) * (1.0 - cover);
            }
            if let Some(spectacles) = &spectacles {
                colour = spectacles.over(&view, &lamps, (x, y), bare, colour);
            }
            light.push(colour);
        }
    }
    let pixels = camera::develop(light, &moment.camera, moment.grain);
    Image { channels: 3, pixels }
}

fn surfaces(person: &Person, moment: &Moment, head: &Head) -> Vec<Mesh> {
    let worn = &moment.worn;
    let mut meshes = vec![head.mesh(), head.ear(-1.0), head.ear(1.0), head.neck(), head.shoulders(worn.clothes)];
    meshes.push(hair::mesh(person, moment, head));
    if let Some(hat) = &worn.hat {
        meshes.extend(worn::hat(hat, head));
    }
    if let Some(colour) = worn.scarf {
        meshes.push(worn::scarf(colour, head));
    }
    meshes
}

fn shade(face: &Face, meshes: &[Placed], fragment: &Fragment, lamps: &Lamps, rotation: &Rotation) -> V3 {
    // Thin shells are seen from both sides. Shadows are asked for a little above the surface, so
    // that it doesn't shade itself where light grazes it.
    let normal = if fragment.normal.2 < 0.0 { fragment.normal * -1.0 } else { fragment.normal };
    let fragment = Fragment { normal, lit: lamps.shadow(fragment.seen + normal * 0.045), ..*fragment };
    match meshes[fragment.mesh].mesh.material {
        Material::Skin => face.shade(&fragment, lamps),
        Material::Hair => hair::shade(face.person, face.moment, &fragment, lamps, rotation),
        Material::Cloth { colour, ribs } => worn::shade(colour, ribs, &fragment, lamps),
    }
}
