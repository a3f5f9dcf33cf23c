use crate::faces;
use candle_core::Device;
use command::{Interrupt, RunDirectory};
use nets::device::Numbers;
use nets::{LightCnnKind, Width};
use recognizer::{
    Batch, BatchSource, Error, Loss, Outcome, PairSet, Rhythm, Schedule, Session, Source, SourceError, TrainConfig,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Gratings as an endless stream: row r of batch n is image 8 n + r of identity (8 n + r) mod C.
struct Gratings {
    classes: u64,
    next: u64,
    /// Asks for the end when this batch is made.
    interrupt_at: Option<(u64, Interrupt)>,
    /// Fails instead of making this batch.
    fail_at: Option<u64>,
    /// Deletes this file when this batch is made.
    delete_at: Option<(u64, PathBuf)>,
    /// Classes and losses of each step, where it wants to know.
    heard: Option<Heard>,
}

type Heard = Arc<Mutex<Vec<(Vec<u32>, Vec<f32>)>>>;

const ROWS: u64 = 8;

impl Gratings {
    fn new(classes: u64) -> Self {
        Self { classes, next: 0, interrupt_at: None, fail_at: None, delete_at: None, heard: None }
    }
}

impl BatchSource for Gratings {
    fn classes(&self) -> usize {
        self.classes as usize
    }

    fn channels(&self) -> usize {
        1
    }

    fn batch_size(&self) -> usize {
        ROWS as usize
    }

    fn next(&mut self) -> Result<Batch, SourceError> {
        let index = self.next;
        if let Some((at, interrupt)) = &self.interrupt_at
            && *at == index
        {
            interrupt.request();
        }
        if self.fail_at == Some(index) {
            return Err(SourceError::other(std::io::Error::other("the server is gone")));
        }
        if let Some((at, file)) = &self.delete_at
            && *at == index
        {
            std::fs::remove_file(file).unwrap();
        }
        self.next += 1;
        let images: Vec<u64> = (index * ROWS..(index + 1) * ROWS).collect();
        let pixels: Vec<u8> = images.iter().flat_map(|image| faces::grating(image % self.classes, *image)).collect();
        Ok(Batch {
            index,
            rows: images.len(),
            channels: 1,
            pixels: pixels.into(),
            labels: images.iter().map(|image| (image % self.classes) as u32).collect(),
            sources: vec![Source::Real; images.len()],
            mixtures: Vec::new(),
        })
    }

    fn place(&self) -> serde_json::Value {
        serde_json::json!({ "classes": self.classes, "next": self.next })
    }

    fn resume(&mut self, place: &serde_json::Value) -> Result<(), SourceError> {
        self.next = place["next"].as_u64().ok_or_else(|| SourceError::Place("no next".to_owned()))?;
        Ok(())
    }

    fn describe(&self) -> String {
        format!("gratings of {} kinds", self.classes)
    }

    fn loss_recorder(&self) -> Option<recognizer::LossRecorder> {
        let heard = self.heard.clone()?;
        Some(Box::new(move |classes, losses| heard.lock().unwrap().push((classes.to_vec(), losses.to_vec()))))
    }

    fn class_names(&self) -> Vec<String> {
        (0..self.classes).map(|class| format!("grating_{class}")).collect()
    }
}

fn config(images: u64) -> TrainConfig {
    TrainConfig {
        loss: Loss::CENTRE,
        learning_rate: 0.003,
        warm_up: 40,
        schedule: Schedule::Drops,
        ..TrainConfig::new(LightCnnKind::Nine, Width::Tiny, images, ROWS as usize)
    }
}

const RHYTHM: Rhythm = Rhythm { log: 24, evaluate: 1000, checkpoint: 40, keep: 2 };

struct Run {
    directory: RunDirectory,
    interrupt: Interrupt,
}

impl Run {
    fn new(path: &Path) -> Self {
        Self { directory: RunDirectory::create_at(path, "").unwrap(), interrupt: Interrupt::new() }
    }

    fn open(path: &Path) -> Self {
        Self { directory: RunDirectory::open(path).unwrap(), interrupt: Interrupt::new() }
    }

    fn train(&self, config: &TrainConfig, mut source: Gratings, resume: bool) -> Result<Outcome, Error> {
        recognizer::train(config, &mut source, &self.session(resume))
    }

    fn session(&self, resume: bool) -> Session<'_> {
        Session {
            run: &self.directory,
            device: &Device::Cpu,
            interrupt: &self.interrupt,
            resume,
            pairs: None,
            rhythm: RHYTHM,
        }
    }
}

fn file(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn in_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn a_training_that_was_stopped_and_resumed_ends_with_the_same_bits() {
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    let config = config(112);
    let undisturbed = in_threads(1, || Run::new(&whole).train(&config, Gratings::new(4), false).unwrap());
    assert!(!undisturbed.interrupted);

    // Stopped between two checkpoints and two lines of figures, then gone on with on other threads.
    let run = Run::new(&parts);
    let source = Gratings { interrupt_at: Some((7, run.interrupt.clone())), ..Gratings::new(4) };
    let stopped = run.train(&config, source, false).unwrap();
    assert!(stopped.interrupted && stopped.images_seen < 112);
    drop(run);
    let resumed = in_threads(3, || Run::open(&parts).train(&config, Gratings::new(4), true).unwrap());

    assert_eq!(resumed.images_seen, undisturbed.images_seen);
    assert!(file(&resumed.checkpoint) == file(&undisturbed.checkpoint), "the checkpoints differ");
    assert_eq!(
        String::from_utf8(file(&parts.join("stats.jsonl"))),
        String::from_utf8(file(&whole.join("stats.jsonl")))
    );
    assert!(whole.join("loss.png").is_file() && whole.join("accuracy.png").is_file());
}

#[test]
fn a_network_in_bf16_learns_in_other_bits_and_goes_on_to_the_same_ones() {
    let place = tempfile::tempdir().unwrap();
    let [whole, parts, wide] = ["whole", "parts", "wide"].map(|name| place.path().join(name));
    let narrow = TrainConfig { numbers: Numbers::Bf16, ..config(64) };
    let undisturbed = Run::new(&whole).train(&narrow, Gratings::new(4), false).unwrap();

    let run = Run::new(&parts);
    let source = Gratings { interrupt_at: Some((5, run.interrupt.clone())), ..Gratings::new(4) };
    run.train(&narrow, source, false).unwrap();
    drop(run);
    let error = Run::open(&parts).train(&config(64), Gratings::new(4), true).unwrap_err().to_string();
    assert!(error.contains("expected numbers \"bf16\" as the checkpoint has, found \"f32\""), "{error}");
    let resumed = Run::open(&parts).train(&narrow, Gratings::new(4), true).unwrap();
    assert!(file(&resumed.checkpoint) == file(&undisturbed.checkpoint), "the checkpoints differ");

    let in_f32 = Run::new(&wide).train(&config(64), Gratings::new(4), false).unwrap();
    let features = |path: &Path| {
        let network = recognizer::load(path, &Device::Cpu).unwrap().network;
        let image = candle_core::Tensor::ones((1, 128, 128, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        network.features(&image).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let (narrow, wide) = (features(&undisturbed.checkpoint), features(&in_f32.checkpoint));
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = product(&narrow, &wide) / (product(&narrow, &narrow) * product(&wide, &wide)).sqrt();
    assert!(narrow != wide && cosine > 0.9, "{cosine}");
}

#[test]
fn a_killed_training_goes_on_from_its_last_checkpoint_to_the_same_end() {
    let place = tempfile::tempdir().unwrap();
    let (whole, killed) = (place.path().join("whole"), place.path().join("killed"));
    let config = config(88);
    let undisturbed = Run::new(&whole).train(&config, Gratings::new(4), false).unwrap();

    // A kill leaves figures after the last checkpoint, and half of a newer checkpoint at worst.
    Run::new(&killed).train(&TrainConfig { ..config.clone() }, Gratings::new(4), false).unwrap();
    let checkpoints = Run::open(&killed).directory.checkpoints().list().unwrap();
    let newest = &checkpoints.last().unwrap().path;
    let cut = file(newest);
    std::fs::write(newest, &cut[..cut.len() / 2]).unwrap();

    let resumed = Run::open(&killed).train(&config, Gratings::new(4), true).unwrap();
    assert!(file(&resumed.checkpoint) == file(&undisturbed.checkpoint), "the checkpoints differ");
    assert_eq!(file(&killed.join("stats.jsonl")), file(&whole.join("stats.jsonl")));
}

#[test]
fn a_training_whose_source_fails_keeps_all_that_it_has_learned() {
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    let config = config(64);
    let undisturbed = Run::new(&whole).train(&config, Gratings::new(4), false).unwrap();

    // After 6 batches; the last milestone was 5.
    let source = Gratings { fail_at: Some(6), ..Gratings::new(4) };
    let error = Run::new(&parts).train(&config, source, false).unwrap_err();
    assert_eq!(error.to_string(), "the server is gone");
    assert_eq!(recognizer::load(&parts, &Device::Cpu).unwrap().card.images_seen, 48);
    let resumed = Run::open(&parts).train(&config, Gratings::new(4), true).unwrap();
    assert!(file(&resumed.checkpoint) == file(&undisturbed.checkpoint), "the checkpoints differ");
}

#[test]
fn an_evaluation_that_fails_loses_nothing_and_is_made_up_for() {
    let place = tempfile::tempdir().unwrap();
    let (whole, parts, data) = (place.path().join("whole"), place.path().join("parts"), place.path().join("data"));
    faces::write_folder(&data, 4, 3);
    let pairs = PairSet::open(&data).unwrap();
    let config = config(88);
    let train = |run: &Run, mut source: Gratings, resume| {
        let rhythm = Rhythm { evaluate: 40, ..RHYTHM };
        recognizer::train(&config, &mut source, &Session { pairs: Some(&pairs), rhythm, ..run.session(resume) })
    };
    let undisturbed = train(&Run::new(&whole), Gratings::new(4), false).unwrap();

    // Evaluations are due after 5 and 10 batches; the file goes when the 10th is made.
    let lost = data.join("grating_0/grating_0_0001.png");
    let image = file(&lost);
    let source = Gratings { delete_at: Some((9, lost.clone())), ..Gratings::new(4) };
    let error = train(&Run::new(&parts), source, false).unwrap_err();
    assert!(error.to_string().contains("grating_0_0001.png"), "{error}");
    assert_eq!(recognizer::load(&parts, &Device::Cpu).unwrap().card.images_seen, 80);
    std::fs::write(&lost, image).unwrap();
    let resumed = train(&Run::open(&parts), Gratings::new(4), true).unwrap();
    assert!(file(&resumed.checkpoint) == file(&undisturbed.checkpoint), "the checkpoints differ");
    assert_eq!(resumed.evaluation, undisturbed.evaluation);
    assert_eq!(file(&parts.join("stats.jsonl")), file(&whole.join("stats.jsonl")));
}

#[test]
fn a_damaged_checkpoint_never_drives_out_a_good_one() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run");
    let config = config(80);
    Run::new(&path).train(&config, Gratings::new(4), false).unwrap();
    let newest = path.join("checkpoints/images-000000080.safetensors");
    std::fs::write(&newest, &file(&newest)[..1000]).unwrap();
    assert_eq!(recognizer::load(&path, &Device::Cpu).unwrap().card.images_seen, 40);

    let run = Run::open(&path);
    let interrupt_at = Some((6, run.interrupt.clone()));
    let mut source = Gratings { interrupt_at, ..Gratings::new(4) };
    let rhythm = Rhythm { keep: 1, checkpoint: 8, ..RHYTHM };
    let stopped = recognizer::train(&config, &mut source, &Session { rhythm, ..run.session(true) }).unwrap();
    assert!(stopped.interrupted && stopped.images_seen < 80);
    assert_eq!(recognizer::load(&path, &Device::Cpu).unwrap().card.images_seen, stopped.images_seen);
    assert_eq!(run.directory.checkpoints().list().unwrap().len(), 1);
}

#[test]
fn one_identity_is_nothing_to_learn() {
    let place = tempfile::tempdir().unwrap();
    let error = Run::new(&place.path().join("run")).train(&config(40), Gratings::new(1), false).unwrap_err();
    assert_eq!(error.to_string(), "expected at least 2 identities to tell apart, found 1");
}

#[test]
fn lightcnn_learns_ten_classes_to_below_half_the_loss_of_guessing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run");
    let config =
        TrainConfig { loss: Loss::Softmax, learning_rate: 0.005, warm_up: 80, dropout: 0.0, ..config(LEARNING_IMAGES) };
    Run::new(&path).train(&config, Gratings::new(10), false).unwrap();
    let stats = command::run_directory::read_stats(&path).unwrap();
    let last = stats.iter().rev().find_map(|(_, figures)| figures.get("softmax")?.as_f64()).unwrap();
    assert!(last < 10f64.ln() / 2.0, "{last}");
}

const LEARNING_IMAGES: u64 = 560;

#[test]
fn a_loss_that_is_no_longer_a_number_is_named_beside_what_is_kept_and_a_lower_rate_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run");
    let usual = TrainConfig { loss: Loss::Softmax, warm_up: 0, ..config(80) };
    let run = Run::new(&path);
    let source = Gratings { interrupt_at: Some((1, run.interrupt.clone())), ..Gratings::new(4) };
    let kept = run.train(&usual, source, false).unwrap();
    assert!(kept.interrupted && (1..80).contains(&kept.images_seen));
    drop(run);

    let reckless = TrainConfig { learning_rate: 1e30, clip: 0.0, ..usual.clone() };
    let error = Run::open(&path).train(&reckless, Gratings::new(4), true).unwrap_err();
    assert!(matches!(error, Error::NotFinite { term: "softmax loss" | "gradient norm" | "sum of weights", .. }));
    let advice = format!("images; {} is kept: resume with a lower --learning-rate", kept.checkpoint.display());
    assert!(error.to_string().ends_with(&advice), "{error}");
    assert_eq!(recognizer::load(&path, &Device::Cpu).unwrap().card.images_seen, kept.images_seen);
    let settings = || std::fs::read_to_string(path.join("config.toml")).unwrap();
    assert!(settings().contains("learning-rate = 1e+30 # 0.003 up to "), "{}", settings());

    let lower = TrainConfig { learning_rate: 0.001, clip: 2.0, ..usual };
    let outcome = Run::open(&path).train(&lower, Gratings::new(4), true).unwrap();
    assert_eq!(outcome.images_seen, 80);
    assert!(settings().contains("learning-rate = 0.001 # ") && settings().contains("clip = 2.0 # "), "{}", settings());
}

#[test]
fn a_training_that_fails_at_once_claims_no_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let reckless = TrainConfig { learning_rate: 1e30, clip: 0.0, warm_up: 0, loss: Loss::Softmax, ..config(160) };
    let run = Run::new(&place.path().join("run"));
    let text = run.train(&reckless, Gratings::new(4), false).unwrap_err().to_string();
    assert!(text.ends_with("images; there is no checkpoint yet: start again with a lower --learning-rate"), "{text}");
    assert_eq!(run.directory.checkpoints().list().unwrap(), []);
}

#[test]
fn a_trained_recognizer_is_read_back_with_what_its_file_says() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run");
    let outcome = Run::new(&path).train(&config(40), Gratings::new(4), false).unwrap();
    // From the file, and as the newest of the run.
    let recognizer = recognizer::load(&outcome.checkpoint, &Device::Cpu).unwrap();
    assert_eq!(recognizer.card, recognizer::load(&path, &Device::Cpu).unwrap().card);
    assert_eq!(recognizer.card.images_seen, 40);
    assert_eq!(recognizer.card.class_names[3], "grating_3");
    assert_eq!(recognizer.card.config.classes, 4);
    let pixels = faces::grating(2, 5);
    let features = || recognizer::embed_pixels(&recognizer.network, &Device::Cpu, 1, &pixels).unwrap();
    assert_eq!(features().len(), 256);
    assert_eq!(features(), features());

    let data = place.path().join("data");
    faces::write_folder(&data, 4, 3);
    let pairs = PairSet::open(&data).unwrap();
    assert!(!pairs.folds_overlap());
    let features = pairs.embed(&recognizer.network, &Device::Cpu, |_| {}).unwrap();
    let evaluation = pairs.judge(&features).unwrap();
    assert_eq!(evaluation.pairs, 8);
    assert_eq!(pairs.compare(&features, &features, 1).unwrap().difference.mean, 0.0);
}

#[test]
fn a_run_does_not_go_on_with_other_settings_or_classes() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run");
    Run::new(&path).train(&config(40), Gratings::new(4), false).unwrap();
    let refusal = |config: TrainConfig, classes| {
        Run::open(&path).train(&config, Gratings::new(classes), true).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(TrainConfig { momentum: 0.8, ..config(40) }, 4),
        "can't resume: expected momentum 0.9 as the checkpoint has, found 0.8; leave the setting as it was"
    );
    assert_eq!(
        refusal(config(40), 5),
        "can't resume: expected a checkpoint of 5 classes, as the source has, found one of 4"
    );
}

#[test]
fn a_batch_that_breaks_its_description_ends_the_training() {
    struct Broken(Gratings);
    impl BatchSource for Broken {
        fn classes(&self) -> usize {
            self.0.classes() - 1
        }
        fn channels(&self) -> usize {
            self.0.channels()
        }
        fn batch_size(&self) -> usize {
            self.0.batch_size()
        }
        fn next(&mut self) -> Result<Batch, SourceError> {
            self.0.next()
        }
        fn place(&self) -> serde_json::Value {
            self.0.place()
        }
        fn resume(&mut self, place: &serde_json::Value) -> Result<(), SourceError> {
            self.0.resume(place)
        }
        fn describe(&self) -> String {
            self.0.describe()
        }
    }
    let place = tempfile::tempdir().unwrap();
    let run = Run::new(&place.path().join("run"));
    let error = recognizer::train(&config(40), &mut Broken(Gratings::new(4)), &run.session(false)).unwrap_err();
    assert_eq!(error.to_string(), "batch 0 is malformed: expected labels below 3, found 3");
}

#[test]
fn a_source_that_wants_to_know_is_told_the_loss_of_each_row_and_nothing_else_changes() {
    let place = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    let outcomes = [Some(heard.clone()), None].map(|heard| {
        let run = Run::new(&place.path().join(if heard.is_some() { "told" } else { "quiet" }));
        run.train(&config(40), Gratings { heard, ..Gratings::new(4) }, false).unwrap()
    });
    let [told, quiet] = outcomes.map(|outcome| std::fs::read(outcome.checkpoint).unwrap());
    assert!(told == quiet, "the checkpoints differ");
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 5);
    for (classes, losses) in &*heard {
        assert_eq!(*classes, [0, 1, 2, 3, 0, 1, 2, 3]);
        assert!(losses.len() == 8 && losses.iter().all(|loss| (0.1..10.0).contains(loss)), "{losses:?}");
    }
}
