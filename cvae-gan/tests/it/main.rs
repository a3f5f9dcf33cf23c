//! The crate from outside, one module a room.

mod commands;
mod training;
mod world;
