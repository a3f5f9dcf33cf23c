//! What a stream is: a function of spec, dataset, bundle and index.

use crate::fixture::*;
use proto::{NONE, v1};
use server::Config;
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_spec_gives_the_same_bytes_whoever_else_reads() {
    let quiet = Running::ordinary().await;
    let (_, alone) = quiet.read(request(7, 20, 6)).await.unwrap();
    let busy = Running::ordinary().await;
    let (one, other, again) =
        tokio::join!(busy.read(request(7, 20, 6)), busy.read(request(8, 33, 6)), busy.read(request(7, 20, 6)));
    assert_eq!(one.unwrap().1, alone);
    assert_eq!(again.unwrap().1, alone);
    assert_ne!(other.unwrap().1[0].pixels[..IMAGE], alone[0].pixels[..IMAGE]);
    for (index, batch) in alone.iter().enumerate() {
        assert_eq!((batch.index, batch.rows), (index as u64, 20));
        assert_eq!(batch.pixels.len(), 20 * IMAGE);
        assert!(proto::digest::agrees(batch));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumed_on_another_server_goes_on_with_the_same_bytes() {
    let (first, second) = (Running::ordinary().await, Running::ordinary().await);
    let (header, whole) = first.read(request(7, 20, 8)).await.unwrap();
    let resumed = v1::StreamRequest {
        spec: header.spec,
        place: Some(v1::Place { first_index: 5, count: 3, ..Default::default() }),
        bundle: Some(v1::BundlePolicy { policy: Some(v1::bundle_policy::Policy::Pin(header.bundle_digest)) }),
        expected: Some(v1::Expectation {
            dataset_digest: header.dataset_digest,
            numerics: header.numerics,
            plan_version: header.plan_version,
        }),
        ..Default::default()
    };
    let (_, rest) = second.read(resumed).await.unwrap();
    assert_eq!(rest, whole[5..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ranks_of_any_world_share_the_global_batch() {
    let server = Running::ordinary().await;
    let (_, global) = server.read(request(3, 20, 4)).await.unwrap();
    for world_size in [2, 3, 7] {
        let mut pixels = vec![Vec::new(); 4];
        let mut labels = vec![Vec::<u32>::new(); 4];
        let mut latents = vec![Vec::<u32>::new(); 4];
        for rank in 0..world_size {
            let mut request = request(3, 20, 4);
            request.place = Some(v1::Place { count: 4, rank, world_size, ..Default::default() });
            for batch in server.read(request).await.unwrap().1 {
                let nth = batch.index as usize;
                assert_eq!(batch.first_row as usize, labels[nth].len());
                pixels[nth].extend_from_slice(&batch.pixels);
                labels[nth].extend(&batch.labels);
                latents[nth].extend(batch.provenance.unwrap().latent_rows);
            }
        }
        for (nth, batch) in global.iter().enumerate() {
            assert!(batch.pixels == pixels[nth], "the pixels of {world_size} ranks differ");
            assert_eq!(batch.labels, labels[nth]);
            assert_eq!(batch.provenance.as_ref().unwrap().latent_rows, latents[nth]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_the_stream_without_pixels() {
    let server = Running::ordinary().await;
    let (header, batches) = server.read(request(5, 12, 3)).await.unwrap();
    let stream = server.client().await.plan(request(5, 12, 3)).await.unwrap().into_inner();
    let mut plan = Reader::new(stream).await.unwrap();
    assert_eq!(plan.header, header);
    for batch in batches {
        let without = v1::Batch { pixels: Default::default(), digest: Default::default(), ..batch };
        assert_eq!(plan.next().await.unwrap().unwrap(), without);
    }
    assert_eq!(plan.next().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_show_what_their_provenance_says() {
    let server = Running::ordinary().await;
    let mut plain = request(9, 40, 3);
    plain.spec.as_mut().unwrap().augmentation = v1::Augmentation::Off.into();
    let (header, batches) = server.read(plain).await.unwrap();
    assert_eq!((header.identities, header.classes), (IDENTITIES, 2 * IDENTITIES));
    for batch in batches {
        let provenance = batch.provenance.unwrap();
        let mut parents = provenance.parents.chunks(2).zip(provenance.parent_weights.chunks(2));
        for row in 0..batch.rows as usize {
            let pixels = &batch.pixels[row * IMAGE..][..IMAGE];
            match v1::Source::try_from(batch.sources[row]).unwrap() {
                v1::Source::Real => {
                    let image = provenance.images[row];
                    assert!(pixels.iter().all(|&byte| byte == image as u8));
                    assert_eq!(batch.labels[row], image / IMAGES);
                    assert_eq!(provenance.latent_rows[row], NONE);
                }
                v1::Source::Existing => assert!(batch.labels[row] < IDENTITIES),
                v1::Source::Blended => {
                    assert!((IDENTITIES..2 * IDENTITIES).contains(&batch.labels[row]));
                    let (parents, weights) = parents.next().unwrap();
                    assert!(parents[0] != parents[1] && weights[0] >= weights[1]);
                }
                v1::Source::Unspecified => panic!("a row without a source"),
            }
        }
        assert_eq!(parents.next(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_stream_can_be_synthesized_by_its_provenance() {
    for spread in [0.0, 1.0] {
        synthesize_again(spread).await;
    }
}

async fn synthesize_again(spread: f64) {
    let server = Running::ordinary().await;
    let mut plain = request(9, 40, 1);
    let spec = plain.spec.as_mut().unwrap();
    spec.augmentation = v1::Augmentation::Off.into();
    spec.blending = Some(v1::Blending { spread, ..Default::default() });
    let batch = server.read(plain).await.unwrap().1.remove(0);
    let provenance = batch.provenance.unwrap();
    let mut parents = provenance.parents.chunks(2).zip(provenance.parent_weights.chunks(2));
    let mut faces = Vec::new();
    let mut rows = Vec::new();
    for row in 0..batch.rows as usize {
        let parents = match v1::Source::try_from(batch.sources[row]).unwrap() {
            v1::Source::Existing => vec![v1::Parent { identity: batch.labels[row], weight: 1.0 }],
            v1::Source::Blended => {
                let (parents, weights) = parents.next().unwrap();
                parents.iter().zip(weights).map(|(&identity, &weight)| v1::Parent { identity, weight }).collect()
            }
            _ => continue,
        };
        let counter = v1::LatentCounter { seed: 9, index: 0, row: provenance.latent_rows[row], truncation: 0.0 };
        faces.push(v1::Face { parents, latent: Some(v1::face::Latent::Counter(counter)), spread });
        rows.push(row);
    }
    let request = v1::SynthesizeRequest { faces, ..Default::default() };
    let answer = server.client().await.synthesize(request).await.unwrap().into_inner();
    assert_eq!(answer.rows as usize, rows.len());
    for (nth, row) in rows.into_iter().enumerate() {
        assert!(answer.pixels[nth * IMAGE..][..IMAGE] == batch.pixels[row * IMAGE..][..IMAGE], "row {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jittered_latents_are_reproduced_and_name_their_image() {
    let server = Running::ordinary().await;
    let mut jittered = request(4, 30, 2);
    jittered.spec.as_mut().unwrap().latent =
        Some(v1::Latent { kind: Some(v1::latent::Kind::Jitter(v1::Jitter { scale: 0.5 })) });
    let (_, batches) = server.read(jittered.clone()).await.unwrap();
    assert_eq!(Running::ordinary().await.read(jittered).await.unwrap().1, batches);
    for batch in batches {
        let provenance = batch.provenance.unwrap();
        for (row, &image) in provenance.images.iter().enumerate() {
            assert!(image < IDENTITIES * IMAGES, "row {row} names no image");
            if batch.labels[row] < IDENTITIES {
                assert_eq!(image / IMAGES, batch.labels[row]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grey_pixels_of_a_colour_bundle_are_a_third_of_the_bytes() {
    let server = Setup { channels: 3, ..Setup::default() }.start().await;
    let (header, colour) = server.read(request(4, 8, 1)).await.unwrap();
    assert_eq!(header.image.unwrap().channels, 3);
    assert_eq!(colour[0].pixels.len(), 8 * IMAGE * 3);
    let mut grey = request(4, 8, 1);
    grey.spec.as_mut().unwrap().pixel_format = v1::PixelFormat::Grey.into();
    let (header, grey) = server.read(grey).await.unwrap();
    assert_eq!(header.image.unwrap().channels, 1);
    let expected = dataset::Image::new(3, colour[0].pixels[..3 * IMAGE].to_vec()).unwrap().to_grey();
    assert!(grey[0].pixels[..IMAGE] == *expected.pixels());
    assert_eq!(grey[0].labels, colour[0].labels);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_batch_fits_into_a_message() {
    let server =
        Setup { channels: 3, config: Config { tile: Some(64), ..Config::default() }, ..Setup::default() }.start().await;
    let mut large = request(4, proto::limits::MAX_BATCH_SIZE, 1);
    large.spec.as_mut().unwrap().blending = Some(v1::Blending { parents: 5, ..Default::default() });
    let (_, batches) = server.read(large).await.unwrap();
    assert_eq!(batches[0].pixels.len(), 1024 * 3 * IMAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn trainers_with_one_spec_share_the_work() {
    let tiles = Arc::default();
    let server = Setup { tiles: Arc::clone(&tiles), ..Setup::default() }.start().await;
    let (_, first) = server.read(request(7, 20, 10)).await.unwrap();
    let made = tiles.load(Ordering::SeqCst);
    let (_, second) = server.read(request(7, 20, 10)).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(tiles.load(Ordering::SeqCst), made, "the second trainer's batches were generated again");
    let shared = r#"lookalike_batches_total{trainer="(unnamed)",mode="shared"}"#;
    assert_eq!(server.metric(shared).await, 10.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_reads_nothing_delays_no_other() {
    let server = Setup { tile_time: Duration::from_millis(1), ..Setup::default() }.start().await;
    let mut client = server.client().await;
    // Stuck after its header; batches of 4 MiB fill every window.
    let _stuck = Reader::new(client.stream_batches(request(1, 256, 0)).await.unwrap().into_inner()).await.unwrap();
    // What the stuck one holds is bounded: it comes to rest.
    server.comes_to_rest(4.0).await;
    let (pending, tiles) = (r#"lookalike_pending_batches{trainer="(unnamed)"}"#, "lookalike_device_batch_images_sum");
    server.metric_becomes(pending, 4.0).await;
    let before = server.metric(tiles).await;
    let (_, batches) = in_time(server.read(request(2, 16, 30))).await.unwrap();
    assert_eq!(batches.len(), 30);
    assert_eq!(server.metric(tiles).await - before, 30.0 * 8.0, "rows were made for the one that takes none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_reads_nothing_for_a_while_has_nothing_made_ahead_and_reads_on_all_the_same() {
    let (_, undisturbed) = Running::ordinary().await.read(request(1, 256, 12)).await.unwrap();
    let server = Running::ordinary().await;
    let mut client = server.client().await;
    let mut stalled =
        Reader::new(client.stream_batches(request(1, 256, 12)).await.unwrap().into_inner()).await.unwrap();
    let pending = r#"lookalike_pending_batches{trainer="(unnamed)"}"#;
    server.metric_becomes(pending, 4.0).await;
    // Seconds later, without any other event.
    server.metric_becomes(pending, 0.0).await;
    for batch in undisturbed {
        assert_eq!(in_time(stalled.next()).await.unwrap(), Some(batch));
    }
    assert_eq!(in_time(stalled.next()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_ahead_for_a_trainer_is_bounded_in_memory() {
    // Two batches of 32 images, 512 KiB each and as much of what they are made of, are two MiB: the part of
    // one of three streams.
    let config = Config { read_ahead: 8, read_ahead_memory: 6, max_streams: 3, ..Setup::default().config };
    let server = Setup { config, ..Setup::default() }.start().await;
    let mut client = server.client().await;
    let _stuck = Reader::new(client.stream_batches(request(1, 32, 0)).await.unwrap().into_inner()).await.unwrap();
    server.comes_to_rest(2.0).await;
    assert_eq!(server.metric(r#"lookalike_pending_batches{trainer="(unnamed)"}"#).await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gallery_is_bounded_in_memory_and_changes_no_batch() {
    // 120 images of 16 KiB; 64 of them are a MiB.
    let start = async |gallery| {
        let config = Config { gallery, ..Setup::default().config };
        Setup { config, image_counts: vec![20; 6], ..Setup::default() }.start().await
    };
    let real = || {
        let mut real = request(1, 40, 9);
        real.spec.as_mut().unwrap().mix = None;
        real
    };
    let (small, none, large) = (start(1).await, start(0).await, start(512).await);
    let (_, batches) = large.read(real()).await.unwrap();
    assert_eq!(small.read(real()).await.unwrap().1, batches);
    assert_eq!(none.read(real()).await.unwrap().1, batches);
    let bytes = async |server: &Running| server.metric("lookalike_gallery_bytes").await;
    assert_eq!(bytes(&large).await, (120 * IMAGE) as f64);
    assert_eq!(bytes(&small).await, (1 << 20) as f64);
    assert_eq!(bytes(&none).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_leaves_costs_nothing_and_disturbs_none() {
    let tiles = Arc::default();
    let setup = Setup { tiles: Arc::clone(&tiles), tile_time: Duration::from_millis(1), ..Setup::default() };
    let server = setup.start().await;
    let (_, alone) = Running::ordinary().await.read(request(2, 16, 20)).await.unwrap();
    let leaver = async {
        for seed in 10..16 {
            let mut client = server.client().await;
            let stream = client.stream_batches(request(seed, 64, 0)).await.unwrap().into_inner();
            let mut reader = Reader::new(stream).await.unwrap();
            reader.next().await.unwrap();
        }
    };
    let (stayed, ()) = tokio::join!(server.read(request(2, 16, 20)), leaver);
    assert_eq!(stayed.unwrap().1, alone);
    server.metric_becomes(r#"lookalike_active_streams{trainer="(unnamed)"}"#, 0.0).await;
    server.metric_becomes(r#"lookalike_pending_batches{trainer="(unnamed)"}"#, 0.0).await;
    // The engine is idle once the tile in work is done: nothing of the left streams is computed.
    in_time(async {
        let mut last = usize::MAX;
        while last != tiles.load(Ordering::SeqCst) {
            last = tiles.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
