//! Everything that can go wrong, in one sentence each.

use crate::plan::spec::SpecError;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Why the server can't start, or why it can't answer a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- Starting ----
    /// The dataset can't be used.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The bundle can't be used.
    #[error(transparent)]
    Bundle(#[from] nets::checkpoint::CheckpointError),
    /// The file holds weights, but of another kind.
    #[error("expected a bundle, found a `{found}` in {origin}; make a bundle with `cvae-gan export`")]
    NotABundle {
        /// The file.
        origin: String,
        /// What it holds.
        found: String,
    },
    /// The bundle generates other people than the dataset holds.
    #[error("the bundle and the dataset name different identities: {0}; serve the dataset the bundle was trained on")]
    Names(String),
    /// The dataset has more images or identities than the contract can number.
    #[error("expected at most {limit} {what} in the dataset, found {found}")]
    TooMany {
        /// Images or identities.
        what: &'static str,
        /// The largest number.
        limit: u64,
        /// How many there are.
        found: usize,
    },
    /// The device can't be used.
    #[error("{0}")]
    Device(String),
    /// A listening socket can't be had.
    #[error("{}", bind_sentence(*address, reason))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's answer, which the sentence tells in full.
        reason: std::io::Error,
    },
    /// A Unix socket can't be had.
    #[error("cannot listen on unix:{}: {reason}", .path.display())]
    BindUnix {
        /// The path asked for.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// Certificates, keys or tokens can't be used. No secret is in the sentence.
    #[error("{0}")]
    Credentials(String),
    /// The gRPC server ended by itself.
    #[error("the server failed: {0}")]
    Transport(String),

    // ---- Answering ----
    /// A spec that no stream can be made of, here or anywhere.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A request that is wrong in itself.
    #[error("{0}")]
    Request(String),
    /// An identity or page beyond what is served.
    #[error("{0}")]
    OutOfRange(String),
    /// The trainer counts on something that is not so here.
    #[error("expected {what} {expected}, found {found}; {remedy}")]
    Expectation {
        /// Dataset, bundle, numerics class or plan version.
        what: &'static str,
        /// What the trainer names.
        expected: String,
        /// What is served.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A limit of this server is reached.
    #[error("{what}: the limit of {limit} is reached; try again later or ask another server")]
    Busy {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// A caller calls faster than it may.
    #[error("expected at most {rate} calls a second from one caller, found more; call again in {} ms", wait.as_millis())]
    TooOften {
        /// Calls a second.
        rate: f64,
        /// Until the next one is answered.
        wait: Duration,
    },
    /// Nobody knows who calls.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller is known, and may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// New weights that are not served.
    #[error("the new bundle is refused and the one in use stays: {0}")]
    Refused(String),
    /// A file of weights that can't be read.
    #[error("the new bundle can't be read and the one in use stays: {0}")]
    Unread(String),
    /// Another reload is under way.
    #[error("another reload is under way; ask again when it has ended")]
    Reloading,
    /// A real image can no longer be read as it was when the dataset was opened.
    #[error("a real image was lost: {0}")]
    Image(String),
    /// The generator stopped.
    #[error("the generator failed: {0}; ask another server, or this one again after its restart, at the next index")]
    Engine(String),
    /// The stream has been sent for as long as one is.
    #[error("this stream was sent for {0}, as long as any; ask another server, or this one again, at the next index")]
    Lease(String),
    /// The server is about to end.
    #[error("the server is shutting down; ask another server, or this one again, at the next index")]
    ShuttingDown,
    /// A broken invariant.
    #[error("{0}: this is a bug")]
    Bug(String),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What ends a stream whose token is withdrawn.
    pub(crate) fn withdrawn() -> Self {
        Self::Unauthenticated("the token was withdrawn; go on at the next index with another".into())
    }

    /// When to ask again, where it is a limit that was reached.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        /// Streams come and go within seconds where leases are short.
        const ROOM: Duration = Duration::from_secs(1);
        match self {
            Self::Busy { .. } => Some(ROOM),
            Self::TooOften { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}

/// The sentence of an error of the device, without the backtrace that may follow it.
pub(crate) fn device_sentence(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or("an error without a name").to_owned()
}

/// What a trainer sent, as far as an answer can repeat it: a status travels in a header, and
/// receivers refuse headers of more than 8 KiB, sentence and all. Line ends and the like become
/// `?`, so that a sentence stays one line of a log.
pub(crate) fn quoted(text: &str) -> String {
    const MOST_LETTERS: usize = 100;
    let letters: String = text.chars().take(MOST_LETTERS).collect();
    let cut = if letters.len() < text.len() { format!("... ({} bytes)", text.len()) } else { String::new() };
    letters.replace(char::is_control, "?") + &cut
}

fn bind_sentence(address: SocketAddr, reason: &std::io::Error) -> String {
    match reason.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "cannot listen on {address}: the address is in use; stop the other program or choose another address"
            )
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("cannot listen on {address}: this machine has no such address")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {address}: permission denied; ports below 1024 need special rights")
        }
        _ => format!("cannot listen on {address}: {reason}"),
    }
}
