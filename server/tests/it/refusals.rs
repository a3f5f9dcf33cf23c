//! Bad input: each gets the right status and one clear sentence.

use crate::fixture::*;
use proto::v1;
use server::Config;
use tonic::Code;

async fn refused(server: &Running, change: impl FnOnce(&mut v1::StreamRequest)) -> (Code, String) {
    let mut request = request(1, 16, 1);
    change(&mut request);
    let status = server.read(request.clone()).await.expect_err("a refusal");
    let plan = server.client().await.plan(request).await.expect_err("a refusal of the plan");
    assert_eq!((plan.code(), plan.message()), (status.code(), status.message()));
    (status.code(), status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_stream_is_refused_with_its_status_and_a_sentence() {
    let server = Setup { encoder: false, ..Setup::default() }.start().await;
    type Change = fn(&mut v1::StreamRequest);
    fn spec(request: &mut v1::StreamRequest) -> &mut v1::StreamSpec {
        request.spec.as_mut().unwrap()
    }
    fn place(request: &mut v1::StreamRequest) -> &mut v1::Place {
        request.place.as_mut().unwrap()
    }
    fn schedule(request: &mut v1::StreamRequest) -> &mut v1::MixSchedule {
        spec(request).mix.as_mut().unwrap().schedule.get_or_insert_default()
    }
    fn scheduled(request: &mut v1::StreamRequest, indices: Vec<u64>) {
        let point = |index| v1::MixPoint { index, real: 1.0, ..Default::default() };
        schedule(request).points = indices.into_iter().map(point).collect();
    }
    let blending = |change: fn(&mut v1::Blending)| {
        let mut blending = v1::Blending::default();
        change(&mut blending);
        blending
    };
    let invalid: Vec<(Change, &str)> = vec![
        (|r| r.spec = None, "expected a spec, found none"),
        (|r| spec(r).batch_size = 0, "expected a batch size of 1 to 1024, found 0"),
        (|r| spec(r).batch_size = 5000, "found 5000"),
        (|r| spec(r).mix = Some(v1::Mix::default()), "a mix with a finite sum above zero"),
        (|r| spec(r).mix = Some(v1::Mix { real: f64::NAN, existing: 1.0, blended: 0.0, schedule: None }), "real=NaN"),
        (|r| spec(r).mix = Some(v1::Mix { real: -0.5, existing: 1.0, blended: 0.0, schedule: None }), "real=-0.5"),
        (|r| scheduled(r, vec![0]), "points of a mix at ascending indices from 1 to 4194304, found 0"),
        (|r| scheduled(r, vec![7, 7]), "from 1 to 4194304, found 7"),
        (|r| scheduled(r, (1..=65).collect()), "at most 64 points in the schedule of a mix, found 65"),
        (|r| schedule(r).shape = 9, "a shape of schedules that this server knows"),
        (|r| spec(r).augmentation = 9, "an augmentation that this server knows"),
        (|r| spec(r).pixel_format = -1, "a pixel format that this server knows"),
        (|r| place(r).world_size = 17, "a world size of at most the batch size 16, found 17"),
        (|r| place(r).rank = 1, "a rank below the world size 1, found 1"),
        (|r| place(r).first_index = u64::MAX, "indices below 2^63"),
        (|r| r.trainer = "no blanks".into(), "trainer name"),
        (|r| r.trainer = "x".repeat(65), "trainer name"),
    ];
    for (change, sentence) in invalid {
        let (code, message) = refused(&server, change).await;
        assert_eq!(code, Code::InvalidArgument, "{message}");
        assert!(message.contains(sentence), "{message:?} doesn't say {sentence:?}");
    }
    let blendings = [
        (blending(|b| b.parents = 1), "expected 2 to 5 parents, found 1"),
        (blending(|b| b.parents = 6), "expected 2 to 5 parents, found 6"),
        (blending(|b| b.count = u32::MAX), "blended identities"),
        (blending(|b| b.max_weight = 0.5), "above 1/2"),
        (blending(|b| b.alpha = -1.0), "alpha"),
    ];
    for (blending, sentence) in blendings {
        let (code, message) = refused(&server, |r| spec(r).blending = Some(blending)).await;
        assert_eq!(code, Code::InvalidArgument, "{message}");
        assert!(message.contains(sentence), "{message:?} doesn't say {sentence:?}");
    }
    let unsuited: Vec<(Change, &str)> = vec![
        (|r| spec(r).pixel_format = v1::PixelFormat::Rgb.into(), "makes grey images"),
        (
            |r| {
                let jitter = v1::latent::Kind::Jitter(v1::Jitter { scale: 1.0 });
                spec(r).latent = Some(v1::Latent { kind: Some(jitter) });
            },
            "needs an encoder",
        ),
        (
            |r| r.bundle = Some(v1::BundlePolicy { policy: Some(v1::bundle_policy::Policy::Pin("other".into())) }),
            "expected a bundle with digest other, found bbb",
        ),
        (
            |r| r.expected = Some(v1::Expectation { dataset_digest: "other".into(), ..Default::default() }),
            "expected a dataset with digest other, found ddd",
        ),
        (
            |r| r.expected = Some(v1::Expectation { numerics: "cuda".into(), ..Default::default() }),
            "expected numerics class cuda, found",
        ),
        (
            |r| r.expected = Some(v1::Expectation { plan_version: 99, ..Default::default() }),
            "expected plan version 99, found 2",
        ),
    ];
    for (change, sentence) in unsuited {
        let (code, message) = refused(&server, change).await;
        assert_eq!(code, Code::FailedPrecondition, "{message}");
        assert!(message.contains(sentence), "{message:?} doesn't say {sentence:?}");
    }
    assert!(server.metric(r#"lookalike_rejections_total{reason="invalid"}"#).await > 30.0);
    // The server is none the worse for it.
    assert_eq!(server.read(request(1, 16, 2)).await.unwrap().1.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_parents_than_identities_are_refused() {
    let server = Setup { image_counts: vec![3, 3], ..Setup::default() }.start().await;
    let (code, message) = refused(&server, |request| {
        let blending = v1::Blending { parents: 3, ..Default::default() };
        request.spec.as_mut().unwrap().blending = Some(blending);
    })
    .await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("as the dataset has identities (2), found 3"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_and_pages_beyond_the_end_are_out_of_range() {
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    let face = |identity, values: Vec<f32>| v1::Face {
        parents: vec![v1::Parent { identity, weight: 1.0 }],
        latent: Some(v1::face::Latent::Vector(v1::LatentVector { values })),
        spread: 0.0,
    };
    let mut synthesize = async |faces| {
        let request = v1::SynthesizeRequest { faces, ..Default::default() };
        client.synthesize(request).await.expect_err("a refusal").code()
    };
    assert_eq!(synthesize(vec![face(IDENTITIES, vec![0.0; 256])]).await, Code::OutOfRange);
    assert_eq!(synthesize(vec![face(0, vec![0.0; 255])]).await, Code::InvalidArgument);
    assert_eq!(synthesize(vec![face(0, vec![f32::NAN; 256])]).await, Code::InvalidArgument);
    for spread in [-0.5, 2.5, f64::NAN, f64::INFINITY] {
        let led = v1::Face { spread, ..face(0, vec![0.0; 256]) };
        assert_eq!(synthesize(vec![led]).await, Code::InvalidArgument);
    }
    assert_eq!(synthesize(vec![]).await, Code::InvalidArgument);
    assert_eq!(synthesize(vec![face(0, vec![0.0; 256]); 257]).await, Code::InvalidArgument);
    let page = v1::GetInfoRequest { first_identity: IDENTITIES + 1, names: 1 };
    assert_eq!(client.get_info(page).await.expect_err("a refusal").code(), Code::OutOfRange);
    let report = v1::ReportRequest { trainer: "one".into(), wait_seconds: vec![-1.0], ..Default::default() };
    assert_eq!(client.report(report).await.expect_err("a refusal").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_limit_are_asked_to_come_back() {
    let config = Config { max_streams: 1, ..Setup::default().config };
    let server = Setup { config, ..Setup::default() }.start().await;
    let mut client = server.client().await;
    let first = Reader::new(client.stream_batches(request(1, 16, 0)).await.unwrap().into_inner()).await.unwrap();
    let status = server.read(request(2, 16, 1)).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("the limit of 1 is reached"), "{status}");
    drop(first);
    server.metric_becomes(r#"lookalike_active_streams{trainer="(unnamed)"}"#, 0.0).await;
    assert_eq!(server.read(request(2, 16, 1)).await.unwrap().1.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_something_endless_is_short() {
    let server = Running::ordinary().await;
    let endless: String = "né\n".repeat(1 << 20);
    let changes: [&dyn Fn(&mut v1::StreamRequest); 3] = [
        &|request| request.trainer = endless.clone(),
        &|request| {
            request.bundle = Some(v1::BundlePolicy { policy: Some(v1::bundle_policy::Policy::Pin(endless.clone())) })
        },
        &|request| {
            request.expected = Some(v1::Expectation { dataset_digest: endless.clone(), ..Default::default() });
        },
    ];
    for change in changes {
        let (code, message) = refused(&server, change).await;
        assert!([Code::InvalidArgument, Code::FailedPrecondition].contains(&code), "{message}");
        assert!(message.contains("... (4194304 bytes)"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_one_sentence() {
    let taken = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = server::bind(address).await.expect_err("the address is taken");
    let expected =
        format!("cannot listen on {address}: the address is in use; stop the other program or choose another address");
    assert_eq!(error.to_string(), expected);
}
