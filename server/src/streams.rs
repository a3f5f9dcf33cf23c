//! Admission: how many streams there are, in all and for each trainer, and how much of a trainer's work
//! may be waiting.
//!
//! A stream beyond a limit is refused at once: the trainer asks another server, or again later. Work
//! beyond a limit isn't begun: a trainer with many streams reads ahead less in each of them, down to
//! the one batch that each is sending.

use crate::{
    error::{Error, Result},
    scheduler::Turn,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All streams, by whose they are.
#[derive(Clone)]
pub(crate) struct Streams {
    all: Arc<Semaphore>,
    most: usize,
    most_each: usize,
    most_pending: usize,
    trainers: Arc<Mutex<BTreeMap<Turn, Trainer>>>,
}

struct Trainer {
    streams: usize,
    pending: Arc<Semaphore>,
}

/// One stream's place among them, given back when it is dropped.
pub(crate) struct Admission {
    streams: Streams,
    turn: Turn,
    pending: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

impl Streams {
    /// At most so many streams in all and for each trainer, and so many batches of a trainer made ahead.
    pub(crate) fn new(most: usize, most_each: usize, most_pending: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), most, most_each, most_pending, trainers: Arc::default() }
    }

    /// Takes a place for another stream.
    ///
    /// # Errors
    /// [`Error::Busy`] when there is none.
    pub(crate) fn admit(&self, turn: Turn) -> Result<Admission> {
        let busy = |what, limit| Error::Busy { what, limit };
        let place = self.all.clone().try_acquire_owned().map_err(|_| busy("streams at once", self.most))?;
        let mut trainers = self.trainers();
        let trainer = trainers
            .entry(turn.clone())
            .or_insert_with(|| Trainer { streams: 0, pending: Arc::new(Semaphore::new(self.most_pending)) });
        if trainer.streams >= self.most_each {
            return Err(busy("streams of one trainer at once", self.most_each));
        }
        trainer.streams += 1;
        let pending = trainer.pending.clone();
        drop(trainers);
        Ok(Admission { streams: self.clone(), turn, pending, _place: place })
    }

    /// Streams in all, and for each trainer its streams and the batches made ahead for it.
    pub(crate) fn usage(&self) -> (usize, BTreeMap<Turn, (usize, usize)>) {
        let ahead = |trainer: &Trainer| self.most_pending - trainer.pending.available_permits();
        let trainers = self.trainers();
        let each = trainers.iter().map(|(turn, trainer)| (turn.clone(), (trainer.streams, ahead(trainer))));
        (self.most - self.all.available_permits(), each.collect())
    }

    fn trainers(&self) -> MutexGuard<'_, BTreeMap<Turn, Trainer>> {
        self.trainers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// A place for a batch made ahead of the one that is being sent, if the trainer has one left.
    pub(crate) fn ahead(&self) -> Option<OwnedSemaphorePermit> {
        self.pending.clone().try_acquire_owned().ok()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut trainers = self.streams.trainers();
        if let Some(trainer) = trainers.get_mut(&self.turn) {
            trainer.streams -= 1;
            if trainer.streams == 0 {
                trainers.remove(&self.turn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_refuses_on_its_own_and_what_ends_makes_room() {
        let streams = Streams::new(3, 2, 1);
        let admit = |name: &str| streams.admit(Turn::Trainer(name.into()));
        let first = admit("one").unwrap();
        let second = admit("one").unwrap();
        let error = admit("one").err().unwrap().to_string();
        assert!(error.starts_with("streams of one trainer at once: the limit of 2 is reached"), "{error}");
        let other = admit("other").unwrap();
        assert!(admit("third").err().unwrap().to_string().starts_with("streams at once: the limit of 3"));
        drop(second);
        let second = admit("one").unwrap();
        // What may wait is counted over a trainer's streams, and by itself for each trainer.
        let ahead = first.ahead();
        assert!(ahead.is_some() && second.ahead().is_none() && other.ahead().is_some());
        drop(ahead);
        assert!(second.ahead().is_some());
        drop((first, second, other));
        assert!(streams.trainers().is_empty());
        assert_eq!(streams.all.available_permits(), 3);
    }
}
