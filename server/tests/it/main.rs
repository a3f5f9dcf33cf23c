//! The real server on real sockets of this machine, asked by a plain tonic client.

mod bundle;
mod certificates;
mod fixture;
mod sharing;
mod stand_ins;

mod access;
mod command;
mod deploy;
mod devices;
mod encoding;
mod engine;
mod failures;
mod filtering;
mod guarding;
mod listeners;
mod manifest;
mod neighbours;
mod operations;
mod partings;
mod refusals;
mod reload;
mod streams;
mod tables;
mod weights;
