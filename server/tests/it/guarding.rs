//! The leakage guard, and the class centres that it goes by.

use crate::{fixture::*, stand_ins::File};
use proto::v1::{self, bundle_policy::Policy};
use server::{Config, reload::reload};
use tonic::Code;

/// Only even blends pass: the cosine with the heaviest parent is 0.71 for two even ones.
const BOUND: f64 = 0.8;

fn guarded(max_similarity: f64, centres_digest: &str) -> v1::StreamRequest {
    let mut request = request(7, 12, 4);
    let spec = request.spec.as_mut().unwrap();
    spec.blending = Some(v1::Blending { count: 60, max_similarity, ..Default::default() });
    centres_digest.clone_into(&mut spec.centres_digest);
    request
}

fn spec(header: &v1::StreamHeader) -> &v1::StreamSpec {
    header.spec.as_ref().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_blended_who_is_too_near_somebody_is_shown_and_the_metrics_count_them() {
    let server = Running::ordinary().await;
    let (header, batches) = server.read(guarded(BOUND, "")).await.unwrap();
    let (plain, others) = server.read(guarded(0.0, "")).await.unwrap();
    assert_eq!((spec(&header).centres_digest.len(), spec(&plain).centres_digest.as_str()), (64, ""));
    let heaviest = |batches: &[v1::Batch]| -> Vec<f32> {
        let weights = batches.iter().flat_map(|batch| &batch.provenance.as_ref().unwrap().parent_weights);
        weights.copied().step_by(2).collect()
    };
    let cosine = |weight: f32| weight / (weight * weight + (1.0 - weight) * (1.0 - weight)).sqrt();
    let (guarded_rows, all_rows) = (heaviest(&batches), heaviest(&others));
    assert_eq!(guarded_rows.len(), all_rows.len());
    assert!(guarded_rows.iter().all(|&weight| f64::from(cosine(weight)) <= BOUND), "{guarded_rows:?}");
    assert!(all_rows.iter().any(|&weight| f64::from(cosine(weight)) > BOUND), "{all_rows:?}");
    assert!(server.metric(r#"lookalike_identity_rejections_total{reason="guard"}"#).await > 0.0);
    // The spec that the header writes out gives the same stream again.
    let again = v1::StreamRequest { spec: header.spec.clone(), ..guarded(BOUND, "") };
    assert_eq!(server.read(again).await.unwrap(), (header, batches));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_lets_nobody_pass_and_centres_that_nobody_knows_are_refused() {
    let server = Running::ordinary().await;
    let refused = async |request| {
        let status = server.read(request).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let (code, sentence) = refused(guarded(0.5, "")).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(sentence.contains("similarity of at most 0.5 to everybody real; allow a larger one"), "{sentence}");
    let (code, sentence) = refused(guarded(BOUND, &"e".repeat(64))).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(sentence.contains("serve a bundle that has them, or begin a new stream"), "{sentence}");
    assert_eq!(refused(guarded(f64::NAN, "")).await.0, Code::InvalidArgument);
    assert_eq!(refused(guarded(1.5, "")).await.0, Code::InvalidArgument);
    // Where nobody asks who is near whom, no centres are needed.
    let (header, _) = server.read(guarded(0.0, &"e".repeat(64))).await.unwrap();
    assert_eq!(spec(&header).centres_digest, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_to_the_centres_it_began_with_whatever_bundle_comes() {
    let file = File::default();
    let config = Config { tile: Some(5), watch: 0, max_bundles: 2, ..Config::default() };
    let server = Setup { config, file: file.clone(), ..Setup::default() }.start().await;
    let swap = async |weights: &str| {
        *file.lock().unwrap() = Some(weights.to_owned());
        reload(&server.served, "").await.unwrap();
    };
    let (begun, batches) = server.read(guarded(BOUND, "")).await.unwrap();
    let old = spec(&begun).centres_digest.clone();
    swap("noise=0.9").await;
    let (same, _) = server.read(guarded(BOUND, "")).await.unwrap();
    assert_eq!(spec(&same).centres_digest, old, "most bundles share their centres");
    for weights in ["turn=1", "turn=1 noise=0.9", "turn=1 noise=0.8"] {
        swap(weights).await;
    }
    let (other, _) = server.read(guarded(BOUND, "")).await.unwrap();
    assert_ne!(spec(&other).centres_digest, old);
    // No bundle with the old centres is held any more, and yet they are known.
    let labels = |batches: &[v1::Batch]| batches.iter().flat_map(|batch| batch.labels.clone()).collect::<Vec<_>>();
    let (header, after) = server.read(guarded(BOUND, &old)).await.unwrap();
    assert_eq!((&spec(&header).centres_digest, labels(&after)), (&old, labels(&batches)));
    // A stream that pins a bundle begins with the centres of that one.
    let info = server.client().await.get_info(v1::GetInfoRequest::default()).await.unwrap().into_inner();
    swap("noise=0.7").await;
    let pin = Some(v1::BundlePolicy { policy: Some(Policy::Pin(info.bundle.unwrap().digest)) });
    let (pinned, _) = server.read(v1::StreamRequest { bundle: pin, ..guarded(BOUND, "") }).await.unwrap();
    assert_eq!(spec(&pinned).centres_digest, spec(&other).centres_digest);
}
