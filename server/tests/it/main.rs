//! The real server on real sockets of this machine, asked by a plain tonic client.

mod bundle;
mod fixture;
mod sharing;
mod stand_ins;

mod command;
mod engine;
mod failures;
mod guarding;
mod operations;
mod partings;
mod refusals;
mod reload;
mod streams;
mod weights;
