//! Several devices: an engine for each, and one scheduler that none of them can be told by.

use crate::bundle::{DRAWN, drawn_bundle, tiny_bundle};
use crate::fixture::in_time;
use bytes::Bytes;
use candle_core::Device;
use nets::{bundle::Bundle, device::Numbers};
use server::{
    Config, Served,
    engine::{GeneratorError, RowGenerator, weights::BundleGenerator},
    plan::{blending::Parent, catalogue::Catalogue},
    scheduler::{Face, Scheduler, Turn, Weights},
    telemetry::Telemetry,
    workers::{Work, Workers},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

const TILE: usize = 4;

/// Where the engines of a test meet.
#[derive(Default)]
struct Meeting {
    tiles: Mutex<Vec<usize>>,
    came: Condvar,
}

/// A generator that paints rows in the shade of their latent, and may wait for others to paint too.
struct Painter {
    number: usize,
    meeting: Arc<Meeting>,
    /// Engines that must be computing before a tile is finished.
    together: usize,
    /// Tiles until it fails.
    good: usize,
}

impl RowGenerator for Painter {
    fn channels(&self) -> usize {
        1
    }

    fn classes(&self) -> usize {
        3
    }

    fn generate(&mut self, rows: usize, latents: &[f32], _labels: &[f32]) -> Result<Bytes, GeneratorError> {
        let mut tiles = self.meeting.tiles.lock().unwrap();
        tiles.push(self.number);
        self.meeting.came.notify_all();
        self.good = self.good.checked_sub(1).ok_or("the device is lost")?;
        let few = |tiles: &mut Vec<usize>| (0..self.together).any(|number| !tiles.contains(&number));
        let (tiles, waited) = self.meeting.came.wait_timeout_while(tiles, Duration::from_secs(20), few).unwrap();
        drop(tiles);
        if waited.timed_out() {
            return Err("nobody else computed".into());
        }
        Ok((0..rows).flat_map(|row| vec![latents[row * 256] as u8; 128 * 128]).collect())
    }

    fn encode(&mut self, _rows: usize, _pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        Err("it encodes nothing".into())
    }

    fn embed(&mut self, _rows: usize, _pixels: &[u8]) -> Result<Vec<f32>, GeneratorError> {
        Err("it looks at nothing".into())
    }
}

fn scheduler(engines: usize) -> (Scheduler, Arc<Telemetry>) {
    worked(engines, &Workers::Threads)
}

fn worked(engines: usize, workers: &Workers) -> (Scheduler, Arc<Telemetry>) {
    let telemetry = Arc::new(Telemetry::new("", "").unwrap());
    let start =
        Scheduler::start(TILE, 1, &Catalogue::new([1; 3]), BTreeMap::new(), telemetry.clone(), workers, engines);
    (start.unwrap(), telemetry)
}

/// One painter for each engine, of whom the last fails after some tiles.
fn painters(engines: usize, together: usize, good: usize) -> (Vec<Box<dyn RowGenerator>>, Arc<Meeting>) {
    let meeting = Arc::new(Meeting::default());
    let painter = |number: usize| -> Box<dyn RowGenerator> {
        let good = if number + 1 == engines { good } else { usize::MAX };
        Box::new(Painter { number, meeting: meeting.clone(), together, good })
    };
    ((0..engines).map(painter).collect(), meeting)
}

fn faces(count: u32) -> Vec<Face> {
    let parents = |nth: u32| vec![Parent { identity: nth % 3, weight: 1.0 }];
    (0..count).map(|nth| Face { parents: parents(nth), reach: 1.0, latent: vec![nth as f32; 256] }).collect()
}

fn shades(images: &[bytes::Bytes]) -> Vec<u8> {
    images.iter().map(|image| image[0]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_compute_at_once_and_everyone_gets_their_own_rows_in_order() {
    let (scheduler, _) = scheduler(3);
    let (generators, meeting) = painters(3, 3, usize::MAX);
    let weights = scheduler.seat(generators).unwrap();
    weights.accept();
    // Three tiles and a part of a fourth, none of which is finished before three are begun.
    let images = in_time(weights.generate(Turn::Stream(0), faces(14))).await.unwrap();
    assert_eq!(shades(&images), (0..14).collect::<Vec<u8>>());
    assert_eq!(meeting.tiles.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_busy_is_told_no_further_tile() {
    let begun = AtomicBool::new(false);
    let workers = Workers::Tasks(Arc::new(move |work| match work {
        Work::Tile if !begun.swap(true, Relaxed) => Duration::from_secs(10),
        _ => Duration::from_secs(1),
    }));
    let (scheduler, _) = worked(2, &workers);
    // Both wait for a tile already as the weights take their seats.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let weights = scheduler.seat(painters(2, 0, usize::MAX).0).unwrap();
    weights.accept();
    let begin = tokio::time::Instant::now();
    let taken = async |nth: u64| {
        weights.generate(Turn::Stream(nth), faces(4)).await.unwrap();
        begin.elapsed().as_secs()
    };
    // A tile each. The first takes ten seconds, and the other device has time for two.
    assert_eq!(tokio::join!(taken(0), taken(1), taken(2)), (10, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_the_same_whichever_device_makes_it() {
    let images = async |engines: usize| {
        let (scheduler, telemetry) = scheduler(engines);
        let generator = |_| -> Box<dyn RowGenerator> {
            let bundle = Bundle::from_bytes(&tiny_bundle(&["a", "b", "c"]), "a test", &Device::Cpu).unwrap();
            Box::new(BundleGenerator::new(bundle, Device::Cpu, telemetry.clone()))
        };
        let weights: Weights = scheduler.seat((0..engines).map(generator).collect()).unwrap();
        weights.accept();
        in_time(weights.generate(Turn::Stream(0), faces(18))).await.unwrap()
    };
    assert!(images(1).await == images(2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_in_bf16_has_a_numerics_class_of_its_own_and_rows_as_good_in_any_tile() {
    let place = tempfile::tempdir().unwrap();
    let weights = place.path().join("bundle.safetensors");
    std::fs::write(&weights, drawn_bundle()).unwrap();
    let served = |device: &str| {
        let config = Config {
            data: DRAWN.into(),
            weights: Some(weights.clone()),
            device: device.split(',').map(str::to_owned).collect(),
            ..Config::default()
        };
        Served::open(&config)
    };
    let [narrow, wide] = ["cpu/bf16", "cpu"].map(|device| served(device).unwrap().describe());
    assert!(narrow.contains("/bf16/tile16") && wide.contains("/f32/tile16"), "{narrow}, {wide}");
    let mixed = served("cpu,cpu/bf16").err().unwrap().to_string();
    assert!(mixed.contains("expected devices of one kind") && mixed.contains("/bf16"), "{mixed}");

    let images = async |numbers: Numbers, count: u32| {
        let (scheduler, telemetry) = scheduler(1);
        let bundle = Bundle::from_bytes_in(&tiny_bundle(&["a", "b", "c"]), "a test", &Device::Cpu, numbers).unwrap();
        let generator = BundleGenerator::new(bundle, Device::Cpu, telemetry);
        let weights: Weights = scheduler.seat(vec![Box::new(generator)]).unwrap();
        weights.accept();
        in_time(weights.generate(Turn::Stream(0), faces(count))).await.unwrap()
    };
    let (whole, wide) = (images(Numbers::Bf16, 7).await, images(Numbers::F32, 7).await);
    assert!(images(Numbers::Bf16, 3).await[..] == whole[..3], "a row's bytes depend on its neighbours");
    let apart = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b));
    let mean = |a: &[u8], b: &[u8]| a.iter().zip(b).map(apart).sum::<u32>() as f32 / a.len() as f32;
    let difference = mean(&whole.concat(), &wide.concat());
    assert!(difference > 0.0 && difference < 3.0, "{difference} of 255 apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_that_is_lost_ends_them_all() {
    let (scheduler, _) = scheduler(2);
    let (generators, _) = painters(2, 2, 1);
    let weights = scheduler.seat(generators).unwrap();
    weights.accept();
    let lost = async {
        loop {
            weights.generate(Turn::Stream(0), faces(30)).await?;
        }
    };
    let lost: Result<(), server::Error> = in_time(lost).await;
    assert!(lost.unwrap_err().to_string().contains("the device is lost"));
    in_time(scheduler.failed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_fail_on_one_device_are_refused_and_leave_the_others_at_work() {
    let (scheduler, _) = scheduler(2);
    let (generators, _) = painters(2, 2, usize::MAX);
    let accepted = scheduler.seat(generators).unwrap();
    accepted.accept();
    let (generators, _) = painters(2, 2, 0);
    let trial = scheduler.seat(generators).unwrap();
    // Two tiles, one for each device.
    let refused = in_time(trial.generate(Turn::Trial, faces(8))).await.unwrap_err().to_string();
    assert!(refused.contains("the device is lost"), "{refused}");
    drop(trial);
    let images = in_time(accepted.generate(Turn::Stream(0), faces(12))).await.unwrap();
    assert_eq!(shades(&images), (0..12).collect::<Vec<u8>>());
    assert_eq!(scheduler.failure(), None);
}

#[tokio::test]
async fn weights_for_fewer_devices_than_there_are_get_no_seat() {
    let (scheduler, _) = scheduler(2);
    let error = scheduler.seat(painters(1, 0, 1).0).err().unwrap().to_string();
    assert!(error.contains("expected a generator for each of 2 engines, found 1"), "{error}");
}
