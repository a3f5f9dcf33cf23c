//! Which stream to read, from whom, and how.

use crate::place::{Change, Takeover, bundle_at, short};
use crate::{Access, Connect, Labels, ServerUrl, Spec, TableChoice};
use std::{num::NonZeroU64, sync::Arc, time::Duration};

/// Everything that decides which batches come, and how they are fetched.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Servers of the same dataset and bundle. One is asked at a time; when it fails, the next.
    pub servers: Vec<ServerUrl>,
    /// How this end shows who it is, and knows the servers.
    pub access: Access,
    /// What each batch is made of.
    pub spec: Spec,
    /// Which of the trainers that share each batch this one is, below `world_size`.
    pub rank: u32,
    /// Trainers that share each batch.
    pub world_size: u32,
    /// Index of the first batch.
    pub first: u64,
    /// Index after the last batch; `None` for a stream without end.
    pub end: Option<u64>,
    /// What blended rows are learned as.
    pub labels: Labels,
    /// Which weights make the batches.
    pub bundle: BundleChoice,
    /// Which sampling tables shape them, where identities are chosen by loss.
    pub tables: TableChoice,
    /// Batches after which the next server goes on, so that their load evens out; `None` for never.
    pub lease: Option<NonZeroU64>,
    /// Name under which servers share their time and keep their metrics; may be empty.
    pub trainer: String,
    /// What may have changed since a checkpoint, or differ between servers.
    pub accepted: Vec<Change>,
    /// Batches read ahead, at least 1.
    pub prefetch: usize,
    /// How long to wait for servers.
    pub patience: Patience,
    /// Another way to the servers than by sockets.
    pub connector: Option<Arc<dyn Connect>>,
    /// Whether people are told nothing of servers that are waited for.
    pub silent: bool,
}

/// Which weights make the batches of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BundleChoice {
    /// The newest when the stream begins, to the end.
    #[default]
    Stay,
    /// The bundle with this digest.
    Pin(String),
    /// The bundle with a digest, or else the newest when the stream begins; then each newer one from an
    /// index on that the server declares and the place keeps. Ranks that share batches are given the
    /// digest: servers may get a newer bundle while one rank after the other begins.
    Follow {
        /// Digest of the first bundle.
        from: Option<String>,
    },
    /// The first bundle, then the others from their indices on: what a stream that followed was.
    Replay(String, Vec<Takeover>),
}

/// How long servers may be gone before the stream gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Before anything was received.
    pub at_first: Duration,
    /// After that: a server that restarts reads its dataset again before it answers.
    pub later: Duration,
}

impl Patience {
    /// The same all along.
    pub const fn always(duration: Duration) -> Self {
        Self { at_first: duration, later: duration }
    }
}

impl Default for Patience {
    /// At first, silence is most often a wrong address; later, a restart.
    fn default() -> Self {
        Self { at_first: Duration::from_secs(10), later: Duration::from_secs(300) }
    }
}

impl BundleChoice {
    pub(crate) fn follows(&self) -> bool {
        matches!(self, Self::Follow { .. })
    }

    /// Which bundle the stream must begin with, when it may not be any.
    pub(crate) fn first(&self) -> Option<&str> {
        match self {
            Self::Pin(digest) | Self::Replay(digest, _) | Self::Follow { from: Some(digest) } => Some(digest),
            Self::Stay | Self::Follow { from: None } => None,
        }
    }

    /// Why a stream that begins at `index` may not begin with the bundle `found`, if so.
    pub(crate) fn refuse(&self, index: u64, found: &str) -> Result<(), String> {
        let takeovers = if let Self::Replay(_, takeovers) = self { &**takeovers } else { &[] };
        match self.first().map(|first| bundle_at(first, takeovers, index)) {
            Some(expected) if expected != found => {
                let [expected, found] = [expected, found].map(short);
                Err(format!("expected bundle {expected} as asked for, found {found} in the header"))
            }
            _ => Ok(()),
        }
    }
}

impl StreamSettings {
    /// A stream without end from index 0, for one trainer.
    pub fn new(servers: Vec<ServerUrl>, spec: Spec) -> Self {
        Self {
            servers,
            access: Access::default(),
            spec,
            rank: 0,
            world_size: 1,
            first: 0,
            end: None,
            labels: Labels::Hard,
            bundle: BundleChoice::Stay,
            tables: TableChoice::Follow,
            lease: None,
            trainer: String::new(),
            accepted: Vec::new(),
            prefetch: 4,
            patience: Patience::default(),
            connector: None,
            silent: false,
        }
    }

    /// Rows of each batch for this rank.
    pub fn rows(&self) -> usize {
        proto::rank_rows(self.spec.batch_size, self.rank, self.world_size).len()
    }
}
