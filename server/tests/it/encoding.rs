//! What the bundle's networks see in given images.

use crate::fixture::*;
use nets::{FEATURE, LATENT};
use proto::{limits, v1};
use tonic::Code;

fn asking(pixels: Vec<u8>) -> v1::EncodeRequest {
    v1::EncodeRequest { pixels: pixels.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_encoded_in_order_however_many_at_once() {
    let server = Running::ordinary().await;
    let bytes = [0u8, 20, 60, 100, 40, 80, 20, 0];
    let pixels: Vec<u8> = bytes.iter().flat_map(|&byte| vec![byte; IMAGE]).collect();
    let answer = server.client().await.encode(asking(pixels)).await.unwrap().into_inner();
    assert_eq!((answer.rows, answer.mu.len(), answer.logvar.len()), (8, 8 * LATENT, 8 * LATENT));
    assert_eq!((answer.features.len(), answer.bundle_digest), (8 * FEATURE, "b".repeat(64)));
    for (nth, byte) in bytes.into_iter().enumerate() {
        assert!(answer.mu[nth * LATENT..][..LATENT].iter().all(|mean| *mean == f32::from(byte) / 255.0));
        assert!(answer.logvar[nth * LATENT..][..LATENT].iter().all(|logvar| *logvar == -1.0));
        let feature = &answer.features[nth * FEATURE..][..FEATURE];
        assert!(feature[usize::from(byte / 20)] > 0.5);
        assert!((feature.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let started = r#"grpc_server_call_started_total{grpc_method="lookalike.v1.Augment/Encode"}"#;
    assert_eq!(server.metric(started).await, 1.0);
    // A mean is the latent that makes the face again.
    let vector = v1::LatentVector { values: answer.mu[..LATENT].to_vec() };
    let face = v1::Face {
        parents: vec![v1::Parent { identity: 0, weight: 1.0 }],
        latent: Some(v1::face::Latent::Vector(vector)),
        spread: 0.0,
    };
    let request = v1::SynthesizeRequest { faces: vec![face], ..Default::default() };
    let made = server.client().await.synthesize(request).await.unwrap().into_inner();
    assert_eq!(made.pixels[..2], [0, 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_encoded_is_refused() {
    let server = Running::ordinary().await;
    let refused = async |server: &Running, request| {
        let status = server.client().await.encode(request).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    for wrong in [0, IMAGE - 1, IMAGE + 1, (limits::MAX_ENCODED as usize + 1) * IMAGE] {
        let (code, sentence) = refused(&server, asking(vec![0; wrong])).await;
        assert_eq!(code, Code::InvalidArgument);
        assert_eq!(sentence, format!("expected 1 to 128 images of {IMAGE} bytes each, found {wrong} bytes"));
    }
    let pinned = v1::BundlePolicy { policy: Some(v1::bundle_policy::Policy::Pin("other".into())) };
    let pinned = v1::EncodeRequest { bundle: Some(pinned), ..asking(vec![0; IMAGE]) };
    assert_eq!(refused(&server, pinned).await.0, Code::FailedPrecondition);
    let without = Setup { encoder: false, ..Setup::default() }.start().await;
    let (code, sentence) = refused(&without, asking(vec![0; IMAGE])).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(sentence.contains("no encoder"), "{sentence}");
    let coloured = Setup { channels: 3, ..Setup::default() }.start().await;
    let grey = v1::EncodeRequest { pixel_format: v1::PixelFormat::Grey.into(), ..asking(vec![0; IMAGE]) };
    assert_eq!(refused(&coloured, grey).await.0, Code::FailedPrecondition);
    // The other way round there is enough to see.
    let rgb = v1::EncodeRequest { pixel_format: v1::PixelFormat::Rgb.into(), ..asking(vec![40; 3 * IMAGE]) };
    let seen = server.client().await.encode(rgb).await.unwrap().into_inner();
    assert_eq!((seen.rows, seen.mu[0]), (1, 40.0 / 255.0));
    // The largest request there may be.
    let largest = vec![0; limits::MAX_ENCODED as usize * 3 * IMAGE];
    let seen = coloured.client().await.encode(asking(largest)).await.unwrap().into_inner();
    assert_eq!(seen.rows, limits::MAX_ENCODED);
}
