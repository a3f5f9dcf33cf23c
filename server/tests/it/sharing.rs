//! Trainers that share one generator: by fair turns, within limits.

use crate::fixture::*;
use proto::v1;
use server::{Config, config::Share};
use std::time::Duration;
use tonic::Code;

/// An endless stream of generated rows for a trainer.
fn generated(trainer: &str, seed: u64, batch_size: u32) -> v1::StreamRequest {
    let mut asked = request(seed, batch_size, 0);
    asked.spec.as_mut().unwrap().mix = Some(v1::Mix { real: 0.0, existing: 1.0, blended: 0.0, schedule: None });
    asked.trainer = trainer.into();
    asked
}

/// Reads streams until so many tiles were made; the images that each trainer was sent meanwhile, after
/// all had begun.
async fn images(server: &Running, streams: Vec<v1::StreamRequest>, tiles: f64) -> Vec<f64> {
    let mut names: Vec<String> = streams.iter().map(|asked| asked.trainer.clone()).collect();
    names.dedup();
    let mut readers = Vec::new();
    for asked in streams {
        let stream = server.client().await.stream_batches(asked).await.unwrap().into_inner();
        let mut reader = Reader::new(stream).await.unwrap();
        reader.next().await.unwrap();
        readers.push(tokio::spawn(async move { while reader.next().await.unwrap().is_some() {} }));
    }
    let sent = async || {
        let mut counts = Vec::new();
        for name in &names {
            let images = format!(r#"lookalike_images_total{{trainer="{name}",source="existing"}}"#);
            counts.push(server.metric(&images).await);
        }
        counts
    };
    let made = async || server.metric("lookalike_device_batch_images_count").await;
    let (begun, before) = (made().await, sent().await);
    in_time(async {
        while made().await < begun + tiles {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let after = sent().await;
    readers.iter().for_each(|reader| reader.abort());
    after.iter().zip(before).map(|(after, before)| after - before).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trainers_with_equal_shares_get_equal_numbers_of_images_however_they_ask() {
    let server = Setup { tile_time: Duration::from_millis(1), ..Setup::default() }.start().await;
    // Large batches and small ones, and three streams under one name.
    let streams = vec![
        generated("large", 1, 40),
        generated("many", 2, 10),
        generated("many", 3, 10),
        generated("many", 4, 10),
        generated("small", 5, 5),
        generated("usual", 6, 20),
    ];
    let images = images(&server, streams, 2000.0).await;
    let (sum, squares): (f64, f64) = (images.iter().sum(), images.iter().map(|images| images * images).sum());
    // Jain's index: 1 when all are equal, 1/n when one has it all.
    let index = sum * sum / (images.len() as f64 * squares);
    assert!(index >= 0.99, "Jain's index is {index:.4} for {images:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_with_twice_the_share_gets_twice_the_images() {
    let share = vec!["twice=2".parse::<Share>().unwrap()];
    let config = Config { share, ..Setup::default().config };
    let server = Setup { config, tile_time: Duration::from_millis(1), ..Setup::default() }.start().await;
    let images = images(&server, vec![generated("twice", 1, 20), generated("once", 2, 20)], 1500.0).await;
    let ratio = images[0] / images[1];
    assert!((1.9..2.1).contains(&ratio), "{images:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_beyond_its_streams_is_refused_at_once_and_others_are_not() {
    let config = Config { max_streams_per_trainer: 2, max_streams: 3, ..Setup::default().config };
    let server = Setup { config, ..Setup::default() }.start().await;
    let begin = async |trainer: &str| {
        let stream = server.client().await.stream_batches(generated(trainer, 1, 5)).await?.into_inner();
        Reader::new(stream).await
    };
    let one = begin("one").await.unwrap();
    let second = begin("one").await.unwrap();
    let refused = begin("one").await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().starts_with("streams of one trainer at once: the limit of 2 is reached"), "{refused}");
    let other = begin("other").await.unwrap();
    let refused = begin("third").await.err().unwrap();
    assert!(refused.message().starts_with("streams at once: the limit of 3 is reached"), "{refused}");
    drop(second);
    in_time(async {
        while begin("one").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop((one, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_with_many_streams_has_no_more_than_its_part_made_ahead() {
    let config = Config { max_pending: 3, read_ahead: 8, ..Setup::default().config };
    let server = Setup { config, tile_time: Duration::from_millis(1), ..Setup::default() }.start().await;
    let mut streams = Vec::new();
    for seed in 0..4 {
        streams.push(server.client().await.stream_batches(generated("many", seed, 5)).await.unwrap());
    }
    // One that each stream is sending, and three beside them.
    let pending = r#"lookalike_pending_batches{trainer="many"}"#;
    for _ in 0..100 {
        let found = server.metric(pending).await;
        assert!(found <= 7.0, "{found} batches are in the making");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(server.metric(r#"lookalike_active_streams{trainer="many"}"#).await, 4.0);
}
