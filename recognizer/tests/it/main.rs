//! The crate from outside, one module a room.

mod batch;
mod metrics;
