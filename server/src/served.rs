//! What this server serves: dataset and bundle, opened, compared and put to work.

use crate::{
    access::Access,
    bundles::{BundleFacts, BundleStore, Bundles, Candidate, Loaded, MakeGenerator, followers::Followers},
    config::Config,
    engine::weights::{self, BundleGenerator},
    error::{Error, Result, device_sentence},
    gallery::{Gallery, ImageStore},
    makers::Makers,
    plan::catalogue::Catalogue,
    scheduler::{Scheduler, Turn},
    shelf::Shelf,
    streams::Streams,
    telemetry::Telemetry,
    workers::Workers,
};
use candle_core::Device;
use dataset::{Dataset, OpenOptions};
use nets::{
    bundle::{Bundle, BundleInfo},
    checkpoint::CheckpointError,
    device::Place,
};
use proto::{buffers::Buffers, limits};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The demo's bundle, trained on the data set `demo`; `server/assets/README.md` has the commands.
const DEMO_BUNDLE: &[u8] = include_bytes!("../assets/demo.safetensors");

/// Bytes of memory of finished batches that are kept for the next ones.
const BUFFERS: usize = 64 << 20;

/// `Synthesize` and `Encode` requests answered at once. They compete with streams, so few.
pub(crate) const MAX_SYNTHESES: usize = 8;

/// Manifests and reports that are worked out, or wait for it, at once.
pub(crate) const MAX_QUESTIONS: usize = 32;

/// Everything a request needs, shared by all of them.
pub struct Served {
    pub(crate) config: Config,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) names: Vec<String>,
    pub(crate) dataset_digest: String,
    /// Channels of every bundle's images.
    pub(crate) channels: usize,
    pub(crate) bundles: Bundles,
    pub(crate) followers: Followers,
    /// Where newer bundles come from; locked while one is being looked at.
    pub(crate) store: tokio::sync::Mutex<Arc<dyn BundleStore>>,
    pub(crate) numerics: String,
    pub(crate) gallery: Gallery,
    pub(crate) scheduler: Scheduler,
    pub(crate) shelf: Shelf,
    /// What batches are put in.
    pub(crate) buffers: Buffers,
    /// Where batches are made.
    pub(crate) makers: Makers,
    /// Where the requests of streams are looked into.
    pub(crate) openings: Makers,
    /// Where manifests are worked out: who asks for a stream doesn't wait behind them.
    pub(crate) manifests: Makers,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) access: Access,
    pub(crate) streams: Streams,
    pub(crate) syntheses: Arc<Semaphore>,
    pub(crate) questions: Semaphore,
    /// Cancelled when the server begins to end.
    pub(crate) closing: CancellationToken,
}

/// What a server holds at a moment, to be compared with its limits. Everything but the caches and the
/// bundles themselves goes back to nothing when the last trainer leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Streams being sent.
    pub streams: usize,
    /// For each trainer with streams: how many, and the batches made ahead for all of them together.
    pub trainers: BTreeMap<Turn, (usize, usize)>,
    /// Rows that wait for a place in a tile.
    pub waiting_rows: usize,
    /// Bytes of the finished batches kept.
    pub shelf_bytes: usize,
    /// Bytes of the decoded images kept.
    pub gallery_bytes: usize,
    /// `Synthesize` and `Encode` requests being answered.
    pub syntheses: usize,
    /// Groups of streams that follow newer bundles together.
    pub followed: usize,
    /// Digests of the bundles held, the newest first, and how many need each beside the server itself.
    pub bundles: Vec<(String, usize)>,
}

/// The parts of a [`Served`] that tests replace.
pub struct Parts {
    /// Images of each identity, in class order.
    pub image_counts: Vec<u32>,
    /// Digest of the dataset.
    pub dataset_digest: String,
    /// The images.
    pub images: Arc<dyn ImageStore>,
    /// The bundle to begin with; the names of its identities are the dataset's.
    pub bundle: Candidate,
    /// Where newer ones come from.
    pub store: Arc<dyn BundleStore>,
    /// What the generator's bytes depend on, besides build, weights and tile.
    pub numerics: String,
}

impl Served {
    /// Opens the dataset and the bundle that the settings name.
    ///
    /// # Errors
    /// When either can't be used, or they don't belong together.
    pub fn open(config: &Config) -> Result<Self> {
        // A mistake in them needn't wait for the dataset.
        Access::open(&config.access)?;
        let store = BundleFile { path: config.weights.clone(), devices: devices(&config.device)? };
        let file = match &store.path {
            Some(path) => Cow::Owned(nets::checkpoint::bytes_of(path).map_err(bundle_error)?),
            None => Cow::Borrowed(DEMO_BUNDLE),
        };
        let bundle = store.open(&file)?;
        drop(file);
        let channels = bundle.facts.channels;
        let options = OpenOptions { channels, withheld: config.withhold.clone(), ..OpenOptions::default() };
        let dataset = Dataset::open(&config.data, &options)?;
        for line in dataset.report().lines() {
            tracing::warn!("{line}");
        }
        let names: Vec<String> = dataset.identities().iter().map(|identity| identity.name.clone()).collect();
        compare_names(&bundle.names, &names)?;
        let image_counts = dataset.identities().iter().map(|identity| identity.images as u32).collect();
        check_size("images", dataset.len(), u64::from(proto::NONE))?;
        check_size("identities", dataset.identities().len(), u64::from(limits::MAX_IDENTITIES))?;
        let parts = Parts {
            image_counts,
            dataset_digest: dataset.digest().to_owned(),
            images: Arc::new(dataset),
            bundle,
            numerics: one_numerics(&config.device, &store.devices)?,
            store: Arc::new(store),
        };
        Self::new(config, parts)
    }

    /// Puts given parts to work.
    ///
    /// # Errors
    /// When the engine's threads can't be started, or the file of tokens can't be used.
    pub fn new(config: &Config, parts: Parts) -> Result<Self> {
        Self::with_workers(config, parts, &Workers::Threads)
    }

    /// Puts given parts to work, done by given workers. With [`Workers::Tasks`] it must be called
    /// within the runtime that serves.
    ///
    /// # Errors
    /// When the engine's threads can't be started.
    pub fn with_workers(config: &Config, parts: Parts, workers: &Workers) -> Result<Self> {
        let access = Access::open(&config.access)?;
        let numerics = format!("{}/{}/tile{}", env!("LOOKALIKE_BUILD"), parts.numerics, config.tile());
        let telemetry = Arc::new(Telemetry::new(&numerics, &parts.dataset_digest)?);
        let catalogue = Arc::new(Catalogue::new(parts.image_counts));
        let gallery = Gallery::new(parts.images, catalogue.clone(), config.gallery << 20, telemetry.clone(), workers);
        let (channels, names) = (parts.bundle.facts.channels, parts.bundle.names.clone());
        let scheduler = {
            let shares = config.share.iter().map(|share| (share.trainer.clone(), share.weight)).collect();
            let engines = parts.bundle.generators.len();
            Scheduler::start(config.tile(), channels, &catalogue, shares, telemetry.clone(), workers, engines)?
        };
        let bundle = Loaded::new(parts.bundle, &catalogue, &scheduler, &telemetry)?;
        bundle.weights.accept();
        let bundles = Bundles::new(bundle, config.max_bundles);
        telemetry.bundles().held(&bundles.all());
        Ok(Self {
            catalogue,
            names,
            dataset_digest: parts.dataset_digest,
            channels,
            bundles,
            followers: Followers::default(),
            store: tokio::sync::Mutex::new(parts.store),
            numerics,
            gallery,
            scheduler,
            shelf: Shelf::new(config.shelf << 20),
            buffers: Buffers::keeping(BUFFERS),
            makers: Makers::new(workers),
            openings: Makers::for_questions(workers),
            manifests: Makers::for_questions(workers),
            telemetry,
            access,
            streams: Streams::new(config.max_streams, config.max_streams_per_trainer, config.max_pending),
            syntheses: Arc::new(Semaphore::new(MAX_SYNTHESES)),
            questions: Semaphore::new(MAX_QUESTIONS),
            closing: CancellationToken::new(),
            config: config.clone(),
        })
    }

    /// The page of metrics, as Prometheus reads it.
    pub fn metrics(&self) -> String {
        self.telemetry.render()
    }

    /// What is in use at this moment.
    pub fn usage(&self) -> Usage {
        let (streams, trainers) = self.streams.usage();
        let bundles = self.bundles.all().into_iter();
        Usage {
            streams,
            trainers,
            waiting_rows: self.scheduler.waiting(),
            shelf_bytes: self.shelf.bytes(),
            gallery_bytes: self.gallery.bytes(),
            syntheses: MAX_SYNTHESES - self.syntheses.available_permits(),
            followed: self.followers.count(),
            bundles: bundles.map(|bundle| (bundle.digest().to_owned(), Arc::strong_count(&bundle) - 2)).collect(),
        }
    }

    /// One line for people: what is served.
    pub fn describe(&self) -> String {
        let bundle = &self.bundles.newest().facts;
        format!(
            "{} identities, {} images; {} ({}), numerics {}",
            self.catalogue.identities(),
            self.catalogue.images(),
            bundle.architecture,
            bundle.digest.get(..12).unwrap_or(&bundle.digest),
            self.numerics,
        )
    }
}

/// The file that `--weights` names.
struct BundleFile {
    /// `None` for the bundle that is built in.
    path: Option<PathBuf>,
    /// Those that each bundle is opened on, one after the other; at least one.
    devices: Vec<Place>,
}

impl BundleStore for BundleFile {
    fn read(&self) -> Result<Vec<u8>> {
        match &self.path {
            Some(path) => Ok(nets::checkpoint::bytes_of(path)?),
            None => Err(Error::Refused(
                "the server was started with the built-in one; start it with --weights FILE to change bundles".into(),
            )),
        }
    }

    fn open(&self, bytes: &[u8]) -> Result<Candidate> {
        let origin = self.path.as_deref().unwrap_or(Path::new("the built-in bundle")).display().to_string();
        let open = |Place { device, numbers }: &Place| {
            let opened = Bundle::from_bytes_in(bytes, &origin, device, *numbers).map_err(bundle_error)?;
            Ok((opened, device.clone()))
        };
        let opened = self.devices.iter().map(open).collect::<Result<_>>()?;
        candidate(opened, weights::weight_bytes(bytes))
    }

    fn stamp(&self) -> Option<String> {
        let found = std::fs::metadata(self.path.as_ref()?).ok()?;
        let modified = found.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let number = 0;
        Some(format!("{number} {} {}", found.len(), modified.as_nanos()))
    }
}

/// The devices of a list of names.
fn devices(names: &[String]) -> Result<Vec<Place>> {
    if names.is_empty() {
        return Err(Error::Device("expected the name of at least one device, found none".into()));
    }
    let parsed = names.iter().map(|name| nets::device::parse_with_numbers(name));
    parsed.map(|place| place.map_err(|error| Error::Device(device_sentence(&error)))).collect()
}

/// The numerics class of all of them: which one makes a row must not be seen in it.
fn one_numerics(names: &[String], devices: &[Place]) -> Result<String> {
    let classes: Vec<String> = devices.iter().map(weights::numerics).collect();
    let [first, others @ ..] = &*classes else { return Err(Error::Bug("there is no device".into())) };
    match others.iter().position(|class| class != first) {
        None => Ok(first.clone()),
        Some(nth) => Err(Error::Device(format!(
            "expected devices of one kind, as a row may be made by any of them, found {} ({first}) and {} ({}); serve \
             them by servers of their own",
            names[0],
            names[nth + 1],
            others[nth]
        ))),
    }
}

/// A bundle that was opened on each device, where its weights take so many bytes, ready to be seated.
fn candidate(opened: Vec<(Bundle, Device)>, weight_bytes: usize) -> Result<Candidate> {
    let (bundle, _) = opened.first().ok_or_else(|| Error::Bug("a bundle was opened nowhere".into()))?;
    let centres = bundle.centres.flatten_all().and_then(|centres| centres.to_vec1::<f32>());
    Ok(Candidate {
        facts: BundleFacts {
            digest: bundle.digest.clone(),
            architecture: architecture(&bundle.info),
            images_seen: bundle.info.images_seen,
            dataset_digest: bundle.info.dataset_digest.clone(),
            channels: bundle.info.generator.channels,
            encoder: bundle.encoder.is_some(),
        },
        names: bundle.info.names.clone(),
        centres: centres.map_err(|error| Error::Device(device_sentence(&error)))?,
        generators: opened
            .into_iter()
            .map(|(bundle, device)| -> MakeGenerator {
                Box::new(move |telemetry| {
                    Box::new(BundleGenerator::new(bundle, device, telemetry).holding(weight_bytes))
                })
            })
            .collect(),
    })
}

/// Opens a bundle file, or the one that is built in.
///
/// # Errors
/// When it can't be used, or there is none.
pub fn open_bundle(path: Option<&Path>, device: &Device) -> Result<Bundle> {
    let opened = match path {
        Some(path) => Bundle::open(path, device),
        None => Bundle::from_bytes(DEMO_BUNDLE, "the built-in demo bundle", device),
    };
    opened.map_err(bundle_error)
}

fn bundle_error(error: CheckpointError) -> Error {
    match error {
        CheckpointError::Kind { origin, found, .. } => Error::NotABundle { origin, found },
        error => Error::Bundle(error),
    }
}

/// What a bundle's networks are, in words.
pub fn architecture(info: &BundleInfo) -> String {
    let colour = if info.generator.channels == 3 { "RGB" } else { "grey" };
    let encoder = if info.encoder.is_some() { " with encoder" } else { "" };
    format!("cvae-gan {} {colour}, {} identities{encoder}", info.generator.width, info.generator.classes)
}

/// Refuses a bundle and a dataset whose identities differ: labels would name the wrong people.
///
/// # Errors
/// [`Error::Names`], with the first difference.
pub fn compare_names(bundle: &[String], dataset: &[String]) -> Result<()> {
    if bundle == dataset {
        return Ok(());
    }
    let nth = bundle.iter().zip(dataset).take_while(|(b, d)| b == d).count();
    let name = |names: &[String]| names.get(nth).map_or("nobody".to_owned(), |name| format!("`{name}`"));
    Err(Error::Names(format!(
        "{} in the bundle and {} in the dataset; class {nth} is {} in the bundle and {} in the dataset",
        bundle.len(),
        dataset.len(),
        name(bundle),
        name(dataset),
    )))
}

fn check_size(what: &'static str, found: usize, limit: u64) -> Result<()> {
    if found as u64 <= limit { Ok(()) } else { Err(Error::TooMany { what, limit, found }) }
}
