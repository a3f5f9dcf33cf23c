//! Reads streams of training batches from Lookalike's servers.
//!
//! A stream is a function, not a queue: `batch = f(spec, dataset, bundle, index)`. So nothing about
//! it is kept on either side but the trainer's [`Place`], and a batch that was lost with a server or
//! a trainer is asked for again and comes back equal.
//!
//! The way of a batch, from the first flag to the training step:
//!
//! 1. [`flags`]: the flags that every command that reads a stream shares; they become
//! 2. [`StreamSettings`]: which servers, which [`Spec`], which part of the stream, how patient.
//! 3. `contact`: the first talk with a server: what it says the stream is, and who is in it.
//! 4. `fetch`: the task that reads ahead, and after a failure asks again at the next index.
//!    [`servers`] opens the connections, by `names` to the servers of a name in turn, [`access`] shows
//!    who this end is, `frames` reads batches off the wire, `attempts` decides whom to ask next and when
//!    to give up, `check` refuses what breaks the contract.
//! 5. [`Reader`]: the stream as an asynchronous task reads it.
//! 6. [`StreamSource`]: the [`recognizer::BatchSource`] that training loops read; [`place`]: what
//!    they keep of it in their checkpoints.
//!
//! Beside them: what the training loop tells servers (`waits`, `losses`), and what they make of its losses
//! (`tables`).
//!
//! [`probe`] reads a stream for its own sake: how fast, how evenly, and what it looks like.
//! [`manifest`] reads none: who its classes are, and how many.
//!
//! What was read once can be had again, and proven: a [`recipe`] says which part of which stream it was,
//! a [`ledger`] lists the digest of each batch, [`verify`] holds either against what servers make,
//! [`recorded`] keeps both beside a training's checkpoints, and [`export`] writes the images as files
//! from which the digests can be taken again.
//!
//! Invariants: batches come out in order of index, each once, each with the digest that its server
//! took of it. What is read ahead is bounded. A stream never changes silently: what a server says it
//! is made from is held against what it began with, at every connection.

pub mod access;
mod attempts;
mod check;
mod contact;
mod error;
pub mod export;
mod fetch;
pub mod flags;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
pub mod ledger;
mod losses;
pub mod manifest;
mod names;
pub mod place;
pub mod probe;
pub mod reader;
pub mod recipe;
pub mod recorded;
pub mod servers;
mod settings;
mod source;
pub mod spec;
mod tables;
pub mod verify;
mod waits;

pub use access::Access;
pub use error::{Error, Result};
pub use place::{Change, Place, Takeover};
pub use reader::{Reader, Received};
pub use recipe::Recipe;
pub use recognizer::Labels;
pub use servers::{Connect, Connecting, Pipe, ServerUrl};
pub use settings::{BundleChoice, Patience, StreamSettings};
pub use source::StreamSource;
pub use spec::Spec;
pub use tables::{TableChoice, TableTakeover};
pub use waits::Waits;
