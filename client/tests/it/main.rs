//! Streams from the real server, in this process, over real sockets.

mod access;
mod between;
#[path = "../../../server/tests/it/bundle.rs"]
mod bundle;
#[path = "../../../server/tests/it/certificates.rs"]
mod certificates;
mod commands;
mod exports;
mod fixture;
mod following;
mod killed;
mod recipes;
mod specs;
#[path = "../../../server/tests/it/stand_ins.rs"]
mod stand_ins;
mod streams;
mod tables;
mod training;
mod trust;
