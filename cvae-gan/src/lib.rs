//! Trains the CVAE-GAN with multi-scale, multi-task critics (Huang, Xie, Lai and Feng,
//! "Conditional Face Synthesis for Data Augmentation", PRCV 2018) and exports what a server serves.
//!
//! In the order in which a training passes through the files:
//!
//! - [`settings`]: every number of the recipe, in three presets (`overrides`: by name); [`budget`]: how much it may cost;
//!   [`schedule`]: what changes with the images seen;
//! - [`identity_network`]: the frozen recognizer; [`label_code`]: what G is told of an identity;
//! - [`learner`]: the state and one step of it: `draws` the step's chances, `critic_step` L_D,
//!   `generator_step` L_EG;
//! - [`losses`]: each term; `balance`: how strongly each pulls; `augment`: copies for the critics,
//!   `perturb` for the recognizer; `class_means`: running means for one reading of feature matching;
//! - [`start`]: a learner that begins or goes on; [`trainer`]: the loop; `pictures`: what it looks like;
//!   [`state`]: its checkpoints;
//! - [`trained`]: a checkpoint or bundle that samples faces, and what is exported;
//! - [`judge`]: its faces before a recognizer that took no part (`features`: real images);
//!   [`estimate`]: what a training will cost.

mod augment;
mod balance;
mod blend;
pub mod blended_people;
pub mod budget;
mod class_means;
mod critic_step;
mod critics;
mod draws;
mod error;
pub mod estimate;
mod features;
mod figures;
mod frozen;
mod generator_step;
pub mod identity_network;
pub mod judge;
pub mod label_code;
pub mod learner;
pub mod losses;
mod measured;
mod overrides;
mod perturb;
mod pictures;
#[cfg(test)]
mod reference;
pub mod schedule;
pub mod settings;
pub mod start;
pub mod state;
pub mod trained;
pub mod trainer;

pub use budget::Budget;
pub use error::{Error, Result};
pub use figures::Figures;
pub use identity_network::IdentityNetwork;
pub use learner::Learner;
pub use pictures::{interpolate, random_latents};
pub use settings::{Overrides, Preset, Settings};
pub use trained::{Exportable, Trained};
pub use trainer::{Session, train};
