//! What all trainings share beside their run directory: flags, milestones, how they end.
//!
//! - [`RunFlags`]: `--out`, `--resume`, how often, how many checkpoints.
//! - [`Rhythm`] and [`Stride`]: at which steps something is due.
//! - [`Outcome`]: the last word, in a line or as JSON.

mod flags;
mod outcome;

pub use flags::RunFlags;
pub use outcome::Outcome;

/// How often a training reports, in images seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// A line of figures, averaged since the last one.
    pub log: u64,
    /// A look at what it can do: figures on pairs, pictures.
    pub evaluate: u64,
    /// A checkpoint.
    pub checkpoint: u64,
    /// Newest checkpoints that are kept.
    pub keep: usize,
}

impl Rhythm {
    /// A hundred lines, ten evaluations (fewer in a short training, as each costs as much as some
    /// hundred images of training) and checkpoints over a training; two checkpoints are kept, so
    /// that one that is damaged later costs a tenth of the training and not all of it.
    pub fn over(images: u64) -> Self {
        let part = |parts: u64| (images / parts).max(1);
        Self { log: part(100), evaluate: part(10).max(5_000), checkpoint: part(10), keep: 2 }
    }
}

/// The images of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stride {
    /// Images seen before it.
    pub from: u64,
    /// Images seen after it.
    pub to: u64,
    /// Length of the training.
    pub end: u64,
}

impl Stride {
    /// Whether it is the last one.
    pub fn is_last(self) -> bool {
        self.to >= self.end
    }

    /// Whether it passes a multiple of `every` images, or is the last one, at which all is due.
    pub fn passes(self, every: u64) -> bool {
        self.is_last() || self.from / every.max(1) != self.to / every.max(1)
    }
}
