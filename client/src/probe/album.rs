//! What a stream shows: a line of images for each person and source, real above generated.

use crate::Received;
use command::picture::{Grid, Picture};
use nets::pixels::IMAGE_SIZE;
use recognizer::Source;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Images in a line.
const COLUMNS: usize = 8;
/// People of the dataset who are shown, each on a line of real and a line of existing images.
const IDENTITIES: usize = 6;
/// Blended people who are shown.
const BLENDED: usize = 4;
/// People of either kind who are gathered: those of whom most came are shown. It bounds memory.
const GATHERED: usize = 48;

/// Gathers images of the first people of a stream, and shows those of whom most came.
#[derive(Clone, Debug)]
pub struct Album {
    names: Vec<String>,
    channels: usize,
    /// In the order of classes, then of sources: a person's real images above the generated ones.
    lines: BTreeMap<(u32, Source), Line>,
}

#[derive(Clone, Debug)]
struct Line {
    caption: String,
    /// NHWC.
    pixels: Vec<u8>,
}

impl Album {
    /// An empty one. `names` are those of the dataset's identities in class order, `channels` those
    /// of the images.
    pub fn new(names: Vec<String>, channels: usize) -> Self {
        Self { names, channels, lines: BTreeMap::new() }
    }

    /// Takes from a batch what still has room.
    pub fn add(&mut self, received: &Received) {
        let batch = &received.batch;
        let tile = IMAGE_SIZE * IMAGE_SIZE * self.channels;
        let blended = batch.sources.iter().filter(|&&source| source == Source::Blended).count();
        let parents = received.provenance.parents.len() / blended.max(1);
        let mut parents = received
            .provenance
            .parents
            .chunks(parents.max(1))
            .zip(received.provenance.parent_weights.chunks(parents.max(1)));
        let rows = batch.labels.iter().zip(&batch.sources).zip(batch.pixels.chunks_exact(tile));
        for ((&label, &source), pixels) in rows {
            let parents = if source == Source::Blended { parents.next() } else { None };
            if !self.has_room(label, source) {
                continue;
            }
            let caption = match parents {
                Some((parents, weights)) => self.blended_caption(label, parents, weights),
                None => format!("{}: {}", word(source), self.name(label)),
            };
            let line = self.lines.entry((label, source)).or_insert_with(|| Line { caption, pixels: Vec::new() });
            if line.pixels.len() < COLUMNS * tile {
                line.pixels.extend_from_slice(pixels);
            }
        }
    }

    /// The lines, each with its caption.
    ///
    /// # Errors
    /// When nothing was added whose shape fits, which is a bug.
    pub fn picture(&self, title: &str) -> command::Result<Picture> {
        let tile = IMAGE_SIZE * IMAGE_SIZE * self.channels;
        let shown = [self.best(IDENTITIES, false), self.best(BLENDED, true)].concat();
        let lines = || self.lines.iter().filter(|((label, _), _)| shown.contains(label)).map(|(_, line)| line);
        let columns = lines().map(|line| line.pixels.len() / tile).max().unwrap_or(0).max(1);
        let captions = lines().map(|line| line.caption.as_str());
        let mut grid = Grid::new(IMAGE_SIZE, self.channels, columns)?.title(title).row_captions(captions);
        for line in lines() {
            grid.push(&line.pixels)?;
            for _ in line.pixels.len() / tile..columns {
                grid.skip();
            }
        }
        Ok(grid.render())
    }

    /// The people to show: first those with images of every source, then those with many.
    fn best(&self, count: usize, blended: bool) -> Vec<u32> {
        let mut people = BTreeMap::<u32, Vec<usize>>::new();
        for ((label, source), line) in &self.lines {
            if (*source == Source::Blended) == blended {
                people.entry(*label).or_default().push(line.pixels.len());
            }
        }
        let mut people: Vec<_> = people.into_iter().collect();
        people.sort_by_key(|(label, images)| {
            let fewest = images.iter().min().copied();
            (Reverse((images.len(), fewest, images.iter().sum::<usize>())), *label)
        });
        people.into_iter().take(count).map(|(label, _)| label).collect()
    }

    /// Whether a row of this person belongs in here: of people already gathered, or of new ones
    /// while there are few.
    fn has_room(&self, label: u32, source: Source) -> bool {
        let is_blended = |source: Source| source == Source::Blended;
        let mut gathered: Vec<u32> =
            self.lines.keys().filter(|key| is_blended(key.1) == is_blended(source)).map(|key| key.0).collect();
        gathered.dedup();
        gathered.contains(&label) || gathered.len() < GATHERED
    }

    fn name(&self, identity: u32) -> String {
        self.names.get(identity as usize).cloned().unwrap_or_else(|| format!("identity {identity}"))
    }

    fn blended_caption(&self, label: u32, parents: &[u32], weights: &[f32]) -> String {
        let number = (label as usize).saturating_sub(self.names.len());
        let part = |(&parent, weight): (&u32, &f32)| format!("{:.0} % {}", 100.0 * weight, self.name(parent));
        let parts: Vec<String> = parents.iter().zip(weights).map(part).collect();
        format!("blended {number}: {}", parts.join(" + "))
    }
}

fn word(source: Source) -> &'static str {
    match source {
        Source::Real => "real",
        Source::Existing => "existing",
        Source::Blended => "blended",
    }
}
