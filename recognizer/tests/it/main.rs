//! The crate from outside, one module a room.

mod batch;
mod commands;
mod faces;
mod folder;
mod generated;
mod losses;
mod metrics;
mod training;
