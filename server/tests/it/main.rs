//! The real server on real sockets of this machine, asked by a plain tonic client.

mod fixture;

mod command;
mod engine;
mod failures;
mod operations;
mod refusals;
mod streams;
mod weights;
