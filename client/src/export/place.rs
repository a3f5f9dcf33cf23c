//! Where an export lies, and what is there already.

use crate::place::Place;
use crate::recorded::{BATCHES, RECIPE};
use crate::{Error, Recipe, Result};
use command::Error as Trouble;
use command::atomic_file::write_atomically;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The class names, a line each.
const CLASSES: &str = "classes.txt";
/// There as long as an export is not finished: which one it is.
const UNFINISHED: &str = ".unfinished.json";
/// The ending of a file that is being written.
pub(super) const HALF: &str = ".tmp";

/// Whether a name beside the classes' folders is the manifest's.
pub(super) fn is_manifest(name: &str) -> bool {
    [RECIPE, BATCHES, CLASSES].iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// The files of an export: a folder of its own, or tars with a common name and their manifest beside
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPlace {
    folder: PathBuf,
    /// "faces" of `faces.tar`; `None` for a folder.
    stem: Option<String>,
    /// Images after which another tar begins; `None` for one tar.
    shard_images: Option<u64>,
}

/// What an export that isn't finished wants to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// Where the stream began.
    pub(super) place: Place,
    /// How many batches.
    pub(super) count: u64,
    /// As in [`ExportPlace`].
    pub(super) shard_images: Option<u64>,
}

/// What is at an export's place.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Unfinished(Box<Unfinished>),
    Finished(Box<Recipe>),
    /// Files that no export of ours left, which are not to be touched.
    Foreign,
}

impl ExportPlace {
    /// A folder, or `NAME.tar`: with `shard_images` `NAME-000000.tar`, `NAME-000001.tar` and so on.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub fn new(out: &Path, shard_images: Option<u64>) -> Result<Self> {
        let is_tar = out.extension().is_some_and(|ending| ending == "tar");
        let stem = out.file_stem().and_then(|stem| stem.to_str()).filter(|stem| !stem.starts_with('.'));
        match (is_tar, stem) {
            (true, Some(stem)) => {
                let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
                let folder = parent.unwrap_or(Path::new(".")).to_owned();
                Ok(Self { folder, stem: Some(stem.to_owned()), shard_images })
            }
            (false, _) if shard_images.is_none() => Ok(Self { folder: out.to_owned(), stem: None, shard_images }),
            (true, None) => Err(Error::settings(format!("expected a name before .tar, found {}", out.display()))),
            (false, _) => {
                let found = out.display();
                Err(Error::settings(format!("expected a file NAME.tar beside --shard-images, found {found}")))
            }
        }
    }

    /// The same place with as many tars as are there.
    pub(super) fn as_found(&self) -> Self {
        let one = Self { shard_images: None, ..self.clone() };
        if self.stem.is_none() || one.shard(0).is_file() { one } else { Self { shard_images: Some(1), ..one } }
    }

    /// Whether it is tars.
    pub(super) fn is_tar(&self) -> bool {
        self.stem.is_some()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn shard_images(&self) -> Option<u64> {
        self.shard_images
    }

    /// The tar with a number.
    pub(super) fn shard(&self, number: u64) -> PathBuf {
        let stem = self.stem.as_deref().unwrap_or_default();
        match self.shard_images {
            Some(_) => self.folder.join(format!("{stem}-{number:06}.tar")),
            None => self.folder.join(format!("{stem}.tar")),
        }
    }

    /// A file's name while it is being written.
    pub(super) fn half(path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}{HALF}"))
    }

    pub(super) fn batches(&self) -> PathBuf {
        self.beside(BATCHES)
    }

    /// The recipe of a finished export.
    pub fn recipe(&self) -> PathBuf {
        self.beside(RECIPE)
    }

    fn classes(&self) -> PathBuf {
        self.beside(CLASSES)
    }

    fn unfinished(&self) -> PathBuf {
        let stem = self.stem.as_ref().map_or_else(String::new, |stem| format!(".{stem}"));
        self.folder.join(format!("{stem}{UNFINISHED}"))
    }

    fn beside(&self, name: &str) -> PathBuf {
        let stem = self.stem.as_ref().map_or_else(String::new, |stem| format!("{stem}."));
        self.folder.join(format!("{stem}{name}"))
    }

    /// Looks what is there.
    ///
    /// # Errors
    /// An export's own file that can't be read.
    pub(super) fn look(&self) -> Result<Found> {
        let unfinished = self.unfinished();
        match fs::read(&unfinished) {
            Ok(text) => {
                return serde_json::from_slice(&text).map(Found::Unfinished).map_err(|error| {
                    let (path, found) = (unfinished, error.to_string());
                    Trouble::Damaged { path, expected: "an export that was begun".to_owned(), found }.into()
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Found::Foreign),
            Err(error) => return Err(Trouble::reading(&unfinished)(error).into()),
        }
        if self.recipe().is_file() && self.batches().is_file() {
            return Ok(Found::Finished(Box::new(Recipe::read(&self.recipe())?)));
        }
        let names = match fs::read_dir(&self.folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(Trouble::reading(&self.folder)(error).into()),
        };
        for name in names {
            let name = name.map_err(Trouble::reading(&self.folder))?.file_name().to_string_lossy().into_owned();
            if self.is_in_the_way(&name) {
                return Ok(Found::Foreign);
            }
        }
        Ok(Found::Nothing)
    }

    fn is_in_the_way(&self, name: &str) -> bool {
        match &self.stem {
            // What a crash left of the very first file.
            None => !(name.starts_with('.') && name.ends_with(HALF)),
            Some(stem) => name.strip_prefix(stem.as_str()).is_some_and(|rest| {
                let numbered = rest.strip_prefix('-').and_then(|rest| rest.strip_suffix(".tar"));
                rest == ".tar"
                    || rest.strip_prefix('.').is_some_and(is_manifest)
                    || numbered.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
            }),
        }
    }

    /// What whoever would write here is told of [`Found::Foreign`].
    pub(super) fn foreign(&self) -> Error {
        let place = match &self.stem {
            None => self.folder.display().to_string(),
            Some(stem) => self.folder.join(format!("{stem}*.tar")).display().to_string(),
        };
        Error::settings(format!(
            "expected a place without files for --out, or an export that was begun there, found other files at {place}"
        ))
    }

    /// Says what is being written, before anything else is.
    pub(super) fn begin(&self, unfinished: &Unfinished) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(Trouble::writing(&self.folder))?;
        let text = serde_json::to_vec_pretty(unfinished).unwrap_or_default();
        Ok(write_atomically(self.unfinished(), |file| file.write_all(&text))?)
    }

    pub(super) fn write_classes(&self, names: &super::ClassNames) -> Result<()> {
        Ok(write_atomically(self.classes(), |file| names.write(file))?)
    }

    /// The last step: the recipe, then no word of the export being unfinished.
    pub(super) fn finish(&self, recipe: &Recipe) -> Result<()> {
        recipe.write(&self.recipe())?;
        let unfinished = self.unfinished();
        Ok(fs::remove_file(&unfinished).map_err(Trouble::writing(&unfinished))?)
    }

    /// Removes what crashes left of the manifest's files. Only for who holds the list's lock.
    pub(super) fn sweep(&self) -> Result<()> {
        let ours = [self.recipe(), self.classes(), self.unfinished()];
        let ours = ours.map(|path| format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy()));
        for entry in fs::read_dir(&self.folder).map_err(Trouble::reading(&self.folder))? {
            let path = entry.map_err(Trouble::reading(&self.folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(HALF) && ours.iter().any(|ours| name.starts_with(ours)) {
                fs::remove_file(&path).map_err(Trouble::writing(&path))?;
            }
        }
        Ok(())
    }

    /// The class names of a finished export, in order.
    pub(super) fn read_classes(&self) -> Result<Vec<String>> {
        // All classes that a stream can have, and the longest name of each.
        const LONGEST: u64 = 512 << 20;
        let path = self.classes();
        let mut text = String::new();
        let file = command::open_file(&path).map_err(Trouble::reading(&path))?;
        io::Read::read_to_string(&mut io::Read::take(file, LONGEST), &mut text).map_err(Trouble::reading(&path))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}
