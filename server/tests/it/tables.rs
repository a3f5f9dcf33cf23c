//! Sampling tables made of what trainers report.

use crate::fixture::*;
use proto::v1::{self, identity_sampling::Rule};
use tonic::Code;

/// Who is hard to tell.
const HARD: u32 = 4;

/// A stream of real and existing rows that chooses identities by loss.
fn asking(first_index: u64, count: u64, tables: Option<v1::Tables>) -> v1::StreamRequest {
    let by_loss = v1::ByLoss { interval: 6, ..Default::default() };
    v1::StreamRequest {
        spec: Some(v1::StreamSpec {
            seed: 7,
            batch_size: 12,
            mix: Some(v1::Mix { real: 0.5, existing: 0.5, ..Default::default() }),
            identities: Some(v1::IdentitySampling { rule: Some(Rule::ByLoss(by_loss)) }),
            ..Default::default()
        }),
        place: Some(v1::Place { first_index, count, ..Default::default() }),
        trainer: "one".into(),
        tables,
        ..Default::default()
    }
}

fn closed(declared: &[v1::TableTakeover]) -> Option<v1::Tables> {
    Some(v1::Tables { declared: declared.to_vec(), closed: true, past: 0 })
}

fn following(declared: &[v1::TableTakeover]) -> Option<v1::Tables> {
    Some(v1::Tables { declared: declared.to_vec(), closed: false, past: 0 })
}

async fn reader(server: &Running, request: v1::StreamRequest) -> Reader {
    Reader::new(server.client().await.stream_batches(request).await.unwrap().into_inner()).await.unwrap()
}

/// Reports that everybody is easy but one; how many losses were taken up.
async fn report(server: &Running, header: &v1::StreamHeader) -> u32 {
    let report = v1::ReportRequest {
        trainer: "one".into(),
        spec_digest: header.spec_digest.clone(),
        identities: (0..IDENTITIES).collect(),
        losses: (0..IDENTITIES).map(|identity| if identity == HARD { 16.0 } else { 4.0 }).collect(),
        rows: vec![2; IDENTITIES as usize],
        ..Default::default()
    };
    server.client().await.report(report).await.unwrap().into_inner().identities
}

/// Share of the rows that show the hard one.
fn hard(batches: &[v1::Batch]) -> f64 {
    let labels: Vec<u32> = batches.iter().flat_map(|batch| batch.labels.clone()).collect();
    labels.iter().filter(|&&label| label == HARD).count() as f64 / labels.len() as f64
}

/// Reads, with a report after the first batch, so many batches beyond the first table.
async fn steered(server: &Running, beyond: usize) -> (v1::StreamHeader, Vec<v1::Batch>) {
    let mut stream = reader(server, asking(0, 0, None)).await;
    let mut batches = vec![stream.next().await.unwrap().unwrap()];
    assert_eq!(report(server, &stream.header).await, IDENTITIES);
    while batches.iter().filter(|batch| !batch.table_digest.is_empty()).count() < beyond {
        batches.push(stream.next().await.unwrap().unwrap());
    }
    (stream.header, batches)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_reported_as_hard_is_shown_more_often_from_the_declared_batch_on_and_the_tables_replay_it() {
    let server = Running::ordinary().await;
    let (header, batches) = steered(&server, 60).await;
    let [table] = &header.tables[..] else { panic!("one table: {:?}", header.tables) };
    let first = table.first_index as usize;
    assert!(first >= 6, "it takes effect at {first}");
    for batch in &batches {
        let expected = if batch.index < table.first_index { "" } else { &table.table_digest };
        assert!(proto::digest::agrees(batch) && batch.table_digest == expected, "batch {}", batch.index);
    }
    // A loss of 16 against five of 4 is 16 / 6 of an equal part.
    let (before, after) = (hard(&batches[..first]), hard(&batches[first..]));
    assert!((before - 1.0 / 6.0).abs() < 0.05 && (after - 16.0 / 36.0).abs() < 0.08, "{before}, then {after}");
    assert_eq!(server.metric(r#"lookalike_tables_total{trainer="one"}"#).await, 1.0);
    assert_eq!(server.metric(r#"lookalike_reported_identities_total{trainer="one"}"#).await, f64::from(IDENTITIES));

    // Another server, which never heard of a loss, makes the same: from the start, or from any place.
    let other = Running::ordinary().await;
    let count = batches.len() as u64;
    let (replayed, again) = other.read(asking(0, count, closed(&header.tables))).await.unwrap();
    assert!(again == batches && replayed.tables == header.tables);
    let middle = table.first_index + 3;
    let (resumed, rest) = other.read(asking(middle, count - middle, following(&header.tables))).await.unwrap();
    assert!(rest == batches[middle as usize..] && resumed.tables == header.tables);

    // Digests and plans heed tables too.
    let proofs = server.client().await.verify(asking(0, count, closed(&header.tables))).await.unwrap().into_inner();
    let plans = server.client().await.plan(asking(0, count, closed(&header.tables))).await.unwrap().into_inner();
    let (mut proofs, mut plans) = (Reader::new(proofs).await.unwrap(), Reader::new(plans).await.unwrap());
    for batch in &batches {
        let (proof, plan) = (proofs.next().await.unwrap().unwrap(), plans.next().await.unwrap().unwrap());
        assert_eq!((&proof.digest, &proof.table_digest), (&batch.digest, &batch.table_digest));
        assert_eq!((&plan.labels, &plan.table_digest), (&batch.labels, &batch.table_digest));
    }
    // The same batches without tables are others, though the shelf knows the spec.
    let plain = server.read(asking(0, count, closed(&[]))).await.unwrap().1;
    assert!(plain[..first] == batches[..first] && plain[first..] != batches[first..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranks_change_tables_together_and_nobody_else_does() {
    let server = Running::ordinary().await;
    let rank = |rank| {
        let mut asked = asking(0, 0, None);
        asked.place.as_mut().unwrap().rank = rank;
        asked.place.as_mut().unwrap().world_size = 2;
        asked
    };
    let mut first = reader(&server, rank(0)).await;
    let mut stranger = reader(&server, v1::StreamRequest { trainer: "other".into(), ..asking(0, 40, None) }).await;
    let mut tables = [vec![first.next().await.unwrap().unwrap().table_digest], Vec::new()];
    assert_eq!(report(&server, &first.header).await, IDENTITIES);
    // The other one comes late.
    let mut second = reader(&server, rank(1)).await;
    while tables[1].last().is_none_or(String::is_empty) {
        tables[1].push(second.next().await.unwrap().unwrap().table_digest);
    }
    while tables[0].len() < tables[1].len() {
        tables[0].push(first.next().await.unwrap().unwrap().table_digest);
    }
    assert!(tables[0] == tables[1], "the ranks changed apart");
    while let Some(batch) = stranger.next().await.unwrap() {
        assert!(batch.table_digest.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_was_killed_gets_the_batches_again_that_were_declared_after_its_checkpoint() {
    let server = Running::ordinary().await;
    let (header, batches) = steered(&server, 10).await;
    let first = header.tables[0].first_index;
    // Its checkpoint is of before the table, of which it knows nothing.
    let (_, again) = server.read(asking(first - 2, 12, following(&[]))).await.unwrap();
    assert!(again == batches[first as usize - 2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_person_stays_withheld_whatever_is_reported() {
    let mut setup = Setup::default();
    setup.image_counts[HARD as usize] = 0;
    let server = setup.start().await;
    let (header, batches) = steered(&server, 20).await;
    let at = 2 * HARD as usize;
    assert_eq!(header.tables[0].weights[at..at + 2], [0, 0]);
    assert_eq!(hard(&batches), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_table_is_refused() {
    let server = Running::ordinary().await;
    let table = |first_index, weights: &[u16]| v1::TableTakeover {
        first_index,
        table_digest: proto::digest::hex(&proto::digest::table(weights)),
        weights: weights.iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<_>>().into(),
    };
    let refusal = async |declared: Vec<v1::TableTakeover>| {
        let status = server.read(asking(5, 1, closed(&declared))).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        status.message().to_owned()
    };
    let even = [1024; IDENTITIES as usize];
    server.read(asking(5, 1, closed(&[table(3, &even), table(9, &even)]))).await.unwrap();
    let forged = v1::TableTakeover { table_digest: "0".repeat(64), ..table(3, &even) };
    assert!(refusal(vec![forged]).await.contains("expected a sampling table with digest 000"));
    assert!(refusal(vec![table(3, &even[1..])]).await.contains("of 12 bytes, two for each identity, found 10"));
    assert!(refusal(vec![table(3, &[0, 2048, 1024, 1024, 1024, 1024])]).await.contains("found 0 for identity 0"));
    assert!(refusal(vec![table(3, &[u16::MAX; 6])]).await.contains("found 65535"));
    assert!(refusal(vec![table(3, &[2048; 6])]).await.contains("to sum to 6144 but for rounding, found 12288"));
    assert!(
        refusal(vec![table(3, &even), table(3, &even)]).await.contains("ascending indices in the table of sampling")
    );
    let many = (0..300).map(|n| table(n, &even)).collect();
    assert!(refusal(many).await.contains("at most 256 sampling tables"));
    let mut plain = asking(0, 1, closed(&[]));
    plain.spec.as_mut().unwrap().identities = None;
    let status = server.read(plain).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("where identities aren't chosen by loss"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_makes_no_sense_is_refused_and_one_of_nobodys_stream_is_not_taken_up() {
    let server = Running::ordinary().await;
    let stream = reader(&server, asking(0, 0, None)).await;
    let good = v1::ReportRequest {
        trainer: "one".into(),
        spec_digest: stream.header.spec_digest.clone(),
        identities: vec![0, 3],
        losses: vec![1.0, 2.0],
        rows: vec![1, 1],
        ..Default::default()
    };
    let answer = async |change: &dyn Fn(&mut v1::ReportRequest)| {
        let mut report = good.clone();
        change(&mut report);
        let mut client = server.client().await;
        client.report(report).await.map(|answer| answer.into_inner().identities).map_err(|status| status.code())
    };
    assert_eq!(answer(&|_| {}).await, Ok(2));
    assert_eq!(answer(&|r| r.trainer = "other".into()).await, Ok(0));
    assert_eq!(answer(&|r| r.spec_digest = vec![1; 32].into()).await, Ok(0));
    type Change = fn(&mut v1::ReportRequest);
    let wrong: [Change; 9] = [
        |r| r.losses[0] = f64::NAN,
        |r| r.losses[1] = f64::INFINITY,
        |r| r.losses[1] = -0.5,
        |r| r.rows[0] = 0,
        |r| r.rows.clear(),
        |r| r.losses.push(1.0),
        |r| r.spec_digest = vec![1; 31].into(),
        |r| r.spec_digest.clear(),
        |r| r.trainer.clear(),
    ];
    for (nth, change) in wrong.iter().enumerate() {
        assert_eq!(answer(change).await, Err(Code::InvalidArgument), "change {nth}");
    }
    assert_eq!(answer(&|r| r.identities[1] = IDENTITIES).await, Err(Code::OutOfRange));
}
