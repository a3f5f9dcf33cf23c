//! Batches of people who look alike, by centres that a stream keeps.

use crate::fixture::*;
use proto::v1::{self, identity_sampling::Rule};
use std::collections::BTreeSet;
use tonic::Code;

/// As many batches as there are identities, each of one group.
fn near(neighbours: u32, centres_digest: &str) -> v1::StreamRequest {
    let mut request = request(7, 12, IDENTITIES.into());
    let spec = request.spec.as_mut().unwrap();
    spec.mix = Some(v1::Mix { real: 1.0, existing: 1.0, ..Default::default() });
    let rule = Rule::Neighbours(v1::Neighbours { identities: 3, images: 4, neighbours, group: 0 });
    spec.identities = Some(v1::IdentitySampling { rule: Some(rule) });
    centres_digest.clone_into(&mut spec.centres_digest);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_shows_somebody_and_those_nearest_by_the_centres_that_the_header_names() {
    let server = Running::ordinary().await;
    let (header, batches) = server.read(near(2, "")).await.unwrap();
    let people = |batch: &v1::Batch| batch.labels.iter().copied().collect::<BTreeSet<u32>>();
    let mut found: Vec<Vec<u32>> = batches.iter().map(|batch| people(batch).into_iter().collect()).collect();
    found.sort();
    // All centres stand at right angles to each other, so the first in class order are nearest. Everybody
    // has led once: the first three have the same nearest.
    assert_eq!(found, [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 1, 5]]);
    let spec = header.spec.clone().unwrap();
    let Some(Rule::Neighbours(rule)) = spec.identities.and_then(|sampling| sampling.rule) else {
        panic!("expected the rule that was asked for")
    };
    assert_eq!((rule.group, spec.centres_digest.len()), (3, 64));
    let again = v1::StreamRequest { spec: header.spec.clone(), ..near(2, "") };
    assert_eq!(Running::ordinary().await.read(again).await.unwrap(), (header, batches));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_neighbours_than_there_are_people_and_centres_that_nobody_knows_are_refused() {
    let server = Running::ordinary().await;
    let refused = async |request| {
        let status = server.read(request).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let (code, sentence) = refused(near(IDENTITIES, "")).await;
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(sentence, "expected 1 to 5 neighbours to draw from, found 6");
    assert_eq!(refused(near(2, &"e".repeat(64))).await.0, Code::FailedPrecondition);
}
