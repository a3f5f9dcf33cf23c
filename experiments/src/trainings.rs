//! Trainings in the output folder: `OUT/trainings/NAME` is a run directory each.
//!
//! One that is finished is read and not trained again; one that was stopped or killed goes on from
//! its newest checkpoint and ends as the same bits. How long each took is kept beside it, for the
//! sessions that came to a good end.

use crate::error::{Error, Result};
use crate::jobs::{GeneratorJob, Job, RecognizerJob};
use crate::rows::{Maker, Rows};
use crate::selection::Selector;
use crate::world::World;
use candle_core::Device;
use command::atomic_file::write_atomically;
use command::run_directory::Checkpoints;
use command::training::Rhythm;
use command::{Interrupt, RunDirectory};
use cvae_gan::{Exportable, Figures, IdentityNetwork, Trained, identity_network};
use recognizer::metrics::Features;
use recognizer::{BatchSource, Recognizer, SourceError};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Of the folder and what it holds of each training.
const FOLDER: &str = "trainings";
const TIME: &str = "time.json";
const FEATURES: &str = "features-of-pairs.bin";

/// All trainings of an output folder.
pub struct Trainings<'a> {
    folder: PathBuf,
    world: &'a World,
    device: Device,
    interrupt: &'a Interrupt,
    makers: RefCell<BTreeMap<String, Maker>>,
    records: RefCell<Vec<Record>>,
}

/// A training that was used, for the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Of its run directory.
    pub name: String,
    /// Of its weights.
    pub seed: u64,
    /// Its length.
    pub images: u64,
    /// Time over all sessions that came to a good end.
    pub seconds: f64,
    /// BLAKE3 of its last checkpoint.
    pub digest: String,
}

#[derive(Default, Deserialize, Serialize)]
struct Time {
    seconds: f64,
}

impl<'a> Trainings<'a> {
    /// Those below `out`.
    pub fn new(out: &Path, world: &'a World, device: Device, interrupt: &'a Interrupt) -> Self {
        let (makers, records) = Default::default();
        Self { folder: out.join(FOLDER), world, device, interrupt, makers, records }
    }

    /// What computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Asked now and then.
    pub fn interrupt(&self) -> &'a Interrupt {
        self.interrupt
    }

    /// Trainings that were used so far.
    pub fn records(&self) -> Vec<Record> {
        self.records.borrow().clone()
    }

    /// Whether a training came to its end.
    ///
    /// # Errors
    /// A checkpoint that is damaged, or of another training.
    pub fn is_finished(&self, job: &Job) -> Result<bool> {
        let path = self.path(job);
        let finished = match job {
            Job::Recognizer(job) => recognizer::train::finished(&path, &job.config, &self.device)
                .map(|found| found.is_some())
                .map_err(Error::from),
            Job::Generator(job) => self.finished_generator(&path, job).map(|found| found.is_some()),
        };
        finished.map_err(|error| error.of_training(&path))
    }

    /// A finished recognizer whose batches are those of `rows`.
    fn finished_recognizer(&self, path: &Path, job: &RecognizerJob, rows: &mut Rows) -> Result<Option<Recognizer>> {
        let Some((found, place)) = recognizer::train::finished(path, &job.config, &self.device)? else {
            return Ok(None);
        };
        rows.resume(&place)?;
        Ok(Some(found))
    }

    fn finished_generator(&self, path: &Path, job: &GeneratorJob) -> Result<Option<Trained>> {
        if Checkpoints::in_run(path).is_empty()? {
            return Ok(None);
        }
        let parts = Exportable::read(path, &self.device)?;
        let training = parts.training();
        let data = self.world.part(job.part)?;
        if training.settings != job.settings || training.dataset_digest != data.digest() {
            let what = "expected a checkpoint of the settings and images of this training, found one of others";
            return Err(SourceError::Settings(what.to_owned()).into());
        }
        let finished = training.images_seen >= job.settings.images;
        Ok(if finished { Some(parts.build(&self.device)?) } else { None })
    }

    /// The recognizer of a job; trains it first, with all that it needs, where it isn't there.
    ///
    /// # Errors
    /// Whatever ends a training; [`Error::Interrupted`].
    pub fn recognizer(&self, job: &RecognizerJob) -> Result<Recognizer> {
        let path = self.folder.join(&job.name);
        let maker = job.generator.as_ref().map(|generator| match job.recipe.retries {
            Some(_) => self.selecting(generator),
            None => self.generator(generator),
        });
        let maker = maker.transpose()?;
        let mut rows = Rows::new(self.world.part(job.part)?, maker, job.recipe.clone())?;
        let finished = self.finished_recognizer(&path, job, &mut rows).map_err(|error| error.of_training(&path))?;
        if let Some(found) = finished {
            self.record_all(Job::Recognizer(job.clone()))?;
            return Ok(found);
        }
        self.during(&path, &Job::Recognizer(job.clone()), |run, resume| {
            let session = recognizer::Session {
                run,
                device: &self.device,
                interrupt: self.interrupt,
                resume,
                pairs: None,
                rhythm: Rhythm::over(job.config.images),
            };
            let outcome = recognizer::train(&job.config, &mut rows, &session)?;
            run.checkpoints().prune(outcome.images_seen, 1)?;
            Ok(outcome.interrupted)
        })?;
        self.record_all(Job::Recognizer(job.clone()))?;
        Ok(recognizer::load(&path, &self.device)?)
    }

    /// The generator of a job; trains it first, and its identity network, where it isn't there.
    ///
    /// # Errors
    /// As [`Trainings::recognizer`].
    pub fn generator(&self, job: &GeneratorJob) -> Result<Maker> {
        if let Some(maker) = self.makers.borrow().get(&job.name) {
            return Ok(maker.clone());
        }
        let path = self.folder.join(&job.name);
        if let Some(identity) = &job.identity {
            self.recognizer(identity)?;
        }
        let finished = self.finished_generator(&path, job).map_err(|error| error.of_training(&path))?;
        let trained = match finished {
            Some(trained) => trained,
            None => self.train_generator(&path, job)?,
        };
        self.record_all(Job::Generator(job.clone()))?;
        let maker = Maker { trained: Arc::new(trained), digest: self.digest(&job.name), selector: None };
        self.makers.borrow_mut().insert(job.name.clone(), maker.clone());
        Ok(maker)
    }

    /// The same with what selects its rows: the network that it was trained against, where it was against one.
    fn selecting(&self, job: &GeneratorJob) -> Result<Maker> {
        let mut maker = self.generator(job)?;
        let Some(identity) = &job.identity else { return Ok(maker) };
        let name = format!("{} with a selector", job.name);
        if let Some(maker) = self.makers.borrow().get(&name) {
            return Ok(maker.clone());
        }
        let data = self.world.part(job.part)?;
        let network = IdentityNetwork::of_dataset(self.recognizer(identity)?, &data, self.interrupt)?;
        maker.selector = Some(Arc::new(Selector::new(network, &maker.trained)?));
        self.makers.borrow_mut().insert(name, maker.clone());
        Ok(maker)
    }

    fn train_generator(&self, path: &Path, job: &GeneratorJob) -> Result<Trained> {
        let identity = job.identity.as_deref();
        let settings = &job.settings;
        let data = self.world.part(job.part)?;
        let mut source = cvae_gan::start::source(settings, data.clone())?;
        self.during(path, &Job::Generator(job.clone()), |run, resume| {
            let resumed = if resume { cvae_gan::start::go_on(run, settings, &mut source, &self.device)? } else { None };
            let (mut learner, gathered) = match resumed {
                Some(found) => found,
                None => {
                    let recognizer = identity.map(|identity| {
                        let verdict = settings.lambda_id * settings.identity_verdict > 0.0;
                        identity_network::load(&self.folder.join(&identity.name), &data, verdict, &self.device)
                    });
                    let learner = cvae_gan::start::begin(
                        settings,
                        recognizer.transpose()?,
                        &source,
                        &self.device,
                        self.interrupt,
                    )?;
                    (learner, Figures::default())
                }
            };
            // A picture at each tenth; checkpoints as usual.
            let usual = Rhythm::over(settings.images);
            let rhythm = Rhythm { evaluate: usual.checkpoint, ..usual };
            let session = cvae_gan::Session { run, interrupt: self.interrupt, rhythm, shard_bytes: None };
            let outcome = cvae_gan::train(&mut learner, &mut source, gathered, &session)?;
            run.checkpoints().prune(outcome.images_seen, 1)?;
            Ok(outcome.interrupted)
        })?;
        Ok(Trained::open(path, &self.device)?)
    }

    /// Opens or begins a run directory, says what it is for, and keeps the time. `train` says whether it was interrupted.
    fn during(&self, path: &Path, job: &Job, train: impl FnOnce(&RunDirectory, bool) -> Result<bool>) -> Result<()> {
        let name = job.name();
        let resume = path.join("config.toml").is_file();
        let run = match resume {
            true => RunDirectory::open(path)?,
            false => match RunDirectory::begin_at(path, &format!("# a training of `experiments`: {name}\n")) {
                // Begun by another process between the question and the answer.
                Err(command::Error::Occupied(path)) if path.join("config.toml").is_file() => {
                    return Err(command::Error::Locked(path).into());
                }
                Err(command::Error::Occupied(_)) => return Err(Error::NoTraining(path.to_owned())),
                run => run?,
            },
        };
        command::say(job.line());
        let before = time(path);
        let began = Instant::now();
        let interrupted = train(&run, resume).map_err(|error| error.of_training(path))?;
        let time = Time { seconds: before.seconds + began.elapsed().as_secs_f64() };
        // Two numbers always have a JSON form.
        let text = serde_json::to_string(&time).unwrap_or_default();
        write_atomically(path.join(TIME), |file| file.write_all(text.as_bytes()))?;
        if interrupted { Err(Error::Interrupted(name.to_owned())) } else { Ok(()) }
    }

    /// Its run directory.
    pub(crate) fn path(&self, job: &Job) -> PathBuf {
        self.folder.join(job.name())
    }

    /// Digest of the checkpoint of a training that was used; empty for another.
    pub fn digest(&self, name: &str) -> String {
        let records = self.records.borrow();
        records.iter().find(|record| record.name == name).map_or(String::new(), |record| record.digest.clone())
    }

    /// Features that were found before and kept beside a training, or else those that `find` finds.
    /// `key` tells what they are of.
    ///
    /// # Errors
    /// Those of `find`, a full disk.
    pub fn kept_features(&self, name: &str, key: &str, find: impl FnOnce() -> Result<Features>) -> Result<Features> {
        let path = self.folder.join(name).join(FEATURES);
        let head = blake3::hash(key.as_bytes());
        let kept = std::fs::read(&path).ok().and_then(|bytes| features_of(&bytes, head.as_bytes()));
        if let Some(features) = kept {
            return Ok(features);
        }
        let features = find()?;
        write_atomically(&path, |file| {
            let values: Vec<u8> = features.values().iter().flat_map(|value| value.to_le_bytes()).collect();
            [head.as_bytes().as_slice(), blake3::hash(&values).as_bytes(), &values]
                .into_iter()
                .try_for_each(|part| file.write_all(part))
        })?;
        Ok(features)
    }

    /// Ends work that leaves nothing behind, where somebody asked for it.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn go_on(&self, during: &str) -> Result<()> {
        if self.interrupt.requested() { Err(Error::Interrupted(during.to_owned())) } else { Ok(()) }
    }

    /// Notes that a finished training is used, and all that it was made with.
    fn record_all(&self, job: Job) -> Result<()> {
        job.with_needs().iter().try_for_each(|job| self.record(job))
    }

    /// Notes `jobs`, all of which are finished, in their order, whoever trained which when.
    pub(crate) fn record_in_order(&self, jobs: &[Job]) -> Result<()> {
        jobs.iter().try_for_each(|job| self.record(job))?;
        let place = |record: &Record| jobs.iter().position(|job| job.name() == record.name);
        let mut records = self.records.borrow_mut();
        records.retain(|record| place(record).is_some());
        records.sort_by_key(place);
        Ok(())
    }

    fn record(&self, job: &Job) -> Result<()> {
        if self.records.borrow().iter().any(|record| record.name == job.name()) {
            return Ok(());
        }
        let path = self.path(job);
        let (_, digest) = Checkpoints::in_run(&path).newest(|found| {
            std::fs::read(&found.path)
                .map(|bytes| blake3::hash(&bytes).to_hex().to_string())
                .map_err(command::Error::reading(&found.path))
        })?;
        self.records.borrow_mut().push(Record {
            name: job.name().to_owned(),
            seed: job.seed(),
            images: job.images(),
            seconds: time(&path).seconds,
            digest,
        });
        Ok(())
    }
}

/// Features behind a head that says what they are of, and a digest of themselves; `None` where they are
/// of something else or damaged.
fn features_of(bytes: &[u8], head: &[u8]) -> Option<Features> {
    let (digest, values) = bytes.strip_prefix(head)?.split_at_checked(blake3::OUT_LEN)?;
    if blake3::hash(values).as_bytes() != digest {
        return None;
    }
    let values = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Features::from_values(values.collect(), nets::FEATURE).ok()
}

/// Zero where nothing is known.
fn time(run: &Path) -> Time {
    let text = std::fs::read_to_string(run.join(TIME)).unwrap_or_default();
    let time: Time = serde_json::from_str(&text).unwrap_or_default();
    if time.seconds >= 0.0 && time.seconds.is_finite() { time } else { Time::default() }
}
