//! What users may rely on when they point Lookalike at their data.

mod archiving;
mod augmenting;
mod commanding;
mod decoding;
mod drawing;
mod opening;
mod pairing;
mod shelf;
mod splitting;
mod writing;
