//! What this server serves: dataset and bundle, opened, compared and put to work.

use crate::{
    config::Config,
    encodings::Encodings,
    engine::{
        RowGenerator,
        weights::{self, BundleGenerator},
    },
    error::{Error, Result, device_sentence},
    gallery::{Gallery, ImageStore},
    makers::Makers,
    plan::catalogue::Catalogue,
    scheduler::Scheduler,
    shelf::Shelf,
    telemetry::{self, Telemetry},
};
use dataset::{Dataset, OpenOptions};
use nets::{
    bundle::{Bundle, BundleInfo},
    checkpoint::CheckpointError,
};
use proto::limits;
use std::{path::Path, sync::Arc};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The demo's bundle, trained on the data set `demo`; `server/assets/README.md` has the commands.
const DEMO_BUNDLE: &[u8] = include_bytes!("../assets/demo.safetensors");

/// `Synthesize` requests answered at once. They compete with streams, so few.
pub(crate) const MAX_SYNTHESES: usize = 8;

/// Facts about the weights.
#[derive(Clone, Debug)]
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

/// Everything a request needs, shared by all of them.
pub struct Served {
    pub(crate) config: Config,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) names: Vec<String>,
    pub(crate) dataset_digest: String,
    pub(crate) bundle: BundleFacts,
    pub(crate) numerics: String,
    pub(crate) gallery: Gallery,
    pub(crate) scheduler: Scheduler,
    pub(crate) encodings: Encodings,
    pub(crate) shelf: Shelf,
    pub(crate) makers: Makers,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) syntheses: Arc<Semaphore>,
    /// Cancelled when the server begins to end.
    pub(crate) closing: CancellationToken,
}

/// The parts of a [`Served`] that tests replace.
pub struct Parts {
    /// Names of the identities, in class order.
    pub names: Vec<String>,
    /// Images of each identity.
    pub image_counts: Vec<u32>,
    /// Digest of the dataset.
    pub dataset_digest: String,
    /// The images.
    pub images: Arc<dyn ImageStore>,
    /// Facts about the weights.
    pub bundle: BundleFacts,
    /// What the generator's bytes depend on, besides build, weights and tile.
    pub numerics: String,
    /// Makes the generator.
    #[allow(clippy::type_complexity, reason = "named nowhere else")]
    pub generator: Box<dyn FnOnce(Arc<Telemetry>) -> Box<dyn RowGenerator>>,
}

impl Served {
    /// Opens the dataset and the bundle that the settings name.
    ///
    /// # Errors
    /// When either can't be used, or they don't belong together.
    pub fn open(config: &Config) -> Result<Self> {
        let device = nets::device::parse(&config.device).map_err(|error| Error::Device(device_sentence(&error)))?;
        let bundle = open_bundle(config.weights.as_deref(), &device)?;
        let channels = bundle.info.generator.channels;
        let options = OpenOptions { channels, withheld: config.withhold.clone(), ..OpenOptions::default() };
        let dataset = Dataset::open(&config.data, &options)?;
        for line in dataset.report().lines() {
            tracing::warn!("{line}");
        }
        let names: Vec<String> = dataset.identities().iter().map(|identity| identity.name.clone()).collect();
        compare_names(&bundle.info.names, &names)?;
        let image_counts = dataset.identities().iter().map(|identity| identity.images as u32).collect();
        check_size("images", dataset.len(), u64::from(proto::NONE))?;
        check_size("identities", dataset.identities().len(), u64::from(limits::MAX_IDENTITIES))?;
        let parts = Parts {
            names,
            image_counts,
            dataset_digest: dataset.digest().to_owned(),
            images: Arc::new(dataset),
            bundle: BundleFacts {
                digest: bundle.digest.clone(),
                architecture: architecture(&bundle.info),
                images_seen: bundle.info.images_seen,
                dataset_digest: bundle.info.dataset_digest.clone(),
                channels,
                encoder: bundle.encoder.is_some(),
            },
            numerics: weights::numerics(&device),
            generator: Box::new(move |telemetry| Box::new(BundleGenerator::new(bundle, device, telemetry))),
        };
        Self::new(config, parts)
    }

    /// Puts given parts to work.
    ///
    /// # Errors
    /// When the engine's threads can't be started.
    pub fn new(config: &Config, parts: Parts) -> Result<Self> {
        let numerics = format!("{}/{}/tile{}", env!("LOOKALIKE_BUILD"), parts.numerics, config.tile);
        let telemetry = Telemetry::new(&telemetry::Identity {
            bundle_digest: &parts.bundle.digest,
            architecture: &parts.bundle.architecture,
            precision: "f32",
            numerics: &numerics,
            dataset_digest: &parts.dataset_digest,
        })?;
        let telemetry = Arc::new(telemetry);
        let catalogue = Arc::new(Catalogue::new(parts.image_counts));
        let gallery = Gallery::new(parts.images, catalogue.clone(), config.gallery << 20, telemetry.clone());
        let scheduler = Scheduler::start((parts.generator)(telemetry.clone()), config.tile, telemetry.clone())?;
        Ok(Self {
            catalogue,
            names: parts.names,
            dataset_digest: parts.dataset_digest,
            bundle: parts.bundle,
            numerics,
            gallery,
            encodings: Encodings::new(scheduler.clone()),
            scheduler,
            shelf: Shelf::new(config.shelf << 20),
            makers: Makers::new(),
            telemetry,
            streams: Arc::new(Semaphore::new(config.max_streams)),
            syntheses: Arc::new(Semaphore::new(MAX_SYNTHESES)),
            closing: CancellationToken::new(),
            config: config.clone(),
        })
    }

    /// One line for people: what is served.
    pub fn describe(&self) -> String {
        format!(
            "{} identities, {} images; {} ({}), numerics {}",
            self.catalogue.identities(),
            self.catalogue.images(),
            self.bundle.architecture,
            self.bundle.digest.get(..12).unwrap_or(&self.bundle.digest),
            self.numerics,
        )
    }
}

/// Opens a bundle file, or the one that is built in.
///
/// # Errors
/// When it can't be used, or there is none.
pub fn open_bundle(path: Option<&Path>, device: &candle_core::Device) -> Result<Bundle> {
    let opened = match path {
        Some(path) => Bundle::open(path, device),
        None => Bundle::from_bytes(DEMO_BUNDLE, "the built-in demo bundle", device),
    };
    opened.map_err(|error| match error {
        CheckpointError::Kind { origin, found, .. } => Error::NotABundle { origin, found },
        error => Error::Bundle(error),
    })
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
