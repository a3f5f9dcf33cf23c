//! A tile: rows of many jobs, packed for the device, and the way back to their jobs.

use super::turns::{Content, Kind, Row, Task};
use crate::engine::Computed;
use bytes::Bytes;
use dataset::blended::label::fill;
use nets::{FEATURE, LATENT};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Sizes that every tile has.
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) classes: usize,
    /// Identities that have images: whom a mixture is led away from.
    pub(crate) present: Vec<u32>,
    pub(crate) image_bytes: usize,
}

/// Rows for one run of the device. Rows beyond those packed are zero.
pub(crate) struct Tile {
    /// Rows in all, padding included.
    pub(crate) rows: usize,
    pub(crate) work: TileWork,
    kind: Kind,
    /// Where each packed row belongs.
    slots: Vec<(Arc<Delivery>, usize)>,
}

pub(crate) enum TileWork {
    /// Latents `(rows, 256)` and labels `(rows, classes)`.
    Generate { latents: Vec<f32>, labels: Vec<f32> },
    /// Images `(rows, image bytes)`.
    Encode { pixels: Vec<u8> },
    /// Images `(rows, image bytes)`.
    Embed { pixels: Vec<u8> },
}

impl Tile {
    pub(crate) fn new(shape: &Shape, kind: Kind) -> Self {
        let images = || vec![0; shape.rows * shape.image_bytes];
        let work = match kind.task {
            Task::Generate => TileWork::Generate {
                latents: vec![0.0; shape.rows * LATENT],
                labels: vec![0.0; shape.rows * shape.classes],
            },
            Task::Encode => TileWork::Encode { pixels: images() },
            Task::Embed => TileWork::Embed { pixels: images() },
        };
        Self { rows: shape.rows, work, kind, slots: Vec::with_capacity(shape.rows) }
    }

    /// What it computes, and with whose weights.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Packed rows.
    pub(crate) fn filled(&self) -> usize {
        self.slots.len()
    }

    /// Rows that may still be packed.
    pub(crate) fn space(&self) -> usize {
        self.rows - self.slots.len()
    }

    /// Adds a row of the tile's kind, whose sizes were checked where it was made.
    pub(crate) fn pack(&mut self, shape: &Shape, row: Row) {
        let nth = self.slots.len();
        match (&mut self.work, row.content) {
            (TileWork::Generate { latents, labels }, Content::Face(face)) => {
                latents[nth * LATENT..][..LATENT].copy_from_slice(&face.latent);
                fill(&mut labels[nth * shape.classes..][..shape.classes], &face.parents, face.reach, &shape.present);
            }
            (TileWork::Encode { pixels } | TileWork::Embed { pixels }, Content::Image(image)) => {
                pixels[nth * shape.image_bytes..][..shape.image_bytes].copy_from_slice(&image);
            }
            _ => unreachable!("rows of one kind were taken for this tile; this is a bug"),
        }
        self.slots.push((row.delivery, row.position));
    }

    /// Gives each packed row's result to its job, images without copying them; the last row of a job
    /// completes it.
    pub(crate) fn deliver(self, computed: &Computed) {
        for (nth, (delivery, position)) in self.slots.into_iter().enumerate() {
            delivery.put(position, computed, nth);
        }
    }

    /// Tells all jobs with a row in this tile why they get nothing.
    pub(crate) fn refuse(self, reason: &str) {
        for (delivery, _) in self.slots {
            delivery.refuse(reason);
        }
    }
}

/// The results of a job's rows, in its order.
pub(crate) enum Results {
    /// Each is part of its tile, which lives for as long as any of them.
    Images(Vec<Bytes>),
    /// Encodings or features, one after the other.
    Vectors(Vec<f32>),
}

/// What an asker is told: the results of all rows, or why there are none.
pub(crate) type Answer = Result<Results, String>;

/// One job's results, as far as they are there.
pub(crate) struct Delivery {
    state: Mutex<DeliveryState>,
    /// Bytes or numbers of each.
    row_len: usize,
}

struct DeliveryState {
    results: Results,
    missing: usize,
    reply: Option<oneshot::Sender<Answer>>,
}

impl Delivery {
    /// For a job of so many rows.
    pub(crate) fn new(rows: usize, task: Task, image_bytes: usize, reply: oneshot::Sender<Answer>) -> Arc<Self> {
        let row_len = match task {
            Task::Generate => image_bytes,
            Task::Encode => 2 * LATENT,
            Task::Embed => FEATURE,
        };
        let results = match task {
            Task::Generate => Results::Images(vec![Bytes::new(); rows]),
            Task::Encode | Task::Embed => Results::Vectors(vec![0.0; rows * row_len]),
        };
        Arc::new(Self { state: Mutex::new(DeliveryState { results, missing: rows, reply: Some(reply) }), row_len })
    }

    /// Whether nobody waits for the results any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Result `nth` of a tile is row `position` of this job.
    fn put(&self, position: usize, computed: &Computed, nth: usize) {
        let len = self.row_len;
        let mut state = self.lock();
        match (&mut state.results, computed) {
            (Results::Images(all), Computed::Pixels(rows)) => all[position] = rows.slice(nth * len..(nth + 1) * len),
            (Results::Vectors(all), Computed::Vectors(rows)) => {
                all[position * len..][..len].copy_from_slice(&rows[nth * len..][..len]);
            }
            _ => unreachable!("a tile computes what its jobs ask for; this is a bug"),
        }
        state.missing -= 1;
        if state.missing == 0 {
            let nothing = Results::Vectors(Vec::new());
            let results = std::mem::replace(&mut state.results, nothing);
            if let Some(reply) = state.reply.take() {
                // An asker that left needs no answer.
                let _ = reply.send(Ok(results));
            }
        }
    }

    /// There will be no results. The job's other rows are then abandoned.
    fn refuse(&self, reason: &str) {
        if let Some(reply) = self.lock().reply.take() {
            let _ = reply.send(Err(reason.to_owned()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, DeliveryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
