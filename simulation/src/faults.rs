//! What goes wrong, and when.

use crate::ledger::Ledger;
use crate::liar;
use crate::network::Network;
use crate::replica::{Replica, Word};
use crate::stand_ins::{Device, Weights};
use crate::world::{World, millis};
use nets::chance::Draws;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A fault and its moment.
#[derive(Clone, Debug)]
pub struct Moment {
    /// After the beginning.
    pub at: Duration,
    /// What happens.
    pub fault: Fault,
}

/// Something that happens to replicas or to the ways to them. What happens to trainers is in their
/// plans.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Fault {
    /// A server is gone without a word, and comes back with what is on its disk.
    Kill { replica: usize, down: Duration },
    /// A server is asked to end, and comes back.
    Shutdown { replica: usize, down: Duration },
    /// A device fails, with an error or a panic; the server ends and comes back.
    Device { replica: usize, device: Device, down: Duration },
    /// Another file is put in a bundle's place.
    Swap { replicas: Vec<usize>, weights: Weights, how: Asking },
    /// Nothing passes to and from a replica.
    Apart { replica: usize, time: Duration },
    /// Nothing passes to and from a training.
    Alone { training: usize, time: Duration },
    /// Some connection is cut after some more bytes.
    Cut { nth: u64, after: usize },
    /// A replica's connections are slow for a while.
    Slow { replica: usize, latency: Duration, time: Duration },
    /// An image can't be read for a while.
    Lose { replica: usize, image: u32, time: Duration },
    /// Somebody sends what isn't HTTP.
    Garbage { replica: usize, bytes: usize },
    /// Somebody asks for what there isn't.
    Lies { replica: usize },
    /// Somebody asks for more streams than there may be.
    Greed { replica: usize },
}

/// How a server comes to know of another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// It watches.
    Watch,
    /// An administrator asks.
    Admin,
}

impl Fault {
    /// A world's faults, in order.
    pub fn draw_all(d: &mut Draws, world: &World) -> Vec<Moment> {
        let count = 1 + d.below(8);
        let mut moments: Vec<Moment> =
            (0..count).map(|_| Moment { at: millis(d, 50, 10_000), fault: Self::draw(d, world) }).collect();
        moments.sort_by_key(|moment| moment.at);
        moments
    }

    fn draw(d: &mut Draws, world: &World) -> Self {
        let replica = d.below(world.replicas as u64) as usize;
        let time = millis(d, 100, 60_000);
        let down = millis(d, 50, 8_000);
        match d.below(15) {
            0 => Self::Kill { replica, down },
            1 => Self::Shutdown { replica, down },
            2 => {
                let device = if d.chance(0.5) { Device::Fails } else { Device::Panics };
                Self::Device { replica, device, down }
            }
            3..=6 => {
                let bad = [Weights::Torn, Weights::Strangers, Weights::NotFinite, Weights::Panics, Weights::Mistaken];
                let good = Weights::Good(d.below(4));
                let weights = if d.chance(0.3) { bad[d.below(5) as usize] } else { good };
                let all = d.chance(0.6);
                let replicas = if all { (0..world.replicas).collect() } else { vec![replica] };
                let how = if world.config.watch > 0 && d.chance(0.5) { Asking::Watch } else { Asking::Admin };
                Self::Swap { replicas, weights, how }
            }
            7 => Self::Apart { replica, time },
            8 => Self::Alone { training: d.below(world.trainings.len() as u64) as usize, time },
            9 => Self::Cut { nth: d.below(64), after: d.below(100_000) as usize },
            10 => Self::Slow { replica, latency: millis(d, 5, 200), time },
            11 => Self::Lose { replica, image: d.below(world.images().into()) as u32, time },
            12 => Self::Garbage { replica, bytes: 1 + d.below(2000) as usize },
            13 => Self::Lies { replica },
            _ => Self::Greed { replica },
        }
    }

    /// How long the trouble is felt.
    pub fn lasts(&self) -> Duration {
        match self {
            // The grace time comes first.
            Self::Kill { down, .. } | Self::Shutdown { down, .. } | Self::Device { down, .. } => {
                *down + Duration::from_secs(6)
            }
            Self::Apart { time, .. } | Self::Alone { time, .. } | Self::Slow { time, .. } | Self::Lose { time, .. } => {
                *time
            }
            _ => Duration::ZERO,
        }
    }
}

/// Everything that faults happen to.
#[derive(Clone)]
pub struct Stage {
    /// What was drawn.
    pub world: Arc<World>,
    /// Where it is written down.
    pub ledger: Ledger,
    /// The ways.
    pub network: Network,
    /// The servers.
    pub replicas: Vec<Arc<Replica>>,
}

/// Lets everything happen that was drawn, and then puts everything in order again.
pub async fn happen(stage: Stage) {
    let began = Instant::now();
    let mut liars = tokio::task::JoinSet::new();
    for (number, moment) in stage.world.moments.clone().into_iter().enumerate() {
        tokio::time::sleep_until(began + moment.at).await;
        liars.spawn(strike(stage.clone(), number, moment.fault));
    }
    while liars.join_next().await.is_some() {}
    tokio::time::sleep_until(began + stage.world.peace()).await;
    for replica in &stage.replicas {
        stage.network.slow(replica.number, stage.world.latency);
        replica.swap(stage.world.last, Asking::Admin).await;
    }
    stage.ledger.event("peace", "");
}

async fn strike(stage: Stage, number: usize, fault: Fault) {
    let Stage { world, ledger, network, replicas } = stage;
    match fault {
        Fault::Kill { replica, down } => replicas[replica].say(Word::Kill(down)),
        Fault::Shutdown { replica, down } => replicas[replica].say(Word::Shutdown(down)),
        Fault::Device { replica, device, down } => {
            ledger.event("device broken", format!("replica {replica}: {device:?}"));
            replicas[replica].machine.set_device(device);
            // It is mended with the next start, or else now, in case nobody asked it for anything.
            tokio::time::sleep(down).await;
            replicas[replica].machine.set_device(Device::Works);
        }
        Fault::Swap { replicas: chosen, weights, how } => {
            for replica in chosen {
                replicas[replica].swap(weights, how).await;
            }
        }
        Fault::Apart { replica, time } => {
            ledger.event("replica out of reach", format!("replica {replica} for {time:?}"));
            network.part_replica(replica, time);
        }
        Fault::Alone { training, time } => {
            ledger.event("training out of reach", format!("training {training} for {time:?}"));
            network.part_host(training, time);
        }
        Fault::Cut { nth, after } => {
            if let Some(host) = network.cut_one(nth, after) {
                ledger.event("connection cut", format!("of host {host}, after {after} bytes"));
            }
        }
        Fault::Slow { replica, latency, time } => {
            ledger.event("slow way", format!("to replica {replica}: {latency:?} for {time:?}"));
            network.slow(replica, latency);
            tokio::time::sleep(time).await;
            network.slow(replica, world.latency);
        }
        Fault::Lose { replica, image, time } => {
            ledger.event("image lost", format!("{image} on replica {replica} for {time:?}"));
            replicas[replica].machine.lose(image, true);
            tokio::time::sleep(time).await;
            replicas[replica].machine.lose(image, false);
        }
        Fault::Garbage { replica, bytes } => liar::garbage(&world, &ledger, &network, replica, bytes, number).await,
        Fault::Lies { replica } => liar::lies(&world, &ledger, &network, &replicas[replica], number).await,
        Fault::Greed { replica } => liar::greed(&world, &ledger, &network, &replicas[replica], number).await,
    }
}
