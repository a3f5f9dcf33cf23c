//! The evidence as commands: from faces and one set of settings to a report.
//!
//! In the order in which an experiment passes through the files:
//!
//! - [`settings`]: one set for all experiments; [`world`]: what trains, what is held out, who is
//!   judged;
//! - [`experiment`]: all of them by name; [`jobs`]: what each trains; [`plan`]: written down before
//!   anything runs; [`calibration`]: how long it will take;
//! - [`trainings`]: run directories that go on where they stopped; [`division`]: among several processes; [`rows`]: the batches of an arm;
//!   [`selection`]: which generated rows are taken;
//! - [`verification`], [`ratio`], [`generation`], [`figures`], [`gan_train`], [`ablation`], [`usage`]:
//!   what each measures, and how it tells it;
//! - [`gain`]: differences with their uncertainty, and the words that they allow; [`machine`]: where and
//!   when; [`report`]: Markdown, JSON and pictures;
//! - [`conduct`]: all of it in one call.

pub mod ablation;
pub mod calibration;
pub mod conduct;
pub mod division;
mod error;
pub mod experiment;
pub mod figures;
pub mod gain;
pub mod gan_train;
pub mod generation;
pub mod jobs;
pub mod machine;
pub mod plan;
pub mod ratio;
pub mod report;
pub mod rows;
pub mod selection;
pub mod settings;
pub mod trainings;
pub mod usage;
pub mod verification;
pub mod world;

pub use conduct::Conducted;
pub use error::{Error, Result};
pub use experiment::Experiment;
pub use settings::Settings;
