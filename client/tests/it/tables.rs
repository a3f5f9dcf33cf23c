//! Streams that show more of whom the training loop tells badly.

use crate::between::Between;
use crate::fixture::*;
use client::spec::{ByLoss, Mix, Sampling, Spec};
use client::{Place, StreamSettings, StreamSource, TableChoice};
use proto::v1::stream_response::Message;
use recognizer::{Batch, BatchSource};

/// Who is hard to tell.
const HARD: u32 = 2;

fn by_loss(urls: &[String]) -> StreamSettings {
    let sampling = Sampling::ByLoss(ByLoss { interval: 4, ..ByLoss::default() });
    let spec = Spec { sampling, ..Spec::new(7, 8, Mix { real: 0.6, existing: 0.4, blended: 0.0 }) };
    StreamSettings { trainer: "one".into(), spec, ..settings(urls, 7) }
}

type Seen = Vec<(Batch, [u8; 32])>;

/// Reads `count` batches as a training loop does that finds one person hard.
fn learn(source: &mut StreamSource, count: usize) -> Seen {
    let record = source.loss_recorder().expect("it wants to know");
    let step = |_| {
        let received = source.next_received().unwrap();
        let labels = &received.batch.labels;
        // Ever harder, so that there is always a reason for another table.
        let hard = 8.0 + 0.05 * received.batch.index as f32;
        let losses: Vec<f32> = labels.iter().map(|&label| if label == HARD { hard } else { 2.0 }).collect();
        record(labels, &losses);
        (received.batch, received.digest)
    };
    (0..count).map(step).collect()
}

/// Learns until so many tables have taken effect, and ten batches more.
fn learn_until(source: &mut StreamSource, tables: usize) -> Seen {
    let mut seen = Seen::new();
    while source.current_place().tables.len() < tables {
        seen.extend(learn(source, 1));
    }
    seen.extend(learn(source, 10));
    seen
}

fn digests(seen: &Seen) -> Vec<[u8; 32]> {
    seen.iter().map(|(_, digest)| *digest).collect()
}

fn read_digests(source: &mut StreamSource, count: usize) -> Vec<[u8; 32]> {
    (0..count).map(|_| source.next_received().unwrap().digest).collect()
}

fn resumed(settings: StreamSettings, place: &Place) -> StreamSource {
    let mut source = try_connect(settings).unwrap();
    source.resume(&serde_json::to_value(place).unwrap()).unwrap();
    source
}

#[test]
fn a_hard_person_is_shown_more_often_and_the_place_holds_what_a_replay_needs() {
    let server = Running::ordinary();
    let mut source = try_connect(by_loss(&[server.url()])).unwrap();
    let begun = source.current_place();
    assert!(begun.tables.is_empty());
    let mut seen = learn_until(&mut source, 1);
    let middle = source.current_place();
    seen.extend(learn_until(&mut source, middle.tables.len() + 2));
    let end = source.current_place();
    drop(source);
    assert!(end.tables.windows(2).all(|pair| pair[1].first >= pair[0].first + 4), "{:?}", end.tables);
    let share = |seen: &[(Batch, [u8; 32])]| {
        let labels: Vec<u32> = seen.iter().flat_map(|(batch, _)| batch.labels.clone()).collect();
        labels.iter().filter(|&&label| label == HARD).count() as f64 / labels.len() as f64
    };
    let (before, after) = seen.split_at(end.tables[0].first as usize);
    // 1 of 6 people; then 8 and more, of that and 5 * 2.
    assert!(share(before) < 0.2 && share(after) > 0.35, "{} and {}", share(before), share(after));

    // A server that never heard of a loss goes on, and replays.
    let other = Running::ordinary();
    let rest = digests(&seen)[middle.next as usize..end.next as usize].to_vec();
    let fixed = |tables| StreamSettings { tables: TableChoice::Replay(tables), ..by_loss(&[other.url()]) };
    assert_eq!(read_digests(&mut resumed(fixed(end.tables.clone()), &middle), rest.len()), rest);
    let mut again = try_connect(fixed(end.tables.clone())).unwrap();
    assert!(again.loss_recorder().is_none(), "a replay learns nothing new");
    assert_eq!(read_digests(&mut again, seen.len()), digests(&seen));
    assert_eq!(again.current_place(), end);
    // One that follows makes the same up to what is declared anew.
    let declared_later = &end.tables[middle.tables.len()];
    let known = (declared_later.first - middle.next) as usize;
    let mut follows = resumed(by_loss(&[other.url()]), &middle);
    assert_eq!(read_digests(&mut follows, known), rest[..known]);
    assert_eq!(follows.current_place().tables, middle.tables);
}

#[test]
fn a_stream_keeps_its_table_when_its_server_is_killed() {
    let server = Running::ordinary();
    let port = server.address.port();
    let mut source = try_connect(by_loss(&[server.url()])).unwrap();
    let mut seen = learn_until(&mut source, 1);
    let had = source.current_place().tables.len();
    drop(server);
    let _again = Setup { port, ..Setup::default() }.start();
    seen.extend(learn_until(&mut source, had + 3));
    let end = source.current_place();
    let replay = StreamSettings {
        tables: TableChoice::Replay(end.tables),
        ..by_loss(&[source.settings().servers[0].to_string()])
    };
    assert_eq!(read_digests(&mut try_connect(replay).unwrap(), seen.len()), digests(&seen));
}

#[test]
fn a_table_that_is_not_what_it_is_called_is_refused() {
    let server = Running::ordinary();
    let between = Between::start(&server, |message| {
        if let Message::Table(table) = message {
            table.weights = [0, 4].repeat(6).into();
        }
    });
    let mut source = try_connect(by_loss(&[between.url()])).unwrap();
    let record = source.loss_recorder().unwrap();
    let mut error = None;
    while error.is_none() {
        match source.next_received() {
            Ok(received) => record(&received.batch.labels, &[1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
            Err(refused) => error = Some(refused.to_string()),
        }
    }
    let error = error.unwrap();
    assert!(error.contains("expected sampling table ") && error.contains(", found one with digest"), "{error}");
}

#[test]
fn only_a_named_trainer_whose_stream_chooses_by_loss_is_asked_for_losses() {
    let server = Running::ordinary();
    let urls = [server.url()];
    assert!(connect(&urls).loss_recorder().is_none());
    let unnamed = StreamSettings { trainer: String::new(), ..by_loss(&urls) };
    assert!(try_connect(unnamed).unwrap().loss_recorder().is_none());
}
