//! What the measurements share.

pub mod program;
