//! Class centres found by digest: those of the bundles held, and of a few former ones, as streams go on
//! with the centres they began with.

use crate::{
    error::{Error, Result, quoted},
    plan::centres::Centres,
};
use std::sync::Arc;

/// Different centres kept beside those of the bundles held.
const KEPT: usize = 4;

/// The centres of bundles that were the newest once, the latest first.
#[derive(Debug, Default)]
pub(super) struct Former(Vec<Arc<Centres>>);

impl Former {
    /// Keeps the centres of a bundle, and lets go of the longest unused beyond the bound. Equal ones that
    /// are kept already stay instead, with all that was found out by them.
    pub(super) fn keep(&mut self, centres: &Arc<Centres>) {
        let known = self.0.iter().position(|other| other.digest() == centres.digest());
        let centres = known.map_or_else(|| centres.clone(), |nth| self.0.remove(nth));
        self.0.insert(0, centres);
        self.0.truncate(KEPT);
    }

    /// Those with a digest, among the bundles' and the former ones.
    ///
    /// # Errors
    /// When they are not known.
    pub(super) fn find<'a>(
        &'a self,
        digest: &str,
        held: impl Iterator<Item = &'a Arc<Centres>>,
    ) -> Result<Arc<Centres>> {
        let mut known: Vec<&Arc<Centres>> = self.0.iter().chain(held).collect();
        if let Some(found) = known.iter().find(|centres| centres.digest() == digest) {
            return Ok(Arc::clone(found));
        }
        let mut seen = std::collections::BTreeSet::new();
        known.retain(|centres| seen.insert(centres.digest()));
        Err(Error::Expectation {
            what: "class centres with digest",
            expected: quoted(digest),
            found: known.iter().map(|centres| centres.digest()).collect::<Vec<_>>().join(" and "),
            remedy: "serve a bundle that has them, or begin a new stream",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::FEATURE;

    #[test]
    fn former_centres_are_found_until_too_many_came_after() {
        let centres = |nth: usize| {
            let axis = (0..FEATURE).map(|n| if n == nth { 1.0 } else { 0.0 });
            Arc::new(Centres::new(axis.collect()))
        };
        let mut former = Former::default();
        (0..=KEPT).for_each(|nth| former.keep(&centres(nth)));
        former.keep(&centres(KEPT));
        let nobody = std::iter::empty;
        assert_eq!(former.find(centres(1).digest(), nobody()).unwrap().of(0), centres(1).of(0));
        let error = former.find(centres(0).digest(), nobody()).unwrap_err().to_string();
        assert!(error.contains("serve a bundle that has them, or begin a new stream"), "{error}");
        let held = centres(0);
        assert!(Arc::ptr_eq(&former.find(held.digest(), std::iter::once(&held)).unwrap(), &held));
    }
}
