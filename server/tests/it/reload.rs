//! New weights while streams go on.

use crate::{fixture::*, stand_ins::File};
use proto::v1::{self, bundle_policy::Policy};
use server::{Config, Error, reload::reload};
use std::sync::Arc;
use tonic::Code;

/// A server over weights that can be changed.
async fn running(config: Config) -> (Running, File) {
    let file = File::default();
    let config = Config { tile: Some(5), watch: 0, ..config };
    (Setup { config, file: file.clone(), ..Setup::default() }.start().await, file)
}

fn write(file: &File, weights: &str) {
    *file.lock().unwrap() = Some(weights.to_owned());
}

/// Serves other weights; their digest.
async fn swap(server: &Running, file: &File, weights: &str) -> String {
    write(file, weights);
    reload(&server.served, "").await.unwrap().bundle.digest
}

fn asking(policy: Option<Policy>, first_index: u64, count: u64) -> v1::StreamRequest {
    v1::StreamRequest {
        place: Some(v1::Place { first_index, count, ..Default::default() }),
        bundle: policy.map(|policy| v1::BundlePolicy { policy: Some(policy) }),
        ..request(7, 6, 0)
    }
}

fn follow() -> Option<Policy> {
    Some(Policy::Follow(v1::Follow::default()))
}

fn pin(digest: &str) -> Option<Policy> {
    Some(Policy::Pin(digest.to_owned()))
}

async fn reader(server: &Running, request: v1::StreamRequest) -> Reader {
    Reader::new(server.client().await.stream_batches(request).await.unwrap().into_inner()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_weights_take_over_from_a_declared_batch_on_and_the_table_replays_the_stream() {
    /// More than the receiver's window has room for: the last are made after the swap.
    const COUNT: u64 = 120;
    const { assert!(COUNT * 6 * IMAGE as u64 > proto::limits::WINDOW_BYTES as u64 * 5 / 4) };
    let (server, file) = running(Config::default()).await;
    let mut stream = reader(&server, asking(follow(), 0, COUNT)).await;
    let old = stream.header.bundle_digest.clone();
    let mut batches = vec![stream.next().await.unwrap().unwrap()];
    let new = swap(&server, &file, "noise=0.9").await;
    while let Some(batch) = stream.next().await.unwrap() {
        batches.push(batch);
    }
    let [begun, taken_over] = &stream.header.declared[..] else { panic!("one takeover: {:?}", stream.header.declared) };
    assert_eq!((&begun.bundle_digest, &taken_over.bundle_digest), (&old, &new));
    let first = taken_over.first_index;
    assert!((2..COUNT).contains(&first), "it takes over at {first}");
    assert_eq!(batches.len() as u64, COUNT);
    for batch in &batches {
        let expected = if batch.index < first { &old } else { &new };
        assert!(proto::digest::agrees(batch) && batch.bundle_digest == *expected, "batch {}", batch.index);
    }
    // The parts are those of streams that stay with one bundle, and the table gives the whole again.
    let (_, before) = server.read(asking(pin(&old), 0, first)).await.unwrap();
    let (_, after) = server.read(asking(pin(&new), first, COUNT - first)).await.unwrap();
    assert!([before, after].concat() == batches);
    let declared = stream.header.declared.clone();
    let closed = Some(Policy::Follow(v1::Follow { declared, closed: true }));
    swap(&server, &file, "noise=0.8").await;
    assert!(server.read(asking(closed.clone(), 0, COUNT)).await.unwrap().1 == batches);
    let digests = server.client().await.verify(asking(closed, 0, COUNT)).await.unwrap().into_inner();
    let mut digests = Reader::new(digests).await.unwrap();
    for batch in &batches {
        let proof = digests.next().await.unwrap().unwrap();
        assert_eq!(
            (proof.index, &proof.digest, &proof.bundle_digest),
            (batch.index, &batch.digest, &batch.bundle_digest)
        );
        assert!(proof.pixels.is_empty() && proof.labels.is_empty() && proof.provenance.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_follow_keeps_its_weights_and_they_are_kept_for_it() {
    let (server, file) = running(Config { max_bundles: 2, ..Config::default() }).await;
    let mut stays = reader(&server, asking(None, 0, 60)).await;
    let old = stays.header.bundle_digest.clone();
    let second = swap(&server, &file, "noise=0.9").await;
    write(&file, "noise=0.8");
    let error = reload(&server.served, "").await.unwrap_err();
    assert!(matches!(error, Error::Refused(_) | Error::Busy { .. }), "{error}");
    assert!(error.to_string().contains("bundles that streams need: the limit of 2"), "{error}");
    assert_eq!(
        server.client().await.get_info(v1::GetInfoRequest::default()).await.unwrap().into_inner().bundles.len(),
        2
    );
    let mut batches = 0;
    while let Some(batch) = stays.next().await.unwrap() {
        assert_eq!(batch.bundle_digest, old);
        batches += 1;
    }
    assert_eq!(batches, 60);
    drop(stays);
    // Nobody needs the first one any more.
    in_time(async {
        while reload(&server.served, "").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let gone = server.read(asking(pin(&old), 0, 1)).await.unwrap_err();
    assert_eq!(gone.code(), Code::FailedPrecondition);
    assert!(gone.message().contains(&second), "what is held is named: {}", gone.message());
    server.read(asking(pin(&second), 0, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_costs_no_older_weights_their_place() {
    let (server, file) = running(Config { max_bundles: 2, ..Config::default() }).await;
    let first = reader(&server, asking(None, 0, 1)).await.header.bundle_digest.clone();
    let second = swap(&server, &file, "noise=0.9").await;
    // Nobody reads just now, so the first could go; but not for weights that are no good.
    for bad in ["torn=yes", "fails=yes", "noise=9"] {
        write(&file, bad);
        reload(&server.served, "").await.unwrap_err();
        server.read(asking(pin(&first), 0, 1)).await.unwrap();
    }
    in_time(async {
        write(&file, "noise=0.8");
        while reload(&server.served, "").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(server.read(asking(pin(&first), 0, 1)).await.unwrap_err().code(), Code::FailedPrecondition);
    server.read(asking(pin(&second), 0, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_hold_up_is_refused_and_nobody_notices() {
    let (server, file) = running(Config::default()).await;
    let before = server.read(asking(None, 0, 3)).await.unwrap();
    let mut follows = reader(&server, asking(follow(), 0, 0)).await;
    let cases = [
        ("torn=yes", "half a file"),
        ("people=5", "different identities: 5 in the bundle and 6 in the dataset"),
        ("channels=3", "expected images as the bundle in use has, of 1 channels, found 3"),
        ("encoder=no", "expected an encoder as the bundle in use has"),
        ("fails=yes", "it panicked: weights of nonsense"),
        ("offset=2", "expected a similarity to the right people of at least 0."),
        ("noise=0.01", "expected a diversity of at least"),
        ("noise=9", "expected a similarity to the right people"),
    ];
    for (weights, reason) in cases {
        write(&file, weights);
        let error = reload(&server.served, "").await.unwrap_err().to_string();
        assert!(error.starts_with("the new bundle is refused and the one in use stays: "), "{error}");
        assert!(error.contains(reason), "{weights}: {error}");
        assert!(follows.next().await.unwrap().is_some_and(|batch| batch.bundle_digest == before.0.bundle_digest));
    }
    write(&file, "noise=0.9");
    let error = reload(&server.served, "0123").await.unwrap_err().to_string();
    assert!(error.contains("expected a file with digest 0123, found "), "{error}");
    assert_eq!(follows.header.declared.len(), 1);
    assert_eq!(server.read(asking(None, 0, 3)).await.unwrap(), before);
    assert_eq!(server.metric(r#"lookalike_bundle_swaps_total{outcome="refused"}"#).await, 9.0);
    assert_eq!(server.metric("lookalike_bundles ").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ranks_of_one_batch_change_together() {
    let (server, file) = running(Config::default()).await;
    let rank = |rank| {
        let mut asked = asking(follow(), 0, 0);
        asked.trainer = "together".into();
        asked.place.as_mut().unwrap().rank = rank;
        asked.place.as_mut().unwrap().world_size = 2;
        asked
    };
    let mut first = reader(&server, rank(0)).await;
    let old = first.header.bundle_digest.clone();
    let mut bundles = [vec![first.next().await.unwrap().unwrap().bundle_digest], Vec::new()];
    let new = swap(&server, &file, "noise=0.9").await;
    // The other one comes late, when there are newer weights already.
    let mut second = reader(&server, rank(1)).await;
    assert_eq!(second.header.bundle_digest, old);
    while bundles[1].last() != Some(&new) {
        bundles[1].push(second.next().await.unwrap().unwrap().bundle_digest);
    }
    while bundles[0].len() < bundles[1].len() {
        bundles[0].push(first.next().await.unwrap().unwrap().bundle_digest);
    }
    assert!(bundles[0] == bundles[1], "the ranks changed apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_swaps_under_load_tear_no_batch_and_end_no_stream() {
    let (server, file) = running(Config { read_ahead: 2, ..Config::default() }).await;
    let server = Arc::new(server);
    let streams = (0..3u64).map(|seed| {
        let server = server.clone();
        tokio::spawn(async move {
            let mut asked = asking(follow(), 0, 0);
            asked.spec.as_mut().unwrap().seed = seed;
            let mut stream = reader(&server, asked).await;
            let (mut bundles, mut index) = (0, 0);
            let mut last = String::new();
            // Until the last weights are in use.
            while last != blake3::hash(b"noise=0.95 swap=49").to_hex().to_string() {
                let batch = stream.next().await.unwrap().unwrap();
                assert_eq!((batch.index, proto::digest::agrees(&batch)), (index, true));
                let declared = stream.header.declared.iter().rev().find(|entry| entry.first_index <= index);
                assert_eq!(batch.bundle_digest, declared.unwrap().bundle_digest, "as declared");
                bundles += usize::from(batch.bundle_digest != last);
                (last, index) = (batch.bundle_digest, index + 1);
            }
            bundles
        })
    });
    let streams: Vec<_> = streams.collect();
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().await);
    for nth in 0..50 {
        write(&file, &format!("noise=0.95 swap={nth}"));
        // Streams may hold on to older ones for a moment.
        while let Err(error) = reload(&server.served, "").await {
            assert!(matches!(error, Error::Busy { .. }), "{error}");
            tokio::task::yield_now().await;
        }
        let asked = tonic_health::pb::HealthCheckRequest { service: String::new() };
        let status = health.check(asked).await.unwrap().into_inner().status;
        assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving as i32);
    }
    for stream in streams {
        assert!(in_time(stream).await.unwrap() > 2);
    }
    assert_eq!(server.metric(r#"lookalike_bundle_swaps_total{outcome="swapped"}"#).await, 50.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_noticed_and_a_bad_one_is_not_tried_again_and_again() {
    let file = File::default();
    let config = Config { tile: Some(5), watch: 1, ..Config::default() };
    let server = Setup { config, file: file.clone(), ..Setup::default() }.start().await;
    write(&file, "torn=yes");
    server.metric_becomes(r#"lookalike_bundle_swaps_total{outcome="refused"}"#, 1.0).await;
    write(&file, "noise=0.9");
    server.metric_becomes(r#"lookalike_bundle_swaps_total{outcome="swapped"}"#, 1.0).await;
    assert_eq!(server.metric(r#"lookalike_bundle_swaps_total{outcome="refused"}"#).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bundles_that_makes_no_sense_is_refused() {
    let (server, file) = running(Config::default()).await;
    let old = server.served_digest().await;
    let new = swap(&server, &file, "noise=0.9").await;
    let entry = |first_index: u64, digest: &str| v1::Takeover { first_index, bundle_digest: digest.to_owned() };
    let refusal = async |declared: Vec<v1::Takeover>, closed| {
        let policy = Some(Policy::Follow(v1::Follow { declared, closed }));
        let status = server.read(asking(policy, 5, 1)).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let (code, sentence) = refusal(vec![entry(3, &old), entry(3, &new)], false).await;
    assert_eq!((code, sentence.contains("ascending indices")), (Code::InvalidArgument, true));
    let (code, sentence) = refusal(vec![entry(6, &old)], false).await;
    assert_eq!((code, sentence.contains("begins at batch 5 or before, found 6")), (Code::InvalidArgument, true));
    assert_eq!(refusal(vec![], true).await.0, Code::InvalidArgument);
    assert_eq!(refusal(vec![entry(0, "cccc")], false).await.0, Code::FailedPrecondition);
    assert_eq!(refusal((0..2000).map(|n| entry(n, &old)).collect(), false).await.0, Code::InvalidArgument);
    // What is past needn't be held any more.
    let past = Policy::Follow(v1::Follow { declared: vec![entry(0, "cccc"), entry(2, &new)], closed: true });
    assert_eq!(server.read(asking(Some(past), 5, 1)).await.unwrap().1[0].bundle_digest, new);
}

impl Running {
    async fn served_digest(&self) -> String {
        let info = self.client().await.get_info(v1::GetInfoRequest::default()).await.unwrap().into_inner();
        info.bundle.unwrap().digest
    }
}
