//! A recipe: a part of a stream, written down in a few hundred bytes. Whoever has the dataset and the
//! weights that it names makes the same images from it, and can prove that they are the same.
//!
//! It is TOML that people read, or JSON where the file's name ends so. Reading is strict: what means
//! nothing, and so may have been meant to change something, is refused.

use crate::place::{Change, Origin, Place, Takeover, bundle_at};
use crate::tables::shaping;
use crate::{BundleChoice, Error, Result, Spec, StreamSettings, TableChoice, TableTakeover};
use command::atomic_file::write_atomically;
use proto::limits;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::path::Path;

/// The form that this version writes and reads.
const FORM: u32 = 1;
/// The largest recipe that is read, in bytes: weights for a million identities fit.
const LARGEST: u64 = 32 << 20;
/// Stands above the settings, for whoever finds the file.
const PREFACE: &str = "\
# A part of a stream of Lookalike. Who has this dataset and these weights gets the same images again:
#   lookalike-client export --recipe FILE --out FOLDER
# and proves it:
#   lookalike-client probe --verify FILE
";

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The form that it is written in; [`Recipe::of`] knows it.
    pub recipe: u32,
    /// Which batches, and what they came out as.
    pub range: Range,
    /// What they are made from; the bundle is that of the first batch.
    pub origin: Origin,
    /// What each batch is made of, every default written out.
    pub spec: Spec,
    /// Bundles that take over within the range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takeovers: Vec<Takeover>,
    /// Sampling tables that shape batches of the range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableTakeover>,
}

/// Which batches of a stream, or which rank's rows of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Index of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Whose rows.
    pub rank: u32,
    /// Trainers that share each batch.
    pub world_size: u32,
    /// Over all of them, in order (see [`proto::digest::Sequence`]).
    pub digest: String,
}

impl Recipe {
    /// Of `count` batches from `first` on, which were read up to a place and have a digest.
    pub fn of(place: &Place, first: u64, count: u64, digest: String) -> Self {
        let within = |takeover: &&Takeover| takeover.first > first && takeover.first < first.saturating_add(count);
        let bundle = bundle_at(&place.origin.bundle, &place.takeovers, first).to_owned();
        Self {
            recipe: FORM,
            range: Range { first, count, rank: place.rank, world_size: place.world_size, digest },
            origin: Origin { bundle, ..place.origin.clone() },
            spec: place.spec.clone(),
            takeovers: place.takeovers.iter().filter(within).cloned().collect(),
            tables: shaping(&place.tables, first, first.saturating_add(count)).to_vec(),
        }
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// [`Error::Recipe`] for what is none, or is one of another form.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(command::Error::reading(path))?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(command::Error::reading(path))?;
        let refuse = |reason| Error::Recipe { path: path.to_owned(), reason };
        if bytes.len() as u64 > LARGEST {
            return Err(refuse(format!("expected a recipe of at most {LARGEST} bytes, found more")));
        }
        let text = String::from_utf8(bytes).map_err(|_| refuse("expected a recipe, found no text".to_owned()))?;
        let recipe = if is_json(path) { Self::from_json(&text) } else { Self::from_toml(&text) };
        recipe.and_then(|recipe| recipe.check().map(|()| recipe)).map_err(refuse)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`command::Error::Replace`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_text(is_json(path))?;
        Ok(write_atomically(path, |file| file.write_all(text.as_bytes()))?)
    }

    /// Index after the last batch.
    pub fn end(&self) -> u64 {
        self.range.first + self.range.count
    }

    /// The settings that read its batches, and otherwise are those given.
    pub fn settings(&self, settings: StreamSettings) -> StreamSettings {
        let bundle = self.origin.bundle.clone();
        StreamSettings {
            spec: self.spec.clone(),
            rank: self.range.rank,
            world_size: self.range.world_size,
            first: self.range.first,
            end: Some(self.end()),
            bundle: match self.takeovers.is_empty() {
                _ if settings.accepted.contains(&Change::Bundle) => BundleChoice::Stay,
                true => BundleChoice::Pin(bundle),
                false => BundleChoice::Replay(bundle, self.takeovers.clone()),
            },
            tables: TableChoice::Replay(self.tables.clone()),
            ..settings
        }
    }

    /// Whether a stream is made from what it says, but for the accepted changes.
    ///
    /// # Errors
    /// [`Error::OtherPlace`] with the first difference.
    pub fn compare(&self, found: &Origin, accepted: &[Change]) -> Result<()> {
        self.origin.refuse(found, accepted).map_err(Error::OtherPlace)
    }

    fn to_text(&self, json: bool) -> Result<String> {
        let text = if json {
            serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| error.to_string())
        } else {
            toml::to_string(self).map(|text| format!("{PREFACE}{text}")).map_err(|error| error.to_string())
        };
        text.map_err(|reason| Error::Unwritable { what: "this stream as a recipe".to_owned(), reason })
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        let sentence = |error: toml::de::Error| {
            let line =
                error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count());
            format!("expected a recipe, found a mistake at line {line}: {}", first_line(error.message()))
        };
        let Form { recipe } = toml::from_str(text).map_err(sentence)?;
        supported(recipe)?;
        strictly(toml::Deserializer::parse(text).map_err(sentence)?)?.map_err(sentence)
    }

    fn from_json(text: &str) -> Result<Self, String> {
        let sentence =
            |error: serde_json::Error| format!("expected a recipe, found {}", first_line(&error.to_string()));
        let Form { recipe } = serde_json::from_str(text).map_err(sentence)?;
        supported(recipe)?;
        strictly(&mut serde_json::Deserializer::from_str(text))?.map_err(sentence)
    }

    /// Refuses what no stream can be.
    fn check(&self) -> Result<(), String> {
        let Range { first, count, rank, world_size, digest } = &self.range;
        let batch_size = self.spec.batch_size;
        if !(1..=limits::MAX_BATCH_SIZE).contains(&batch_size) {
            return Err(format!("expected a batch size of 1 to {}, found {batch_size}", limits::MAX_BATCH_SIZE));
        }
        if *count == 0 || first.checked_add(*count).is_none_or(|end| end > 1 << 62) {
            return Err(format!(
                "expected a range of at least one batch that ends by 2^62, found {count} from {first}"
            ));
        }
        if !(1..=batch_size).contains(world_size) || rank >= world_size {
            return Err(format!(
                "expected a rank below a world size of 1 to {batch_size}, found {rank} of {world_size}"
            ));
        }
        if digest.len() != 64 || !digest.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("expected 64 hexadecimal digits as the range's digest, found {digest:?}"));
        }
        let ascending = self.takeovers.windows(2).all(|pair| pair[0].first < pair[1].first);
        let within = |takeover: &Takeover| takeover.first > *first && takeover.first < first + count;
        if !ascending || !self.takeovers.iter().all(within) || self.takeovers.len() >= limits::MAX_TAKEOVERS {
            let most = limits::MAX_TAKEOVERS - 1;
            return Err(format!("expected at most {most} takeovers, ascending and within the range, found others"));
        }
        let ascending = self.tables.windows(2).all(|pair| pair[0].first < pair[1].first);
        if !ascending || shaping(&self.tables, *first, first + count).len() != self.tables.len() {
            return Err("expected sampling tables that shape batches of the range, ascending, found others".to_owned());
        }
        Ok(())
    }
}

/// What is read before everything else, whatever the form.
#[derive(Deserialize)]
struct Form {
    recipe: u32,
}

fn supported(form: u32) -> Result<(), String> {
    if form == FORM {
        return Ok(());
    }
    Err(format!("expected a recipe of form {FORM}, found form {form}: another version of Lookalike wrote it"))
}

/// Reads a recipe; the outer error is a name in it that means nothing.
fn strictly<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Result<Recipe, D::Error>, String> {
    let mut unknown = None;
    let recipe = serde_ignored::deserialize(deserializer, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    });
    match unknown {
        Some(name) => Err(format!("expected only what a recipe says, found `{name}`")),
        None => Ok(recipe),
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
