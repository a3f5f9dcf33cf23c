//! Everything that a trainer or an administrator can ask a server, up to the plan of a few rows.

use crate::stand_ins::StandIns;
use prost::Message;
use proto::v1::{self, augment_server::Augment, stream_response};
use server::{Config, Served, service::Service};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;
use tonic::Request;

/// A server over stand-ins: one of them for all identities, one for few of many.
struct Asked {
    runtime: Runtime,
    servers: [(Arc<Served>, Service); 2],
}

static ASKED: LazyLock<Asked> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let config = Config { tile: Some(4), gallery: 1, shelf: 0, read_ahead: 1, max_streams: 1024, ..Config::default() };
    let serve = |stand_ins: StandIns| {
        let served = Arc::new(Served::new(&config, stand_ins.parts()).expect("threads start"));
        (served.clone(), Service::new(served))
    };
    let holes =
        StandIns { image_counts: vec![3, 0, 1, 0, 2, 4, 1], channels: 3, encoder: false, ..StandIns::default() };
    let servers = [serve(StandIns::default()), serve(holes)];
    Asked { runtime, servers }
});

/// A message, its first byte saying which one and whom it is for. What is accepted of a stream is
/// planned, and a plan is held against its own header.
pub fn request(input: &[u8]) -> bool {
    let Some((&kind, message)) = input.split_first() else { return false };
    let (served, service) = &ASKED.servers[usize::from(kind >> 7)];
    // Nobody scrapes these servers, and what isn't scraped for millions of requests adds up.
    static ASKED_SO_FAR: AtomicU64 = AtomicU64::new(0);
    if ASKED_SO_FAR.fetch_add(1, Ordering::Relaxed).is_multiple_of(4096) {
        served.metrics();
    }
    ASKED.runtime.block_on(async {
        let answered = answer(kind % 7, message, served, service).await;
        // What a trainer that left had under way ends.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        answered.is_some()
    })
}

async fn answer(kind: u8, message: &[u8], served: &Arc<Served>, service: &Service) -> Option<()> {
    match kind {
        0 => plan(service, v1::StreamRequest::decode(message).ok()?).await?,
        1 => {
            let asked = v1::SynthesizeRequest::decode(message).ok()?;
            let faces = asked.faces.len();
            let answer = service.synthesize(Request::new(asked)).await.ok()?.into_inner();
            assert_eq!((answer.rows as usize, answer.pixels.len() % (128 * 128 * faces)), (faces, 0));
        }
        2 => drop(service.report(Request::new(v1::ReportRequest::decode(message).ok()?)).await.ok()?),
        3 => {
            let asked = v1::ReloadRequest::decode(message).ok()?;
            server::reload::reload(served, &asked.bundle_digest).await.ok()?;
        }
        4 => {
            let mut asked = v1::EncodeRequest::decode(message).ok()?;
            // Short pixels stand for an image of them.
            if let (1..16, Some(&shade)) = (asked.pixels.len(), asked.pixels.first()) {
                asked.pixels = vec![shade; 128 * 128].into();
            }
            let answer = service.encode(Request::new(asked)).await.ok()?.into_inner();
            assert_eq!(answer.features.len(), answer.rows as usize * nets::FEATURE);
        }
        5 => {
            let answer = service.get_manifest(Request::new(v1::ManifestRequest::decode(message).ok()?)).await.ok()?;
            let answer = answer.into_inner();
            assert_eq!(answer.identities + answer.blended, answer.classes);
        }
        _ => drop(service.get_info(Request::new(v1::GetInfoRequest::decode(message).ok()?)).await.ok()?),
    }
    Some(())
}

/// Whether a batch was planned.
async fn plan(service: &Service, asked: v1::StreamRequest) -> Option<()> {
    let first = asked.place.unwrap_or_default().first_index;
    let stream = service.plan(Request::new(asked)).await.ok()?;
    let mut messages = stream.into_inner().take(3);
    let mut header = None;
    let mut index = first;
    while let Some(Ok(message)) = messages.next().await {
        match message.message {
            Some(stream_response::Message::Header(found)) => header = Some(found),
            Some(stream_response::Message::Batch(batch)) => {
                let header = header.as_ref().expect("a header comes first");
                check(header, &batch, index);
                index += 1;
            }
            _ => {}
        }
    }
    (index > first).then_some(())
}

fn check(header: &v1::StreamHeader, batch: &v1::Batch, index: u64) {
    let (spec, place) = (header.spec.as_ref().expect("a spec"), header.place.as_ref().expect("a place"));
    let rows = proto::rank_rows(spec.batch_size, place.rank, place.world_size);
    assert_eq!((batch.index, batch.rows as usize, batch.first_row), (index, rows.len(), rows.start));
    assert_eq!((batch.labels.len(), batch.sources.len()), (rows.len(), rows.len()));
    assert!(batch.labels.iter().all(|&label| label < header.classes), "every label is a class");
    let provenance = batch.provenance.as_ref().expect("a plan says where rows come from");
    assert!(provenance.parents.iter().all(|&parent| parent < header.identities), "every parent is an identity");
    let parents = spec.blending.as_ref().map_or(2, |blending| blending.parents as usize);
    for weights in provenance.parent_weights.chunks(parents) {
        let sum: f32 = weights.iter().sum();
        assert!((sum - 1.0).abs() < 1e-4, "weights of parents sum to 1, found {sum}");
    }
}

/// One of every message, and streams of every kind of identities and latents.
pub fn seeds() -> Vec<Vec<u8>> {
    use v1::{bundle_policy::Policy, face, identity_sampling::Rule, latent::Kind};
    let points = [(0, 1.0), (100, 0.25)].map(|(index, real)| v1::MixPoint { index, real, existing: 0.5, blended: 0.2 });
    let schedule = v1::MixSchedule { points: points.into(), shape: v1::mix_schedule::Shape::Linear.into() };
    let mix = v1::Mix { real: 0.5, existing: 0.3, blended: 0.2, schedule: None };
    let scheduled = v1::Mix { schedule: Some(schedule), ..mix.clone() };
    let blending = v1::Blending {
        count: 40,
        parents: 3,
        alpha: 0.5,
        max_weight: 0.6,
        seed: Some(5),
        max_similarity: 0.99,
        spread: 1.0,
    };
    let spec = |rule, kind| v1::StreamSpec {
        seed: 7,
        batch_size: 8,
        mix: Some(mix.clone()),
        identities: Some(v1::IdentitySampling { rule: Some(rule) }),
        blending: Some(blending),
        latent: Some(v1::Latent { kind: Some(kind) }),
        augmentation: v1::Augmentation::Standard.into(),
        pixel_format: v1::PixelFormat::Grey.into(),
        filter: Some(v1::IdentityFilter { min_similarity: 0.5, max_retries: Some(1) }),
        ..Default::default()
    };
    let prior = |truncation| Kind::Prior(v1::Prior { truncation });
    let specs = [
        spec(Rule::ByImage(v1::ByImage {}), prior(0.0)),
        spec(Rule::ByIdentity(v1::ByIdentity {}), prior(0.1)),
        spec(Rule::PerBatch(v1::PerBatch { identities: 4, images: 2 }), prior(2.0)),
        spec(Rule::Weighted(v1::Weighted { weights: vec![1.0, 0.0, 2.0, 0.0, 0.5, 1e300] }), prior(0.0)),
        spec(Rule::ByImage(v1::ByImage {}), Kind::Jitter(v1::Jitter { scale: 1.5 })),
        v1::StreamSpec {
            mix: Some(scheduled),
            filter: Some(v1::IdentityFilter { min_similarity: 0.5, max_retries: Some(2) }),
            ..spec(Rule::ByIdentity(v1::ByIdentity {}), prior(0.0))
        },
        spec(Rule::Neighbours(v1::Neighbours { identities: 4, images: 2, neighbours: 3, group: 2 }), prior(1.0)),
        // Four thousand million blended people, of whom none is shown.
        v1::StreamSpec {
            mix: Some(v1::Mix { real: 1.0, ..Default::default() }),
            blending: Some(v1::Blending { count: u32::MAX, max_similarity: 0.5, ..Default::default() }),
            ..spec(Rule::Neighbours(v1::Neighbours { identities: 4, images: 2, neighbours: 3, group: 2 }), prior(1.0))
        },
    ];
    let manifest =
        v1::ManifestRequest { spec: Some(specs[0].clone()), first_class: 3, count: 20, ..Default::default() };
    let takeover = |first_index| v1::Takeover { first_index, bundle_digest: "b".repeat(64) };
    let policies = [
        None,
        Some(Policy::Pin("b".repeat(64))),
        Some(Policy::Follow(v1::Follow { declared: vec![takeover(0), takeover(9)], closed: true })),
        Some(Policy::Follow(v1::Follow { declared: vec![], closed: false })),
        None,
        None,
        None,
        None,
    ];
    let mut seeds: Vec<Vec<u8>> = specs
        .into_iter()
        .zip(policies)
        .enumerate()
        .map(|(number, (spec, policy))| {
            let asked = v1::StreamRequest {
                spec: Some(spec),
                place: Some(v1::Place { first_index: 3, count: 2, rank: 1, world_size: 3 }),
                bundle: policy.map(|policy| v1::BundlePolicy { policy: Some(policy) }),
                expected: Some(v1::Expectation { dataset_digest: "d".repeat(64), ..Default::default() }),
                trainer: "night-run".into(),
                ..Default::default()
            };
            // To either server.
            framed(if number % 2 == 0 { 0 } else { 133 }, &asked)
        })
        .collect();
    let parents = vec![v1::Parent { identity: 0, weight: 0.75 }, v1::Parent { identity: 2, weight: 0.25 }];
    let counter = face::Latent::Counter(v1::LatentCounter { seed: 1, index: 2, row: 3, truncation: 1.0 });
    let vector = face::Latent::Vector(v1::LatentVector { values: vec![0.5; 256] });
    let face = |(latent, spread)| v1::Face { parents: parents.clone(), latent: Some(latent), spread };
    let faces = [(counter, 0.5), (vector, f64::NAN)].map(face);
    let asked = v1::SynthesizeRequest { faces: faces.into(), trainer: "a".into(), ..Default::default() };
    seeds.push(framed(1, &asked));
    let report = v1::ReportRequest { trainer: "night-run".into(), wait_seconds: vec![0.0, 0.25], ..Default::default() };
    seeds.push(framed(2, &report));
    seeds.push(framed(3, &v1::ReloadRequest { bundle_digest: "b".repeat(64) }));
    seeds.push(framed(4, &v1::EncodeRequest { pixels: vec![7].into(), ..Default::default() }));
    seeds.push(framed(5, &manifest));
    seeds.push(framed(6, &v1::GetInfoRequest { first_identity: 2, names: 3 }));
    seeds
}

fn framed(kind: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![kind];
    message.encode(&mut bytes).expect("a growing buffer");
    bytes
}
