//! What users may rely on when they point Lookalike at their data.

mod aligning;
mod archiving;
mod augmenting;
mod commanding;
mod decoding;
mod detector;
mod drawing;
mod opening;
mod pairing;
mod shelf;
mod splitting;
mod writing;
