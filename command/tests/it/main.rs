//! The manners that all commands share, seen from outside.

mod atomic_file;
mod human;
mod interrupt;
mod picture;
mod process;
mod run_directory;
mod settings;
mod tensorboard;
mod training;
