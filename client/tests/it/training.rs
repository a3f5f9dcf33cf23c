use crate::fixture::*;
use candle_core::Device;
use client::{Labels, StreamSettings, StreamSource};
use command::{Interrupt, RunDirectory};
use nets::{LightCnnKind, Width};
use recognizer::{BatchSource, Error, Outcome, Rhythm, Session, Source, TrainConfig};
use std::path::Path;

const BATCHES: u64 = 12;

/// Trains the smallest network; a checkpoint every three batches.
fn train(run: &Path, source: &mut StreamSource, resume: bool) -> Result<Outcome, Error> {
    let config = TrainConfig { warm_up: 16, ..TrainConfig::new(LightCnnKind::Nine, Width::Tiny, 8 * BATCHES, 8) };
    let run = if resume { RunDirectory::open(run) } else { RunDirectory::create_at(run, "") }.unwrap();
    let session = Session {
        run: &run,
        device: &Device::Cpu,
        interrupt: &Interrupt::new(),
        resume,
        pairs: None,
        rhythm: Rhythm { log: 16, evaluate: 1000, checkpoint: 24, keep: 2 },
    };
    recognizer::train(&config, source, &session)
}

fn whole(urls: &[String]) -> StreamSource {
    try_connect(StreamSettings { end: Some(BATCHES), ..settings(urls, 7) }).unwrap()
}

#[test]
fn a_training_ends_with_the_same_bits_whatever_crashed_on_the_way() {
    let place = tempfile::tempdir().unwrap();
    let [quiet, crashed, restarted] = ["quiet", "crashed", "restarted"].map(|run| place.path().join(run));
    let server = Running::ordinary();
    let mut source = whole(&[server.url()]);
    let undisturbed = train(&quiet, &mut source, false).unwrap();
    assert_eq!(source.waits().count(), BATCHES as usize);
    let same_bits = |outcome: Outcome, run: &Path| {
        let bytes = |path: &Path| std::fs::read(path).unwrap();
        assert_eq!(outcome.images_seen, 8 * BATCHES);
        assert!(bytes(&outcome.checkpoint) == bytes(&undisturbed.checkpoint), "the checkpoints differ");
        assert_eq!(bytes(&run.join("stats.jsonl")), bytes(&quiet.join("stats.jsonl")));
    };

    // The stream fails for good between two checkpoints; what was learned is kept, and goes on with
    // another server.
    let mut cut_short = try_connect(StreamSettings { end: Some(5), ..settings(&[server.url()], 7) }).unwrap();
    train(&crashed, &mut cut_short, false).unwrap_err();
    let kept = RunDirectory::open(&crashed).unwrap().checkpoints().list().unwrap();
    assert_eq!(kept.last().unwrap().images_seen, 40);
    let other = Running::ordinary();
    same_bits(train(&crashed, &mut whole(&[other.url()]), true).unwrap(), &crashed);

    // The server dies in the middle of a training, and comes back.
    let first = Setup { tiles: 8, ..Setup::default() }.start();
    let port = first.address.port();
    let mut source = whole(&[first.url()]);
    let again = std::thread::spawn(move || {
        first.wait_until_it_hangs();
        drop(first);
        Setup { port, ..Setup::default() }.start()
    });
    same_bits(train(&restarted, &mut source, false).unwrap(), &restarted);
    drop(again.join().unwrap());
}

#[test]
fn with_soft_labels_blended_rows_are_learned_as_their_parents_and_a_training_keeps_to_it() {
    let place = tempfile::tempdir().unwrap();
    let server = Running::ordinary();
    let of =
        |labels, end| try_connect(StreamSettings { labels, end: Some(end), ..settings(&[server.url()], 7) }).unwrap();
    let (mut hard, mut soft, mut plain) = (of(Labels::Hard, 4), of(Labels::Soft, 4), of(Labels::Hard, 4));
    // Six identities, six blended ones.
    assert_eq!((hard.classes(), soft.classes()), (12, 6));
    for _ in 0..4 {
        let (hard, soft, plain) = (hard.next().unwrap(), soft.next().unwrap(), plain.next_received().unwrap());
        assert_eq!((&hard.pixels, &hard.sources, &hard.mixtures), (&soft.pixels, &soft.sources, &Vec::new()));
        soft.check(6).unwrap();
        let provenance = plain.provenance.parents.chunks(2).zip(plain.provenance.parent_weights.chunks(2));
        let mut mixtures = soft.mixtures.iter().zip(provenance);
        for (row, &source) in hard.sources.iter().enumerate() {
            if source != Source::Blended {
                assert_eq!(soft.labels[row], hard.labels[row]);
                continue;
            }
            let (mixture, (parents, weights)) = mixtures.next().unwrap();
            assert_eq!((mixture.row as usize, soft.labels[row]), (row, parents[0]));
            let found: Vec<(u32, f32)> = mixture.parts.iter().map(|part| (part.class, part.weight)).collect();
            assert_eq!(found, parents.iter().copied().zip(weights.iter().copied()).collect::<Vec<_>>());
        }
        assert!(mixtures.next().is_none());
    }

    let run = place.path().join("run");
    train(&run, &mut of(Labels::Soft, 5), false).unwrap_err();
    let error = train(&run, &mut of(Labels::Hard, BATCHES), true).unwrap_err().to_string();
    assert!(error.contains("expected soft labels as the stream began with, found hard ones"), "{error}");
    let outcome = train(&run, &mut of(Labels::Soft, BATCHES), true).unwrap();
    assert_eq!(recognizer::load(&outcome.checkpoint, &Device::Cpu).unwrap().card.config.classes, 6);
}

#[test]
fn a_finished_training_does_not_wait_for_a_server_that_is_gone() {
    let place = tempfile::tempdir().unwrap();
    // Twelve batches need fifteen tiles at most; then the server hangs, and the source, which was
    // not told of an end, waits for the thirteenth.
    let server = Setup { tiles: 15, ..Setup::default() }.start();
    let mut source = connect(&[server.url()]);
    let outcome = train(&place.path().join("run"), &mut source, false).unwrap();
    assert_eq!(outcome.images_seen, 8 * BATCHES);
}
