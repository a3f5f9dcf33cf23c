//! Work of a millisecond or more, done beside the tasks that talk to the network: as much at a time
//! as there are places. Batches have one for each core; questions (what a stream would show, who its
//! classes are) may take seconds, and have places of their own: they never stand before a batch.
//!
//! A task that is dropped can't take back what runs on the blocking pool. So a piece of work gets
//! there only once it may begin: what a trainer that left had waiting is dropped with its task, and
//! what it had begun ends soon.

use crate::{
    error::{Error, Result},
    workers::{Work, Workers},
};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A handle on the places to work; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Makers {
    places: Arc<Semaphore>,
    workers: Workers,
}

/// Places in virtual time, so that nothing depends on the machine.
const VIRTUAL_PLACES: usize = 2;

impl Makers {
    /// One place for each core.
    pub(crate) fn new(workers: &Workers) -> Self {
        Self::at_once(cores(workers), workers)
    }

    /// Half as many, for questions.
    pub(crate) fn for_questions(workers: &Workers) -> Self {
        Self::at_once(cores(workers).div_ceil(2), workers)
    }

    fn at_once(places: usize, workers: &Workers) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), workers: workers.clone() }
    }

    /// Does a piece of work when a place is free. Dropped before that, it is never begun.
    ///
    /// # Errors
    /// Those of `work`; its panic, which is a bug.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|_| Error::Bug("the places to work were closed".into()))?;
        self.apart(Work::Making, move || {
            let _place = place;
            work()
        })
        .await?
    }

    /// Does a piece of work at once, and takes nobody's place: for what may wait for a disk.
    ///
    /// # Errors
    /// Its panic, which is a bug.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        kind: Work,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        if let Some(pace) = self.workers.pace(kind) {
            tokio::time::sleep(pace).await;
            return Ok(work());
        }
        let working = tokio::task::spawn_blocking(work);
        working.await.map_err(|panic| Error::Bug(format!("work ended early: {panic}")))
    }
}

fn cores(workers: &Workers) -> usize {
    match workers {
        Workers::Threads => std::thread::available_parallelism().map_or(2, usize::from),
        Workers::Tasks(_) => VIRTUAL_PLACES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    };

    #[tokio::test]
    async fn work_that_is_dropped_while_it_waits_is_never_begun() {
        let makers = Makers::at_once(1, &Workers::Threads);
        let (finish, finished) = channel::<()>();
        let first = makers.run(move || {
            let _ = finished.recv();
            Ok(())
        });
        let begun = Arc::new(AtomicUsize::new(0));
        let waiting = || {
            let (makers, begun) = (makers.clone(), begun.clone());
            tokio::spawn(async move { makers.run(move || Ok(begun.fetch_add(1, Ordering::SeqCst))).await })
        };
        let mut first = Box::pin(first);
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("it waits to be told"),
            () = tokio::task::yield_now() => {}
        }
        let (left, stayed) = ([waiting(), waiting(), waiting()], waiting());
        tokio::task::yield_now().await;
        left.iter().for_each(|task| task.abort());
        for task in left {
            assert!(task.await.unwrap_err().is_cancelled());
        }
        finish.send(()).unwrap();
        first.await.unwrap();
        assert_eq!(stayed.await.unwrap().unwrap(), 0, "work of those that left came first");
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }
}
