//! The commands as a whole, at sizes that take seconds, and the rules by which rows are mixed.

mod commands;
mod rows;
mod trainings;
mod world;
