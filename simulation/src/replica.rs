//! A server's life: it starts with what is on its disk, ends in one of many ways, and starts again.

use crate::faults::Asking;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::stand_ins::{Device, Machine, PLANNED, Weights};
use crate::world::{World, millis};
use server::listeners::connection::Connection;
use server::workers::Work;
use server::{Served, Usage, Workers};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tokio_util::task::AbortOnDropHandle;

/// A replica: a machine that runs a server most of the time.
pub struct Replica {
    /// From 0.
    pub number: usize,
    /// Its disk and its device.
    pub machine: Arc<Machine>,
    world: Arc<World>,
    ledger: Ledger,
    network: Network,
    state: Mutex<State>,
    words: mpsc::UnboundedSender<Word>,
}

struct State {
    served: Option<Arc<Served>>,
    /// Those that are gone, to see that nothing holds them.
    past: Vec<Weak<Served>>,
    /// The bundle that held up last, for the next start.
    good: Weights,
}

/// What is said to a replica.
pub enum Word {
    /// It is gone at once, and starts again after so long.
    Kill(Duration),
    /// It ends when it is ready to, and starts again after so long.
    Shutdown(Duration),
}

impl Replica {
    /// A replica with the world's first bundle, and the life that it will lead.
    pub fn new(
        number: usize,
        world: &Arc<World>,
        ledger: &Ledger,
        network: &Network,
    ) -> (Arc<Self>, impl Future<Output = ()> + use<>) {
        let (words, heard) = mpsc::unbounded_channel();
        let replica = Arc::new(Self {
            number,
            machine: Machine::new(world.first),
            world: world.clone(),
            ledger: ledger.clone(),
            network: network.clone(),
            state: Mutex::new(State { served: None, past: Vec::new(), good: world.first }),
            words,
        });
        (replica.clone(), replica.live(heard))
    }

    /// Says something to it. It is heard once it runs.
    pub fn say(&self, word: Word) {
        // It listens to the end of the world.
        let _ = self.words.send(word);
    }

    /// What its server holds, if it runs.
    pub fn usage(&self) -> Option<Usage> {
        self.state().served.as_ref().map(|served| served.usage())
    }

    /// Its server's page of metrics, if it runs.
    pub fn metrics(&self) -> Option<String> {
        self.state().served.as_ref().map(|served| served.metrics())
    }

    /// Servers of the past that something still holds.
    pub fn remains(&self) -> usize {
        self.state().past.iter().filter(|served| served.strong_count() > 0).count()
    }

    /// Puts a file in the bundle's place, and asks the server to look at it, unless it watches.
    pub async fn swap(&self, weights: Weights, how: Asking) {
        self.machine.write(weights);
        self.ledger.event("file swapped", format!("replica {}: {weights:?}, {how:?}", self.number));
        let Some(served) = self.state().served.clone() else { return };
        if how == Asking::Watch {
            return;
        }
        let before = served.usage().bundles[0].0.clone();
        let reloaded = server::reload::reload(&served, "").await;
        let after = served.usage().bundles[0].0.clone();
        let number = self.number;
        match reloaded {
            Ok(reloaded) => {
                self.ledger
                    .event("bundle served", format!("replica {number}: {weights:?}, changed {}", reloaded.changed));
                // Another file may have come before this one was read.
                let good = (0..64).any(|nth| Weights::Good(nth).digest() == reloaded.bundle.digest);
                self.ledger.check(good, || format!("replica {number} serves {weights:?}"));
            }
            Err(error) => {
                self.ledger.event("bundle refused", format!("replica {number}: {error}"));
                // A watcher, or another's request, may have changed it meanwhile.
                let overtaken = matches!(error, server::Error::Reloading) || self.world.config.watch > 0;
                let kept = before == after || overtaken;
                self.ledger.check(kept, || {
                    format!("replica {number} refuses {weights:?} and has another bundle all the same")
                });
                let transient = matches!(
                    error,
                    server::Error::Reloading
                        | server::Error::Busy { .. }
                        | server::Error::ShuttingDown
                        | server::Error::Engine(_)
                );
                let text = error.to_string();
                let broken = text.contains("the device is lost") || text.contains(PLANNED);
                let known = !matches!(weights, Weights::Good(_)) || transient || broken || self.changed_since(weights);
                self.ledger.check(known, || format!("replica {number} refuses {weights:?}: {error}"));
            }
        }
    }

    /// Whether another file is there by now.
    fn changed_since(&self, weights: Weights) -> bool {
        self.machine.weights() != weights
    }

    async fn live(self: Arc<Self>, mut words: mpsc::UnboundedReceiver<Word>) {
        let mut pace = self.world.chance(&format!("pace of replica {}", self.number));
        loop {
            let seed = pace.next_u64();
            let down = self.run(seed, &mut words).await;
            tokio::time::sleep(down).await;
        }
    }

    /// One server, from its start to its end. How long until the next.
    async fn run(&self, seed: u64, words: &mut mpsc::UnboundedReceiver<Word>) -> Duration {
        let (number, ledger) = (self.number, &self.ledger);
        // Whoever starts a server sees to it that it can.
        if !matches!(self.machine.weights(), Weights::Good(_)) {
            let good = self.state().good;
            self.machine.write(good);
        }
        self.machine.set_device(Device::Works);
        let workers = self.workers(seed);
        let parts = self.machine.parts(&self.world);
        let served = match Served::with_workers(&self.world.config, parts, &workers) {
            Ok(served) => Arc::new(served),
            Err(error) => {
                ledger.broken(format!("replica {number} doesn't start: {error}"));
                return Duration::from_secs(3600);
            }
        };
        self.state().served = Some(served.clone());
        ledger.event("server started", format!("replica {number} with {:?}", self.machine.weights()));
        let pipes = UnboundedReceiverStream::new(self.network.listen(number));
        let connections = pipes.map(|pipe| pipe.map(Connection::within));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(server::serve_connections(served.clone(), connections, shutdown));
        let mut serving = AbortOnDropHandle::new(serving);
        let word = tokio::select! {
            biased;
            ended = &mut serving => Err(ended),
            word = words.recv() => Ok(word),
        };
        let (how, down) = match word {
            Ok(Some(Word::Shutdown(down))) => {
                ledger.event("server asked to end", format!("replica {number}"));
                let _ = stop.send(());
                self.network.stop_listening(number);
                let grace = Duration::from_secs(self.world.config.grace + 5);
                let ended = tokio::time::timeout(grace, &mut serving).await;
                ledger.check(ended.is_ok(), || format!("replica {number} doesn't end within {grace:?}"));
                ("server ended", down)
            }
            Ok(Some(Word::Kill(down))) => ("server killed", down),
            Ok(None) => ("server killed", Duration::ZERO),
            Err(Ok(Err(server::Error::Engine(reason)))) => {
                ledger.event("engine failed", format!("replica {number}: {reason}"));
                ("server ended", Duration::from_secs(1))
            }
            Err(other) => {
                ledger.broken(format!("replica {number} ended by itself: {:?}", other.map(|ended| ended.err())));
                ("server ended", Duration::from_secs(3600))
            }
        };
        drop(serving);
        self.network.cut_replica(number);
        let newest = served.usage().bundles[0].0.clone();
        let mut state = self.state();
        if let Some(good) = (0..64).map(Weights::Good).find(|weights| weights.digest() == newest) {
            state.good = good;
        }
        state.served = None;
        state.past.push(Arc::downgrade(&served));
        drop(state);
        ledger.event(how, format!("replica {number}"));
        down
    }

    /// Work takes its time, up to the world's longest.
    fn workers(&self, seed: u64) -> Workers {
        let pace = Mutex::new(nets::chance::Chance::new(seed, "pace").at(0, 0));
        let (tile, work, steady) = (self.world.tile_time, self.world.work_time, self.world.steady);
        Workers::Tasks(Arc::new(move |kind| {
            let longest = match kind {
                Work::Tile => tile,
                Work::Making => work,
                Work::Reading => work * 20,
            };
            if steady {
                return longest;
            }
            let mut draws = pace.lock().unwrap_or_else(PoisonError::into_inner);
            millis(&mut draws, 0, longest.as_millis() as u64)
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
