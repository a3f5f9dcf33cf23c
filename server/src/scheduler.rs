//! Fair turns: rows that many streams ask for become device tiles of one fixed size.
//!
//! A stream's batch [`generate`](Weights::generate)s its rows as one job. The packer takes
//! rows from the jobs in fair turns ([`turns`]) and packs them into the next tile while the engine
//! computes the last one. A tile that isn't full stays open for more rows until an engine is
//! free, and is never held back longer than that: nobody waits for others to fill it. There is an engine for
//! each device; whichever is free takes the next tile, as it would give the same bytes as any other.
//!
//! Bounds: a job holds one batch; a stream has a bounded number of batches in the making; the
//! streams are counted. One tile is open, and each engine computes one. A job whose asker has left is
//! dropped with it.
//!
//! The weights that compute a job are those of the [`Weights`] it came by. Loading others beside them
//! holds nobody up but for the moment in which they take their seat at each engine.
//!
//! Packer and engines are loops, each on a thread of its own, or each a task where [`Workers`] says
//! so. However one of them ends, it closes the gate: nobody waits for one that is gone.

mod tile;
mod turns;

use crate::{
    engine::{self, Order, RowGenerator, Seat},
    error::{Error, Result},
    plan::{blending::Parent, catalogue::Catalogue},
    telemetry::Telemetry,
    workers::Workers,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use tile::{Delivery, Results};
pub(crate) use tile::{Tile, TileWork};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use turns::{Job, Kind, Task, Turns};

/// A face to be generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// Whose: weights that sum to 1.
    pub parents: Vec<Parent>,
    /// The factor by which the mixture's difference from the average person is scaled; 1 leaves it as it is.
    pub reach: f64,
    /// The latent, 256 numbers.
    pub latent: Vec<f32>,
}

/// Whose turn it is: streams with one key share one turn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// All streams of a named trainer.
    Trainer(String),
    /// One stream of an unnamed one.
    Stream(u64),
    /// New weights, on trial.
    Trial,
}

/// A handle on the packer and the engines; clones share them.
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
}

/// Weights that have a seat at every engine until this is dropped.
pub struct Weights {
    seat: Seat,
    shared: Arc<Shared>,
}

struct Shared {
    gate: Arc<Gate>,
    loops: Mutex<Vec<Loop>>,
    image_bytes: usize,
    classes: usize,
}

/// Where the packer or an engine runs.
enum Loop {
    Thread(JoinHandle<()>),
    Task(AbortOnDropHandle<()>),
}

/// What packer, engines and askers meet at.
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Wakes the packer, which alone waits for it.
    changed: Notify,
    /// Cancelled when the gate is closed.
    ended: CancellationToken,
}

struct State {
    turns: Turns,
    /// Seats given and taken, before any further tile.
    seats: VecDeque<SeatOrder>,
    next_seat: u64,
    engines: Vec<EngineState>,
    closed: Option<String>,
    /// Whether it was closed on an engine that doesn't come back, and isn't waited for.
    hung: bool,
}

/// What an engine does at this moment.
#[derive(Clone, Default)]
struct EngineState {
    /// It waits for a tile.
    ready: bool,
    /// When it began with the tile that it computes.
    computing_since: Option<std::time::Instant>,
    /// Bytes of the weights that have a seat at it.
    holding: usize,
}

/// What all engines do between two tiles.
enum SeatOrder {
    /// Gives each its generator of the same weights, on trial.
    Seat(Seat, Vec<Box<dyn RowGenerator>>),
    Accept(Seat),
    Leave(Seat),
}

/// Orders that an engine is told ahead: a tile, and what is about seats, which comes seldom. The packer
/// waits for an engine that has as many, and the others with it.
const ORDERS: usize = 8;

/// How often a device is looked at that might hang, in real time as its tiles take.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// A closed gate's reason when nothing failed.
const ENDED: &str = "the server is shutting down";

impl Scheduler {
    /// Starts the packer and so many engines, at least one. A tile has `tile` rows of `channels` channels,
    /// labels a number for each identity of the catalogue; `shares` are those of trainers by name, 1 for all others.
    ///
    /// # Errors
    /// When there can't be another thread.
    pub fn start(
        tile: usize,
        channels: usize,
        catalogue: &Catalogue,
        shares: BTreeMap<String, f64>,
        telemetry: Arc<Telemetry>,
        workers: &Workers,
        engines: usize,
    ) -> Result<Self> {
        let engines = vec![EngineState::default(); engines.max(1)];
        let (senders, receivers): (Vec<_>, Vec<_>) = engines.iter().map(|_| mpsc::channel(ORDERS)).unzip();
        let turns = Turns::new(tile, shares);
        let state = State { turns, seats: VecDeque::new(), next_seat: 0, engines, closed: None, hung: false };
        let gate = Arc::new(Gate { state: Mutex::new(state), changed: Notify::new(), ended: CancellationToken::new() });
        let image_bytes = nets::pixels::IMAGE_SIZE * nets::pixels::IMAGE_SIZE * channels;
        let classes = catalogue.identities() as usize;
        let shape = tile::Shape { rows: tile, classes, present: catalogue.present().to_vec(), image_bytes };
        let packer = Packer { gate: gate.clone(), shape, telemetry: telemetry.clone(), open: None };
        let mut loops = vec![Loop::start("packer", workers, packer.run(senders))?];
        for (number, receiver) in receivers.into_iter().enumerate() {
            let (gate, telemetry, pace) = (gate.clone(), telemetry.clone(), workers.clone());
            loops.push(Loop::start("engine", workers, async move {
                let _ends = Ends { gate: &gate, who: "engine" };
                // The reason was logged and handed to the gate.
                let _ = engine::run(number, receiver, &gate, &telemetry, &pace).await;
            })?);
        }
        let loops = Mutex::new(loops);
        Ok(Self { shared: Arc::new(Shared { gate, loops, image_bytes, classes }) })
    }

    /// Seats generators of the same weights beside those that are there, one at each engine, on trial: should
    /// one fail, it ends alone.
    ///
    /// # Errors
    /// When there isn't one for each engine, or their rows aren't of the size that all others are.
    pub fn seat(&self, generators: Vec<Box<dyn RowGenerator>>) -> Result<Weights> {
        let engines = self.shared.gate.lock().engines.len();
        if generators.len() != engines {
            let found = generators.len();
            return Err(Error::Bug(format!("expected a generator for each of {engines} engines, found {found}")));
        }
        let image = nets::pixels::IMAGE_SIZE * nets::pixels::IMAGE_SIZE;
        for generator in &generators {
            let (channels, classes) = (generator.channels(), generator.classes());
            if (channels * image, classes) != (self.shared.image_bytes, self.shared.classes) {
                return Err(Error::Refused(format!(
                    "expected images of {} channels of {} identities, found {channels} of {classes}",
                    self.shared.image_bytes / image,
                    self.shared.classes
                )));
            }
        }
        let seat = self.shared.gate.order(|seat| SeatOrder::Seat(seat, generators));
        Ok(Weights { seat, shared: self.shared.clone() })
    }

    /// Why nothing is generated any more, if so.
    pub fn failure(&self) -> Option<String> {
        self.shared.gate.lock().closed.clone().filter(|reason| reason != ENDED)
    }

    /// Waits until nothing is generated any more, because of a failure or the end.
    pub async fn failed(&self) {
        self.shared.gate.ended.cancelled().await;
    }

    /// Waits until a tile has been computed for longer than `most`, and then gives the engine up: a device
    /// that hangs fails nobody's call, it only never answers. Never for a `most` of zero.
    pub async fn hangs(&self, most: Duration) {
        if most.is_zero() {
            return std::future::pending().await;
        }
        let gate = &self.shared.gate;
        let mut looks = tokio::time::interval((most / 4).clamp(SHORTEST_LOOK, LONGEST_LOOK));
        loop {
            looks.tick().await;
            let mut state = gate.lock();
            let hangs = |engine: &EngineState| engine.computing_since.is_some_and(|since| since.elapsed() > most);
            if state.engines.iter().any(hangs) {
                state.hung = true;
                drop(state);
                let reason = format!("a tile takes longer than {} s: the device hangs", most.as_secs());
                tracing::error!(reason, "the generator is given up");
                return gate.close(&reason);
            }
        }
    }

    /// Ends packer and engines after the tiles that are being computed.
    pub fn close(&self) {
        self.shared.gate.close(ENDED);
    }

    /// Rows that wait for a place in a tile.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.gate.lock().turns.waiting()
    }
}

impl Weights {
    /// Generates faces: an image of 128 x 128 x channels bytes for each, in order. One is part of its whole
    /// tile, which lives for as long as any part of it.
    ///
    /// Dropping the future withdraws the job.
    ///
    /// # Errors
    /// [`Error::Engine`] when the generator has failed, [`Error::Refused`] when it has on trial,
    /// [`Error::ShuttingDown`] at the end.
    pub async fn generate(&self, turn: Turn, faces: Vec<Face>) -> Result<Vec<Bytes>> {
        match self.submit(turn, Task::Generate, turns::Rows::Faces(faces)).await? {
            Results::Images(images) => Ok(images),
            Results::Vectors(_) => Err(Error::Bug("expected images, found vectors".into())),
        }
    }

    /// Encodes images: mean and log-variance of the latent (512 numbers) for each, in order.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub async fn encode(&self, turn: Turn, images: Vec<Bytes>) -> Result<Vec<f32>> {
        self.vectors(turn, Task::Encode, images).await
    }

    /// Looks at images with the identity network: a feature of 256 numbers and length 1 for each, in
    /// order.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub async fn embed(&self, turn: Turn, images: Vec<Bytes>) -> Result<Vec<f32>> {
        self.vectors(turn, Task::Embed, images).await
    }

    /// Ends the trial well: from now on a failure ends the engine.
    pub fn accept(&self) {
        let seat = self.seat;
        self.shared.gate.order(|_| SeatOrder::Accept(seat));
    }

    async fn vectors(&self, turn: Turn, task: Task, images: Vec<Bytes>) -> Result<Vec<f32>> {
        match self.submit(turn, task, turns::Rows::Images(images)).await? {
            Results::Vectors(vectors) => Ok(vectors),
            Results::Images(_) => Err(Error::Bug("expected vectors, found images".into())),
        }
    }

    async fn submit(&self, turn: Turn, task: Task, rows: turns::Rows) -> Result<Results> {
        let (reply, answer) = oneshot::channel();
        if rows.len() == 0 {
            return Ok(task.nothing());
        }
        let delivery = Delivery::new(rows.len(), task, self.shared.image_bytes, reply);
        let gate = &*self.shared.gate;
        let kind = Kind { seat: self.seat, task };
        gate.push(turn.clone(), Job::new(kind, rows, delivery, Instant::now()))?;
        // Dropped after the answer that is awaited, so it finds the job abandoned.
        let _withdrawal = Withdrawal { gate, turn };
        match answer.await {
            Ok(computed) => computed.map_err(Error::Refused),
            // The reply is dropped unsent only when the gate is closed, or is about to be by a
            // loop that panicked.
            Err(_) => {
                gate.ended.cancelled().await;
                Err(gate.closed_error())
            }
        }
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        let seat = self.seat;
        self.shared.gate.order(|_| SeatOrder::Leave(seat));
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Weights").field(&self.seat).finish()
    }
}

/// Takes a job out of its queue when its asker leaves, at whatever place of the queue it is.
struct Withdrawal<'a> {
    gate: &'a Gate,
    turn: Turn,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        let dropped = self.gate.lock().turns.sweep(&self.turn);
        drop(dropped);
    }
}

/// A tile is being computed by the engine of this number, and perhaps others that were begun with after it.
pub(crate) struct Computing<'a>(&'a Gate, usize);

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.0.lock().engines[self.1].computing_since = None;
    }
}

/// Closes the gate when packer or an engine ends, if only by a panic. Where there is a better reason, the
/// gate has it already.
struct Ends<'a> {
    gate: &'a Gate,
    who: &'static str,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.gate.close(&format!("its {} ended early: this is a bug", self.who));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.gate.close(ENDED);
        if self.gate.lock().hung {
            // The process ends without its engine.
            return;
        }
        for running in self.loops.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            match running {
                // The last handle may be dropped on the engine's own thread only by a bug; a panic
                // there was turned into the gate's reason.
                Loop::Thread(thread) => drop(thread.join()),
                Loop::Task(task) => drop(task),
            }
        }
    }
}

impl Gate {
    /// Says that an engine waits for a tile.
    pub(crate) fn engine_is_ready(&self, number: usize) {
        self.lock().engines[number].ready = true;
        self.changed.notify_one();
    }

    /// Says that an engine computes a tile, for as long as the answer lives.
    pub(crate) fn computing(&self, number: usize) -> Computing<'_> {
        self.lock().engines[number].computing_since = Some(std::time::Instant::now());
        Computing(self, number)
    }

    /// Says that weights of so many bytes have a seat at an engine; gives those at all engines.
    pub(crate) fn holding(&self, number: usize, bytes: usize) -> usize {
        let mut state = self.lock();
        state.engines[number].holding = bytes;
        state.engines.iter().map(|engine| engine.holding).sum()
    }

    /// Refuses everything from now on and drops what is queued.
    pub(crate) fn close(&self, reason: &str) {
        let mut state = self.lock();
        state.closed.get_or_insert_with(|| reason.to_owned());
        let dropped = (state.turns.clear(), std::mem::take(&mut state.seats));
        drop(state);
        drop(dropped);
        self.changed.notify_one();
        self.ended.cancel();
    }

    /// Puts an order about seats before all further tiles; it may take the next free seat.
    fn order(&self, order: impl FnOnce(Seat) -> SeatOrder) -> Seat {
        let mut state = self.lock();
        let seat = Seat(state.next_seat);
        state.next_seat += 1;
        let order = order(seat);
        // Nobody takes orders any more once the gate is closed.
        let dropped = match state.closed {
            None => {
                state.seats.push_back(order);
                None
            }
            Some(_) => Some(order),
        };
        drop(state);
        drop(dropped);
        self.changed.notify_one();
        seat
    }

    fn push(&self, turn: Turn, job: Job) -> Result<()> {
        let mut state = self.lock();
        if state.closed.is_some() {
            drop(state);
            return Err(self.closed_error());
        }
        state.turns.push(turn, job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn closed_error(&self) -> Error {
        match self.lock().closed.clone() {
            Some(reason) if reason == ENDED => Error::ShuttingDown,
            Some(reason) => Error::Engine(reason),
            None => Error::Bug("rows were dropped by an open scheduler".into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No user code runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Packs rows into tiles, and hands the engines their orders.
struct Packer {
    gate: Arc<Gate>,
    shape: tile::Shape,
    telemetry: Arc<Telemetry>,
    open: Option<Tile>,
}

/// What the packer does next.
enum Step {
    /// For the engine of this number.
    Compute(usize, Tile),
    /// For all of them.
    Seats(SeatOrder),
    /// Nothing, until something changes at the gate.
    Wait,
    End,
}

impl Packer {
    /// Hands over orders until the gate is closed or an engine is gone.
    async fn run(mut self, engines: Vec<mpsc::Sender<Order>>) {
        let gate = self.gate.clone();
        let _ends = Ends { gate: &gate, who: "packer" };
        loop {
            match self.step() {
                // A change that comes before the wait for it ends that wait at once.
                Step::Wait => gate.changed.notified().await,
                Step::End => return,
                Step::Compute(number, tile) => {
                    if engines[number].send(Order::Compute(tile)).await.is_err() {
                        return;
                    }
                }
                Step::Seats(order) => {
                    for (engine, order) in engines.iter().zip(order.for_each(engines.len())) {
                        if engine.send(order).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// The next order: one about seats at once, the open tile once an engine is free.
    fn step(&mut self) -> Step {
        loop {
            let mut state = self.gate.lock();
            if state.closed.is_some() {
                return Step::End;
            }
            if let Some(order) = state.seats.pop_front() {
                return Step::Seats(order);
            }
            let taken = match &self.open {
                None => state.turns.take(self.shape.rows, None),
                Some(tile) => state.turns.take(tile.space(), Some(tile.kind())),
            };
            if taken.is_empty() {
                let Some(number) = state.engines.iter().position(|engine| engine.ready) else { return Step::Wait };
                let Some(tile) = self.open.take() else { return Step::Wait };
                state.engines[number].ready = false;
                return Step::Compute(number, tile);
            }
            // Packing copies and fills; askers needn't wait for that.
            drop(state);
            for row in taken {
                if row.is_first {
                    self.telemetry.queued(row.queued_at.elapsed());
                }
                self.open.get_or_insert_with(|| Tile::new(&self.shape, row.kind)).pack(&self.shape, row);
            }
        }
    }
}

impl SeatOrder {
    /// What it is for each engine.
    fn for_each(self, engines: usize) -> Vec<Order> {
        match self {
            Self::Seat(seat, generators) => {
                generators.into_iter().map(|generator| Order::Seat(seat, generator)).collect()
            }
            Self::Accept(seat) => (0..engines).map(|_| Order::Accept(seat)).collect(),
            Self::Leave(seat) => (0..engines).map(|_| Order::Leave(seat)).collect(),
        }
    }
}

impl Loop {
    fn start(name: &str, workers: &Workers, body: impl Future<Output = ()> + Send + 'static) -> Result<Self> {
        if let Workers::Tasks(_) = workers {
            return Ok(Self::Task(AbortOnDropHandle::new(tokio::spawn(body))));
        }
        let failed = |error| Error::Transport(format!("cannot start the {name} thread: {error}"));
        // With a clock for the engine, which gives its next tile a moment to come.
        let waits = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let thread = thread::Builder::new().name(name.into()).spawn(move || waits.block_on(body));
        Ok(Self::Thread(thread.map_err(failed)?))
    }
}
