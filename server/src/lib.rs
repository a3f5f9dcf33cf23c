//! Streams training batches of faces: real ones, new images of the same people, and invented
//! people blended from them, mixed in one batch and made on demand.
//!
//! A batch is a function of (spec, dataset, bundle, index): nothing about a stream is remembered
//! here. The way of one request:
//!
//! 1. [`mod@serve`]: health, reflection, metrics, shutdown; [`listeners`]: sockets and TLS; [`access`]: who
//!    may call;
//! 2. [`service`]: checks the request; the only room that names wire types;
//! 3. [`session`]: one trainer's cursor and credit;
//! 4. `making`: one batch, by the rooms that follow, and the identity filter;
//! 5. [`plan`]: which rows batch `index` has; pure;
//! 6. [`gallery`]: real rows, decoded once; [`encodings`]: their latents, where asked for;
//! 7. [`scheduler`]: generated rows of many streams become tiles, in fair turns;
//! 8. [`engine`]: the one thread that owns device and generator;
//! 9. [`assemble`]: rows back in plan order, augmented, in one buffer, with a digest;
//! 10. [`shelf`]: the finished batch, kept for others who ask for the same.
//!
//! Which weights make a batch, [`bundles`] says; [`reload`] changes them while streams go on. There too
//! it is declared from when on a sampling table, made of the `losses` that trainers report, shapes the
//! batches.
//!
//! `streams` counts them: how many a trainer may have, and how much of its work may wait.
//!
//! While all that is opened, `opening` answers for it; `health` says which it is.
//!
//! `metrics_page` is served beside all that, to whoever asks.
//!
//! Beside them: [`served`] (everything opened and put to work), `makers` (the places for work that
//! takes a while), [`workers`] (threads that do it, or tasks in virtual time), `watched` (files of credentials, read again when they change), [`telemetry`] (every
//! metric), [`config`], [`error`].
//!
//! Invariants: only `engine` computes on the device; every queue is bounded; a slow trainer delays
//! no other; a row's bytes depend neither on its neighbours in a tile nor on the thread count.

pub mod access;
pub mod assemble;
pub mod bundles;
pub mod config;
pub mod encodings;
pub mod engine;
pub mod error;
pub mod gallery;
mod health;
pub mod listeners;
mod losses;
mod makers;
mod making;
mod metrics_page;
mod opening;
pub mod plan;
pub mod reload;
pub mod scheduler;
pub mod serve;
pub mod served;
pub mod service;
pub mod session;
pub mod shelf;
mod streams;
pub mod telemetry;
mod watched;
pub mod workers;

pub use config::Config;
pub use error::{Error, Result};
pub use health::SERVICES;
pub use opening::answer_while;
pub use serve::{bind, serve, serve_connections, serve_opened};
pub use served::{Served, Usage};
pub use workers::Workers;
