//! What an image and an identity are.
//!
//! A [`Dataset`] is a folder per identity, a tar of one, or a set of drawn faces. Opening it goes
//! through these files in order:
//!
//! 1. `source` lists names: `source/folder` walks a folder, `source/archive` a tar's headers;
//! 2. `layout` decides, from names alone, which file belongs to which identity;
//! 3. `decode/header` checks each file's structure, `set` hashes it and puts everything in order;
//!    `report` keeps what was set aside and why.
//!
//! [`Dataset::read`] then unpacks one image, through `decode`, from any thread. Beside them:
//!
//! * [`split`]: training and held-out parts, pure functions of a seed;
//! * [`pairs`]: verification pairs in the form of Labeled Faces in the Wild;
//! * [`blended`]: people mixed from several of a set, as generators can show them;
//! * [`augment`]: the standard augmentation, the same for real and synthetic rows;
//! * [`drawn`]: faces without data: a procedural person and a procedural moment make an image, so
//!   identity and circumstances of each are known;
//! * [`align`]: photographs of any size to such images;
//! * [`demo`]: which drawn faces the demo trains and is judged on;
//! * [`mod@write`]: drawn faces as files.
//!
//! Every image is 128 x 128 bytes, grey or RGB, in LightCNN's geometry: the midpoint of the eyes
//! at (64, 40), the midpoint of the mouth 48 pixels below (Wu et al. 2018).

pub mod align;
pub mod augment;
pub mod blended;
pub mod demo;
pub mod drawn;
pub mod pairs;
pub mod split;
pub mod write;

mod decode;
mod error;
mod image;
mod layout;
mod report;
mod set;
mod source;

pub use decode::Flaw;
pub use error::{Error, Result};
pub use image::{Image, to_grey};
pub use report::{Reason, Report, SetAside};
pub use set::{Dataset, Identity, OpenOptions};
