//! What breaks ends clearly, and is told from what doesn't.

use crate::fixture::*;
use proto::v1;
use server::{Error, gallery::ReadError};
use std::collections::BTreeMap;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_generator_ends_every_stream_and_then_the_server() {
    for failure in [Failure::Error, Failure::Panic, Failure::WrongSize] {
        let server = Setup { fails: Some((8, failure)), ..Setup::default() }.start().await;
        let (one, other) = tokio::join!(server.read(request(1, 20, 0)), server.read(request(2, 20, 0)));
        for ended in [one, other] {
            let status = ended.expect_err("the stream has no end of its own");
            assert_eq!(status.code(), Code::Unavailable, "{status}");
        }
        let Err(Error::Engine(reason)) = server.outcome().await else { panic!("serving should end with the failure") };
        assert!(reason.contains("device is lost") || reason.contains("found 3"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_connections_end_when_the_server_is_asked_to_stop() {
    let mut server = Running::ordinary().await;
    let mut client = server.client().await;
    let mut reader = Reader::new(client.stream_batches(request(1, 8, 0)).await.unwrap().into_inner()).await.unwrap();
    reader.next().await.unwrap();
    server.ask_to_stop();
    let status = loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("an endless stream ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("shutting down"), "{status}");
    drop((reader, client));
    server.outcome().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_replaced_by_another_at_the_next_index() {
    let reference = Running::ordinary().await.read(request(5, 20, 12)).await.unwrap().1;
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    let mut reader = Reader::new(client.stream_batches(request(5, 20, 12)).await.unwrap().into_inner()).await.unwrap();
    let mut received = vec![reader.next().await.unwrap().unwrap(), reader.next().await.unwrap().unwrap()];
    server.kill().await;
    let mut rest = request(5, 20, 10);
    rest.place.as_mut().unwrap().first_index = 2;
    received.extend(Running::ordinary().await.read(rest).await.unwrap().1);
    assert_eq!(received, reference);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_image_is_replaced_by_the_next_of_its_identity_and_flagged() {
    // Images 4 to 7 are identity 1's; 7's next is 4 again, which is damaged too.
    let damaged = || BTreeMap::from([4, 7].map(|image| (image, ReadError::Damaged("bad pixels".into()))));
    let mut plain = request(1, 24, 2);
    let spec = plain.spec.as_mut().unwrap();
    (spec.mix, spec.augmentation) = (None, v1::Augmentation::Off.into());
    let server = Setup { unreadable: damaged(), ..Setup::default() }.start().await;
    let (_, batches) = server.read(plain.clone()).await.unwrap();
    let (_, again) =
        Setup { unreadable: damaged(), ..Setup::default() }.start().await.read(plain.clone()).await.unwrap();
    assert_eq!(batches, again);
    let (_, whole) = Running::ordinary().await.read(plain).await.unwrap();
    for (batch, whole) in batches.iter().zip(&whole) {
        let (shown, planned) = (batch.provenance.as_ref().unwrap(), whole.provenance.as_ref().unwrap());
        assert_eq!(batch.labels, whole.labels);
        assert_eq!(shown.replaced_rows.len(), 2);
        for row in 0..24usize {
            let replaced = shown.replaced_rows.contains(&(row as u32));
            let expected = if replaced { 5 } else { planned.images[row] };
            assert_eq!(replaced, [4, 7].contains(&planned.images[row]));
            assert_eq!((shown.images[row], batch.pixels[row * IMAGE]), (expected, expected as u8));
        }
        assert!(proto::digest::agrees(batch));
    }
    assert_eq!(server.metric("lookalike_replaced_images_total").await, 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_image_ends_the_stream_that_needs_it_and_no_other() {
    let unreadable = BTreeMap::from([(2, ReadError::Lost("person/2.png changed".into()))]);
    let server = Setup { unreadable, ..Setup::default() }.start().await;
    let mut needs = request(1, 24, 1);
    needs.spec.as_mut().unwrap().mix = None;
    let status = server.read(needs).await.expect_err("every image is in the batch");
    assert_eq!(status.code(), Code::DataLoss);
    assert!(status.message().contains("person/2.png changed"), "{status}");
    let mut generated = request(1, 24, 3);
    generated.spec.as_mut().unwrap().mix = Some(v1::Mix { real: 0.0, existing: 1.0, blended: 1.0 });
    assert_eq!(server.read(generated).await.unwrap().1.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_whose_every_image_is_damaged_is_named() {
    let unreadable = (4..8).map(|image| (image, ReadError::Damaged(format!("image {image} is cut short")))).collect();
    let server = Setup { unreadable, ..Setup::default() }.start().await;
    let mut needs = request(1, 24, 1);
    needs.spec.as_mut().unwrap().mix = None;
    let status = server.read(needs).await.expect_err("identity 1 is in the batch");
    assert_eq!(status.code(), Code::DataLoss);
    assert!(status.message().contains("no other image of this identity"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_is_given_up_and_the_server_ends_without_it() {
    let config = server::Config { device_timeout: 1, ..Setup::default().config };
    let server = Setup { config, fails: Some((4, Failure::Hang)), ..Setup::default() }.start().await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let status = in_time(server.read(request(1, 20, 0))).await.expect_err("the stream has no end of its own");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(in_time(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop((watch, health));
    let served = server.served.clone();
    let Err(Error::Engine(reason)) = server.outcome().await else { panic!("serving should end with the failure") };
    assert!(reason.contains("a tile takes longer than 1 s: the device hangs"), "{reason}");
    // Nobody waits for the thread that doesn't come back.
    in_time(tokio::task::spawn_blocking(move || drop(served))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decoder_that_panics_ends_the_stream_that_needs_it_and_no_other() {
    let server = Setup { bewitched: Some(2), ..Setup::default() }.start().await;
    let mut needs = request(1, 24, 1);
    needs.spec.as_mut().unwrap().mix = None;
    let status = server.read(needs).await.expect_err("every image is in the batch");
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(status.message().ends_with("this is a bug"), "{status}");
    let mut generated = request(1, 24, 3);
    generated.spec.as_mut().unwrap().mix = Some(v1::Mix { real: 0.0, existing: 1.0, blended: 1.0 });
    assert_eq!(server.read(generated).await.unwrap().1.len(), 3);
}
