//! Clients that don't keep to the contract. They are told so, and nobody else notices.

use crate::ledger::Ledger;
use crate::network::{Host, Network};
use crate::replica::Replica;
use crate::world::{World, millis};
use hyper_util::rt::TokioIo;
use proto::v1::{self, augment_client::AugmentClient};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

/// Hosts of liars begin here.
const LIARS: Host = 1000;

/// How long a liar waits for anything.
const LONGEST: Duration = Duration::from_secs(5);

async fn client(network: &Network, host: Host, replica: usize) -> Option<AugmentClient<Channel>> {
    let (network, endpoint) = (network.clone(), Endpoint::from_static("http://liar"));
    let pipe = move |_: Uri| {
        let network = network.clone();
        async move { network.connect(host, replica).await.map(TokioIo::new) }
    };
    let connected = timeout(LONGEST, endpoint.connect_with_connector(tower::service_fn(pipe))).await;
    connected.ok()?.ok().map(AugmentClient::new)
}

/// Bytes that are no HTTP, until somebody has had enough.
pub async fn garbage(world: &World, ledger: &Ledger, network: &Network, replica: usize, bytes: usize, number: usize) {
    let mut draws = world.chance(&format!("garbage {number}"));
    let Ok(mut pipe) = network.connect(LIARS + number, replica).await else { return };
    ledger.event("garbage sent", format!("{bytes} bytes to replica {replica}"));
    let mut garbage: Vec<u8> = (0..bytes).map(|_| draws.below(256) as u8).collect();
    if draws.chance(0.5) {
        // Past the greeting, into the frames.
        garbage.splice(0..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    }
    let _ = pipe.write_all(&garbage).await;
    let mut answer = Vec::new();
    let _ = timeout(millis(&mut draws, 1, 2000), pipe.read_to_end(&mut answer)).await;
}

/// Requests that can't be answered, and what they must be told.
fn wrong_requests() -> Vec<(v1::StreamRequest, &'static [Code])> {
    let spec = |batch_size, real| v1::StreamSpec {
        batch_size,
        mix: Some(v1::Mix { real, existing: 0.0, blended: 0.0, schedule: None }),
        ..Default::default()
    };
    let request = |spec, place, policy: Option<v1::bundle_policy::Policy>| v1::StreamRequest {
        spec,
        place,
        bundle: policy.map(|policy| v1::BundlePolicy { policy: Some(policy) }),
        trainer: "liar".into(),
        ..Default::default()
    };
    let place = |first_index, count, rank, world_size| Some(v1::Place { first_index, count, rank, world_size });
    let follow = |declared: &[(u64, &str)], closed| {
        let entry = |&(first_index, digest): &(u64, &str)| v1::Takeover { first_index, bundle_digest: digest.into() };
        v1::bundle_policy::Policy::Follow(v1::Follow { declared: declared.iter().map(entry).collect(), closed })
    };
    let ordinary = || Some(spec(4, 1.0));
    const INVALID: &[Code] = &[Code::InvalidArgument];
    const UNSUITED: &[Code] = &[Code::FailedPrecondition];
    vec![
        (request(None, None, None), INVALID),
        (request(Some(spec(0, 1.0)), None, None), INVALID),
        (request(Some(spec(u32::MAX, 1.0)), None, None), INVALID),
        (request(Some(spec(4, f64::NAN)), None, None), INVALID),
        (request(Some(spec(4, -1.0)), None, None), INVALID),
        (request(Some(spec(4, 0.0)), None, None), INVALID),
        (request(ordinary(), place(0, 0, 4, 4), None), INVALID),
        (request(ordinary(), place(0, 0, 0, 5), None), INVALID),
        (request(ordinary(), place(u64::MAX, 2, 0, 1), None), INVALID),
        (request(ordinary(), None, Some(v1::bundle_policy::Policy::Pin("no such".into()))), UNSUITED),
        (request(ordinary(), None, Some(follow(&[], true))), INVALID),
        (request(ordinary(), None, Some(follow(&[(3, "a"), (3, "b")], false))), INVALID),
        (request(ordinary(), None, Some(follow(&[(0, "no such")], false))), UNSUITED),
        (request(ordinary(), None, Some(follow(&[(7, "no such")], false))), INVALID),
        (v1::StreamRequest { trainer: "a b\n".into(), ..request(ordinary(), None, None) }, INVALID),
    ]
}

/// Asks for all that there isn't.
pub async fn lies(world: &World, ledger: &Ledger, network: &Network, replica: &Replica, number: usize) {
    let Some(mut client) = client(network, LIARS + number, replica.number).await else { return };
    // What a server says that has no time for this, and what a broken way makes of it.
    let elsewhere = [Code::ResourceExhausted, Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal];
    for (request, expected) in wrong_requests() {
        let text = format!("{request:?}");
        let Ok(answer) = timeout(LONGEST, client.stream_batches(request)).await else { return };
        ledger.event("lie told", format!("to replica {}", replica.number));
        let code = answer.err().map(|status| status.code());
        let known = code.is_some_and(|code| expected.contains(&code) || elsewhere.contains(&code));
        ledger.check(known, || format!("{text} is answered with {code:?}"));
        if code.is_some_and(|code| elsewhere.contains(&code)) {
            return;
        }
    }
    let waits = vec![f32::NAN, -1.0];
    let report = client.report(v1::ReportRequest { trainer: "liar".into(), wait_seconds: waits, ..Default::default() });
    let Ok(answer) = timeout(LONGEST, report).await else { return };
    ledger.check(answer.is_err(), || "a report of waits that are no numbers is taken".to_owned());
    // The connection is as good as before.
    let info = timeout(LONGEST, client.get_info(v1::GetInfoRequest::default())).await;
    if let Ok(Ok(info)) = info {
        let found = info.into_inner().dataset_digest;
        ledger.check(found == world.dataset_digest(), || format!("a server serves dataset {found}"));
    }
}

/// Takes streams without reading them, until it is refused.
pub async fn greed(world: &World, ledger: &Ledger, network: &Network, replica: &Replica, number: usize) {
    let Some(mut client) = client(network, LIARS + number, replica.number).await else { return };
    let most = world.config.max_streams_per_trainer.min(world.config.max_streams);
    // One that has ended in good order, all of it on its way, makes room for another.
    let stay = world.config.max_stream_batches == 0 && world.config.max_stream_age == 0;
    let mut held = Vec::new();
    for nth in 0..=most {
        let request = v1::StreamRequest {
            // No real row: a stream that ended with a lost image would make room for another.
            spec: Some(v1::StreamSpec {
                seed: 1,
                batch_size: 2,
                mix: Some(v1::Mix { real: 0.0, existing: 1.0, blended: 0.0, schedule: None }),
                ..Default::default()
            }),
            trainer: "greedy".into(),
            ..Default::default()
        };
        let asked = Instant::now();
        match timeout(LONGEST, client.stream_batches(request)).await {
            Ok(Ok(stream)) => {
                held.push(stream);
                let more = held.len();
                ledger.check(more <= most || !stay, || {
                    format!("{more} streams of one trainer are sent, the limit is {most}")
                });
            }
            Ok(Err(status)) if status.code() == Code::ResourceExhausted => {
                let waited = asked.elapsed();
                ledger.event("limit reached", format!("on replica {} by stream {nth}", replica.number));
                let quick = waited <= world.latency * 6 + Duration::from_millis(50) || world.has_bad_ways();
                ledger.check(quick, || format!("a refusal takes {waited:?}"));
                break;
            }
            Ok(Err(status)) => return in_vain(ledger, &status),
            Err(_) => return,
        }
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
}

fn in_vain(ledger: &Ledger, status: &Status) {
    ledger.event("greed in vain", format!("{:?}", status.code()));
}
