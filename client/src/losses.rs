//! What the training loop says of its losses, until a server is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where losses are written down; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossLog(Arc<Mutex<BTreeMap<u32, Sum>>>);

/// Of one identity's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) loss: f64,
    pub(crate) rows: u32,
}

impl LossLog {
    /// For a training loop: takes the class and the loss of each row of a step. Those of classes from
    /// `identities` on, which are blended, are left out: no table speaks of them.
    pub(crate) fn recorder(&self, identities: u32) -> impl Fn(&[u32], &[f32]) + Send + use<> {
        let log = self.clone();
        move |classes, losses| {
            let mut sums = log.sums();
            for (&class, &loss) in classes.iter().zip(losses) {
                if class < identities && loss.is_finite() {
                    let sum = sums.entry(class).or_default();
                    // An exact loss of 0 may come out a little below.
                    sum.loss += f64::from(loss.max(0.0));
                    sum.rows = sum.rows.saturating_add(1);
                }
            }
        }
    }

    /// The sums by identity that were not taken before.
    pub(crate) fn take(&self) -> BTreeMap<u32, Sum> {
        std::mem::take(&mut *self.sums())
    }

    fn sums(&self) -> MutexGuard<'_, BTreeMap<u32, Sum>> {
        // Every change is whole at each of its steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_summed_by_identity_and_each_is_told_once() {
        let log = LossLog::default();
        let record = log.recorder(3);
        record(&[0, 2, 0, 3], &[1.0, 0.5, 2.0, 9.0]);
        record(&[2, 1, 1], &[0.25, f32::NAN, -1e-9]);
        let sum = |loss, rows| Sum { loss, rows };
        assert_eq!(log.take(), [(0, sum(3.0, 2)), (1, sum(0.0, 1)), (2, sum(0.75, 2))].into());
        assert!(log.take().is_empty());
    }
}
