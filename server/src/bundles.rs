//! The weights held: the newest, which new streams get, and older ones for as long as a stream needs
//! them or nothing else needs their room.
//!
//! [`declared`] says which of them, and which sampling table, makes which batch of a stream; [`followers`]
//! lets the streams that follow change together; `former` keeps class centres for streams that began with
//! them.

pub(crate) mod declared;
pub(crate) mod followers;
mod former;

use crate::{
    encodings::Encodings,
    engine::RowGenerator,
    error::{Error, Result},
    plan::{catalogue::Catalogue, centres::Centres},
    scheduler::{Scheduler, Weights},
    telemetry::Telemetry,
};
use former::Former;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Facts about the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFacts {
    /// BLAKE3 of the file.
    pub digest: String,
    /// Its architecture, for people.
    pub architecture: String,
    /// Training images the generator had seen.
    pub images_seen: u64,
    /// Digest of the dataset it was trained on.
    pub dataset_digest: String,
    /// 1 or 3.
    pub channels: usize,
    /// Whether it can encode.
    pub encoder: bool,
}

/// Makes a generator that measures what it does.
pub type MakeGenerator = Box<dyn FnOnce(Arc<Telemetry>) -> Box<dyn RowGenerator> + Send>;

/// A bundle that was opened, and is not served yet.
pub struct Candidate {
    /// Facts about it.
    pub facts: BundleFacts,
    /// Names of its identities, in class order.
    pub names: Vec<String>,
    /// Normalised mean feature of each identity: 256 numbers after the other.
    pub centres: Vec<f32>,
    /// Makes a generator for each engine.
    pub generators: Vec<MakeGenerator>,
}

/// Where bundles come from: a file, or a test's.
pub trait BundleStore: Send + Sync + 'static {
    /// The bytes that are there now.
    ///
    /// # Errors
    /// When there are none.
    fn read(&self) -> Result<Vec<u8>>;

    /// The bundle that these bytes are.
    ///
    /// # Errors
    /// When they are none.
    fn open(&self, bytes: &[u8]) -> Result<Candidate>;

    /// What changes when other bytes are there, as far as can be told without reading them; `None`
    /// when nothing is there.
    fn stamp(&self) -> Option<String>;
}

/// A bundle with a seat at the engine.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) facts: BundleFacts,
    pub(crate) centres: Arc<Centres>,
    pub(crate) weights: Weights,
    pub(crate) encodings: Encodings,
}

impl Loaded {
    /// Seats a candidate's generators, on trial.
    pub(crate) fn new(
        candidate: Candidate,
        catalogue: &Catalogue,
        scheduler: &Scheduler,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Self> {
        let generators = candidate.generators.into_iter().map(|make| make(telemetry.clone()));
        let weights = scheduler.seat(generators.collect())?;
        let centres = Arc::new(Centres::of_served(candidate.centres, catalogue.present().iter().copied()));
        Ok(Self { facts: candidate.facts, centres, weights, encodings: Encodings::new() })
    }

    pub(crate) fn digest(&self) -> &str {
        &self.facts.digest
    }
}

/// The bundles held.
pub(crate) struct Bundles {
    /// The newest first; never empty.
    held: Mutex<Vec<Arc<Loaded>>>,
    /// Class centres of those that were the newest once.
    former: Mutex<Former>,
    most: usize,
}

impl Bundles {
    /// With the first bundle; `most` are held at once.
    pub(crate) fn new(first: Loaded, most: usize) -> Self {
        let mut former = Former::default();
        former.keep(&first.centres);
        Self { held: Mutex::new(vec![Arc::new(first)]), former: Mutex::new(former), most: most.max(2) }
    }

    /// The one that new streams get.
    pub(crate) fn newest(&self) -> Arc<Loaded> {
        self.held()[0].clone()
    }

    /// All of them, the newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Loaded>> {
        self.held().clone()
    }

    /// How many are held at most.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// The one with a digest.
    ///
    /// # Errors
    /// When it is not held.
    pub(crate) fn find(&self, digest: &str) -> Result<Arc<Loaded>> {
        let held = self.held();
        held.iter().find(|bundle| bundle.digest() == digest).cloned().ok_or_else(|| Error::Expectation {
            what: "a bundle with digest",
            expected: crate::error::quoted(digest),
            found: held.iter().map(|bundle| bundle.digest()).collect::<Vec<_>>().join(" and "),
            remedy: "serve the bundle that the stream was begun with, or begin a new stream",
        })
    }

    /// The class centres with a digest, of the bundles held and of a few former ones.
    ///
    /// # Errors
    /// When they are not known.
    pub(crate) fn centres(&self, digest: &str) -> Result<Arc<Centres>> {
        let held = self.all();
        self.former().find(digest, held.iter().map(|bundle| &bundle.centres))
    }

    /// Whether there is room for another one, or could be: nothing is let go of for one that may yet be
    /// refused.
    ///
    /// # Errors
    /// [`Error::Busy`] when streams need all of them.
    pub(crate) fn has_room(&self) -> Result<()> {
        let held = self.held();
        if held.len() < self.most { Ok(()) } else { self.unneeded(&held).map(drop) }
    }

    /// Makes a bundle the newest, whether or not it is held already. Without room for another one, the
    /// oldest that no stream needs makes it.
    ///
    /// # Errors
    /// [`Error::Busy`] when streams need all of them; nothing has changed then.
    pub(crate) fn promote(&self, bundle: Arc<Loaded>) -> Result<()> {
        let mut held = self.held();
        match held.iter().position(|other| other.digest() == bundle.digest()) {
            Some(nth) => drop(held.remove(nth)),
            None if held.len() >= self.most => {
                let nth = self.unneeded(&held)?;
                held.remove(nth);
            }
            None => {}
        }
        held.insert(0, bundle.clone());
        drop(held);
        self.former().keep(&bundle.centres);
        Ok(())
    }

    /// Which one could make room: the oldest that no stream needs, and not the newest.
    fn unneeded(&self, held: &[Arc<Loaded>]) -> Result<usize> {
        // Streams, and what they have in the making, hold a bundle by another count of the same.
        let unneeded = held.iter().rposition(|bundle| Arc::strong_count(bundle) == 1).filter(|&nth| nth > 0);
        unneeded.ok_or(Error::Busy { what: "bundles that streams need", limit: self.most })
    }

    fn former(&self) -> MutexGuard<'_, Former> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Vec<Arc<Loaded>>> {
        // Nothing that can panic runs between a change's own steps.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
