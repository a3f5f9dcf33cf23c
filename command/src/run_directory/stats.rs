//! `stats.jsonl`: one JSON object a line, `{"images_seen":12800,"loss":3.21,...}`, in the order in
//! which figures were given. It holds no time, so that two equal trainings leave equal files.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::atomic_file::write_atomically;
use crate::{Error, Result};

pub(super) const FILE: &str = "stats.jsonl";
const IMAGES_SEEN: &str = "images_seen";

/// The open file and the place it has reached.
#[derive(Debug)]
pub struct Stats {
    path: PathBuf,
    file: File,
    last: Option<u64>,
}

/// All lines of a run's `stats.jsonl` in order: images seen and the object. A last line that was cut
/// short by a crash is left out.
///
/// # Errors
/// [`Error::Read`], [`Error::Damaged`].
pub fn read(run: impl AsRef<Path>) -> Result<Vec<(u64, Map<String, Value>)>> {
    let path = run.as_ref().join(FILE);
    let text = std::fs::read_to_string(&path).map_err(Error::reading(&path))?;
    lines(&path, &text).map(|line| line.map(|(seen, object, _)| (seen, object))).collect()
}

impl Stats {
    /// Opens or starts the file. Half a line at its end is dropped.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::writing(&path))?;
        let text = std::fs::read_to_string(&path).map_err(Error::reading(&path))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1) as u64;
        let mut last = None;
        for line in lines(&path, &text) {
            last = Some(line?.0);
        }
        file.set_len(whole).map_err(Error::writing(&path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::writing(&path))?;
        Ok(Self { path, file, last })
    }

    pub(super) fn append(&mut self, images_seen: u64, figures: &[(&str, f64)]) -> Result<()> {
        if let Some(last) = self.last.filter(|last| *last > images_seen) {
            return Err(Error::Damaged {
                path: self.path.clone(),
                expected: format!("figures up to {images_seen} images"),
                found: format!("figures of {last} images; resume at the checkpoint's place first"),
            });
        }
        let mut line = format!("{{\"{IMAGES_SEEN}\":{images_seen}");
        for (name, figure) in figures {
            // `Value` turns figures that JSON doesn't know, NaN and infinities, into null.
            line.push_str(&format!(",{}:{}", Value::from(*name), Value::from(*figure)));
        }
        line.push_str("}\n");
        self.file.write_all(line.as_bytes()).map_err(Error::writing(&self.path))?;
        self.last = Some(images_seen);
        Ok(())
    }

    pub(super) fn truncate_after(&mut self, images_seen: u64) -> Result<()> {
        let text = std::fs::read_to_string(&self.path).map_err(Error::reading(&self.path))?;
        let mut kept = String::with_capacity(text.len());
        for line in lines(&self.path, &text) {
            let (seen, _, line) = line?;
            if seen <= images_seen {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        write_atomically(&self.path, |file| file.write_all(kept.as_bytes()))?;
        *self = Self::open(self.path.clone())?;
        Ok(())
    }
}

type Line<'a> = (u64, Map<String, Value>, &'a str);

/// The whole lines of a file, parsed.
fn lines<'a>(path: &'a Path, text: &'a str) -> impl Iterator<Item = Result<Line<'a>>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().enumerate().map(move |(index, line)| {
        let object: Option<Map<String, Value>> = serde_json::from_str(line).ok();
        let seen = object.as_ref().and_then(|object| object.get(IMAGES_SEEN)?.as_u64());
        match (seen, object) {
            (Some(seen), Some(object)) => Ok((seen, object, line)),
            _ => Err(Error::Damaged {
                path: path.to_path_buf(),
                expected: format!("a JSON object with {IMAGES_SEEN} in line {}", index + 1),
                found: line.chars().take(60).collect(),
            }),
        }
    })
}
