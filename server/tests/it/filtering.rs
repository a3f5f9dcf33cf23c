//! The identity filter: which try of a row is sent, and that nothing else decides it.

use crate::{fixture::*, stand_ins::File};
use nets::{FEATURE, LATENT, chance::Chance};
use proto::{
    NONE,
    v1::{self, bundle_policy::Policy, latent::Kind},
};
use server::{
    Config,
    plan::{
        blending::Parent,
        centres::{Centres, cosine},
        latent,
    },
    reload::reload,
};

/// Six of ten first tries of existing people reach it.
const LEAST: f64 = 0.95;

fn filtered(seed: u64, batch_size: u32, count: u64, max_retries: Option<u32>) -> v1::StreamRequest {
    let mut request = request(seed, batch_size, count);
    let spec = request.spec.as_mut().unwrap();
    spec.augmentation = v1::Augmentation::Off.into();
    spec.filter = Some(v1::IdentityFilter { min_similarity: LEAST, max_retries });
    request
}

/// What the fixture's generator and identity network make of a latent's first number: the image's two
/// telling pixels, and the similarity.
fn seen(parents: &[Parent], spread: f64, first: f32) -> ([u8; 2], f32) {
    let axis = |nth: usize| (0..FEATURE).map(move |n| if n == nth { 1.0 } else { 0.0 });
    let centres = Centres::new((0..IDENTITIES as usize).flat_map(axis).collect());
    let squares: f64 = parents.iter().map(|parent| f64::from(parent.weight).powi(2)).sum();
    let reach = if parents.len() == 1 { 1.0 } else { squares.powf(-spread / 2.0) };
    let mut label = [((1.0 - reach) / f64::from(IDENTITIES)) as f32; IDENTITIES as usize];
    for parent in parents {
        label[parent.identity as usize] += (reach * f64::from(parent.weight)) as f32;
    }
    let shade: f32 = label.iter().enumerate().map(|(identity, weight)| identity as f32 * weight).sum();
    let pixels = [(shade * 20.0) as u8, (first * 40.0 + 100.0) as u8];
    let (who, noise) = (usize::from(pixels[0] / 20), f32::from(pixels[1]) / 100.0 - 1.0);
    let length = (1.0 + noise * noise).sqrt();
    let feature: Vec<f32> = (0..FEATURE)
        .map(|axis| match axis {
            axis if axis == who => 1.0 / length,
            axis if axis == FEATURE - 1 => noise / length,
            _ => 0.0,
        })
        .collect();
    (pixels, cosine(&feature, &centres.blend(parents, reach)) as f32)
}

/// A generated row: its number, what is sent of it, and whose it is.
struct Sent {
    number: u32,
    latent_row: u32,
    similarity: f32,
    doubtful: bool,
    pixels: [u8; 2],
    image: u32,
    parents: Vec<Parent>,
}

fn generated(batch: &v1::Batch) -> Vec<Sent> {
    let provenance = batch.provenance.as_ref().unwrap();
    let mut blended = provenance.parents.chunks(2).zip(provenance.parent_weights.chunks(2));
    let row = |row: usize| {
        let parents = match batch.sources[row] {
            1 => return None,
            2 => vec![Parent { identity: batch.labels[row], weight: 1.0 }],
            _ => {
                let (parents, weights) = blended.next().unwrap();
                parents.iter().zip(weights).map(|(&identity, &weight)| Parent { identity, weight }).collect()
            }
        };
        Some(Sent {
            number: batch.first_row + row as u32,
            latent_row: provenance.latent_rows[row],
            similarity: provenance.similarities[row],
            doubtful: provenance.doubtful_rows.contains(&(row as u32)),
            pixels: [batch.pixels[row * IMAGE], batch.pixels[row * IMAGE + 1]],
            image: provenance.images[row],
            parents,
        })
    };
    (0..batch.rows as usize).filter_map(row).collect()
}

/// Holds what was sent against the rule, written down once more: the first try that is good enough, or
/// else the first of the best. Returns how many rows took how many further tries, doubtful ones apart.
fn check(
    (batches, spread): (&[v1::Batch], f64),
    max_retries: u32,
    first: impl Fn(u64, u32, &Sent) -> f32,
) -> [usize; 6] {
    let mut found = [0; 6];
    for batch in batches {
        assert!(proto::digest::agrees(batch));
        for sent in generated(batch) {
            let tries: Vec<([u8; 2], f32)> = (0..=max_retries)
                .map(|retry| seen(&sent.parents, spread, first(batch.index, sent.number + (retry << 16), &sent)))
                .collect();
            let good = tries.iter().position(|(_, similarity)| f64::from(*similarity) >= LEAST);
            let best = || {
                let most = tries.iter().map(|(_, similarity)| *similarity).fold(f32::MIN, f32::max);
                tries.iter().position(|(_, similarity)| *similarity == most).unwrap()
            };
            let expected = good.unwrap_or_else(best);
            assert_eq!(sent.latent_row, sent.number + ((expected as u32) << 16), "batch {}", batch.index);
            assert_eq!((sent.pixels, sent.similarity), tries[expected]);
            assert_eq!(sent.doubtful, good.is_none());
            found[good.unwrap_or(5)] += 1;
        }
    }
    found
}

fn prior(seed: u64) -> impl Fn(u64, u32, &Sent) -> f32 {
    let chance = Chance::new(seed, latent::PURPOSE);
    move |index, row, _| latent::prior(&mut chance.at(index, row.into()), 0.0)[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_try_that_is_good_enough_is_sent_or_else_the_best_and_the_metrics_count_it() {
    let server = Running::ordinary().await;
    let (header, batches) = server.read(filtered(7, 40, 8, None)).await.unwrap();
    let filter = header.spec.as_ref().unwrap().filter.unwrap();
    assert_eq!((filter.min_similarity, filter.max_retries), (LEAST, Some(4)));
    let found = check((&batches, 0.0), 4, prior(7));
    assert!(found.iter().all(|&rows| rows > 0), "every outcome is seen: {found:?}");
    for batch in &batches {
        let provenance = batch.provenance.as_ref().unwrap();
        for (row, _) in batch.sources.iter().enumerate().filter(|(_, source)| **source == 1) {
            assert_eq!((provenance.similarities[row], provenance.latent_rows[row]), (0.0, NONE));
        }
    }
    // Only what failed is made again, and each try is looked at once.
    let rows: usize = found.iter().sum();
    let again = found.iter().enumerate().map(|(further, rows)| further.min(4) * rows).sum::<usize>();
    let tried = server.metric("lookalike_device_batch_images_sum").await;
    assert_eq!(tried, 2.0 * (rows + again) as f64);
    let rejected =
        async |reason| server.metric(&format!("lookalike_identity_rejections_total{{reason=\"{reason}\"}}")).await;
    assert_eq!((rejected("retry").await, rejected("doubtful").await), (again as f64, found[5] as f64));
    assert_eq!(server.metric("lookalike_identity_similarity_count").await, rows as f64);
    // Without further tries there is one, which is measured; the plan names it in any case.
    let (_, single) = server.read(filtered(7, 40, 8, Some(0))).await.unwrap();
    let once = check((&single, 0.0), 0, prior(7));
    assert_eq!((once[0], once[5]), (found[0], rows - found[0]));
    let plan = server.client().await.plan(filtered(7, 40, 8, None)).await.unwrap().into_inner();
    let mut plan = Reader::new(plan).await.unwrap();
    for batch in &single {
        let planned = plan.next().await.unwrap().unwrap().provenance.unwrap();
        assert_eq!(planned.latent_rows, batch.provenance.as_ref().unwrap().latent_rows);
        assert!(planned.similarities.is_empty() && planned.doubtful_rows.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blended_people_led_away_from_the_average_person_are_held_to_where_they_were_led() {
    let server = Running::ordinary().await;
    let spread = |spread| {
        let mut request = filtered(7, 40, 8, None);
        request.spec.as_mut().unwrap().blending = Some(v1::Blending { spread, ..Default::default() });
        request
    };
    let (header, led) = server.read(spread(1.0)).await.unwrap();
    assert_eq!(header.spec.as_ref().unwrap().blending.unwrap().spread, 1.0);
    check((&led, 1.0), 4, prior(7));
    // Nobody else is shown, and only blended rows are other images.
    let (_, plain) = server.read(spread(0.0)).await.unwrap();
    let shown = |batches: &[v1::Batch], blended: bool| -> Vec<(Vec<Parent>, [u8; 2])> {
        let rows = batches.iter().flat_map(generated).filter(|sent| (sent.parents.len() > 1) == blended);
        rows.map(|sent| (sent.parents, sent.pixels)).collect()
    };
    assert_eq!(shown(&led, false), shown(&plain, false));
    let (led, plain) = (shown(&led, true), shown(&plain, true));
    assert!(led.iter().map(|row| &row.0).eq(plain.iter().map(|row| &row.0)) && led != plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_depends_on_its_own_tries_alone_whatever_tile_rank_server_or_load() {
    let (_, batches) = Running::ordinary().await.read(filtered(3, 24, 6, Some(3))).await.unwrap();
    check((&batches, 0.0), 3, prior(3));
    for tile in [1, 16, 64] {
        let config = Config { tile: Some(tile), shelf: 0, ..Setup::default().config };
        let server = Setup { config, ..Setup::default() }.start().await;
        let loads = (0..3).map(|load| server.read(filtered(100 + load, 17, 12, Some(load as u32))));
        let (alone, _) = tokio::join!(server.read(filtered(3, 24, 6, Some(3))), at_once(loads));
        assert!(alone.unwrap().1 == batches, "tile {tile}");
        // From the middle on, and in parts.
        let part = async |first_index, rank, world_size| {
            let place = Some(v1::Place { first_index, count: 1, rank, world_size });
            let part = v1::StreamRequest { place, ..filtered(3, 24, 1, Some(3)) };
            server.read(part).await.unwrap().1.remove(0)
        };
        assert!(part(4, 0, 1).await == batches[4]);
        let parts = [part(2, 0, 3).await, part(2, 1, 3).await, part(2, 2, 3).await];
        let columns = |batch: &v1::Batch| {
            let provenance = batch.provenance.as_ref().unwrap();
            (provenance.similarities.clone(), provenance.latent_rows.clone())
        };
        let (similarities, latent_rows): (Vec<_>, Vec<_>) = parts.iter().map(columns).unzip();
        assert_eq!((similarities.concat(), latent_rows.concat()), columns(&batches[2]));
        let pixels = parts.iter().map(|part| &part.pixels[..]).collect::<Vec<_>>().concat();
        assert!(pixels == batches[2].pixels);
    }
}

/// All of them at once.
async fn at_once<F: Future<Output: Send> + Send>(all: impl Iterator<Item = F>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jittered_rows_are_made_again_from_the_same_image_and_not_at_all_without_jitter() {
    let server = Running::ordinary().await;
    let jittered = |scale| {
        let mut request = filtered(5, 30, 4, None);
        request.spec.as_mut().unwrap().latent = Some(v1::Latent { kind: Some(Kind::Jitter(v1::Jitter { scale })) });
        request
    };
    let chance = Chance::new(5, latent::PURPOSE);
    let first = |scale: f64| {
        let chance = chance.clone();
        move |index, row: u32, sent: &Sent| {
            let mean = f32::from(sent.image as u8) / 255.0;
            let encoding: Vec<f32> = (0..2 * LATENT).map(|nth| if nth < LATENT { mean } else { -1.0 }).collect();
            latent::jitter(&mut chance.at(index, row.into()), &encoding, scale)[0]
        }
    };
    let (_, batches) = server.read(jittered(2.0)).await.unwrap();
    let found = check((&batches, 0.0), 4, first(2.0));
    assert!(found[1] + found[2] > 0, "{found:?}");
    // Without jitter all tries are one: it is made once.
    let before = server.metric(r#"lookalike_identity_rejections_total{reason="retry"}"#).await;
    let (_, batches) = server.read(jittered(0.0)).await.unwrap();
    let found = check((&batches, 0.0), 4, first(0.0));
    assert!(found[0] > 0 && found[5] > 0 && found[1..5] == [0; 4], "{found:?}");
    assert_eq!(server.metric(r#"lookalike_identity_rejections_total{reason="retry"}"#).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_is_judged_by_the_bundle_that_makes_it_and_replays() {
    let file = File::default();
    let config = Config { tile: Some(5), watch: 0, ..Config::default() };
    let server = Setup { config, file: file.clone(), ..Setup::default() }.start().await;
    let asking = |policy| v1::StreamRequest {
        bundle: Some(v1::BundlePolicy { policy: Some(policy) }),
        ..filtered(7, 12, 40, None)
    };
    let follow = asking(Policy::Follow(v1::Follow::default()));
    let mut stream =
        Reader::new(server.client().await.stream_batches(follow).await.unwrap().into_inner()).await.unwrap();
    let mut batches = vec![stream.next().await.unwrap().unwrap()];
    *file.lock().unwrap() = Some("noise=0.9".into());
    reload(&server.served, "").await.unwrap();
    while let Some(batch) = stream.next().await.unwrap() {
        batches.push(batch);
    }
    let declared = stream.header.declared.clone();
    assert_eq!((declared.len(), batches.len()), (2, 40));
    let old: Vec<v1::Batch> =
        batches.iter().filter(|batch| batch.bundle_digest == declared[0].bundle_digest).cloned().collect();
    check((&old, 0.0), 4, prior(7));
    let draw = prior(7);
    check((&batches[old.len()..], 0.0), 4, move |index, row, sent| draw(index, row, sent) * 0.9);
    let replay = asking(Policy::Follow(v1::Follow { declared, closed: true }));
    assert!(server.read(replay).await.unwrap().1 == batches);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_s_bundle_judges_its_own_faces() {
    let open = || server::Served::open(&Config::default()).unwrap();
    let server = Running::start(open(), "127.0.0.1:0").await;
    let asking = |min_similarity| {
        let mut request = filtered(1, 24, 2, None);
        request.spec.as_mut().unwrap().filter = Some(v1::IdentityFilter { min_similarity, max_retries: None });
        request
    };
    let mean = |batches: &[v1::Batch]| {
        let rows: Vec<Sent> = batches.iter().flat_map(generated).collect();
        rows.iter().map(|sent| f64::from(sent.similarity)).sum::<f64>() / rows.len() as f64
    };
    let (_, measured) = server.read(asking(-1.0)).await.unwrap();
    let rows = measured.iter().flat_map(generated).collect::<Vec<_>>();
    assert!(rows.iter().all(|sent| sent.latent_row == sent.number && !sent.doubtful));
    let before = mean(&measured);
    assert!(before > 0.2, "the demo's faces look like whom they should show: {before}");
    let (header, batches) = server.read(asking(before)).await.unwrap();
    assert!(mean(&batches) > before);
    assert!(batches.iter().flat_map(generated).any(|sent| sent.latent_row != sent.number && !sent.doubtful));
    let again = Running::start(open(), "127.0.0.1:0").await;
    assert!(again.read(asking(before)).await.unwrap() == (header, batches));
}
