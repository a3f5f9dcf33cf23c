//! New weights without a pause: read beside the old, looked at, tried, and swapped in between tiles.
//!
//! A reload is asked for by an administrator, by SIGHUP, or by the watched file's changing. Whatever
//! is wrong with what is found there, the bundle in use stays, and one sentence says why. One reload
//! runs at a time; streams go on meanwhile, and the trial takes its fair turn among them.

mod trial;

pub(crate) use trial::Figures;

use crate::{
    bundles::{BundleFacts, BundleStore, Candidate, Loaded},
    error::{Error, Result},
    served::{Served, compare_names},
    telemetry::Swap,
    watched::Hangups,
    workers::Work,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// When a file is looked at again for which there was no room, or that couldn't be read.
const AGAIN: Duration = Duration::from_secs(30);

/// What a reload came to.
#[derive(Debug)]
pub struct Reloaded {
    /// The newest bundle.
    pub bundle: BundleFacts,
    /// Whether it is another one than before.
    pub changed: bool,
}

/// Looks at the bundle that is there now, and serves it from now on if it holds up. `expected`, unless
/// empty, is the digest that it must have.
///
/// # Errors
/// [`Error::Refused`], and the bundle in use stays; [`Error::Busy`] when streams need every bundle
/// that there is room for; [`Error::Reloading`] when another reload is under way.
pub async fn reload(served: &Arc<Served>, expected: &str) -> Result<Reloaded> {
    let store = served.store.try_lock().map_err(|_| Error::Reloading)?;
    let begun = Instant::now();
    let outcome = swap(served, &store, expected).await;
    let counted = match &outcome {
        Ok(Reloaded { changed: true, bundle }) => {
            tracing::info!(digest = bundle.digest, architecture = bundle.architecture, "another bundle is served");
            Swap::Swapped(begun.elapsed())
        }
        Ok(_) => Swap::Unchanged,
        Err(error) => {
            tracing::warn!("{error}");
            Swap::Refused
        }
    };
    served.telemetry.bundles().swap(counted);
    served.telemetry.bundles().held(&served.bundles.all());
    outcome
}

/// The store, shared with the thread that reads it.
type Store = Arc<dyn BundleStore>;

async fn swap(served: &Arc<Served>, store: &Store, expected: &str) -> Result<Reloaded> {
    let reader = store.clone();
    let bytes = served.makers.apart(Work::Reading, move || reader.read()).await?;
    let bytes = bytes.map_err(|error| match error {
        Error::Refused(_) => error,
        error => Error::Unread(error.to_string()),
    })?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    if !expected.is_empty() && expected != digest {
        let expected = crate::error::quoted(expected);
        return Err(Error::Refused(format!("expected a file with digest {expected}, found {digest}")));
    }
    let current = served.bundles.newest();
    if current.digest() == digest {
        return Ok(Reloaded { bundle: current.facts.clone(), changed: false });
    }
    // One that was served before has had its trial.
    let bundle = match served.bundles.find(&digest) {
        Ok(bundle) => bundle,
        Err(_) => {
            let reader = store.clone();
            let candidate = apart(served, move || reader.open(&bytes)).await?;
            compare(served, &current, &candidate)?;
            served.bundles.has_room()?;
            let bundle = Loaded::new(candidate, &served.catalogue, &served.scheduler, &served.telemetry)?;
            trial::passes(served, &current, &bundle).await?;
            bundle.weights.accept();
            Arc::new(bundle)
        }
    };
    let facts = bundle.facts.clone();
    served.bundles.promote(bundle)?;
    Ok(Reloaded { bundle: facts, changed: true })
}

/// Refuses a bundle that streams couldn't change to.
fn compare(served: &Served, current: &Loaded, candidate: &Candidate) -> Result<()> {
    compare_names(&candidate.names, &served.names).map_err(refused)?;
    let refuse = |what: &str, expected: &str, found: &str| {
        Err(Error::Refused(format!("expected {what} as the bundle in use has, {expected}, found {found}")))
    };
    let (old, new) = (&current.facts, &candidate.facts);
    if old.channels != new.channels {
        return refuse("images", &format!("of {} channels", old.channels), &format!("{}", new.channels));
    }
    if old.encoder && !new.encoder {
        return refuse("an encoder", "for jittered latents", "none; export the bundle with one");
    }
    Ok(())
}

/// Reads or decodes on a thread where it may take its time.
async fn apart<T: Send + 'static>(served: &Served, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    served.makers.apart(Work::Reading, work).await?.map_err(refused)
}

/// The same sentence, as a refusal of new weights.
fn refused(error: Error) -> Error {
    match error {
        Error::Refused(_) | Error::Busy { .. } | Error::Bug(_) => error,
        error => Error::Refused(error.to_string()),
    }
}

/// Reloads whenever the watched file has changed and is at rest again, and on each SIGHUP, for as long
/// as it is polled.
pub(crate) async fn watch(served: Arc<Served>) {
    let period = Duration::from_secs(served.config.watch);
    let mut hangups = Hangups::new();
    // Of the file as it was last looked at, and of the last look.
    let (mut known, mut seen) = (None, None);
    let mut not_before = Instant::now();
    loop {
        let asked = tokio::select! {
            biased;
            () = hangups.next() => true,
            () = tokio::time::sleep(period), if !period.is_zero() => false,
        };
        let Ok(store) = served.store.try_lock().map(|store| store.clone()) else { continue };
        let Ok(stamp) = served.makers.apart(Work::Reading, move || store.stamp()).await else { continue };
        let at_rest = stamp == seen;
        seen.clone_from(&stamp);
        let changed = stamp.is_some() && stamp != known && at_rest && Instant::now() >= not_before;
        if !asked && !changed {
            continue;
        }
        match reload(&served, "").await {
            // What was not judged may be well another time.
            Err(Error::Busy { .. } | Error::Unread(_)) => not_before = Instant::now() + AGAIN,
            Err(Error::Reloading) => {}
            _ => known = stamp,
        }
    }
}
