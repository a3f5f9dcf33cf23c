//! The next batches are made while the network works on this one.

use crate::batch::{Batch, BatchSource, LatePlace, SourceError};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Batches that wait, beside the one being made.
const WAITING: usize = 2;
/// How often a wait for a slow source looks up.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Batches fetched ahead.
pub(crate) struct Prefetched {
    batches: Receiver<Result<Fetched, SourceError>>,
    record_wait: Option<Box<dyn Fn(Duration) + Send>>,
}

/// A checked batch.
pub(crate) struct Fetched {
    pub(crate) batch: Batch,
    /// Where the source stood right after this batch, however far it has run ahead since.
    pub(crate) place: LatePlace,
}

/// Runs `consume` while another thread asks `source` for batches.
pub(crate) fn prefetch<T>(source: &mut dyn BatchSource, consume: impl FnOnce(Prefetched) -> T) -> T {
    let (sender, batches) = sync_channel(WAITING);
    let (stopper, record_wait) = (source.stopper(), source.wait_recorder());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let classes = source.classes();
            loop {
                let fetched = source.next().and_then(|batch| {
                    batch.check(classes)?;
                    Ok(Fetched { batch, place: source.place_later() })
                });
                let last = fetched.is_err();
                // The channel closes when `consume` has enough.
                if sender.send(fetched).is_err() || last {
                    return;
                }
            }
        });
        let consumed = consume(Prefetched { batches, record_wait });
        // The scope ends with its thread, which may wait for a server that is gone.
        if let Some(stop) = stopper {
            stop();
        }
        consumed
    })
}

impl Prefetched {
    /// The next batch, or `None` when `give_up` says so during the wait.
    pub(crate) fn next(&self, give_up: impl Fn() -> bool) -> Result<Option<Fetched>, SourceError> {
        let began = Instant::now();
        loop {
            match self.batches.recv_timeout(LOOK_UP) {
                Ok(fetched) => {
                    if let (Some(record), Ok(_)) = (&self.record_wait, &fetched) {
                        record(began.elapsed());
                    }
                    return fetched.map(Some);
                }
                Err(RecvTimeoutError::Timeout) if give_up() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(SourceError::Place("the source ended; this is a bug".to_owned()));
                }
            }
        }
    }
}
