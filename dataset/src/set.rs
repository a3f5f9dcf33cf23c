//! A set of faces: identities, their images, random access from any thread.
//!
//! `set/open` makes one.

mod open;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::decode::{LARGEST_FILE, decode};
use crate::drawn::DrawnSet;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::report::Report;
use crate::source::{Stretch, read_folder, read_stretch};

/// How a data set is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Channels of every image that is read: 1 (grey) or 3 (RGB). Stored images of the other kind
    /// are converted.
    pub channels: usize,
    /// Unpack every image at once and set aside those that don't decode, as a training should:
    /// nothing is then left that could stop it half-way. Without it, opening checks sizes, structure
    /// and ends of all files, and damaged pixel data surface when read.
    pub decode_all: bool,
    /// Names of identities whose images are not to be used. Each leaves a hole: an identity of
    /// no images, so that the classes of all others stay.
    pub withheld: Vec<String>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { channels: 1, decode_all: false, withheld: Vec::new() }
    }
}

/// One person. The class is the position in [`Dataset::identities`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Name of the folder.
    pub name: String,
    /// Index of its first image; its images are consecutive.
    pub first_image: usize,
    /// How many images it has; 0 only when it is withheld.
    pub images: usize,
}

/// An open data set. It holds names, places and hashes, never pixels.
#[derive(Clone, Debug)]
pub struct Dataset {
    path: PathBuf,
    channels: usize,
    source: Source,
    identities: Vec<Identity>,
    entries: Vec<Entry>,
    digest: String,
    report: Report,
    pairs: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Source {
    Files,
    Archive(Arc<File>),
    Drawn(DrawnSet),
}

#[derive(Clone, Debug)]
struct Entry {
    /// `identity/file`.
    path: String,
    class: u32,
    hash: [u8; 32],
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Stretch(Stretch),
    Drawn { identity: u32, image: u32 },
}

impl Dataset {
    /// Builds identities and digest from the entries, which are sorted by class.
    fn index(&mut self, names: Vec<String>) {
        let mut first_image = 0;
        self.identities = names
            .into_iter()
            .enumerate()
            .map(|(class, name)| {
                let images =
                    self.entries[first_image..].iter().take_while(|entry| entry.class as usize == class).count();
                let identity = Identity { name, first_image, images };
                first_image += images;
                identity
            })
            .collect();
        let mut hasher = blake3::Hasher::new();
        if let Source::Drawn(drawn) = &self.source {
            hasher.update(drawn.definition().as_bytes());
        }
        for entry in &self.entries {
            // The lines of `b3sum identity/file`, so that anyone can check the digest.
            let hash = blake3::Hash::from_bytes(entry.hash).to_hex();
            hasher.update(format!("{hash}  {}\n", entry.path).as_bytes());
        }
        self.digest = hasher.finalize().to_hex().to_string();
    }

    /// The set as it was named when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Identities sorted by the bytes of their names; the class is the position.
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never true: a set without images doesn't open.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Channels of the images that [`read`](Self::read) returns.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Class of an image.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len): this is a bug of the caller.
    pub fn image_identity(&self, index: usize) -> usize {
        self.entries[index].class as usize
    }

    /// `identity/file` of an image.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len): this is a bug of the caller.
    pub fn image_path(&self, index: usize) -> &str {
        &self.entries[index].path
    }

    /// Images whose files are the same, byte for byte, here and in `other`: the first of each here, with the first
    /// there. Of drawn faces there are no files.
    pub fn shared_with(&self, other: &Self) -> Vec<(usize, usize)> {
        let firsts = |set: &Self| {
            let mut firsts = BTreeMap::new();
            for (index, entry) in set.entries.iter().enumerate() {
                if !matches!(entry.place, Place::Drawn { .. }) {
                    firsts.entry(entry.hash).or_insert(index);
                }
            }
            firsts
        };
        let theirs = firsts(other);
        firsts(self).into_iter().filter_map(|(hash, own)| Some((own, *theirs.get(&hash)?))).collect()
    }

    /// BLAKE3, in hexadecimal, of the lines `<BLAKE3 of the file>  <identity/file>` in the order of
    /// the set's images: by the bytes of the identity's name, then of the file's. These are what
    /// `b3sum` prints for the used images. A folder and a tar of it agree. For drawn faces, of
    /// their definition.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What was set aside, and what else is worth knowing.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The contents of the set's own `pairs.txt`, if it has one.
    pub(crate) fn pairs_file(&self) -> Option<&[u8]> {
        self.pairs.as_deref()
    }

    /// The definition of the drawn faces, if the set is one.
    pub fn drawn(&self) -> Option<&DrawnSet> {
        match &self.source {
            Source::Drawn(drawn) => Some(drawn),
            _ => None,
        }
    }

    /// Decodes one image. Any thread may call it at any time.
    ///
    /// # Errors
    /// When the file can't be read any more, is not the one whose hash is in the digest, or its
    /// pixel data are damaged; the error names the file.
    pub fn read(&self, index: usize) -> Result<Image> {
        let entry = self.entries.get(index).ok_or(Error::OutOfRange { index, len: self.entries.len() })?;
        let bytes = match (&entry.place, &self.source) {
            (&Place::Drawn { identity, image }, Source::Drawn(drawn)) => {
                return Ok(drawn.draw(identity, image).into_channels(self.channels));
            }
            (Place::Stretch(stretch), Source::Archive(file)) => read_stretch(file, &self.path, *stretch)?,
            (Place::File(place), _) => match read_folder(place, LARGEST_FILE).map_err(Error::io(place))? {
                Ok(bytes) => bytes,
                Err(_) => return Err(Error::Changed { path: entry.path.clone() }),
            },
            _ => unreachable!("places and sources are made together: this is a bug"),
        };
        if blake3::hash(&bytes) != blake3::Hash::from_bytes(entry.hash) {
            return Err(Error::Changed { path: entry.path.clone() });
        }
        decode(&bytes, self.channels).map_err(|flaw| Error::Image { path: entry.path.clone(), flaw })
    }

    /// The set reduced to some of its images, given by index in any order. Identities without a
    /// remaining image disappear, so classes are counted anew; so is the digest.
    ///
    /// # Errors
    /// When an index is out of range or none is given.
    pub fn subset(&self, images: &[usize]) -> Result<Self> {
        let mut images = images.to_vec();
        images.sort_unstable();
        images.dedup();
        let mut names: Vec<String> = Vec::new();
        let mut entries = Vec::with_capacity(images.len());
        for index in images {
            let entry = self.entries.get(index).ok_or(Error::OutOfRange { index, len: self.entries.len() })?;
            let name = &self.identities[entry.class as usize].name;
            if names.last() != Some(name) {
                names.push(name.clone());
            }
            entries.push(Entry { class: names.len() as u32 - 1, ..entry.clone() });
        }
        if entries.is_empty() {
            return Err(Error::NothingUsable { path: self.path.clone(), why: "the part asked for is empty".into() });
        }
        let mut set = Self { entries, identities: Vec::new(), ..self.clone() };
        set.index(names);
        set.report.single_image =
            set.identities.iter().filter(|one| one.images == 1).map(|one| one.name.clone()).collect();
        Ok(set)
    }

    /// The set reduced to some of its identities, given by class; see [`subset`](Self::subset).
    ///
    /// # Errors
    /// When a class is out of range or none is given.
    pub fn subset_of_identities(&self, classes: &[usize]) -> Result<Self> {
        let mut images = Vec::new();
        for &class in classes {
            let identity =
                self.identities.get(class).ok_or(Error::OutOfRange { index: class, len: self.identities.len() })?;
            images.extend(identity.first_image..identity.first_image + identity.images);
        }
        self.subset(&images)
    }
}
