//! Trainings that compete for one server while nothing goes wrong: what each of them gets, and what
//! one that stalls takes from the others.

use crate::ledger::Ledger;
use crate::network::{Network, url};
use crate::play::in_virtual_time;
use crate::replica::Replica;
use crate::stand_ins::Weights;
use crate::world::World;
use client::spec::{Blending, Mix, Spec};
use client::{Patience, Reader, StreamSettings};
use nets::chance::{Chance, Draws};
use server::Config;
use server::config::Share;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Before rows are counted: all are there by then.
const BEGINS: Duration = Duration::from_secs(1);

/// How long rows are counted.
const LASTS: Duration = Duration::from_secs(8);

/// A competitor's part.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its share of the generator.
    pub share: f64,
    /// Rows of its batches.
    pub batch: u32,
    /// Rows that it got.
    pub rows: u64,
    /// How many rows it may have more or less than its share.
    pub slack: f64,
}

/// Competitors that always wait: what each of them got.
pub fn parts(seed: u64) -> Vec<Part> {
    let draws = &mut Chance::new(seed, "contest").at(0, 0);
    let shares: Vec<f64> = (0..2 + draws.below(3)).map(|_| [1.0, 1.0, 2.0, 0.5][draws.below(4) as usize]).collect();
    let world = world(draws, seed, &shares);
    let specs: Vec<Spec> = shares.iter().map(|_| spec(draws)).collect();
    in_virtual_time(async {
        let scene = Scene::new(world);
        let mut counts = JoinSet::new();
        for (number, spec) in specs.iter().enumerate() {
            let (settings, rows) = (scene.settings(number, spec), u64::from(spec.batch_size));
            counts.spawn(async move {
                let mut reader = Reader::connect(settings).await.expect("the server serves all");
                let until = |after| Instant::now() + after;
                let begins = until(BEGINS);
                while Instant::now() < begins {
                    reader.next().await.expect("nothing goes wrong");
                }
                let (ends, mut count) = (until(LASTS), 0);
                while Instant::now() < ends {
                    reader.next().await.expect("nothing goes wrong");
                    count += rows;
                }
                (number, count)
            });
        }
        let mut counts = counts.join_all().await;
        counts.sort_unstable();
        let part = |((_, rows), spec): ((usize, u64), &Spec), share: f64| Part {
            share,
            batch: spec.batch_size,
            rows,
            // A turn takes its share of a tile at a time; a batch comes when its last row is there.
            slack: 2.0 * (share * scene.world.config.tile() as f64 + f64::from(spec.batch_size)),
        };
        counts.into_iter().zip(&specs).zip(&shares).map(|(part_of, &share)| part(part_of, share)).collect()
    })
}

/// How long trainings take that always wait, and how long they take beside one that stalls for ever
/// after its first batches; and the time in which the generator makes all that is made for that one.
pub fn beside_one_that_stalls(seed: u64) -> (Duration, Duration, Duration) {
    let draws = &mut Chance::new(seed, "stalled contest").at(0, 0);
    let shares = [1.0; 4];
    let count = 1 + draws.below(2) as usize;
    let world = world(draws, seed, &shares);
    let specs: Vec<Spec> = shares.iter().map(|_| spec(draws)).collect();
    let before = draws.below(4);
    let run = |stalls: bool| {
        let world = world.clone();
        in_virtual_time(async {
            let scene = Scene::new(world);
            let stalled = &specs[count];
            let settings = scene.settings(count, stalled);
            let _stalls = stalls.then(|| {
                AbortOnDropHandle::new(tokio::spawn(async move {
                    let mut reader = Reader::connect(settings).await.expect("the server serves all");
                    for _ in 0..before {
                        reader.next().await.expect("nothing goes wrong");
                    }
                    std::future::pending::<()>().await
                }))
            });
            let mut others = JoinSet::new();
            let began = Instant::now();
            for (number, spec) in specs.iter().enumerate().take(count) {
                let settings = scene.settings(number, spec);
                others.spawn(async move {
                    let mut reader = Reader::connect(settings).await.expect("the server serves all");
                    for _ in 0..120 {
                        reader.next().await.expect("nothing goes wrong");
                    }
                });
            }
            others.join_all().await;
            began.elapsed()
        })
    };
    let (alone, beside) = (run(false), run(true));
    // What it read, what it reads ahead, what its window holds, and what the server makes ahead.
    let stalled = &specs[count];
    let row = crate::stand_ins::IMAGE as u32;
    let window = 3 * world.window_bytes / (row * stalled.batch_size) + 1;
    let ahead = before as u32 + PREFETCH as u32 + world.config.read_ahead as u32 + window + 3;
    (alone, beside, world.tile_time * (ahead * stalled.batch_size))
}

/// How long a training waits for the only place there is, which one that stalls for ever has taken before
/// it, where streams have an age.
pub fn behind_one_that_stalls(seed: u64, age: Duration) -> Duration {
    let draws = &mut Chance::new(seed, "place of one that stalls").at(0, 0);
    let mut world = world(draws, seed, &[1.0; 2]);
    (world.config.max_streams, world.config.max_stream_age) = (1, age.as_secs());
    let [first, second] = [spec(draws), spec(draws)];
    in_virtual_time(async {
        let scene = Scene::new(world);
        let mut stalled = Reader::connect(scene.settings(0, &first)).await.expect("there is one place");
        stalled.next().await.expect("nothing goes wrong");
        let began = Instant::now();
        let patient = StreamSettings { patience: Patience::always(Duration::MAX), ..scene.settings(1, &second) };
        let mut reader = Reader::connect(patient).await.expect("it waits for as long as it takes");
        reader.next().await.expect("the place is free");
        began.elapsed()
    })
}

const PREFETCH: usize = 2;

struct Scene {
    world: Arc<World>,
    network: Network,
    _life: AbortOnDropHandle<()>,
}

impl Scene {
    fn new(world: World) -> Self {
        let world = Arc::new(world);
        let network = Network::new(1, world.latency, world.window_bytes);
        let (_, life) = Replica::new(0, &world, &Ledger::new(), &network);
        Self { world, network, _life: AbortOnDropHandle::new(tokio::spawn(life)) }
    }

    fn settings(&self, number: usize, spec: &Spec) -> StreamSettings {
        StreamSettings {
            trainer: name(number),
            prefetch: PREFETCH,
            patience: Patience::always(Duration::from_secs(10)),
            connector: Some(self.network.way(number)),
            silent: true,
            ..StreamSettings::new(vec![url(0)], spec.clone())
        }
    }
}

fn name(number: usize) -> String {
    format!("competitor-{number}")
}

fn spec(draws: &mut Draws) -> Spec {
    let mix = Mix { real: 0.0, existing: 0.5, blended: 0.5 };
    let blending = Blending { count: Some(8), ..Blending::default() };
    Spec { blending, ..Spec::new(draws.next_u64(), 4 + draws.below(3) as u32, mix) }
}

fn world(draws: &mut Draws, seed: u64, shares: &[f64]) -> World {
    let share = |(number, &weight): (usize, &f64)| Share { trainer: name(number), weight };
    World {
        seed,
        replicas: 1,
        image_counts: vec![2; 4],
        damaged: BTreeSet::new(),
        first: Weights::Good(0),
        last: Weights::Good(0),
        config: Config {
            tile: Some(2 + draws.below(3) as usize),
            // So much that there is always more to do.
            read_ahead: 6,
            shelf: 0,
            watch: 0,
            share: shares.iter().enumerate().map(share).collect(),
            ..Config::default()
        },
        tile_time: Duration::from_millis(12),
        work_time: Duration::from_millis(1),
        steady: true,
        latency: Duration::ZERO,
        window_bytes: 1 << 18,
        trainings: Vec::new(),
        moments: Vec::new(),
    }
}
