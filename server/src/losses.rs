//! What a trainer's streams report of each identity: its average loss, of which the sampling tables of
//! [`crate::plan::table`] are made.

use crate::plan::{
    catalogue::Catalogue,
    spec::ByLoss,
    table::{self, Table},
};
use std::sync::Arc;

/// Rows of an identity after which half of what was reported of it before is forgotten.
const HALF_LIFE: f64 = 8.0;

/// One identity's rows since the last report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reported {
    pub(crate) identity: u32,
    /// Sum over the rows; finite and not negative.
    pub(crate) loss: f64,
    /// How many; at least 1.
    pub(crate) rows: u32,
}

/// Average losses of the identities, for the streams of one spec and one trainer's name.
#[derive(Debug)]
pub(crate) struct Losses {
    rule: ByLoss,
    catalogue: Arc<Catalogue>,
    /// NaN where nothing was reported: half the size of an option, and 131,072 of them are a megabyte.
    averages: Vec<f64>,
}

impl Losses {
    /// Of nothing reported yet.
    pub(crate) fn new(rule: ByLoss, catalogue: Arc<Catalogue>) -> Self {
        Self { rule, averages: vec![f64::NAN; catalogue.identities() as usize], catalogue }
    }

    /// Takes up a report, whose identities lie below the catalogue's.
    pub(crate) fn fold(&mut self, report: &[Reported]) {
        for &Reported { identity, loss, rows } in report {
            let Some(average) = self.averages.get_mut(identity as usize) else { continue };
            let (mean, kept) = (loss / f64::from(rows), libm::exp2(-f64::from(rows) / HALF_LIFE));
            *average = if average.is_nan() { mean } else { *average * kept + mean * (1.0 - kept) };
        }
    }

    /// The sampling table of what was reported so far.
    pub(crate) fn table(&self) -> Table {
        let losses: Vec<Option<f64>> = self.averages.iter().map(|&loss| (!loss.is_nan()).then_some(loss)).collect();
        Table::new(table::weights(&self.rule, &losses, &self.catalogue), &self.catalogue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::spec::Before;
    use proptest::prelude::*;

    fn losses(people: usize) -> Losses {
        let rule = ByLoss { power: 1.0, floor: 0.25, cap: 4.0, interval: 1, before: Before::ByIdentity };
        Losses::new(rule, Arc::new(Catalogue::new(vec![1; people])))
    }

    fn reported(identity: u32, loss: f64, rows: u32) -> Reported {
        Reported { identity, loss, rows }
    }

    #[test]
    fn the_first_report_counts_whole_and_half_of_it_is_forgotten_in_eight_rows() {
        let mut losses = losses(2);
        losses.fold(&[reported(0, 6.0, 2), reported(7, 1.0, 1)]);
        assert!(losses.averages[0] == 3.0 && losses.averages[1].is_nan());
        losses.fold(&[reported(0, 8.0, 8)]);
        assert_eq!(losses.averages[0], 2.0);
        assert_eq!(losses.table().weights(), [1024, 1024], "the one who was never reported has the mean");
        losses.fold(&[reported(1, 6.0, 1)]);
        assert_eq!(losses.table().weights(), [512, 1536]);
    }

    proptest! {
        #[test]
        fn averages_stay_between_what_was_reported(
            reports in prop::collection::vec((0u32..3, prop_oneof![0.0..100.0f64, Just(f64::MAX)], 1u32..u32::MAX), 1..50),
        ) {
            let mut losses = losses(3);
            for &(identity, loss, rows) in &reports {
                losses.fold(&[reported(identity, loss, rows)]);
            }
            for identity in 0..3 {
                let means = reports.iter().filter(|report| report.0 == identity).map(|report| report.1 / f64::from(report.2));
                let (least, most) = means.fold((f64::MAX, 0.0f64), |(l, m), mean| (l.min(mean), m.max(mean)));
                let average = losses.averages[identity as usize];
                prop_assert!(average.is_nan() || (average >= least * 0.999 && average <= most * 1.001), "{average}");
            }
            losses.table();
        }
    }
}
