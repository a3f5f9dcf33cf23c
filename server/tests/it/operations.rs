//! What those who run the server see: health, reflection, metrics.

use crate::fixture::*;
use proto::v1;
use server::Config;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{
    v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request as ask},
    v1alpha,
};

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_for_the_server_and_for_the_service() {
    let server = Running::ordinary().await;
    let mut health = HealthClient::new(server.channel().await);
    for service in ["", "lookalike.v1.Augment", "lookalike.v1.Admin"] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let unknown = HealthCheckRequest { service: "unknown".into() };
    assert_eq!(health.check(unknown.clone()).await.unwrap_err().code(), tonic::Code::NotFound);
    // Who watches isn't refused: the service may come.
    let mut watch = health.watch(unknown).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_still_opens_its_dataset_says_that_it_is_not_ready() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let listeners = server::listeners::Listeners::from(listener);
    let asked = async {
        let channel = tonic::transport::Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel.clone());
        for service in ["", "lookalike.v1.Augment", "lookalike.v1.Admin"] {
            let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::NotServing);
        }
        let unknown = HealthCheckRequest { service: "unknown".into() };
        assert_eq!(health.check(unknown.clone()).await.unwrap_err().code(), tonic::Code::NotFound);
        let mut watch = health.watch(unknown).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
        let mut trainer = v1::augment_client::AugmentClient::new(channel);
        let status = trainer.get_info(v1::GetInfoRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(status.message().contains("still opening"), "{status}");
        let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        watch
    };
    // What is opened is there once everything was asked.
    let mut watch = in_time(server::answer_while(&listeners, asked)).await.unwrap();
    assert!(!matches!(in_time(watch.message()).await, Ok(Some(_))), "who watched is told to ask anew");
    // The same sockets then serve.
    let metrics = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served = Setup::default().served();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server::serve_opened(served, listeners, metrics, async {
        let _ = stopped.await;
    }));
    let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    drop((stop, health));
    in_time(serving).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn health_stays_while_other_weights_are_loaded() {
    let setup = Setup::default();
    let file = setup.file.clone();
    let server = setup.start().await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    for noise in ["noise=0.9", "torn=yes", "noise=1.1"] {
        *file.lock().unwrap() = Some(noise.to_owned());
        let reloaded = server::reload::reload(&server.served, "").await;
        assert_eq!(reloaded.is_ok(), noise != "torn=yes", "{reloaded:?}");
        let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    // A watch tells every change, and there was none.
    tokio::select! {
        biased;
        changed = watch.message() => panic!("health changed: {changed:?}"),
        () = tokio::task::yield_now() => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_falls_before_the_server_ends() {
    let mut server = Running::ordinary().await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.ask_to_stop();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    // Who goes on watching is told that there is no more to watch.
    assert!(in_time(watch.message()).await.unwrap().is_none());
    server.outcome().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_asked_question_does_not_keep_the_server() {
    use tokio::io::AsyncWriteExt;
    let mut server = Running::ordinary().await;
    let mut socket = tokio::net::TcpStream::connect(server.metrics).await.unwrap();
    socket.write_all(b"GET /metr").await.unwrap();
    server.page("/metrics").await;
    server.ask_to_stop();
    server.outcome().await.unwrap();
    drop(socket);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_told_until_the_last_stream_has_ended() {
    // A trainer that reads nothing keeps its stream open for the whole grace time.
    let config = Config { grace: 3600, ..Setup::default().config };
    let mut server = Setup { config, ..Setup::default() }.start().await;
    let mut client = server.client().await;
    let stuck = Reader::new(client.stream_batches(request(1, 256, 0)).await.unwrap().into_inner()).await.unwrap();
    server.comes_to_rest(4.0).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    server.ask_to_stop();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(server.metric(r#"lookalike_active_streams{trainer="(unnamed)"}"#).await, 1.0);
    drop((stuck, client));
    server.outcome().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_reads_nothing_keeps_the_server_for_its_grace_time_only() {
    let config = Config { grace: 1, ..Setup::default().config };
    let mut server = Setup { config, ..Setup::default() }.start().await;
    let mut client = server.client().await;
    let _stuck = Reader::new(client.stream_batches(request(1, 256, 0)).await.unwrap().into_inner()).await.unwrap();
    server.comes_to_rest(4.0).await;
    server.ask_to_stop();
    server.outcome().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_describes_the_service_in_both_versions() {
    let server = Running::ordinary().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(ask::MessageRequest::FileContainingSymbol("lookalike.v1.Augment".into())),
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let answer = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = format!("{:?}", answer.into_inner().message().await.unwrap().unwrap());
    assert!(answer.contains("FileDescriptorResponse"), "{answer}");
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let answer = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = format!("{:?}", answer.into_inner().message().await.unwrap().unwrap());
    assert!(answer.contains("lookalike.v1.Augment"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stage_is_measured() {
    let server = Running::ordinary().await;
    let mut named = request(1, 20, 5);
    named.trainer = "one".into();
    server.read(named).await.unwrap();
    let report = v1::ReportRequest { trainer: "one".into(), wait_seconds: vec![0.5, 0.25], ..Default::default() };
    server.client().await.report(report).await.unwrap();
    let page = server.page("/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for line in [
        r#"lookalike_batches_total{trainer="one",mode="made"} 5"#,
        r#"lookalike_images_total{trainer="one",source="real"} 50"#,
        r#"lookalike_images_total{trainer="one",source="existing"} 30"#,
        r#"lookalike_images_total{trainer="one",source="blended"} 20"#,
        r#"lookalike_sent_bytes_total{trainer="one"} 1638400"#,
        "lookalike_queue_seconds_count 5",
        "lookalike_compose_seconds_count 5",
        "lookalike_digest_seconds_count 5",
        "lookalike_plan_seconds_count 5",
        "lookalike_device_batch_images_sum 50",
        "lookalike_first_batch_seconds_count 1",
        r#"lookalike_send_blocked_seconds_count{trainer="one"} 5"#,
        r#"lookalike_trainer_wait_seconds_sum{trainer="one"} 0.75"#,
        r#"lookalike_pending_batches{trainer="one"} 0"#,
        r#"lookalike_active_streams{trainer="one"} 0"#,
        r#"lookalike_bundle_info{digest="bbbb"#,
        "lookalike_build_info{version=",
        "lookalike_bundle_loaded_timestamp_seconds",
        r#"lookalike_gallery_lookups_total{outcome="miss"}"#,
        "lookalike_gallery_bytes 393216",
        r#"grpc_server_call_started_total{grpc_method="lookalike.v1.Augment/StreamBatches"} 1"#,
        r#"grpc_server_call_duration_seconds_count{grpc_method="lookalike.v1.Augment/Report",grpc_status="OK"} 1"#,
    ] {
        assert!(page.contains(line), "no {line} in\n{page}");
    }
    if cfg!(target_os = "linux") {
        assert!(page.contains("process_resident_memory_bytes"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_has_a_type_a_help_text_and_a_name_that_fits() {
    let server = Running::ordinary().await;
    server.read(request(1, 20, 2)).await.unwrap();
    let page = server.page("/metrics").await;
    assert!(page.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{page}");
    let (_, page) = page.split_once("\r\n\r\n").unwrap();
    let mut kinds = std::collections::BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        assert!(page.contains(&format!("# HELP {name} ")), "no help text for {name}");
        assert_eq!(kinds.insert(name, kind), None, "{name} twice");
    }
    assert!(page.lines().filter(|line| line.starts_with("# HELP lookalike")).is_sorted(), "{page}");
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let known = kinds.contains_key(name) || histogram.is_some_and(|name| kinds.get(name) == Some(&"histogram"));
        assert!(known, "no type for {line}");
    }
    for bound in [
        r#"lookalike_plan_seconds_bucket{le="0.0001"}"#,
        r#"lookalike_plan_seconds_bucket{le="13.1072"} 2"#,
        r#"lookalike_device_batch_images_bucket{le="16"}"#,
        r#"grpc_status="OK",le="67108.864"} 1"#,
        r#"grpc_status="OK",le="+Inf"} 1"#,
    ] {
        assert!(page.contains(bound), "no {bound} in\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_in_one_process_count_apart() {
    let (busy, idle) = (Running::ordinary().await, Running::ordinary().await);
    busy.read(request(1, 20, 3)).await.unwrap();
    assert_eq!(busy.metric("lookalike_compose_seconds_count").await, 3.0);
    assert_eq!(idle.metric("lookalike_compose_seconds_count").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn trainers_beyond_the_bound_share_a_label() {
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    for nth in 0..80 {
        let report =
            v1::ReportRequest { trainer: format!("trainer-{nth}"), wait_seconds: vec![1.0], ..Default::default() };
        client.report(report).await.unwrap();
    }
    assert_eq!(server.metric(r#"lookalike_trainer_wait_seconds_count{trainer="(other)"}"#).await, 16.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trainer_can_take_the_label_of_the_unnamed_ones() {
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    for trainer in ["", "unnamed", "other"] {
        let report = v1::ReportRequest { trainer: trainer.into(), wait_seconds: vec![1.0], ..Default::default() };
        client.report(report).await.unwrap();
    }
    for label in ["(unnamed)", "unnamed", "other"] {
        let metric = format!(r#"lookalike_trainer_wait_seconds_count{{trainer="{label}"}}"#);
        assert_eq!(server.metric(&metric).await, 1.0, "{label}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whole_streams_are_measured_to_their_first_batch() {
    let server = Running::ordinary().await;
    let plan = server.client().await.plan(request(1, 8, 2)).await.unwrap().into_inner();
    let mut plan = Reader::new(plan).await.unwrap();
    while plan.next().await.unwrap().is_some() {}
    assert_eq!(server.metric("lookalike_first_batch_seconds_count").await, 0.0);
    server.read(request(1, 8, 2)).await.unwrap();
    assert_eq!(server.metric("lookalike_first_batch_seconds_count").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_info_pages_through_the_names() {
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    let request = v1::GetInfoRequest { first_identity: 4, names: 10 };
    let info = client.get_info(request).await.unwrap().into_inner();
    assert_eq!(info.names, ["person 4", "person 5"]);
    assert_eq!((info.identities, info.images), (6, 24));
    let limits = info.limits.unwrap();
    assert_eq!(limits.max_batch_size, proto::limits::MAX_BATCH_SIZE);
    assert_eq!(limits.max_request_bytes, proto::limits::MAX_REQUEST_BYTES as u64);
    assert!(info.bundle.unwrap().encoder);
    let header = server.read(v1::StreamRequest { ..crate::fixture::request(1, 4, 1) }).await.unwrap().0;
    assert_eq!((header.numerics, header.plan_version), (info.numerics, info.plan_version));
}
