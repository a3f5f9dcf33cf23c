//! Trainings stopped, resumed and broken.

use crate::world::{FACES, faces, recognizer};
use candle_core::{DType, Device};
use command::{Interrupt, RunDirectory};
use cvae_gan::{
    Error, Exportable, Figures, IdentityNetwork, Learner, Outcome, Overrides, Result, Rhythm, Session, Settings,
    Trained, state, train,
};
use dataset::augment::Augmentation;
use nets::bundle::Precision;
use nets::{LightCnnKind, Width};
use recognizer::{FolderSettings, FolderSource};
use std::path::Path;
use std::sync::Arc;

const IMAGES: u64 = 48;

/// Critics join after the first of six steps, so that all kinds of step lie on either side of a stop.
fn settings() -> Settings {
    let overrides = Overrides {
        batch: Some(8),
        warm_up: Some(8),
        prior_match: Some("class-mean".parse().unwrap()),
        ..Overrides::default()
    };
    Settings::resolve(Width::Tiny, None, IMAGES, &overrides).unwrap()
}

fn source(settings: &Settings) -> FolderSource {
    let augmentation = Augmentation { flip: settings.flip, shift: 0 };
    let folder = FolderSettings { batch_size: settings.batch, seed: settings.seed, augmentation };
    FolderSource::new(Arc::new(faces(FACES)), folder).unwrap()
}

/// Starts or, where a run already is, goes on.
fn run(place: &Path, settings: &Settings, weights: &Path, interrupt: &Interrupt) -> Result<Outcome> {
    let mut source = source(settings);
    let (run, mut learner, gathered) = if place.join("config.toml").exists() {
        let run = RunDirectory::open(place)?;
        let (_, checkpoint) = run.checkpoints().newest(|found| state::read(&found.path, &Device::Cpu))?;
        let (learner, gathered) = state::restore(settings, checkpoint, &mut source, &Device::Cpu)?;
        run.resume_at(learner.images_seen())?;
        (run, learner, gathered)
    } else {
        let recognizer = recognizer::load(weights, &Device::Cpu)?;
        let identity = IdentityNetwork::of_dataset(recognizer, source.dataset(), &Interrupt::new())?;
        let learner = Learner::new(settings, 4, Some(identity), DType::F32, &Device::Cpu)?;
        (RunDirectory::create_at(place, "")?, learner, Figures::default())
    };
    // Lines and checkpoints fall on different steps, so that half a line is carried over a stop.
    let rhythm = Rhythm { log: 16, sample: IMAGES, checkpoint: 24, keep: 9 };
    train(&mut learner, &mut source, gathered, &Session { run: &run, interrupt, rhythm })
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_stopped_and_resumed_training_ends_with_the_same_bytes_on_any_number_of_threads() {
    let place = tempfile::tempdir().unwrap();
    let weights = recognizer(&place.path().join("fr"), LightCnnKind::Nine, FACES);
    let (whole, stopped) = (place.path().join("whole"), place.path().join("stopped"));
    let settings = settings();
    let undisturbed = with_threads(3, || run(&whole, &settings, &weights, &Interrupt::new())).unwrap();
    assert!(!undisturbed.interrupted);

    // Ctrl-C before the first step: even then there is something to go on from.
    let interrupt = Interrupt::new();
    interrupt.request();
    let outcome = with_threads(1, || run(&stopped, &settings, &weights, &interrupt)).unwrap();
    assert!(outcome.interrupted && outcome.images_seen == 0);
    with_threads(1, || run(&stopped, &settings, &weights, &Interrupt::new())).unwrap();
    // A crash that loses the second half, and a stray line of figures with it.
    std::fs::remove_file(stopped.join("checkpoints/images-000000048.safetensors")).unwrap();
    let outcome = with_threads(2, || run(&stopped, &settings, &weights, &Interrupt::new())).unwrap();

    assert_eq!(outcome.images_seen, IMAGES);
    assert!(bytes(&undisturbed.checkpoint) == bytes(&outcome.checkpoint), "the last checkpoints differ");
    assert_eq!(bytes(&whole.join("stats.jsonl")), bytes(&stopped.join("stats.jsonl")));
    for picture in ["samples", "reconstructions", "interpolations"] {
        assert!(whole.join(format!("samples/{picture}-000000048.png")).is_file(), "{picture}");
    }

    // The run as it is served.
    let bundle = place.path().join("bundle.safetensors");
    let content = Exportable::read(&whole, &Device::Cpu).unwrap().to_bundle(true, Precision::Full).unwrap();
    std::fs::write(&bundle, content).unwrap();
    let sample = |path: &Path| Trained::open(path, &Device::Cpu).unwrap().sample(2, 3, 1, 0).unwrap();
    assert_eq!(sample(&whole), sample(&bundle));

    // Another data set or setting is named.
    let other = Settings { lambda_kl: 0.5, ..settings };
    let error = run(&whole, &other, &weights, &Interrupt::new()).unwrap_err();
    let expected = "expected lambda-kl 0.003 as the checkpoint has, found 0.5; leave the setting as it was";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_loss_that_is_no_number_names_its_term_and_keeps_the_last_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let weights = recognizer(&place.path().join("fr"), LightCnnKind::Nine, FACES);
    // The first half goes well; then weights are thrown to where the exponential overflows.
    let settings = Settings { learning_rate: 1e18, ..settings() };
    let error = run(&place.path().join("run"), &settings, &weights, &Interrupt::new()).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("NaN after 8 images") || text.contains("inf after 8 images"), "{text}");
    assert!(text.contains("there was no checkpoint yet"), "{text}");
}
