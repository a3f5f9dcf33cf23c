//! Streams whose server gets newer weights.

use crate::between::Between;
use crate::fixture::*;
use client::spec::Blending;
use client::{BundleChoice, Change, Patience, Place, StreamSettings, StreamSource, Takeover};
use proto::v1::stream_response::Message;
use recognizer::BatchSource;
use std::time::Duration;

fn following(urls: &[String]) -> StreamSettings {
    StreamSettings { bundle: BundleChoice::Follow { from: None }, ..settings(urls, 7) }
}

/// Digests of `count` batches.
fn digests(source: &mut StreamSource, count: usize) -> Vec<[u8; 32]> {
    (0..count).map(|_| source.next_received().unwrap().digest).collect()
}

/// Reads until another bundle has taken over; the digests of all batches so far.
fn until_taken_over(source: &mut StreamSource) -> Vec<[u8; 32]> {
    let mut all = Vec::new();
    while source.current_place().takeovers.is_empty() {
        all.extend(digests(source, 1));
    }
    all
}

fn resumed(settings: StreamSettings, place: &Place) -> StreamSource {
    let mut source = try_connect(settings).unwrap();
    source.resume(&serde_json::to_value(place).unwrap()).unwrap();
    source
}

#[test]
fn a_stream_that_follows_goes_on_from_its_place_and_is_replayed_from_it() {
    let server = Running::ordinary();
    let urls = [server.url()];
    let mut source = try_connect(following(&urls)).unwrap();
    let mut all = digests(&mut source, 2);
    let new = server.swap("noise=0.9").unwrap();
    all.extend(until_taken_over(&mut source));
    let place = source.current_place();
    assert_eq!((&*place.origin.bundle, &place.takeovers[0].bundle), ("b0", &new));
    // It is announced between the last batch before it and its first one.
    assert!([place.next, place.next - 1].contains(&place.takeovers[0].first), "{place:?}");
    all.extend(digests(&mut source, 6));
    let end = source.current_place();
    drop(source);

    let mut later = resumed(following(&urls), &place);
    assert_eq!(digests(&mut later, 6), all[place.next as usize..]);
    assert_eq!(later.current_place(), end);

    let replay = BundleChoice::Replay(end.origin.bundle.clone(), end.takeovers.clone());
    let mut again = try_connect(StreamSettings { bundle: replay, ..settings(&urls, 7) }).unwrap();
    assert_eq!(digests(&mut again, all.len()), all);
}

#[test]
fn a_guarded_stream_keeps_its_centres_when_a_newer_bundle_has_others() {
    let guarded = |urls: &[String]| {
        let mut settings = following(urls);
        settings.spec.blending = Blending { count: Some(60), max_similarity: 0.8, ..Blending::default() };
        settings
    };
    let labels = |source: &mut StreamSource, count| {
        read(source, count).into_iter().map(|batch| batch.labels).collect::<Vec<_>>()
    };
    let server = Running::ordinary();
    let urls = [server.url()];
    let mut source = try_connect(guarded(&urls)).unwrap();
    let mut all = labels(&mut source, 2);
    server.swap("turn=1").unwrap();
    while source.current_place().takeovers.is_empty() {
        all.extend(labels(&mut source, 1));
    }
    let place = source.current_place();
    assert_eq!(place.spec.centres.as_ref().map(String::len), Some(64));
    drop(source);
    // A server that is asked anew would name the newer bundle's.
    let fresh = try_connect(guarded(&urls)).unwrap();
    assert_ne!(fresh.current_place().spec.centres, place.spec.centres);
    let mut later = resumed(guarded(&urls), &place);
    assert_eq!(later.current_place().spec, place.spec);
    all.extend(labels(&mut later, 4));
    let quiet = Running::ordinary();
    let mut undisturbed = try_connect(guarded(&[quiet.url()])).unwrap();
    assert_eq!(all, labels(&mut undisturbed, all.len()));
}

#[test]
fn a_stream_that_stays_keeps_its_weights_beyond_a_crash_while_they_are_held() {
    let server = Running::ordinary();
    let urls = [server.url()];
    let undisturbed = digests(&mut connect(&urls), 8);
    let mut source = connect(&urls);
    assert_eq!(digests(&mut source, 3), undisturbed[..3]);
    let place = source.current_place();
    let second = server.swap("noise=0.9").unwrap();
    assert_eq!(digests(&mut source, 5), undisturbed[3..]);
    drop(source);
    assert_eq!(digests(&mut resumed(settings(&urls, 7), &place), 5), undisturbed[3..]);

    // The server holds two sets of weights, and now nobody needs the first.
    until(|| server.swap("noise=0.8").is_ok());
    let mut source = try_connect(settings(&urls, 7)).unwrap();
    let error = source.resume(&serde_json::to_value(&place).unwrap()).unwrap_err().to_string();
    assert!(error.contains("expected bundle b0 as the stream began with, found"), "{error}");
    assert!(error.ends_with("serve that one, or go on with --accept bundle"), "{error}");
    let accepts = |settings| StreamSettings { accepted: vec![Change::Bundle], ..settings };
    let mut changed = resumed(accepts(settings(&urls, 7)), &place);
    assert_eq!(changed.next_received().unwrap().batch.index, 3);
    let pinned = StreamSettings { bundle: BundleChoice::Pin(second.clone()), ..settings(&urls, 7) };
    assert_eq!(try_connect(pinned).unwrap().current_place().origin.bundle, second);

    let mut follows = resumed(accepts(following(&urls)), &place);
    follows.next_received().unwrap();
    assert_ne!(follows.current_place().origin.bundle, "b0");
}

#[test]
fn a_stream_that_follows_goes_on_with_another_server_at_the_index_that_was_declared() {
    let [one, other] = [Running::ordinary(), Running::ordinary()];
    let new = one.swap("noise=0.9").unwrap();
    assert_eq!(other.swap("noise=0.9").unwrap(), new);
    // Both hold both; the stream has the older one up to batch 5.
    let place = Place {
        takeovers: Vec::new(),
        next: 0,
        origin: client::place::Origin { bundle: "b0".into(), ..connect(&[one.url()]).current_place().origin },
        ..connect(&[one.url()]).current_place()
    };
    let replay = BundleChoice::Replay("b0".into(), vec![Takeover { first: 5, bundle: new }]);
    let settings = StreamSettings { bundle: replay, ..settings(&[one.url(), other.url()], 7) };
    let mut undisturbed = resumed(settings.clone(), &place);
    let expected = digests(&mut undisturbed, 9);
    let mut source = resumed(settings, &place);
    assert_eq!(digests(&mut source, 2), expected[..2]);
    drop(one);
    assert_eq!(digests(&mut source, 7), expected[2..]);
}

#[test]
fn a_takeover_in_the_past_or_out_of_place_is_refused() {
    let refusal = |follow: bool| {
        let server = Running::ordinary();
        let between = Between::start(&server, |message| {
            if let Message::Batch(batch) = message
                && batch.index == 2
            {
                let takeover = proto::v1::Takeover { first_index: 1, bundle_digest: "b9".into() };
                *message = Message::Takeover(takeover);
            }
        });
        let urls = [between.url()];
        let asked = if follow { following(&urls) } else { settings(&urls, 7) };
        let mut source = try_connect(asked).unwrap();
        std::iter::repeat_with(|| source.next_received()).find_map(Result::err).unwrap().to_string()
    };
    let error = refusal(true);
    assert!(error.contains("expected a bundle to take over at batch 2 or later, found one for batch 1"), "{error}");
    let error = refusal(false);
    assert!(error.contains("expected one bundle throughout, found that another takes over"), "{error}");
}

#[test]
fn ranks_go_on_together_from_their_places_when_newer_weights_came_meanwhile() {
    let server = Running::ordinary();
    let urls = [server.url()];
    let rank = |rank| StreamSettings { rank, world_size: 2, trainer: "two".into(), ..following(&urls) };
    let mut sources = [0, 1].map(|nth| try_connect(rank(nth)).unwrap());
    let places = sources.each_mut().map(|source| {
        digests(source, 3);
        source.current_place()
    });
    drop(sources);
    let new = server.swap("noise=0.9").unwrap();
    // The one that comes second may hear by its header that the next batch is by newer weights.
    let [mut first, mut second] = [0, 1].map(|nth| resumed(rank(nth), &places[nth as usize]));
    // More than the receive window of the one that reads ahead alone at first.
    for _ in 3..400 {
        let bundles = [&mut first, &mut second].map(|source| source.next_received().unwrap().bundle);
        assert_eq!(bundles[0], bundles[1]);
        if bundles[0] == new {
            return;
        }
    }
    panic!("the newer weights never take over");
}

#[test]
fn a_rank_that_begins_after_a_restart_with_other_weights_begins_with_the_first_one_s_or_not() {
    let server = Running::ordinary();
    let rank = |rank, urls: &[String], from: Option<&str>| StreamSettings {
        bundle: BundleChoice::Follow { from: from.map(str::to_owned) },
        patience: Patience::always(Duration::from_millis(200)),
        ..StreamSettings { rank, world_size: 2, trainer: "two".into(), ..following(urls) }
    };
    let urls = [server.url()];
    let mut first = try_connect(rank(0, &urls, None)).unwrap();
    first.next_received().unwrap();
    let begun_with = first.current_place().origin.bundle;

    // As long as a server holds it, the second has it, though a newer one is there.
    let new = server.swap("noise=0.9").unwrap();
    let mut second = try_connect(rank(1, &urls, Some(&begun_with))).unwrap();
    assert_eq!(second.next_received().unwrap().bundle, begun_with);
    while second.next_received().unwrap().bundle != new {
        first.next_received().unwrap();
    }

    let restarted = Setup { bundle: "b7", ..Setup::default() }.start();
    let error = try_connect(rank(1, &[restarted.url()], Some(&begun_with))).unwrap_err().to_string();
    assert!(error.contains("expected a bundle with digest b0, found b7"), "{error}");

    let liar = Between::start(&server, |message| {
        if let Message::Header(header) = message {
            header.bundle_digest = "b9".into();
        }
    });
    let error = try_connect(rank(1, &[liar.url()], Some(&begun_with))).unwrap_err().to_string();
    assert!(error.contains("expected bundle b0 as asked for, found b9 in the header"), "{error}");
}
