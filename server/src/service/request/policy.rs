//! By which weights, and by which sampling tables, the batches of a request are to be made.

use crate::{
    bundles::{
        Loaded,
        declared::{Declared, Entry, Wanted},
        followers::Steered,
    },
    error::{Error, Result, quoted},
    plan::{
        spec::{Sampling, Spec},
        table::Table,
    },
    served::Served,
};
use proto::{limits, v1};
use std::sync::Arc;

impl Wanted<Arc<Loaded>> {
    /// Those that make batch `first`.
    pub(super) fn at(&self, first: u64, served: &Served) -> Arc<Loaded> {
        match self {
            Self::Closed(table) | Self::Follow(Some(table)) => table.at(first).clone(),
            Self::Follow(None) => served.bundles.newest(),
        }
    }

    /// Whether all of these weights can encode.
    pub(super) fn can_encode(&self, served: &Served) -> bool {
        match self {
            Self::Closed(table) | Self::Follow(Some(table)) => {
                table.entries().iter().all(|entry| entry.what.facts.encoder)
            }
            Self::Follow(None) => served.bundles.newest().facts.encoder,
        }
    }
}

/// Which of the bundles held a request wants for the batches from `first` on.
pub(super) fn bundles(served: &Served, policy: Option<v1::BundlePolicy>, first: u64) -> Result<Wanted<Arc<Loaded>>> {
    use v1::bundle_policy::Policy;
    match policy.and_then(|policy| policy.policy) {
        None => Ok(Wanted::Closed(Declared::new(first, served.bundles.newest()))),
        Some(Policy::Pin(digest)) => Ok(Wanted::Closed(Declared::new(first, served.bundles.find(&digest)?))),
        Some(Policy::Follow(follow)) => {
            let entry = |wire: &v1::Takeover| Ok((wire.first_index, served.bundles.find(&wire.bundle_digest)?));
            let table = declared("bundles", &follow.declared, |wire| wire.first_index, entry, first, None)?;
            match (table, follow.closed) {
                (Some(table), true) => Ok(Wanted::Closed(table)),
                (None, true) => Err(Error::Request("expected a table of bundles that is closed, found none".into())),
                (table, false) => Ok(Wanted::Follow(table)),
            }
        }
    }
}

/// Which sampling tables a stream wants, and how it follows them.
#[allow(clippy::type_complexity, reason = "named nowhere else")]
pub(super) fn tables(
    served: &Served,
    spec: &Spec,
    wire: Option<v1::Tables>,
    first: u64,
) -> Result<(Wanted<Option<Arc<Table>>>, Option<Steered>)> {
    let Sampling::ByLoss(rule) = &spec.sampling else {
        return match wire {
            None => Ok((Wanted::Closed(Declared::new(first, None)), None)),
            Some(_) => Err(Error::Request(
                "expected no sampling tables where identities aren't chosen by loss, found some".into(),
            )),
        };
    };
    let wire = wire.unwrap_or_default();
    let (most, had) = (limits::max_tables(served.catalogue.identities()), wire.past as usize + wire.declared.len());
    if had > most {
        return Err(Error::Request(format!(
            "expected at most {most} sampling tables over so many identities, found {had}"
        )));
    }
    let entry = |wire: &v1::TableTakeover| {
        let table = Table::read(&wire.weights, rule, &served.catalogue)?;
        if table.digest() != wire.table_digest {
            let (expected, found) = (quoted(&wire.table_digest), table.digest());
            return Err(Error::Request(format!("expected a sampling table with digest {expected}, found {found}")));
        }
        Ok((wire.first_index, Some(Arc::new(table))))
    };
    // Before the first table there is none.
    let declared = declared("sampling tables", &wire.declared, |wire| wire.first_index, entry, first, Some(None))?;
    let wanted = match wire.closed {
        true => Wanted::Closed(declared.unwrap_or_else(|| Declared::new(first, None))),
        false => Wanted::Follow(declared),
    };
    Ok((wanted, Some(Steered { rule: *rule, catalogue: served.catalogue.clone(), had })))
}

/// What is declared, from the entry on that makes batch `first`. `before` makes the batches before the
/// first entry, where anything may.
fn declared<W, T>(
    what: &str,
    wire: &[W],
    index: impl Fn(&W) -> u64,
    read: impl Fn(&W) -> Result<(u64, T)>,
    first: u64,
    before: Option<T>,
) -> Result<Option<Declared<T>>> {
    let (found, max) = (wire.len(), limits::MAX_TAKEOVERS);
    if found > max {
        return Err(Error::Request(format!(
            "expected at most {max} entries in the table of {what}, found {found}; leave out those that are past"
        )));
    }
    if let Some(pair) = wire.windows(2).find(|pair| index(&pair[0]) >= index(&pair[1])) {
        let (one, next) = (index(&pair[0]), index(&pair[1]));
        return Err(Error::Request(format!("expected ascending indices in the table of {what}, found {one}, {next}")));
    }
    let Some(begin) = wire.first() else { return Ok(None) };
    let past = wire.partition_point(|entry| index(entry) <= first);
    let mut declared = match (past.checked_sub(1).map(|nth| &wire[nth]), before) {
        (Some(last_past), _) => {
            let (first, what) = read(last_past)?;
            Declared::new(first, what)
        }
        (None, Some(before)) => Declared::new(first, before),
        (None, None) => {
            let found = index(begin);
            return Err(Error::Request(format!(
                "expected a table of {what} that begins at batch {first} or before, found {found}"
            )));
        }
    };
    for wire in &wire[past..] {
        let (first, what) = read(wire)?;
        declared = declared.then(Entry { first, what });
    }
    Ok(Some(declared))
}
