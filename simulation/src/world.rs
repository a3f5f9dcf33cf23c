//! What a seed means.

use crate::faults::{Fault, Moment};
use crate::stand_ins::Weights;
use client::spec::{Augmentation, Blending, Filter, Latent, Mix, MixPoint, Sampling, Schedule, Shape, Spec};
use nets::chance::{Chance, Draws};
use server::Config;
use server::config::Share;
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

/// Everything that a seed decides before the clock starts. What is drawn later, such as how long a
/// tile takes, is drawn from the same seed.
#[derive(Clone, Debug)]
pub struct World {
    /// It decides everything.
    pub seed: u64,
    /// Servers of one dataset.
    pub replicas: usize,
    /// Images of each identity.
    pub image_counts: Vec<u32>,
    /// Images that don't decode, here or anywhere.
    pub damaged: BTreeSet<u32>,
    /// The bundle that all replicas begin with.
    pub first: Weights,
    /// The bundle that all replicas have at the end.
    pub last: Weights,
    /// Every server's settings.
    pub config: Config,
    /// The longest computing time of a tile.
    pub tile_time: Duration,
    /// The longest time of other work.
    pub work_time: Duration,
    /// Whether work always takes its longest time, and not any time up to it.
    pub steady: bool,
    /// Latency of a connection's bytes, each way.
    pub latency: Duration,
    /// HTTP/2 window of the trainers.
    pub window_bytes: u32,
    /// Who trains.
    pub trainings: Vec<Plan>,
    /// What happens, in order.
    pub moments: Vec<Moment>,
}

/// Ranks of the largest training.
pub(crate) const MOST_RANKS: u32 = 3;

/// A training, as it was meant to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// May be empty.
    pub name: String,
    /// What it reads.
    pub spec: Spec,
    /// Ranks that share each batch.
    pub world_size: u32,
    /// Batches in all.
    pub batches: u64,
    /// Which weights it reads.
    pub bundle: Choice,
    /// Replicas that it knows, in order.
    pub servers: Vec<usize>,
    /// Batches after which the next server goes on.
    pub lease: Option<NonZeroU64>,
    /// Batches read ahead.
    pub prefetch: usize,
    /// When it begins.
    pub begins: Duration,
    /// The longest time of a step.
    pub step: Duration,
    /// Batches between two checkpoints.
    pub checkpoint_every: u64,
    /// The part of its checkpoints that can't be written: the disk is full.
    pub full_disk: f64,
    /// Batches before which it stalls, and for how long.
    pub stalls: Vec<(u64, Duration)>,
    /// When it dies.
    pub deaths: Vec<Duration>,
    /// Whether it comes back with another number of ranks.
    pub resizes: bool,
}

impl Plan {
    /// Ranks that it may have at once.
    pub fn most_ranks(&self) -> u32 {
        if self.resizes { self.world_size.max(MOST_RANKS) } else { self.world_size }
    }
}

/// Which weights a training reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The newest at its beginning.
    Stay,
    /// The first of the world's, by name.
    Pin,
    /// The newest, always.
    Follow,
}

impl World {
    /// Of a seed.
    pub fn new(seed: u64) -> Self {
        let mut draws = Chance::new(seed, "simulation").at(0, 0);
        let d = &mut draws;
        let replicas = 1 + d.below(3) as usize;
        let image_counts: Vec<u32> = (0..3 + d.below(4)).map(|_| 1 + d.below(4) as u32).collect();
        let damaged = damaged(d, &image_counts);
        let specs: Vec<Spec> = (0..1 + d.below(3)).map(|_| spec(d, image_counts.len())).collect();
        let mut trainings: Vec<Plan> = (0..1 + d.below(5)).map(|number| plan(d, number, replicas, &specs)).collect();
        let last = Weights::Good(d.below(4));
        let ranks: u32 = trainings.iter().map(Plan::most_ranks).sum();
        let config = config(d, ranks as usize, &mut trainings);
        let (tile_time, work_time) = (millis(d, 1, 40), millis(d, 0, 3));
        let mut world = Self {
            seed,
            replicas,
            damaged,
            first: Weights::Good(d.below(2)),
            last,
            config,
            tile_time,
            work_time,
            steady: false,
            latency: millis(d, 0, 8),
            window_bytes: [1 << 16, 1 << 18, proto::limits::WINDOW_BYTES][d.below(3) as usize],
            trainings,
            moments: Vec::new(),
            image_counts,
        };
        // One world in eight is left in peace.
        if d.below(8) > 0 {
            world.moments = Fault::draw_all(d, &world);
        }
        world
    }

    /// Names the dataset.
    pub fn dataset_digest(&self) -> String {
        blake3::hash(format!("{:?} {:?}", self.image_counts, self.damaged).as_bytes()).to_hex().to_string()
    }

    /// Images of all identities.
    pub fn images(&self) -> u32 {
        self.image_counts.iter().sum()
    }

    /// Draws for what comes up in the course of the world.
    pub fn chance(&self, purpose: &str) -> Draws {
        Chance::new(self.seed, &format!("simulation: {purpose}")).at(0, 0)
    }

    /// When the last planned trouble is over, but for stalls, which hurt nobody else.
    pub fn peace(&self) -> Duration {
        let moments = self.moments.iter().map(|moment| moment.at + moment.fault.lasts());
        let deaths = self.trainings.iter().flat_map(|plan| plan.deaths.iter().copied());
        let begins = self.trainings.iter().map(|plan| plan.begins);
        moments.chain(deaths).chain(begins).max().unwrap_or_default()
    }

    /// Whether there isn't room for everybody's streams.
    pub fn is_tight(&self) -> bool {
        let ranks: u32 = self.trainings.iter().map(Plan::most_ranks).sum();
        self.config.max_streams < ranks as usize + 4 || self.config.max_streams_per_trainer < ranks as usize
    }

    /// Whether some way is slow or blocked for a while.
    pub fn has_bad_ways(&self) -> bool {
        let bad = |fault: &Fault| matches!(fault, Fault::Apart { .. } | Fault::Alone { .. } | Fault::Slow { .. });
        self.moments.iter().any(|moment| bad(&moment.fault))
    }

    /// The longest computing time of everything that is left to do, were it all to be done again.
    pub fn work(&self) -> Duration {
        let rows: u64 = self.trainings.iter().map(|plan| plan.batches * u64::from(plan.spec.batch_size)).sum();
        // Encoding takes tiles of its own, and so does each kind of work.
        let tiles = (rows * 2) as u32;
        let steps: Duration = self.trainings.iter().map(|plan| plan.step * plan.batches as u32).sum();
        self.tile_time * tiles + self.work_time * tiles + steps
    }
}

/// A time between two numbers of milliseconds, short ones as often as long ones.
pub fn millis(draws: &mut Draws, least: u64, most: u64) -> Duration {
    let shape = draws.unit();
    Duration::from_micros(((least * 1000) as f64 + shape * shape * ((most - least) * 1000) as f64) as u64)
}

fn damaged(d: &mut Draws, image_counts: &[u32]) -> BTreeSet<u32> {
    let mut damaged = BTreeSet::new();
    let mut first = 0;
    for &count in image_counts {
        // The others of its identity take its place.
        if count > 1 && d.chance(0.2) {
            damaged.insert(first + d.below(count.into()) as u32);
        }
        first += count;
    }
    damaged
}

fn spec(d: &mut Draws, identities: usize) -> Spec {
    let mixes = [(1.0, 0.0, 0.0), (0.5, 0.3, 0.2), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0.2, 0.8, 0.0)];
    let (real, existing, blended) = mixes[d.below(5) as usize];
    let batch_size = 2 + d.below(5) as u32;
    let parents = 2 + d.below(2) as u32;
    let latents = [Latent::Prior { truncation: 0.0 }, Latent::Prior { truncation: 1.5 }, Latent::Jitter { scale: 0.5 }];
    let schedule = if d.chance(0.3) { schedule(d) } else { Schedule::default() };
    let filter = Filter { min_similarity: d.uniform(-0.2, 0.9), max_retries: d.below(4) as u32 };
    Spec {
        schedule,
        filter: Some(filter).filter(|_| d.chance(0.2)),
        sampling: if d.chance(0.5) { Sampling::ByImage } else { Sampling::ByIdentity },
        blending: Blending {
            count: Some(3 + d.below(6) as u32),
            parents: parents.min(identities as u32),
            spread: [0.0, 0.5, 2.0][d.below(3) as usize],
            ..Blending::default()
        },
        latent: latents[d.below(3) as usize],
        augmentation: if d.chance(0.5) { Augmentation::Standard } else { Augmentation::Off },
        ..Spec::new(d.below(1 << 32), batch_size, Mix { real, existing, blended })
    }
}

/// Other mixes from some batches on.
fn schedule(d: &mut Draws) -> Schedule {
    let mut index = 0;
    let points = (0..1 + d.below(3)).map(|_| {
        index += 1 + d.below(8);
        MixPoint { index, mix: Mix { real: d.unit(), existing: d.unit(), blended: d.unit() } }
    });
    let points = points.collect();
    Schedule::new(points, if d.chance(0.5) { Shape::Steps } else { Shape::Linear }).expect("few, and ascending")
}

fn plan(d: &mut Draws, number: u64, replicas: usize, specs: &[Spec]) -> Plan {
    let spec = specs[d.below(specs.len() as u64) as usize].clone();
    let bundle = [Choice::Stay, Choice::Pin, Choice::Follow, Choice::Follow][d.below(4) as usize];
    let world_size = if d.chance(0.3) { (1 + d.below(MOST_RANKS.into()) as u32).min(spec.batch_size) } else { 1 };
    let mut servers: Vec<usize> = (0..replicas).collect();
    d.shuffle(&mut servers);
    // Ranks that follow must ask one server.
    let known = if world_size > 1 && bundle == Choice::Follow { 1 } else { 1 + d.below(replicas as u64) as usize };
    servers.truncate(known);
    let batches = 6 + d.below(24);
    let lease = NonZeroU64::new(2 + d.below(6)).filter(|_| known > 1 && d.chance(0.3));
    let stall = |d: &mut Draws| (d.below(batches), Duration::from_secs(20 + d.below(200)));
    let stalls = if d.chance(0.2) { vec![stall(d)] } else { Vec::new() };
    let deaths = if d.chance(0.3) { (0..1 + d.below(2)).map(|_| millis(d, 100, 10_000)).collect() } else { Vec::new() };
    let names = ["", "one", "two", "three"];
    Plan {
        // Ranks need a name of their own to change together.
        name: match names[d.below(4) as usize] {
            name if world_size == 1 => name.to_owned(),
            _ => format!("world-{number}"),
        },
        spec,
        world_size,
        batches,
        bundle,
        servers,
        lease,
        prefetch: 1 + d.below(4) as usize,
        begins: millis(d, 0, 3000),
        step: if d.chance(0.3) { Duration::ZERO } else { millis(d, 20, 800) },
        checkpoint_every: 1 + d.below(6),
        full_disk: if d.chance(0.2) { 0.5 } else { 0.0 },
        stalls,
        deaths,
        resizes: d.chance(0.5),
    }
}

fn config(d: &mut Draws, ranks: usize, trainings: &mut [Plan]) -> Config {
    let tight = d.chance(0.2);
    let mut config = Config {
        tile: Some(1 + d.below(6) as usize),
        read_ahead: 1 + d.below(4) as usize,
        max_streams: ranks + 4,
        max_streams_per_trainer: ranks.max(2),
        max_pending: 1 + d.below(8) as usize,
        max_bundles: 2 + d.below(3) as usize,
        shelf: d.below(2) as usize,
        gallery: d.below(2) as usize,
        watch: [0, 1, 2][d.below(3) as usize],
        grace: 1 + d.below(4),
        // Streams of some servers end in good order long before their trainings do.
        max_stream_batches: if d.chance(0.2) { 1 + d.below(8) } else { 0 },
        max_stream_age: if d.chance(0.2) { 1 + d.below(30) } else { 0 },
        share: Vec::new(),
        ..Config::default()
    };
    for (trainer, weight) in [("one", 2.0), ("two", 0.5)] {
        if d.chance(0.3) {
            config.share.push(Share { trainer: trainer.into(), weight });
        }
    }
    if tight {
        // Of ranks that hold what others wait for, none would ever begin.
        trainings.iter_mut().for_each(|plan| (plan.world_size, plan.resizes) = (1, false));
        config.max_streams = 1 + d.below(trainings.len() as u64) as usize;
        config.max_streams_per_trainer = 1 + d.below(2) as usize;
    }
    config
}
