//! Where a trainer stands in a stream: all that a checkpoint keeps of it, readable there.

use crate::spec::{Difference, Spec};
use crate::{Labels, StreamSettings, TableTakeover};
use serde::{Deserialize, Serialize};

/// A place in a stream. Any server with the same dataset and bundle goes on from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Always "stream"; tells it from the places of other sources.
    pub kind: Kind,
    /// What the batches are made of, every default written out.
    pub spec: Spec,
    /// What its blended rows are learned as.
    #[serde(default, skip_serializing_if = "Labels::is_hard")]
    pub labels: Labels,
    /// Which of the trainers that share each batch.
    pub rank: u32,
    /// Trainers that share each batch.
    pub world_size: u32,
    /// What they are made from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Bundles that took over from the first one, up to the next batch; where ranks share batches, up to
    /// the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takeovers: Vec<Takeover>,
    /// Sampling tables that shaped the batches, up to the next one; all of them, for a replay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableTakeover>,
    /// Index of the next batch.
    pub next: u64,
}

/// From an index on, another bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// First batch that it makes.
    pub first: u64,
    /// Its digest.
    pub bundle: String,
}

/// The bundle of a batch: that of the last takeover up to it, or else the one begun with.
pub(crate) fn bundle_at<'a>(begun_with: &'a str, takeovers: &'a [Takeover], index: u64) -> &'a str {
    let after = takeovers.partition_point(|takeover| takeover.first <= index);
    after.checked_sub(1).and_then(|nth| takeovers.get(nth)).map_or(begun_with, |takeover| &takeover.bundle)
}

/// The kind of a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A stream from servers.
    Stream,
}

/// What decides the bytes of a stream beside its spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Digest of the dataset.
    pub dataset: String,
    /// Digest of the bundle that the stream began with.
    pub bundle: String,
    /// Numerics class of the generator.
    pub numerics: String,
    /// Version of the planning rules.
    pub plan_version: u32,
}

/// What may differ from where a stream began, when a trainer says that it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Change {
    /// The dataset: other images behind the same number of identities
    Dataset,
    /// The bundle: other weights
    Bundle,
    /// The numerics class: another build, device or tile, other last bits
    Numerics,
    /// The planning rules: other rows from the same spec
    Plan,
    /// The rank and the trainers that share each batch: another part of the same batches
    World,
}

impl Change {
    /// As `--accept` names it.
    fn word(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Bundle => "bundle",
            Self::Numerics => "numerics",
            Self::Plan => "plan",
            Self::World => "world",
        }
    }
}

impl Origin {
    /// The first part in which `found` differs, other than the accepted ones, as a sentence.
    pub(crate) fn refuse(&self, found: &Self, accepted: &[Change]) -> Result<(), String> {
        let plan = |origin: &Self| origin.plan_version.to_string();
        let parts = [
            (Change::Dataset, "dataset", short(&self.dataset), short(&found.dataset), self.dataset == found.dataset),
            (Change::Bundle, "bundle", short(&self.bundle), short(&found.bundle), self.bundle == found.bundle),
            (
                Change::Numerics,
                "numerics class",
                self.numerics.clone(),
                found.numerics.clone(),
                self.numerics == found.numerics,
            ),
            (Change::Plan, "plan version", plan(self), plan(found), self.plan_version == found.plan_version),
        ];
        let different = parts.into_iter().find(|(change, .., same)| !same && !accepted.contains(change));
        match different {
            None => Ok(()),
            Some((change, what, expected, found, _)) => Err(changed(change, what, &expected, &found)),
        }
    }
}

/// That something is not as it was, and what to do.
pub(crate) fn changed(change: Change, what: &str, expected: &str, found: &str) -> String {
    let word = change.word();
    format!(
        "expected {what} {expected} as the stream began with, found {found}; serve that one, or go on with --accept \
         {word}"
    )
}

/// Enough of a digest to tell two apart by eye.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

impl Place {
    /// What the next batch is made from.
    pub(crate) fn origin_of_next(&self) -> Origin {
        let bundle = bundle_at(&self.origin.bundle, &self.takeovers, self.next).to_owned();
        Origin { bundle, ..self.origin.clone() }
    }

    /// Whether `spec` and the settings' part of each batch are those of this place, or a change is
    /// accepted; as a sentence if not. Indices are those of whole batches, so any world goes on from
    /// the place of any other.
    pub(crate) fn refuse_settings(&self, spec: &Spec, settings: &StreamSettings) -> Result<(), String> {
        if let Some(Difference { setting, left, right }) = spec.difference(&self.spec) {
            return Err(format!("expected {setting} {right} as the stream began with, found {left}"));
        }
        let StreamSettings { labels, rank, world_size, accepted, .. } = settings;
        if *labels != self.labels {
            let (expected, found) = (self.labels.word(), labels.word());
            return Err(format!(
                "expected {expected} labels as the stream began with, found {found} ones, which have other classes; \
                 go on with --labels {expected}"
            ));
        }
        if (*rank, *world_size) != (self.rank, self.world_size) && !accepted.contains(&Change::World) {
            return Err(format!(
                "expected rank {} of {} as the stream began with, found rank {rank} of {world_size}; go on with \
                 --accept {}",
                self.rank,
                self.world_size,
                Change::World.word()
            ));
        }
        Ok(())
    }
}
