//! What the classes of a stream are, before it begins.

use crate::fixture::*;
use proto::v1;
use tonic::Code;

/// A page of a manifest.
async fn page(server: &Running, spec: v1::StreamSpec, first_class: u32, count: u32) -> v1::ManifestResponse {
    let asked = v1::ManifestRequest { spec: Some(spec), first_class, count, bundle: None };
    server.client().await.get_manifest(asked).await.expect("a page").into_inner()
}

fn spec(blended: u32) -> v1::StreamSpec {
    let mut spec = request(5, 30, 4).spec.unwrap();
    spec.blending = Some(v1::Blending { count: blended, parents: 3, ..Default::default() });
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_says_who_each_row_of_the_stream_shows() {
    let server = Running::ordinary().await;
    let manifest = page(&server, spec(20), 0, u32::MAX).await;
    assert_eq!((manifest.identities, manifest.blended, manifest.classes), (IDENTITIES, 20, IDENTITIES + 20));
    let (header, batches) =
        server.read(v1::StreamRequest { spec: manifest.spec.clone(), ..request(5, 30, 4) }).await.unwrap();
    assert_eq!((header.classes, header.spec), (manifest.classes, manifest.spec));
    assert_eq!((header.dataset_digest, header.bundle_digest), (manifest.dataset_digest, manifest.bundle_digest));
    assert_eq!(header.plan_version, manifest.plan_version);
    for (class, entry) in manifest.entries.iter().enumerate() {
        assert!(entry.class as usize == class && entry.shown);
    }
    assert_eq!((&manifest.entries[4].name[..], manifest.entries[4].images), ("person 4", IMAGES));
    for batch in batches {
        let provenance = batch.provenance.unwrap();
        let mut parents = provenance.parents.chunks(3).zip(provenance.parent_weights.chunks(3));
        for (&label, &source) in batch.labels.iter().zip(&batch.sources) {
            let entry = &manifest.entries[label as usize];
            if source == i32::from(v1::Source::Blended) {
                let (parents, weights) = parents.next().unwrap();
                assert_eq!((&entry.parents[..], &entry.weights[..]), (parents, weights));
            } else {
                assert!(entry.parents.is_empty() && !entry.name.is_empty());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_bounded_and_those_beyond_the_end_are_out_of_range() {
    let server = Running::ordinary().await;
    let whole = page(&server, spec(5000), 0, u32::MAX).await;
    assert_eq!(whole.entries.len(), 4096);
    let rest = page(&server, spec(5000), 4096, u32::MAX).await;
    assert_eq!(rest.entries.len(), 6 + 5000 - 4096);
    assert_eq!(page(&server, spec(5000), 100, 3).await.entries, whole.entries[100..103]);
    assert_eq!(page(&server, spec(5000), 5006, 3).await.entries, []);
    assert_eq!(page(&server, spec(5000), 0, 0).await.classes, 5006);
    let mut client = server.client().await;
    let mut refused = async |request| client.get_manifest(request).await.expect_err("a refusal").code();
    let beyond = v1::ManifestRequest { spec: Some(spec(5000)), first_class: 5007, ..Default::default() };
    assert_eq!(refused(beyond).await, Code::OutOfRange);
    assert_eq!(refused(v1::ManifestRequest::default()).await, Code::InvalidArgument);
    let wrong = v1::ManifestRequest { spec: Some(spec(u32::MAX)), ..Default::default() };
    assert_eq!(refused(wrong).await, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_marks_whom_no_row_can_show_and_counts_what_a_schedule_brings() {
    let server = Setup { image_counts: vec![4, 4, 0, 4, 4, 4], ..Setup::default() }.start().await;
    let manifest = page(&server, spec(200), 0, u32::MAX).await;
    for entry in &manifest.entries {
        assert_eq!(entry.shown, entry.class != 2 && !entry.parents.contains(&2), "class {}", entry.class);
    }
    // By weights, and without blended rows at first.
    let mut later = spec(200);
    later.identities = Some(v1::IdentitySampling {
        rule: Some(v1::identity_sampling::Rule::Weighted(v1::Weighted { weights: vec![1.0, 0.0, 0.0, 1.0, 0.0, 1.0] })),
    });
    later.mix = Some(v1::Mix { real: 1.0, ..Default::default() });
    let constant = page(&server, later.clone(), 0, u32::MAX).await;
    assert_eq!((constant.classes, constant.blended), (6, 0));
    let shown = |page: &v1::ManifestResponse| page.entries[..6].iter().map(|entry| entry.shown).collect::<Vec<_>>();
    assert_eq!(shown(&constant), [true, false, false, true, false, true]);
    let points = vec![v1::MixPoint { index: 9, blended: 1.0, ..Default::default() }];
    later.mix.as_mut().unwrap().schedule = Some(v1::MixSchedule { points, ..Default::default() });
    let scheduled = page(&server, later.clone(), 0, u32::MAX).await;
    assert_eq!((scheduled.classes, shown(&scheduled)), (206, shown(&constant)));
    later.mix = Some(v1::Mix { blended: 1.0, ..Default::default() });
    assert_eq!(shown(&page(&server, later, 0, u32::MAX).await), [false; 6]);
}
