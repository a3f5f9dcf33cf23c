//! What there is to do: the photographs of a folder, less those that an earlier run has done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::journal::Journal;
use super::{AlignOptions, Outcome, Record};
use crate::error::{Error, Result};
use crate::layout::{has_image_name, is_hidden};
use crate::report::{Reason, SetAside};
use crate::source::list_folder;
use crate::write::Encoding;

/// Photographs, where their faces go, and what is known of them.
pub struct Plan {
    pub(super) output: PathBuf,
    pub(super) options: AlignOptions,
    /// What must be the same for two runs to write into one folder.
    pub(super) settings: BTreeMap<String, String>,
    /// To be done, sorted by path.
    pub(super) left: Vec<Photo>,
    /// Done by an earlier run, and unchanged since.
    pub(super) done: Vec<Record>,
    /// Done by an earlier run, and no longer in the folder of photographs.
    pub(super) vanished: Vec<Record>,
    pub(super) set_aside: Vec<SetAside>,
    pub(super) others: usize,
}

/// One file to read.
pub(super) struct Photo {
    pub(super) path: String,
    pub(super) place: PathBuf,
    pub(super) bytes: u64,
    pub(super) modified: u64,
}

impl Plan {
    /// Looks at both folders and writes nothing. `detector` names the weights, by their digest.
    ///
    /// Every file below `input` whose name is a picture's is a photograph; its face goes to the same place
    /// below `output`. A photograph is done when an earlier run found its face, which is still there, or
    /// found none, and its size and date are the same.
    ///
    /// # Errors
    /// When `input` is no folder or can't be read; when `output` is a file, lies inside `input`, or holds
    /// anything but what a run with the same settings wrote.
    pub fn new(input: &Path, output: &Path, options: &AlignOptions, detector: &str) -> Result<Self> {
        match fs::metadata(input) {
            Ok(kind) if kind.is_dir() => {}
            Ok(_) => return Err(Error::NotAFolder { path: input.into() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoPhotographs { path: input.into() });
            }
            Err(error) => return Err(Error::io(input)(error)),
        }
        refuse_output(input, output)?;
        let settings = settings(options, detector);
        let earlier = Journal::read(output, &settings)?;
        if earlier.is_none() && fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::Occupied { path: output.into() });
        }

        let mut listing = list_folder(input)?;
        listing.files.retain(|file| !is_hidden(&file.path));
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        let before = listing.files.len();
        listing.files.retain(|file| has_image_name(&file.path));
        let mut plan = Self {
            output: output.into(),
            options: *options,
            settings,
            left: Vec::new(),
            done: Vec::new(),
            vanished: Vec::new(),
            others: before - listing.files.len(),
            set_aside: listing.set_aside,
        };
        let records = earlier.into_iter().flatten().map(|record| (record.path.clone(), record));
        let mut known: HashMap<String, Record> = records.collect();
        let mut targets: HashMap<String, String> = HashMap::new();
        for file in listing.files {
            let target = plan.target(&file.path);
            if let Some(first) = targets.get(&target) {
                let reason = Reason::Namesake { first: first.clone() };
                plan.set_aside.push(SetAside { path: file.path, reason });
                continue;
            }
            targets.insert(target, file.path.clone());
            let (bytes, modified) = match fs::metadata(&file.place) {
                Ok(metadata) => (metadata.len(), modified(&metadata)),
                Err(error) => {
                    let reason = Reason::Unreadable(error.to_string());
                    plan.set_aside.push(SetAside { path: file.path, reason });
                    continue;
                }
            };
            let photo = Photo { path: file.path, place: file.place, bytes, modified };
            match known.remove(&photo.path) {
                Some(record) if plan.is_done(&record, &photo) => plan.done.push(record),
                _ => plan.left.push(photo),
            }
        }
        plan.vanished = known.into_values().collect();
        plan.vanished.sort_by(|a, b| a.path.cmp(&b.path));
        plan.set_aside.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(plan)
    }

    /// Photographs that are still to be done.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// Photographs that an earlier run has done.
    pub fn done(&self) -> usize {
        self.done.len()
    }

    /// Where the face of a photograph goes: the same place, with the ending of what is written.
    pub(super) fn target(&self, path: &str) -> String {
        let ending = match self.options.encoding {
            Encoding::Png => "png",
            Encoding::Jpeg(_) => "jpg",
        };
        let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
        format!("{stem}.{ending}")
    }

    fn is_done(&self, record: &Record, photo: &Photo) -> bool {
        let same = (record.bytes, record.modified) == (photo.bytes, photo.modified);
        same && match &record.outcome {
            Outcome::Aligned(face) => face.out == self.target(&photo.path) && self.output.join(&face.out).is_file(),
            Outcome::NoFace { .. } => true,
            // What kept it from being read may be gone.
            Outcome::Unreadable { .. } => false,
        }
    }

    /// Takes the folder of aligned faces for this process alone, for as long as the handle lives, and
    /// removes what a killed run left half-written.
    pub(super) fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.output).map_err(Error::write(&self.output))?;
        let folder = File::open(&self.output).map_err(Error::write(&self.output))?;
        // A file system that knows no locks leaves it to the user.
        if let Err(TryLockError::WouldBlock) = folder.try_lock() {
            return Err(Error::InUse { path: self.output.clone() });
        }
        let folders: BTreeSet<String> = self.left.iter().map(|photo| parent(&photo.path).to_owned()).collect();
        for folder in folders.iter().map(String::as_str).chain([""]) {
            let Ok(entries) = fs::read_dir(self.output.join(folder)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with('.') && name.ends_with(".tmp") {
                    // One that stays does no harm: it is hidden, and no reader's.
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(folder)
    }
}

/// The folder of a path, without the slash; empty at the top.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn refuse_output(input: &Path, output: &Path) -> Result<()> {
    match fs::metadata(output) {
        Ok(kind) if !kind.is_dir() => return Err(Error::NotAFolder { path: output.into() }),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::write(output)(error)),
        _ => {}
    }
    let inner = fs::canonicalize(input).map_err(Error::io(input))?;
    let outer = std::path::absolute(output).map_err(Error::write(output))?;
    // The nearest folder above that is there, as links lead elsewhere only where something is.
    let there = outer.ancestors().find_map(|above| fs::canonicalize(above).ok());
    if there.is_some_and(|there| there.starts_with(&inner)) {
        return Err(Error::InsideInput { path: output.into(), input: input.into() });
    }
    Ok(())
}

fn settings(options: &AlignOptions, detector: &str) -> BTreeMap<String, String> {
    let format = match options.encoding {
        Encoding::Png => "png".to_owned(),
        Encoding::Jpeg(quality) => format!("jpeg {quality}"),
    };
    let [first, second, third] = options.detector.thresholds;
    [
        ("detector", detector.to_owned()),
        ("thresholds", format!("{first} {second} {third}")),
        ("factor", options.detector.factor.to_string()),
        ("min-face", options.detector.min_face.to_string()),
        ("min-probability", options.min_probability.to_string()),
        ("take", format!("{:?}", options.take).to_lowercase()),
        ("colour", if options.channels == 1 { "grey" } else { "rgb" }.to_owned()),
        ("format", format),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn modified(metadata: &fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
