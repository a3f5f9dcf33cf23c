//! Opening a data set: every file is read once, hashed and checked in its structure.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use command::Progress;
use rayon::prelude::*;

use super::{Dataset, Entry, OpenOptions, Place, Source};
use crate::decode::{Flaw, Header, LARGEST_FILE, decode, inspect};
use crate::demo;
use crate::drawn::DrawnSet;
use crate::error::{Error, Result};
use crate::layout::{Candidate, arrange, has_image_name};
use crate::report::{Reason, Report, SetAside};
use crate::source::{Listing, Stretch, list_archive, list_folder, read_folder, read_stretch};

impl Dataset {
    /// Opens a folder per identity, a tar of one, or drawn faces: `demo`, `demo:held-out`,
    /// `demo:identities=32,images=20,seed=1` (a folder of that name is `./demo`).
    ///
    /// Every file is read once, hashed and checked in its structure. Files that can't be used are
    /// set aside and listed in [`report`](Self::report).
    ///
    /// # Errors
    /// When nothing is there, nothing usable is in it, or an archive is damaged.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        if !matches!(options.channels, 1 | 3) {
            return Err(Error::Channels { found: options.channels });
        }
        if let Some(drawn) = path.to_str().and_then(demo::parse) {
            return Self::of_drawn(&drawn?, options);
        }
        let kind = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Missing { path: path.into() },
            _ => Error::io(path)(error),
        })?;
        if kind.is_dir() {
            let read = |place: &PathBuf| match read_folder(place, LARGEST_FILE) {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(flaw)) => Err(Reason::Flawed(flaw)),
                Err(error) => Err(Reason::Unreadable(error.to_string())),
            };
            Self::of_listing(path, Source::Files, list_folder(path)?, read, Place::File, options)
        } else if kind.is_file() {
            let (file, listing) = list_archive(path)?;
            let file = Arc::new(file);
            let read = |place: &Stretch| match place.length {
                0..=LARGEST_FILE => {
                    read_stretch(&file, path, *place).map_err(|error| Reason::Unreadable(error.to_string()))
                }
                bytes => Err(Reason::Flawed(Flaw::TooLarge { bytes, most: LARGEST_FILE })),
            };
            Self::of_listing(path, Source::Archive(file.clone()), listing, read, Place::Stretch, options)
        } else {
            Err(Error::NotATar { path: path.into() })
        }
    }

    /// Faces that are drawn when they are read.
    ///
    /// # Errors
    /// When they are none or too many, or a withheld identity is not among them.
    pub fn of_drawn(drawn: &DrawnSet, options: &OpenOptions) -> Result<Self> {
        drawn.check().map_err(Error::drawn(drawn))?;
        let mut entries = Vec::with_capacity(drawn.identities as usize * drawn.images as usize);
        let mut names = Vec::new();
        for class in 0..drawn.identities {
            let identity = drawn.first + class;
            names.push(DrawnSet::identity_name(identity));
            for image in 0..drawn.images {
                let path =
                    format!("{}/{}.png", DrawnSet::identity_name(identity), DrawnSet::image_name(identity, image));
                entries.push(Entry { path, class, hash: [0; 32], place: Place::Drawn { identity, image } });
            }
        }
        let report = Report {
            colour_images: entries.len(),
            single_image: if drawn.images == 1 { names.clone() } else { Vec::new() },
            ..Report::default()
        };
        let mut set = Self {
            path: drawn.to_string().into(),
            channels: options.channels,
            source: Source::Drawn(*drawn),
            identities: Vec::new(),
            entries,
            digest: String::new(),
            report,
            pairs: None,
        };
        set.withhold(&names, options)?;
        set.index(names);
        Ok(set)
    }

    fn of_listing<P: Send + Sync>(
        path: &Path,
        source: Source,
        listing: Listing<P>,
        read: impl Fn(&P) -> Result<Vec<u8>, Reason> + Sync,
        place: impl Fn(P) -> Place + Sync + Send,
        options: &OpenOptions,
    ) -> Result<Self> {
        let arranged = arrange(listing);
        let pairs = match &arranged.pairs {
            Some(place) => Some(read(place).map_err(|reason| Error::PairsFile { why: reason.to_string() })?),
            None => None,
        };
        let progress =
            options.decode_all.then(|| Progress::new("checking", arranged.candidates.len() as u64, "images"));
        // Rayon keeps the order of an indexed collect: the result doesn't depend on threads.
        let examined: Vec<(Candidate<P>, Result<Examined, Reason>)> = arranged
            .candidates
            .into_par_iter()
            .map(|candidate| {
                let outcome = read(&candidate.place).and_then(|bytes| examine(&bytes, &candidate.file, options));
                if let Some(progress) = &progress {
                    progress.advance(1);
                }
                (candidate, outcome)
            })
            .collect();
        if let Some(progress) = &progress {
            progress.finish();
        }

        let mut report = Report { set_aside: arranged.set_aside, hidden: arranged.hidden, ..Report::default() };
        let mut names: Vec<String> = Vec::new();
        let mut entries = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for (candidate, outcome) in examined {
            let Candidate { identity, file, place: found } = candidate;
            let path = format!("{identity}/{file}");
            if seen.last() != Some(&identity) {
                seen.push(identity.clone());
            }
            match outcome {
                Ok((hash, header)) => {
                    if names.last() != Some(&identity) {
                        names.push(identity);
                    }
                    report.colour_images += usize::from(header.colour);
                    entries.push(Entry { path, class: names.len() as u32 - 1, hash, place: place(found) });
                }
                Err(reason) => report.set_aside.push(SetAside { path, reason }),
            }
        }
        report.set_aside.sort_by(|a, b| a.path.cmp(&b.path));
        // Empty folders have no candidate at all.
        if !entries.is_empty() {
            seen.extend(arranged.folders);
        }
        seen.sort();
        seen.dedup();
        report.without_images = seen.into_iter().filter(|name| names.binary_search(name).is_err()).collect();
        if entries.is_empty() {
            let why = if report.set_aside.is_empty() {
                "it is empty; expected a folder per identity with JPEG or PNG images".into()
            } else {
                report.lines().join("; ")
            };
            return Err(Error::NothingUsable { path: path.into(), why });
        }

        let mut set = Self {
            path: path.into(),
            channels: options.channels,
            source,
            identities: Vec::new(),
            entries,
            digest: String::new(),
            report,
            pairs,
        };
        set.withhold(&names, options)?;
        set.index(names);
        set.report.single_image =
            set.identities.iter().filter(|one| one.images == 1).map(|one| one.name.clone()).collect();
        Ok(set)
    }

    /// Drops the images of withheld identities; their names stay.
    fn withhold(&mut self, names: &[String], options: &OpenOptions) -> Result<()> {
        let mut withheld = vec![false; names.len()];
        for name in &options.withheld {
            let class = names.binary_search(name).map_err(|_| Error::WithheldAbsent { name: name.clone() })?;
            withheld[class] = true;
        }
        self.entries.retain(|entry| !withheld[entry.class as usize]);
        if self.entries.is_empty() {
            return Err(Error::NothingUsable { path: self.path.clone(), why: "every identity is withheld".into() });
        }
        Ok(())
    }
}

/// Hash and structure of a usable file.
type Examined = ([u8; 32], Header);

/// Hash and structure of one file in the place of an image.
fn examine(bytes: &[u8], name: &str, options: &OpenOptions) -> Result<Examined, Reason> {
    let header = inspect(bytes).map_err(|flaw| match flaw {
        Flaw::NotAnImage if !has_image_name(name) => Reason::Foreign,
        flaw => Reason::Flawed(flaw),
    })?;
    if options.decode_all {
        decode(bytes, options.channels).map_err(Reason::Flawed)?;
    }
    Ok((blake3::hash(bytes).into(), header))
}
