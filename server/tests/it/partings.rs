//! Streams that end before their time although nothing is wrong: with a place to go on at.

use crate::fixture::*;
use proto::v1::{self, farewell::Why};
use server::Config;
use tonic::{Code, Status};

/// Reads until the stream ends before its time.
async fn read_to_the_farewell(reader: &mut Reader) -> (Vec<v1::Batch>, Status) {
    let mut batches = Vec::new();
    loop {
        match in_time(reader.next()).await {
            Ok(Some(batch)) => batches.push(batch),
            Ok(None) => panic!("the stream ended as if it were whole"),
            Err(status) => return (batches, status),
        }
    }
}

async fn open(server: &Running, request: v1::StreamRequest) -> Reader {
    Reader::new(server.client().await.stream_batches(request).await.unwrap().into_inner()).await.unwrap()
}

fn at(first: u64, mut request: v1::StreamRequest) -> v1::StreamRequest {
    request.place.as_mut().unwrap().first_index = first;
    request
}

fn leased(max_stream_batches: u64, max_stream_age: u64) -> Setup {
    Setup { config: Config { max_stream_batches, max_stream_age, ..Setup::default().config }, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_says_where_to_go_on_and_another_one_does() {
    let mut server = Running::ordinary().await;
    let mut reader = open(&server, request(1, 8, 0)).await;
    reader.next().await.unwrap();
    server.ask_to_stop();
    let (rest, status) = read_to_the_farewell(&mut reader).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("shutting down"), "{status}");
    let farewell = reader.farewell.take().expect("a word before the end");
    let next = rest.last().map_or(1, |batch| batch.index + 1);
    assert_eq!((farewell.next_index, farewell.why()), (next, Why::Shutdown));
    drop(reader);
    server.outcome().await.unwrap();
    let whole = Running::ordinary().await;
    let (_, gone_on) = whole.read(at(next, request(1, 8, 2))).await.unwrap();
    let (_, reference) = whole.read(at(next, request(1, 8, 2))).await.unwrap();
    assert_eq!((gone_on[0].index, &gone_on), (next, &reference));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_reads_slowly_is_told_within_the_grace_time() {
    let config = Config { grace: 3600, ..Setup::default().config };
    let mut server = Setup { config, ..Setup::default() }.start().await;
    let mut reader = open(&server, request(1, 256, 0)).await;
    server.comes_to_rest(4.0).await;
    server.ask_to_stop();
    // What was handed to the transport comes first, in whole batches.
    let (batches, status) = read_to_the_farewell(&mut reader).await;
    let farewell = reader.farewell.take().unwrap_or_else(|| panic!("it ended without a farewell: {status}"));
    assert_eq!(farewell.next_index, batches.len() as u64);
    assert!(batches.iter().map(|batch| batch.index).eq(0..farewell.next_index));
    assert!(batches.iter().all(proto::digest::agrees));
    drop(reader);
    server.outcome().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_after_the_batches_that_one_may_have() {
    let server = leased(3, 0).start().await;
    let mut reader = open(&server, request(1, 8, 0)).await;
    let (first, status) = read_to_the_farewell(&mut reader).await;
    assert_eq!((first.len(), status.code()), (3, Code::Unavailable), "{status}");
    assert!(status.message().starts_with("this stream was sent for 3 batches"), "{status}");
    let farewell = reader.farewell.take().unwrap();
    assert_eq!((farewell.next_index, farewell.why()), (3, Why::Lease));
    let mut reader = open(&server, at(3, request(1, 8, 0))).await;
    let (second, _) = read_to_the_farewell(&mut reader).await;
    let (_, reference) = Running::ordinary().await.read(request(1, 8, 6)).await.unwrap();
    assert_eq!([first, second].concat(), reference);
    // One that asks for no more than that has all it asked for.
    assert_eq!(server.read(request(1, 8, 3)).await.unwrap().1.len(), 3);
    // A plan needs nobody's turn.
    let plan = server.client().await.plan(request(1, 8, 10)).await.unwrap().into_inner();
    let mut plan = Reader::new(plan).await.unwrap();
    for index in 0..10 {
        assert_eq!(plan.next().await.unwrap().map(|batch| batch.index), Some(index));
    }
    assert_eq!(server.metric(r#"lookalike_rejections_total{reason="lease"}"#).await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_its_age_with_a_batch_at_least() {
    let tile_time = std::time::Duration::from_millis(400);
    let server = Setup { tile_time, ..leased(0, 1) }.start().await;
    let mut reader = open(&server, request(1, 40, 0)).await;
    let (batches, status) = read_to_the_farewell(&mut reader).await;
    assert!(!batches.is_empty() && status.message().starts_with("this stream was sent for 1 seconds"), "{status}");
    let farewell = reader.farewell.take().unwrap();
    assert_eq!((farewell.next_index, farewell.why()), (batches.len() as u64, Why::Lease));
}
