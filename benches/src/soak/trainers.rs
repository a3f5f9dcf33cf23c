//! Readers that take batches as fast as they come, each with a spec of its own.

use client::{
    Patience, Spec, StreamSettings, StreamSource,
    spec::{Blending, Latent, Mix, Sampling},
};
use command::Interrupt;
use recognizer::BatchSource;
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What the first trainer does; all others read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Reading,
    /// Connected, with a stream, and taking nothing of it.
    Stalled,
    /// Without a connection.
    Gone,
    /// At its end.
    Done,
}

/// Batches that a trainer holds ready. The fewer, the less a stalled one has taken in already.
const PREFETCH: usize = 2;

/// All trainers, each on a thread of its own.
pub(crate) struct Trainers {
    readers: Vec<Reader>,
}

struct Reader {
    images: Arc<AtomicU64>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    order: Mutex<Order>,
    changed: Condvar,
}

#[derive(Debug)]
struct Order {
    pace: Pace,
    /// Ends a read that waits.
    stop: Option<Interrupt>,
    failure: Option<String>,
}

impl Trainers {
    /// Starts them; they connect by themselves.
    pub(crate) fn start(url: &str, count: usize, batch: u32) -> Result<Self, Box<dyn std::error::Error>> {
        let mut readers = Vec::with_capacity(count);
        for number in 0..count {
            let settings = StreamSettings {
                trainer: format!("trainer-{number}"),
                prefetch: PREFETCH,
                patience: Patience::always(Duration::from_secs(60)),
                ..StreamSettings::new(vec![url.parse()?], spec(number as u64, batch))
            };
            let images = Arc::new(AtomicU64::new(0));
            let order = Order { pace: Pace::Reading, stop: None, failure: None };
            let state = Arc::new(State { order: Mutex::new(order), changed: Condvar::new() });
            let (counter, shared) = (images.clone(), state.clone());
            let thread = std::thread::Builder::new().name(format!("trainer {number}")).spawn(move || {
                if let Err(error) = shared.read(&settings, &counter) {
                    shared.order().failure = Some(format!("{}: {error}", settings.trainer));
                }
            })?;
            readers.push(Reader { images, state, thread: Some(thread) });
        }
        Ok(Self { readers })
    }

    /// Images that each has received so far.
    pub(crate) fn images(&self) -> Vec<u64> {
        self.readers.iter().map(|reader| reader.images.load(Ordering::Relaxed)).collect()
    }

    /// Images that all but the first have received so far.
    pub(crate) fn images_of_others(&self) -> u64 {
        self.images().iter().skip(1).sum()
    }

    /// Tells the first one what to do from now on.
    pub(crate) fn pace_of_first(&self, pace: Pace) {
        if let Some(first) = self.readers.first() {
            first.state.tell(pace);
        }
    }

    /// Whether all of them are well.
    pub(crate) fn check(&self) -> Result<(), String> {
        let failed = self.readers.iter().find_map(|reader| reader.state.order().failure.clone());
        failed.map_or(Ok(()), Err)
    }

    /// Ends all of them.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let well = self.check();
        self.readers.iter().for_each(|reader| reader.state.tell(Pace::Done));
        for reader in &mut self.readers {
            if reader.thread.take().is_some_and(|thread| thread.join().is_err()) {
                return Err("a trainer's thread panicked: this is a bug".to_owned());
            }
        }
        well
    }
}

impl State {
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, pace: Pace) {
        let mut order = self.order();
        order.pace = pace;
        if let Some(stop) = order.stop.take_if(|_| matches!(pace, Pace::Gone | Pace::Done)) {
            stop.request();
        }
        self.changed.notify_all();
    }

    /// Waits while the pace is `pace`; what it is then.
    fn wait_while(&self, pace: Pace) -> Pace {
        let waiting = |order: &mut Order| order.pace == pace;
        self.changed.wait_while(self.order(), waiting).unwrap_or_else(PoisonError::into_inner).pace
    }

    /// Connects, reads, stalls and leaves as it is told.
    fn read(&self, settings: &StreamSettings, images: &AtomicU64) -> client::Result<()> {
        loop {
            match self.wait_while(Pace::Gone) {
                Pace::Done => return Ok(()),
                _ => self.visit(settings, images)?,
            }
        }
    }

    /// One connection, from its beginning until it is to end.
    fn visit(&self, settings: &StreamSettings, images: &AtomicU64) -> client::Result<()> {
        let stop = Interrupt::new();
        self.order().stop = Some(stop.clone());
        let stopped = |outcome: client::Result<()>| match outcome {
            Err(client::Error::Stopped) => Ok(()),
            outcome => outcome,
        };
        let mut source = match StreamSource::connect(settings.clone(), &stop) {
            Ok(source) => source,
            Err(error) => return stopped(Err(error)),
        };
        if let Some(stopper) = source.stopper() {
            stop.on_request(stopper);
        }
        // A stalled trainer has begun its stream.
        loop {
            match source.next_received() {
                Ok(received) => images.fetch_add(received.batch.rows as u64, Ordering::Relaxed),
                Err(error) => return stopped(Err(error)),
            };
            if matches!(self.wait_while(Pace::Stalled), Pace::Gone | Pace::Done) {
                return Ok(());
            }
        }
    }
}

/// Half of the rows are generated in each, so that equals ask the device for equally much; everything
/// else differs.
fn spec(number: u64, batch: u32) -> Spec {
    let shares = [(0.5, 0.0), (0.25, 0.25), (0.0, 0.5), (0.3, 0.2)];
    let (existing, blended) = shares[number as usize % shares.len()];
    let sampling = match number % 3 {
        0 => Sampling::ByImage,
        1 => Sampling::ByIdentity,
        _ if batch.is_multiple_of(4) => Sampling::PerBatch { identities: batch / 4, images: 4 },
        _ => Sampling::ByImage,
    };
    let blending = Blending { parents: 2 + (number % 2) as u32, ..Blending::default() };
    let latent = Latent::Prior { truncation: if number.is_multiple_of(5) { 1.5 } else { 0.0 } };
    Spec { sampling, blending, latent, ..Spec::new(number, batch, Mix { real: 0.5, existing, blended }) }
}
