//! Who may call, how often, and under which name.

use crate::fixture::*;
use proto::v1::{self, admin_client::AdminClient, augment_client::AugmentClient};
use server::{
    Config,
    access::{
        AccessSettings,
        tokens::{Fresh, Role},
    },
};
use std::{path::Path, time::Duration};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient};
use tonic_types::StatusExt;

/// A server that asks for the tokens of a file.
async fn guarded(tokens: &Path, settings: AccessSettings) -> Running {
    let access = AccessSettings { tokens: Some(tokens.to_owned()), ..settings };
    let config = Config { access, watch: 1, ..Setup::default().config };
    Setup { config, ..Setup::default() }.start().await
}

fn fresh(role: Role, name: &str) -> Fresh {
    Fresh::new(role, name).unwrap()
}

/// A request that carries a token.
fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

async fn info(client: &mut AugmentClient<Channel>, token: &str) -> Result<(), Status> {
    client.get_info(with(token, v1::GetInfoRequest::default())).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_need_a_token_and_each_role_may_do_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let (one, boss) = (fresh(Role::Trainer, "one"), fresh(Role::Admin, "boss"));
    std::fs::write(&path, format!("# Who may call.\n{}\n{}\n", one.line, boss.line)).unwrap();
    let server = guarded(&path, AccessSettings::default()).await;
    let mut client = server.client().await;

    let error = client.get_info(v1::GetInfoRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    assert_eq!(error.message(), "expected a token, found none; name its file with --token-file");
    let error = info(&mut client, &fresh(Role::Admin, "boss").token).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    assert!(error.message().starts_with("the token is not one of this server's"), "{error}");
    info(&mut client, &one.token).await.unwrap();
    info(&mut client, &boss.token).await.unwrap();

    let mut admin = AdminClient::new(server.channel().await);
    let error = admin.reload(with(&one.token, v1::ReloadRequest::default())).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    assert!(error.message().contains("the token of `one` is a trainer's"), "{error}");
    let error = admin.reload(v1::ReloadRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    // There is nothing to reload, and that is what an administrator is told.
    let error = admin.reload(with(&boss.token, v1::ReloadRequest::default())).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");

    // Health is open, and what can be asked about the contract is not.
    let mut health = HealthClient::new(server.channel().await);
    health.check(HealthCheckRequest::default()).await.unwrap();
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let question = || tokio_stream::once(ServerReflectionRequest::default());
    let error = reflection.server_reflection_info(question()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    reflection.server_reflection_info(with(&one.token, question())).await.unwrap();

    assert_eq!(server.metric(r#"lookalike_rejections_total{reason="unauthenticated"}"#).await, 4.0);
    assert_eq!(server.metric(r#"lookalike_rejections_total{reason="forbidden"}"#).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_another_trainers_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let one = fresh(Role::Trainer, "one");
    std::fs::write(&path, &one.line).unwrap();
    let server = guarded(&path, AccessSettings::default()).await;
    let mut client = server.client().await;
    for (name, taken) in [("", true), ("one", true), ("two", false)] {
        let named = v1::StreamRequest { trainer: name.into(), ..request(1, 8, 2) };
        let report = v1::ReportRequest { trainer: name.into(), wait_seconds: vec![1.0], ..Default::default() };
        let face = v1::Face {
            parents: vec![v1::Parent { identity: 0, weight: 1.0 }],
            latent: Some(v1::face::Latent::Counter(v1::LatentCounter::default())),
            spread: 0.0,
        };
        let faces = v1::SynthesizeRequest { trainer: name.into(), faces: vec![face], ..Default::default() };
        let outcomes = [
            client.stream_batches(with(&one.token, named.clone())).await.map(drop),
            client.plan(with(&one.token, named)).await.map(drop),
            client.report(with(&one.token, report)).await.map(drop),
            client.synthesize(with(&one.token, faces)).await.map(drop),
        ];
        for outcome in outcomes {
            match outcome {
                Ok(()) => assert!(taken, "{name}"),
                Err(error) => {
                    assert!(!taken && error.code() == Code::PermissionDenied, "{error}");
                    assert!(error.message().contains("`one`, as its token has it, or none; found `two`"), "{error}");
                }
            }
        }
    }
    // Who says no name is counted under the token's.
    assert_eq!(server.metric(r#"lookalike_trainer_wait_seconds_sum{trainer="one"}"#).await, 2.0);
    assert_eq!(server.metric(r#"lookalike_trainer_wait_seconds_sum{trainer="(unnamed)"}"#).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_change_without_a_restart_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let (old, new) = (fresh(Role::Trainer, "one"), fresh(Role::Trainer, "one"));
    std::fs::write(&path, &old.line).unwrap();
    let server = guarded(&path, AccessSettings::default()).await;
    let mut client = server.client().await;
    let stream = client.stream_batches(with(&old.token, request(1, 8, 0))).await.unwrap().into_inner();
    let mut stream = Reader::new(stream).await.unwrap();

    std::fs::write(&path, format!("{}\ntrainer {}", new.line, new.token)).unwrap();
    server.metric_becomes(r#"lookalike_credentials_reloads_total{what="tokens",outcome="refused"}"#, 1.0).await;
    info(&mut client, &old.token).await.unwrap();
    assert_eq!(info(&mut client, &new.token).await.unwrap_err().code(), Code::Unauthenticated);

    // Both are good while one takes the other's place.
    std::fs::write(&path, format!("{}\n{}\n", old.line, new.line)).unwrap();
    server.metric_becomes(r#"lookalike_credentials_reloads_total{what="tokens",outcome="taken"}"#, 1.0).await;
    info(&mut client, &old.token).await.unwrap();
    info(&mut client, &new.token).await.unwrap();
    stream.next().await.unwrap();

    // The stream of a withdrawn one ends, and says why.
    std::fs::write(&path, &new.line).unwrap();
    let error = in_time(async {
        loop {
            if let Err(error) = stream.next().await {
                break error;
            }
        }
    })
    .await;
    assert_eq!(error.code(), Code::Unauthenticated);
    assert!(error.message().starts_with("the token was withdrawn"), "{error}");
    assert_eq!(info(&mut client, &old.token).await.unwrap_err().code(), Code::Unauthenticated);
    info(&mut client, &new.token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_unreadable_tokens_does_not_start() {
    let absent = AccessSettings { tokens: Some("/nowhere/at/all".into()), ..AccessSettings::default() };
    let config = Config { access: absent, ..Setup::default().config };
    let error = Setup { config, ..Setup::default() }.open().err().unwrap().to_string();
    assert!(error.starts_with("cannot read /nowhere/at/all: "), "{error}");
}

/// What a client is told about asking again, in both of the ways that clients know.
fn told_delay(status: &Status) -> Duration {
    let info = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("a delay in the details");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").expect("a delay in the metadata");
    let pushback = Duration::from_millis(pushback.to_str().unwrap().parse().unwrap());
    assert!(pushback >= info && pushback <= info + Duration::from_millis(1), "{pushback:?} and {info:?}");
    pushback
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_too_often_is_told_when_to_call_again() {
    let access = AccessSettings { max_call_rate: 1, ..AccessSettings::default() };
    let config = Config { access, ..Setup::default().config };
    let server = Setup { config, ..Setup::default() }.start().await;
    let mut client = server.client().await;
    let refused = async {
        loop {
            if let Err(error) = client.get_info(v1::GetInfoRequest::default()).await {
                break error;
            }
        }
    };
    let error = in_time(refused).await;
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().starts_with("expected at most 1 calls a second from one caller"), "{error}");
    let delay = told_delay(&error);
    assert!(delay > Duration::ZERO && delay <= Duration::from_secs(1), "{delay:?}");
    // Health is asked by those who would restart the server.
    let mut health = HealthClient::new(server.channel().await);
    for _ in 0..20 {
        health.check(HealthCheckRequest::default()).await.unwrap();
    }
    tokio::time::sleep(delay).await;
    client.get_info(v1::GetInfoRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_says_when_to_ask_again() {
    let config = Config { max_streams: 1, ..Setup::default().config };
    let server = Setup { config, ..Setup::default() }.start().await;
    let mut client = server.client().await;
    let _first = Reader::new(client.stream_batches(request(1, 8, 0)).await.unwrap().into_inner()).await.unwrap();
    let error = client.stream_batches(request(2, 8, 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(told_delay(&error) >= Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_have_names_in_their_answers() {
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    let mut ask = async |id: Option<&str>, names| {
        let mut request = Request::new(v1::GetInfoRequest { names, first_identity: names });
        if let Some(id) = id {
            request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        }
        let (answered, metadata) = match client.get_info(request).await {
            Ok(answer) => (true, answer.metadata().clone()),
            Err(status) => (false, status.metadata().clone()),
        };
        (answered, metadata.get("x-request-id").expect("each call has a name").to_str().unwrap().to_owned())
    };
    assert_eq!(ask(Some("epoch-3"), 0).await, (true, "epoch-3".into()));
    // Refused ones too.
    assert_eq!(ask(Some("epoch-4"), u32::MAX).await, (false, "epoch-4".into()));
    let forged = ask(Some("a level=ERROR b"), 0).await.1;
    let [first, second] = [ask(None, 0).await.1, ask(None, 0).await.1];
    assert!(first != second && first != forged && !forged.contains(' '), "{first}, {second}, {forged}");
    let mut stream = Request::new(request(1, 8, 1));
    stream.metadata_mut().insert("x-request-id", "stream-1".parse().unwrap());
    let answer = server.client().await.stream_batches(stream).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "stream-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_at_once() {
    use tokio::io::AsyncReadExt;
    let access = AccessSettings { max_connections: 1, ..AccessSettings::default() };
    let config = Config { access, ..Setup::default().config };
    let server = Setup { config, ..Setup::default() }.start().await;
    let mut client = server.client().await;
    client.get_info(v1::GetInfoRequest::default()).await.unwrap();
    assert_eq!(server.metric("lookalike_connections ").await, 1.0);
    let mut second = tokio::net::TcpStream::connect(server.address).await.unwrap();
    // Closed or reset, and not left waiting.
    let read = in_time(second.read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(server.metric(r#"lookalike_connection_refusals_total{reason="limit"}"#).await, 1.0);
    client.get_info(v1::GetInfoRequest::default()).await.unwrap();
    drop(client);
    server.metric_becomes("lookalike_connections ", 0.0).await;
    server.client().await.get_info(v1::GetInfoRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_refused() {
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    let mut request = Request::new(v1::GetInfoRequest::default());
    request.metadata_mut().insert("x-long", "x".repeat(64 << 10).parse().unwrap());
    assert!(in_time(client.get_info(request)).await.is_err());
    // The others go on.
    server.client().await.get_info(v1::GetInfoRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_connection_beyond_the_limit_wait_for_their_turn() {
    let access = AccessSettings { max_calls_per_connection: 1, ..AccessSettings::default() };
    let config = Config { access, ..Setup::default().config };
    let server = Setup { config, ..Setup::default() }.start().await;
    let mut client = server.client().await;
    let mut stream = Reader::new(client.stream_batches(request(1, 8, 0)).await.unwrap().into_inner()).await.unwrap();
    let mut second = Box::pin(async { client.get_info(v1::GetInfoRequest::default()).await });
    for _ in 0..20 {
        tokio::select! {
            biased;
            _ = &mut second => panic!("two calls are under way"),
            batch = stream.next() => assert!(batch.unwrap().is_some()),
        }
    }
    drop(stream);
    in_time(second).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_file_is_no_more_than_an_unknown_name() {
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    for name in ["/etc/passwd", "../../etc/passwd", "bundle.safetensors"] {
        let pin = v1::bundle_policy::Policy::Pin(name.into());
        let pinned = v1::StreamRequest { bundle: Some(v1::BundlePolicy { policy: Some(pin) }), ..request(1, 8, 1) };
        let error = client.stream_batches(pinned).await.unwrap_err();
        assert!([Code::FailedPrecondition, Code::InvalidArgument].contains(&error.code()), "{error}");
        let mut admin = AdminClient::new(server.channel().await);
        let error = admin.reload(v1::ReloadRequest { bundle_digest: name.into() }).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    }
}
