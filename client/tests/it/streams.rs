use crate::fixture::*;
use client::{BundleChoice, Change, Error, Patience, StreamSettings};
use recognizer::{Batch, BatchSource, Source};
use std::time::Duration;

/// More than is read ahead anywhere on the way.
const MANY: usize = 24;

fn undisturbed(count: usize) -> Vec<Batch> {
    read(&mut connect(&[Running::ordinary().url()]), count)
}

#[test]
fn a_stream_read_twice_is_the_same_and_says_what_it_is() {
    let server = Running::ordinary();
    let mut source = connect(&[server.url()]);
    let batches = read(&mut source, MANY);
    assert_eq!(batches, read(&mut connect(&[server.url()]), MANY));
    assert!(batches.iter().map(|batch| batch.index).eq(0..MANY as u64));
    for batch in &batches {
        batch.check(source.classes()).unwrap();
        assert_eq!((batch.rows, batch.channels), (8, 1));
    }
    let of = |source| batches.iter().flat_map(|batch| &batch.sources).filter(|&&found| found == source).count();
    let rows = (8 * MANY) as f64;
    for (source, share) in [(Source::Real, 0.5), (Source::Existing, 0.3), (Source::Blended, 0.2)] {
        assert!((of(source) as f64 - share * rows).abs() < 1.0, "{source:?}");
    }
    assert_eq!((source.classes(), source.channels(), source.batch_size()), (12, 1, 8));
    assert_eq!(source.class_names()[5], "person 5");
    assert_eq!(source.dataset_digest().as_deref(), Some("d0"));
    assert_eq!(
        source.describe(),
        "a stream of real=0.5,existing=0.3,blended=0.2 (12 classes from 6 identities, dataset d0, bundle b0)"
    );
    assert_eq!(source.waits().count(), MANY);
}

#[test]
fn a_server_that_is_killed_and_started_again_changes_no_batch() {
    // Eight tiles are at least two batches and at most eight.
    let first = Setup { tiles: 8, ..Setup::default() }.start();
    let port = first.address.port();
    let mut source = connect(&[first.url()]);
    let mut batches = read(&mut source, 1);
    first.wait_until_it_hangs();
    drop(first);
    let again = std::thread::spawn(move || Setup { port, ..Setup::default() }.start());
    batches.extend(read(&mut source, MANY - 1));
    assert_eq!(batches, undisturbed(MANY));
    drop(again.join().unwrap());
}

#[test]
fn when_one_server_dies_the_next_goes_on_at_the_same_batch() {
    let (first, second) = (Setup { tiles: 8, ..Setup::default() }.start(), Running::ordinary());
    let mut source = connect(&[first.url(), second.url()]);
    let mut batches = read(&mut source, 1);
    first.wait_until_it_hangs();
    drop(first);
    batches.extend(read(&mut source, MANY - 1));
    assert_eq!(batches, undisturbed(MANY));
}

#[test]
fn a_server_that_is_gone_is_passed_over() {
    let server = Running::ordinary();
    let mut source = connect(&[nowhere(), server.url()]);
    assert_eq!(read(&mut source, 3), undisturbed(3));
}

#[test]
fn trainers_of_one_spec_and_another_read_at_once_and_a_leaving_one_disturbs_none() {
    let server = Running::ordinary();
    let alone: Vec<Vec<Batch>> = [7, 8].map(|seed| stream(&server, seed, MANY)).into();
    let together: Vec<Vec<Batch>> = std::thread::scope(|scope| {
        let trainers = [7, 7, 8].map(|seed| {
            let server = &server;
            scope.spawn(move || stream(server, seed, MANY))
        });
        // Comes, reads a little and leaves with batches under way, again and again.
        for seed in [7, 8, 9, 7] {
            stream(&server, seed, 2);
        }
        trainers.map(|trainer| trainer.join().unwrap()).into()
    });
    assert_eq!(together, [&alone[0][..], &alone[0], &alone[1]]);
    assert_ne!(alone[0], alone[1]);
}

fn stream(server: &Running, seed: u64, count: usize) -> Vec<Batch> {
    read(&mut try_connect(settings(&[server.url()], seed)).unwrap(), count)
}

#[test]
fn a_resumed_stream_goes_on_with_the_next_batch_at_any_server_of_the_same_data() {
    let (first, second) = (Running::ordinary(), Running::ordinary());
    let mut source = connect(&[first.url()]);
    read(&mut source, 5);
    // Through text, as a checkpoint keeps it.
    let place = source.place().to_string();
    assert!(place.contains(r#""dataset":"d0""#) && place.contains(r#""next":5"#), "{place}");
    let mut resumed = connect(&[second.url()]);
    resumed.resume(&serde_json::from_str(&place).unwrap()).unwrap();
    assert_eq!(resumed.place().to_string(), place);
    assert_eq!(read(&mut resumed, 4), undisturbed(9)[5..]);
    // Backwards too, and after having been stopped.
    resumed.stopper().unwrap()();
    assert!(matches!(resumed.next_received(), Err(Error::Stopped)));
    resumed.resume(&serde_json::from_str(&place).unwrap()).unwrap();
    assert_eq!(read(&mut resumed, 1), undisturbed(6)[5..]);
}

#[test]
fn a_place_of_another_stream_is_refused_unless_the_change_is_accepted() {
    let server = Running::ordinary();
    let mut source = connect(&[server.url()]);
    read(&mut source, 2);
    let place = source.place();
    let resume = |setup: Setup, change: fn(&mut StreamSettings)| {
        let other = setup.start();
        let mut settings = settings(&[other.url()], 7);
        change(&mut settings);
        let mut source = try_connect(settings).unwrap();
        let answer = source.resume(&place).map(|()| read(&mut source, 1)[0].index);
        answer.map_err(|error| error.to_string().replace(&other.url(), "URL"))
    };
    let same = |_: &mut StreamSettings| {};
    let begun = |what: &str, change: &str| {
        format!(
            "the server at URL can't send this stream: expected {what} as the stream began with, found {change}; serve \
             that one, or go on with --accept "
        )
    };
    let refusals = [
        (resume(Setup { dataset: "d1", ..Setup::default() }, same), begun("dataset d0", "d1") + "dataset"),
        (resume(Setup { bundle: "b1", ..Setup::default() }, same), begun("bundle b0", "b1") + "bundle"),
        (
            resume(Setup::default(), |settings| settings.spec.seed = 8),
            "expected seed 7 as the stream began with, found 8".to_owned(),
        ),
        (
            resume(Setup::default(), |settings| settings.spec.blending.max_weight = 0.75),
            "expected blending max weight 0.8 as the stream began with, found 0.75".to_owned(),
        ),
        (
            resume(Setup::default(), |settings| settings.spec.blending.spread = 1.0),
            "expected blending spread 0.0 as the stream began with, found 1.0".to_owned(),
        ),
        (
            resume(Setup::default(), |settings| settings.world_size = 2),
            "expected rank 0 of 1 as the stream began with, found rank 0 of 2; go on with --accept world".to_owned(),
        ),
    ];
    for (answer, reason) in refusals {
        assert_eq!(answer, Err(format!("can't go on in this stream: {reason}")));
    }
    let numerics = resume(Setup { numerics: "there", ..Setup::default() }, same).unwrap_err();
    assert!(numerics.contains("expected numerics class") && numerics.ends_with("--accept numerics"), "{numerics}");

    let accepting = |settings: &mut StreamSettings| settings.accepted = vec![Change::Bundle, Change::Numerics];
    assert_eq!(resume(Setup { bundle: "b1", numerics: "there", ..Setup::default() }, accepting), Ok(2));
    let other = resume(Setup { dataset: "d1", ..Setup::default() }, accepting).unwrap_err();
    assert!(other.ends_with("--accept dataset"), "{other}");
    assert!(source.resume(&serde_json::json!({"kind": "folder", "next": 3})).is_err());
}

#[test]
fn a_stream_goes_on_with_another_number_of_trainers_where_that_is_accepted() {
    let server = Running::ordinary();
    let mut alone = connect(&[server.url()]);
    read(&mut alone, 2);
    let (place, rest) = (alone.place(), read(&mut alone, 3));
    let parts = [0, 1].map(|rank| {
        let settings =
            StreamSettings { rank, world_size: 2, accepted: vec![Change::World], ..settings(&[server.url()], 7) };
        let mut part = try_connect(settings).unwrap();
        part.resume(&place).unwrap();
        assert_eq!(part.current_place().world_size, 2);
        read(&mut part, 3)
    });
    for (nth, whole) in rest.iter().enumerate() {
        assert!(parts.iter().all(|part| part[nth].index == whole.index));
        assert_eq!(parts.each_ref().map(|part| &part[nth].pixels[..]).concat(), whole.pixels);
    }
}

#[test]
fn a_server_that_comes_back_with_another_bundle_is_refused_with_the_way_to_accept_it() {
    let first = Setup { tiles: 8, ..Setup::default() }.start();
    let (port, url) = (first.address.port(), first.url());
    let mut source = connect(&[url]);
    read(&mut source, 1);
    first.wait_until_it_hangs();
    drop(first);
    let _other = Setup { port, bundle: "b1", ..Setup::default() }.start();
    let error = std::iter::repeat_with(|| source.next_received()).find_map(Result::err).unwrap().to_string();
    assert!(error.contains("expected bundle b0 as the stream began with, found b1"), "{error}");
    assert!(error.ends_with("go on with --accept bundle"), "{error}");
}

#[test]
fn a_resuming_trainer_finds_the_server_that_has_its_data() {
    let (right, other) = (Running::ordinary(), Setup { dataset: "d1", ..Setup::default() }.start());
    let mut source = connect(&[right.url()]);
    read(&mut source, 2);
    let mut resumed = connect(&[other.url(), right.url()]);
    resumed.resume(&source.place()).unwrap();
    assert_eq!(read(&mut resumed, 3), undisturbed(5)[2..]);
}

#[test]
fn ranks_share_the_batches_of_one() {
    let server = Running::ordinary();
    let whole = read(&mut connect(&[server.url()]), 3);
    let parts = [0, 1, 2].map(|rank| {
        let settings = StreamSettings { rank, world_size: 3, ..settings(&[server.url()], 7) };
        read(&mut try_connect(settings).unwrap(), 3)
    });
    for (index, batch) in whole.iter().enumerate() {
        let pixels: Vec<u8> = parts.iter().flat_map(|part| part[index].pixels.to_vec()).collect();
        assert_eq!(pixels, batch.pixels);
        let labels: Vec<u32> = parts.iter().flat_map(|part| part[index].labels.clone()).collect();
        assert_eq!(labels, batch.labels);
    }
}

#[test]
fn a_stream_with_an_end_ends() {
    let server = Running::ordinary();
    let settings = StreamSettings { first: 3, end: Some(5), ..settings(&[server.url()], 7) };
    let mut source = try_connect(settings).unwrap();
    assert_eq!(read(&mut source, 2), undisturbed(5)[3..]);
    assert!(matches!(source.next_received(), Err(Error::Ended(5))));
}

#[test]
fn where_no_server_answers_one_sentence_says_so() {
    let (one, two) = (nowhere(), nowhere());
    let patience = Patience::always(Duration::from_millis(300));
    let asked = StreamSettings { patience, ..settings(&[one.clone(), two.clone()], 7) };
    let error = try_connect(asked).unwrap_err();
    let sentence = error.to_string();
    let begin = format!("no server answers: {one} (connection refused), {two} (connection refused); waited ");
    assert!(sentence.starts_with(&begin), "{sentence}");

    // And where one leaves in the middle and stays away.
    let server = Setup { tiles: 8, ..Setup::default() }.start();
    let mut source = try_connect(StreamSettings { patience, ..settings(&[server.url()], 7) }).unwrap();
    read(&mut source, 1);
    server.wait_until_it_hangs();
    drop(server);
    let error = std::iter::repeat_with(|| source.next_received()).find_map(Result::err).unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn a_wait_ends_when_no_more_batches_are_wanted() {
    let server = Setup { tiles: 0, ..Setup::default() }.start();
    let mut source = connect(&[server.url()]);
    let stop = source.stopper().unwrap();
    let waiting = std::thread::spawn(move || source.next_received());
    // By then the stream is asked for, and its first batch will never be there.
    server.wait_until_it_hangs();
    stop();
    assert!(matches!(in_time(move || waiting.join().unwrap()), Err(Error::Stopped)));
}

#[test]
fn a_spec_that_no_server_can_follow_is_refused_in_its_words() {
    let server = Running::ordinary();
    type Change = fn(&mut StreamSettings);
    let refusal = |change: Change| {
        let mut asked = settings(&[server.url()], 7);
        change(&mut asked);
        try_connect(asked).unwrap_err().to_string().replace(&server.url(), "URL")
    };
    let begin = "the server at URL can't send this stream: ";
    let cases: [(Change, &str); 4] = [
        (|asked| asked.spec.batch_size = 5000, "expected a batch size of 1 to 1024, found 5000"),
        (|asked| asked.spec.mix.real = -1.0, "expected mix weights that are finite and not negative, found real=-1"),
        (|asked| asked.spec.blending.max_weight = 0.5, "expected a largest weight above 1/2 and at most 1, found 0.5"),
        (
            |asked| asked.bundle = BundleChoice::Pin("b9".to_owned()),
            "expected a bundle with digest b9, found b0; serve the bundle that the stream was begun with, or begin a \
             new stream",
        ),
    ];
    for (change, reason) in cases {
        assert_eq!(refusal(change), format!("{begin}{reason}"));
    }
}

#[test]
fn several_servers_send_a_lease_each_in_turn_and_the_stream_is_one() {
    let undisturbed = read(&mut connect(&[Running::ordinary().url()]), 13);
    let servers = [Running::ordinary(), Running::ordinary(), Running::ordinary()];
    let urls: Vec<String> = servers.iter().map(Running::url).collect();
    let leased = StreamSettings { lease: std::num::NonZeroU64::new(2), end: Some(13), ..settings(&urls, 7) };
    let mut source = try_connect(leased).unwrap();
    assert!(read(&mut source, 13) == undisturbed);
    assert!(matches!(source.next_received(), Err(Error::Ended(13))));
    for server in &servers {
        let streams = server.streams_begun();
        assert!(streams >= 2, "one of the servers was asked for {streams} streams only");
    }
}

#[test]
fn a_server_that_sends_a_part_at_a_time_is_asked_again_as_if_nothing_had_happened() {
    let undisturbed = undisturbed(11);
    let config = |config: server::Config| server::Config { max_stream_batches: 3, ..config };
    let servers = [Setup { config, ..Setup::default() }.start(), Setup { config, ..Setup::default() }.start()];
    let urls: Vec<String> = servers.iter().map(Running::url).collect();
    // Nobody waits: the first trouble would be the last.
    let settings = StreamSettings { patience: Patience::always(Duration::ZERO), end: Some(11), ..settings(&urls, 7) };
    let mut source = try_connect(settings).unwrap();
    assert!(read(&mut source, 11) == undisturbed);
    for server in &servers {
        assert_eq!(server.streams_begun(), 2, "four parts over two servers");
    }
}

#[test]
fn a_server_that_ends_in_good_order_is_left_at_its_last_batch_without_trouble() {
    let undisturbed = undisturbed(40);
    let (mut first, second) = (Running::ordinary(), Running::ordinary());
    let patience = Patience::always(Duration::ZERO);
    let settings = StreamSettings { patience, ..settings(&[first.url(), second.url()], 7) };
    let mut source = try_connect(settings).unwrap();
    let mut batches = read(&mut source, 2);
    first.ask_to_stop();
    while second.streams_begun() == 0 {
        batches.extend(read(&mut source, 1));
    }
    batches.extend(read(&mut source, 3));
    let count = batches.len();
    assert!(batches[..count.min(40)] == undisturbed[..count.min(40)], "after {count} batches");
}
