//! Files of credentials: read when the server starts, and again when they change or on SIGHUP.
//!
//! What is in force stays in force until the new files have been read whole and found good; of what
//! is not, one sentence tells. Their content is never told.

use crate::{
    error::{Error, Result},
    telemetry::Telemetry,
};
use std::{
    io::Read,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The largest file of credentials: room for thousands of tokens or certificates.
const MAX_BYTES: u64 = 1 << 20;

/// Credentials that can be read again while they are in use.
pub(crate) trait Credentials: Send + Sync {
    /// What they are, as sentences and metrics name them.
    fn what(&self) -> &'static str;

    /// Where they come from.
    fn files(&self) -> &Files;

    /// Reads them again. When that fails, those in force stay.
    ///
    /// # Errors
    /// Why they can't be used.
    fn reread(&self) -> Result<()>;
}

/// Some files that are read together, and what they held when they were last read.
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    last: Mutex<Option<blake3::Hash>>,
}

impl Files {
    /// Files that have not been read yet.
    pub(crate) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { paths: paths.into_iter().collect(), last: Mutex::default() }
    }

    /// The content of each.
    ///
    /// # Errors
    /// When one can't be read or is larger than a megabyte.
    pub(crate) fn read(&self) -> Result<Vec<Vec<u8>>> {
        let contents = self.contents();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = contents.as_deref().ok().map(stamp);
        contents
    }

    fn contents(&self) -> Result<Vec<Vec<u8>>> {
        let read = |path: &PathBuf| {
            let fail = |reason: &dyn std::fmt::Display| {
                Error::Credentials(format!("cannot read {}: {reason}", path.display()))
            };
            let file = command::open_file(path).map_err(|error| fail(&command::error::reason(&error)))?;
            let mut bytes = Vec::new();
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fail(&error))?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(fail(&format_args!("expected at most {MAX_BYTES} bytes, found more")));
            }
            Ok(bytes)
        };
        self.paths.iter().map(read).collect()
    }

    /// What they hold now; `None` while they can't be read.
    fn stamp(&self) -> Option<blake3::Hash> {
        self.contents().as_deref().ok().map(stamp)
    }

    fn last(&self) -> Option<blake3::Hash> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(contents: &[Vec<u8>]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    for content in contents {
        hash.update(&(content.len() as u64).to_le_bytes()).update(content);
    }
    hash.finalize()
}

/// Reads credentials again whenever their files have changed and are at rest, looking every `period`
/// (never, where it is zero), and on each SIGHUP; for as long as it is polled.
pub(crate) async fn keep_current(credentials: Arc<dyn Credentials>, period: Duration, telemetry: Arc<Telemetry>) {
    let mut hangups = Hangups::new();
    let mut tried = credentials.files().last();
    let mut seen = tried;
    loop {
        let asked = tokio::select! {
            () = hangups.next() => true,
            () = tokio::time::sleep(period), if !period.is_zero() => false,
        };
        let looking = credentials.clone();
        let Ok(stamp) = tokio::task::spawn_blocking(move || looking.files().stamp()).await else { continue };
        let at_rest = stamp == seen;
        seen = stamp;
        if asked || (at_rest && stamp != tried) {
            tried = stamp;
            let reading = credentials.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || reading.reread()).await else { continue };
            let what = credentials.what();
            match &read {
                Ok(()) => tracing::info!("the {what} were read again and are in force"),
                Err(error) => tracing::warn!("{error}; the {what} in force stay"),
            }
            telemetry.credentials_read(what, read.is_ok());
        }
    }
}

/// SIGHUPs as they come; never where there are none.
pub(crate) struct Hangups {
    #[cfg(unix)]
    signals: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    /// From now on.
    pub(crate) fn new() -> Self {
        #[cfg(unix)]
        return Self { signals: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok() };
        #[cfg(not(unix))]
        return Self {};
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals
            && signals.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
