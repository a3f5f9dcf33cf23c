//! Streams from the real server, in this process, over real sockets.

mod between;
mod commands;
mod fixture;
mod recipes;
mod streams;
mod training;
mod trust;
