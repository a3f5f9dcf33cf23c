//! Who does the work that takes a while: threads, or, in virtual time, the tasks that ask for it.

use std::{sync::Arc, time::Duration};

/// Who does the work.
#[derive(Clone, Default)]
pub enum Workers {
    /// Threads: the packer's, the engine's, and as many others as there are cores.
    #[default]
    Threads,
    /// Tasks of the runtime that serves, and no thread but its own. A piece of work is done in one
    /// go, after as much of the runtime's time as this says that it takes. On a runtime of one thread
    /// with a paused clock, whatever happens then happens in the same order every time.
    Tasks(Arc<dyn Fn(Work) -> Duration + Send + Sync>),
}

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A tile at the engine.
    Tile,
    /// Planning, decoding, putting together: what as many as there are cores do at once.
    Making,
    /// Reading a bundle.
    Reading,
}

impl Workers {
    /// How long a piece of work takes by the runtime's clock; `None` where it takes its own time.
    pub(crate) fn pace(&self, work: Work) -> Option<Duration> {
        match self {
            Self::Threads => None,
            Self::Tasks(pace) => Some(pace(work)),
        }
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Threads => "Threads",
            Self::Tasks(_) => "Tasks",
        })
    }
}
