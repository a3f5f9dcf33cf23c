//! A seed, from its first moment to the last check.

use crate::faults::{self, Asking, Stage};
use crate::ledger::{Failure, Ledger, RowKey, Story};
use crate::network::{Network, url};
use crate::replica::{Replica, Word};
use crate::stand_ins::{PLANNED, Weights};
use crate::training::{self, Training};
use crate::world::World;
use client::spec::Spec;
use client::{Patience, Reader, StreamSettings};
use server::Usage;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// How often limits are looked at, beside the moments in which a batch comes.
const LOOK: Duration = Duration::from_millis(250);

/// How long a stream may take to find its way after the last fault, besides its work: connections that
/// nobody answers on are given up after 30 seconds, and trainers that gave up are started again.
const RECOVERY: Duration = Duration::from_secs(120);

/// How long after the last trainer's end everything must have been given back.
const SETTLED: Duration = Duration::from_secs(45);

/// Counts streams that a server ended in good order for their length or age.
const PARTED: &str = "lookalike_rejections_total{reason=\"lease\"}";

/// Batches of a world that a quiet server makes again.
const SPOT_CHECKS: usize = 3;

/// Plays a seed's world.
///
/// # Errors
/// The promise that it breaks, with the last lines of its story.
pub fn play(seed: u64) -> Result<Story, Failure> {
    play_world(World::new(seed)).1
}

/// Plays a world; its story's last lines, and its outcome.
pub fn play_world(world: World) -> (Vec<String>, Result<Story, Failure>) {
    in_virtual_time(async {
        let seed = world.seed;
        let ledger = Ledger::new();
        tokio::select! {
            biased;
            () = ledger.until_broken() => {}
            () = whole(Arc::new(world), &ledger) => {}
        }
        (ledger.lines(), ledger.close(seed))
    })
}

/// Runs a future on this thread alone, by a clock that stands still while there is anything to do.
pub fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    without_threads();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime needs a few files only");
    // What servers log of faults that were planned is nobody's business.
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), || runtime.block_on(work))
}

/// What would be done on the threads of a pool is done where it is asked for, and planned panics are
/// not told to anybody.
fn without_threads() {
    thread_local! {
        static ALONE: Option<rayon::ThreadPool> =
            rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().ok();
    }
    ALONE.with(|_| ());
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some(PLANNED) {
                told(panic);
            }
        }));
    });
}

async fn whole(world: Arc<World>, ledger: &Ledger) {
    let began = Instant::now();
    let network = Network::new(world.replicas, world.latency, world.window_bytes);
    let (replicas, lives): (Vec<_>, Vec<_>) =
        (0..world.replicas).map(|number| Replica::new(number, &world, ledger, &network)).unzip();
    let _lives: Vec<_> = lives.into_iter().map(|life| AbortOnDropHandle::new(tokio::spawn(life))).collect();
    let _looking = AbortOnDropHandle::new(tokio::spawn(look(world.clone(), ledger.clone(), replicas.clone())));
    let stage = Stage { world: world.clone(), ledger: ledger.clone(), network: network.clone(), replicas };
    let happening = tokio::spawn(faults::happen(stage.clone()));

    let mut trainings = JoinSet::new();
    for number in 0..world.trainings.len() {
        let training = Training::new(number, &world, ledger, &network);
        let in_time = tokio::time::timeout_at(began + deadline(&world, number), training.live());
        trainings.spawn(async move { (number, in_time.await.is_ok()) });
    }
    while let Some(ended) = trainings.join_next().await {
        match ended {
            Ok((_, true)) => {}
            Ok((number, false)) => ledger.broken(format!("training {number} doesn't come to its end in time")),
            Err(error) => ledger.broken(format!("a training ended early: {error}")),
        }
    }
    joined(ledger, happening).await;
    oracle(&world, ledger).await;
    settled(&world, ledger, &stage, &network).await;
}

/// When a training must have come to its end.
fn deadline(world: &World, number: usize) -> Duration {
    let stalls = |plan: &crate::world::Plan| plan.stalls.iter().map(|(_, time)| *time).sum::<Duration>();
    let own = stalls(&world.trainings[number]);
    // Where there is no room for all, one that stalls keeps its place.
    let stalled = if world.is_tight() { world.trainings.iter().map(stalls).sum() } else { own };
    world.peace() + stalled + RECOVERY + world.work()
}

async fn joined(ledger: &Ledger, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        ledger.broken(format!("what should have happened ended early: {error}"));
    }
}

/// Holds what servers hold against their limits, again and again.
async fn look(world: Arc<World>, ledger: Ledger, replicas: Vec<Arc<Replica>>) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        for replica in &replicas {
            if let Some(usage) = replica.usage()
                && let Some(broken) = beyond(&world, &usage)
            {
                ledger.broken(format!("replica {}: {broken}: {usage:?}", replica.number));
            }
        }
    }
}

/// What is beyond its limit.
fn beyond(world: &World, usage: &Usage) -> Option<&'static str> {
    let config = &world.config;
    let ahead: usize = usage.trainers.values().map(|(_, ahead)| ahead).sum();
    let rows = world.trainings.iter().map(|plan| plan.spec.batch_size as usize).max().unwrap_or(1).max(4);
    // One job for each batch in the making, those of a trial, and of streams that are just being left.
    let waiting = (usage.streams + ahead + 8) * rows + 64;
    let limits = [
        (usage.streams <= config.max_streams, "too many streams"),
        (
            usage.trainers.values().all(|(streams, _)| *streams <= config.max_streams_per_trainer),
            "too many streams of one trainer",
        ),
        (usage.trainers.values().all(|(_, ahead)| *ahead <= config.max_pending), "too many batches made ahead"),
        (usage.shelf_bytes <= config.shelf << 20, "too much on the shelf"),
        (usage.gallery_bytes <= config.gallery << 20, "too much in the gallery"),
        (usage.bundles.len() <= config.max_bundles, "too many bundles"),
        (usage.waiting_rows <= waiting, "too many rows waiting"),
    ];
    limits.into_iter().find(|(holds, _)| !holds).map(|(_, sentence)| sentence)
}

/// Has some batches made again by a server that has nothing else to do.
async fn oracle(world: &Arc<World>, ledger: &Ledger) {
    let quiet = Arc::new(World {
        replicas: 1,
        config: server::Config { tile: Some(3), watch: 0, ..server::Config::default() },
        latency: Duration::ZERO,
        moments: Vec::new(),
        ..(**world).clone()
    });
    for batch in ledger.some_batches(SPOT_CHECKS) {
        let Some(spec) =
            world.trainings.iter().map(|plan| &plan.spec).find(|spec| training::stream(spec) == batch.stream)
        else {
            continue;
        };
        let known = (0..8).map(Weights::Good).find(|weights| weights.digest() == batch.bundle);
        let Some(weights) = known else { continue };
        let again = again(&quiet, weights, spec, &batch).await;
        match again {
            // Held against what was written down.
            Ok(received) => training::record(ledger, spec, 0, 1, &received),
            Err(error) => ledger.broken(format!("a quiet server doesn't make {batch:?}: {error}")),
        }
        ledger.event("batch made again", format!("{} of stream {:x}", batch.index, batch.stream));
    }
}

async fn again(quiet: &Arc<World>, weights: Weights, spec: &Spec, batch: &RowKey) -> client::Result<client::Received> {
    let network = Network::new(1, Duration::ZERO, proto::limits::WINDOW_BYTES);
    let world = Arc::new(World { first: weights, ..(**quiet).clone() });
    let (_replica, life) = Replica::new(0, &world, &Ledger::new(), &network);
    let _life = AbortOnDropHandle::new(tokio::spawn(life));
    let settings = StreamSettings {
        first: batch.index,
        end: Some(batch.index + 1),
        patience: Patience::always(Duration::from_secs(10)),
        connector: Some(network.way(0)),
        silent: true,
        ..StreamSettings::new(vec![url(0)], spec.clone())
    };
    Reader::connect(settings).await?.next().await
}

/// Nothing is held any more once everybody has left.
async fn settled(world: &World, ledger: &Ledger, stage: &Stage, network: &Network) {
    tokio::time::sleep(SETTLED).await;
    ledger.check(network.links() == 0, || format!("{} connections are still open", network.links()));
    for replica in &stage.replicas {
        let number = replica.number;
        let Some(usage) = replica.usage() else {
            ledger.broken(format!("replica {number} doesn't run any more"));
            continue;
        };
        let free = usage.bundles.iter().all(|(_, needed)| *needed == 0);
        let nothing = (usage.streams, usage.trainers.len(), usage.waiting_rows, usage.syntheses, usage.followed);
        ledger.check(nothing == (0, 0, 0, 0, 0) && free, || format!("replica {number} still holds {usage:?}"));
        let metrics = replica.metrics().unwrap_or_default();
        if metrics.lines().any(|line| line.starts_with(PARTED) && !line.ends_with(" 0")) {
            ledger.event("stream parted", format!("by replica {number}"));
        }
        for line in metrics.lines() {
            let raised = line.starts_with("lookalike_active_streams") || line.starts_with("lookalike_pending_batches");
            let bug = line.starts_with("lookalike_rejections_total") && line.contains("internal");
            ledger.check(!(raised || bug) || line.ends_with(" 0"), || format!("replica {number} counts {line}"));
        }
        // With all of its bundles free, there is room for another.
        replica.swap(world.last, Asking::Admin).await;
        let newest = replica.usage().map(|usage| usage.bundles[0].0.clone());
        ledger.check(newest == Some(world.last.digest()), || format!("replica {number} doesn't take {:?}", world.last));
        replica.say(Word::Shutdown(Duration::from_secs(3600)));
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    for replica in &stage.replicas {
        let (number, remains) = (replica.number, replica.remains());
        ledger.check(remains == 0, || format!("{remains} servers of replica {number} ended, and something holds them"));
    }
}
