//! Trainings stopped, resumed and broken.

use crate::world::{FACES, faces, folder_of_faces, recognizer};
use candle_core::{DType, Device, Tensor};
use command::run_directory::Checkpoints;
use command::training::{Outcome, Rhythm};
use command::{Interrupt, RunDirectory};
use cvae_gan::losses::reading::CriticLoss;
use cvae_gan::settings::{Augment, Model};
use cvae_gan::{
    Error, Exportable, Figures, IdentityNetwork, Learner, Overrides, Result, Session, Settings, Trained, start, state,
    train,
};
use dataset::Dataset;
use dataset::blended::Parent;
use nets::bundle::Precision;
use nets::checkpoint::{Checkpoint, bytes_of};
use nets::device::Numbers;
use nets::{Conditioning, LightCnnKind, Width};
use recognizer::{BatchSource, FolderSource};
use std::num::NonZeroUsize;
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

/// What was added to the published recipe since.
fn with_every_addition() -> Settings {
    Settings {
        augment: Augment::ColourTranslation,
        conditioning: Conditioning::EveryLayer,
        critic_loss: CriticLoss::Hinge,
        spectral_norm: true,
        lambda_gp: 0.0,
        projection: true,
        free_nats: 10.0,
        lambda_kl: 0.1,
        ..settings()
    }
}

fn source(settings: &Settings, of: &Dataset) -> FolderSource {
    start::source(settings, Arc::new(of.clone())).unwrap()
}

/// Starts or, where a run already is, goes on.
fn run(place: &Path, settings: &Settings, weights: &Path, interrupt: &Interrupt) -> Result<Outcome> {
    run_on(source(settings, &faces(FACES)), place, settings, weights, interrupt, None)
}

fn run_on(
    mut source: FolderSource,
    place: &Path,
    settings: &Settings,
    weights: &Path,
    interrupt: &Interrupt,
    shard_bytes: Option<NonZeroUsize>,
) -> Result<Outcome> {
    let (run, mut learner, gathered) = if place.join("config.toml").exists() {
        let run = RunDirectory::open(place)?;
        let (_, checkpoint) = run.checkpoints().newest(|found| state::read(&found.path, &Device::Cpu))?;
        let (learner, gathered) = state::restore(settings, checkpoint, &mut source, &Device::Cpu)?;
        run.resume_at(learner.images_seen())?;
        (run, learner, gathered)
    } else {
        let identity = || -> Result<IdentityNetwork> {
            let recognizer = recognizer::load(weights, &Device::Cpu)?;
            IdentityNetwork::of_dataset(recognizer, source.dataset(), &Interrupt::new())
        };
        let identity = settings.needs_identity().then(identity).transpose()?;
        let learner = Learner::new(settings, 4, identity, DType::F32, &Device::Cpu)?;
        (RunDirectory::create_at(place, "")?, learner, Figures::default())
    };
    // Lines and checkpoints fall on different steps, so that half a line is carried over a stop.
    let rhythm = Rhythm { log: 16, evaluate: IMAGES, checkpoint: 24, keep: 9 };
    train(&mut learner, &mut source, gathered, &Session { run: &run, interrupt, rhythm, shard_bytes })
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

    // Labels: one person, a mixture, nobody who isn't there.
    let trained = Trained::open(&whole, &Device::Cpu).unwrap();
    let parent = |identity, weight| Parent { identity, weight };
    let mixture = [parent(1, 0.5), parent(0, 0.5)];
    let labels = trained.labels([&[Parent::alone(0)][..], &mixture], 0.0).unwrap();
    let rows = labels.to_vec2::<f32>().unwrap();
    assert_eq!([&rows[0][..2], &rows[1][..2]], [[1.0, 0.0], [0.5, 0.5]]);
    assert!(rows.iter().all(|row| row.len() == trained.names.len() && row[2..].iter().all(|&weight| weight == 0.0)));
    let error = trained.person(1000).unwrap_err().to_string();
    assert_eq!(error, format!("expected an identity below {} as identity, found 1000", rows[0].len()));

    // Another data set or setting is named.
    let other = Settings { lambda_kl: 0.5, ..settings };
    let error = run(&whole, &other, &weights, &Interrupt::new()).unwrap_err();
    let expected = "expected lambda-kl 0.1 as the checkpoint has, found 0.5; leave the setting as it was";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_training_with_every_addition_goes_on_from_shards_to_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let weights = recognizer(&place.path().join("fr"), LightCnnKind::Nine, FACES);
    let (whole, stopped) = (place.path().join("whole"), place.path().join("stopped"));
    let settings = with_every_addition();
    let undisturbed = with_threads(3, || run(&whole, &settings, &weights, &Interrupt::new())).unwrap();

    let most = 1_000_000;
    let in_shards = || {
        let source = source(&settings, &faces(FACES));
        run_on(source, &stopped, &settings, &weights, &Interrupt::new(), NonZeroUsize::new(most))
    };
    with_threads(1, in_shards).unwrap();
    // A crash before the last index was written.
    std::fs::remove_file(stopped.join("checkpoints/images-000000048.safetensors")).unwrap();
    let outcome = with_threads(2, in_shards).unwrap();
    let joined = bytes_of(&outcome.checkpoint).unwrap();
    assert!(bytes(&undisturbed.checkpoint) == joined, "the last checkpoints differ");
    let files = std::fs::read_dir(stopped.join("checkpoints")).unwrap();
    let sizes: Vec<u64> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.iter().all(|&size| size <= most as u64), "{sizes:?}");
    assert!(sizes.len() > joined.len() / most, "{sizes:?}");

    // The run as it is served: the generator's norms read plain labels too.
    let bundle = place.path().join("bundle.safetensors");
    let content = Exportable::read(&stopped, &Device::Cpu).unwrap().to_bundle(true, Precision::Full).unwrap();
    std::fs::write(&bundle, content).unwrap();
    let sample = |path: &Path| Trained::open(path, &Device::Cpu).unwrap().sample(2, 3, 1, 0).unwrap();
    assert_eq!(sample(&whole), sample(&bundle));

    // Of another checkpoint, a shard is refused; a run goes on from the one before.
    let shard = |images: u64, nth: usize| {
        let count = joined.len().div_ceil(most);
        stopped.join("checkpoints").join(Checkpoints::shard_name(images, nth, count))
    };
    std::fs::copy(shard(24, 1), shard(48, 1)).unwrap();
    let error = state::read(&outcome.checkpoint, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("expected shard 2 of ") && error.contains("found another checkpoint's"), "{error}");
    std::fs::remove_file(shard(48, 1)).unwrap();
    let error = state::read(&outcome.checkpoint, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("images-000000048.shard-002-of-") && error.contains("found none; "), "{error}");
    let outcome = in_shards().unwrap();
    assert!(bytes_of(&outcome.checkpoint).unwrap() == joined, "the checkpoints differ after a lost shard");
}

#[test]
fn networks_in_bf16_learn_and_go_on_to_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let weights = recognizer(&place.path().join("fr"), LightCnnKind::Nine, FACES);
    for (name, of) in [("plain", settings()), ("modern", with_every_addition())] {
        let settings = Settings { numbers: Numbers::Bf16, ..of };
        let [whole, stopped] = ["whole", "stopped"].map(|run| place.path().join(format!("{name}-{run}")));
        let undisturbed = run(&whole, &settings, &weights, &Interrupt::new()).unwrap();
        run(&stopped, &settings, &weights, &Interrupt::new()).unwrap();
        std::fs::remove_file(stopped.join("checkpoints/images-000000048.safetensors")).unwrap();
        let wide = Settings { numbers: Numbers::F32, ..settings.clone() };
        let error = run(&stopped, &wide, &weights, &Interrupt::new()).unwrap_err().to_string();
        assert!(error.contains("expected numbers \"bf16\" as the checkpoint has"), "{error}");
        let outcome = run(&stopped, &settings, &weights, &Interrupt::new()).unwrap();
        assert!(bytes(&undisturbed.checkpoint) == bytes(&outcome.checkpoint), "{name}: the last checkpoints differ");
    }
}

#[test]
fn a_loss_that_is_no_number_names_its_term_and_keeps_the_last_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let weights = recognizer(&place.path().join("fr"), LightCnnKind::Nine, FACES);
    let path = place.path().join("run");
    let good = settings();
    run(&path, &good, &weights, &Interrupt::new()).unwrap();
    // The first half went well; then weights are thrown to where the exponential overflows.
    std::fs::remove_file(path.join("checkpoints/images-000000048.safetensors")).unwrap();
    let checkpoint = path.join("checkpoints/images-000000024.safetensors");
    let error = run(&path, &Settings { learning_rate: 1e18, ..good.clone() }, &weights, &Interrupt::new()).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("critic gain is NaN after 32 images; the last good checkpoint is "), "{text}");
    assert!(text.contains(checkpoint.to_str().unwrap()), "{text}");
    assert!(text.ends_with("resume with lower learning rates"), "{text}");

    // Which can be done.
    Trained::open(&checkpoint, &Device::Cpu).unwrap();
    let lower = Settings { learning_rate: 1e-4, critic_learning_rate: 1e-4, ..good };
    let outcome = run(&path, &lower, &weights, &Interrupt::new()).unwrap();
    let (training, _) = state::read(&outcome.checkpoint, &Device::Cpu).unwrap();
    assert_eq!((training.images_seen, training.settings), (IMAGES, lower));
}

#[test]
fn an_image_that_is_gone_ends_a_training_and_loses_nothing_learned() {
    let place = tempfile::tempdir().unwrap();
    let (path, folder) = (place.path().join("run"), place.path().join("faces"));
    folder_of_faces(&folder);
    // Without identity network, which would look at all images first.
    let overrides = Overrides { model: Some(Model::Cvae), batch: Some(8), ..Overrides::default() };
    let settings = Settings::resolve(Width::Tiny, None, IMAGES, &overrides).unwrap();
    let data = faces(folder.to_str().unwrap());
    // Neither in the pictures, which show each person's first and last image, nor in the first batch.
    let between =
        (0..data.len()).filter(|image| !matches!(image % 4, 0 | 3)).map(|image| folder.join(data.image_path(image)));
    let gone = between.into_iter().find(|file| {
        let content = bytes(file);
        std::fs::remove_file(file).unwrap();
        let is_later = source(&settings, &data).next().is_ok();
        if !is_later {
            std::fs::write(file, content).unwrap();
        }
        is_later
    });
    let gone = gone.unwrap();

    let go_on = |place: &Path| {
        let source = source(&settings, &data);
        run_on(source, place, &settings, Path::new("none"), &Interrupt::new(), None)
    };
    let error = go_on(&path).unwrap_err();
    assert!(error.to_string().contains(gone.file_name().unwrap().to_str().unwrap()), "{error}");
    assert!(path.join("checkpoints/images-000000008.safetensors").is_file());

    // With the image back, nothing shows that it was gone.
    std::fs::remove_dir_all(&folder).unwrap();
    folder_of_faces(&folder);
    let outcome = go_on(&path).unwrap();
    let undisturbed = go_on(&place.path().join("undisturbed")).unwrap();
    assert!(bytes(&outcome.checkpoint) == bytes(&undisturbed.checkpoint), "the last checkpoints differ");
}

#[test]
fn checkpoints_that_hold_whole_label_codes_still_load() {
    let place = tempfile::tempdir().unwrap();
    let weights = recognizer(&place.path().join("fr"), LightCnnKind::Nine, FACES);
    let settings = Settings { images: 8, ..settings() };
    let outcome = run(&place.path().join("run"), &settings, &weights, &Interrupt::new()).unwrap();
    let mut checkpoint = Checkpoint::read(&outcome.checkpoint, state::KIND, &Device::Cpu).unwrap();
    let mut tables = checkpoint.take("tables");
    let code = tables.remove("code").unwrap();
    assert_eq!(code.dims(), [4, 256]);
    let one_hots = (Tensor::eye(4, DType::F32, &Device::Cpu).unwrap() * settings.label_length).unwrap();
    tables.insert("code".to_owned(), Tensor::cat(&[&code, &one_hots], 1).unwrap());
    checkpoint.put("tables", tables);
    let older = place.path().join("older.safetensors");
    std::fs::write(&older, checkpoint.to_bytes().unwrap()).unwrap();
    let sample = |path: &Path| Trained::open(path, &Device::Cpu).unwrap().sample(2, 3, 1, 0).unwrap();
    assert!(sample(&older) == sample(&outcome.checkpoint), "the faces differ");
}
