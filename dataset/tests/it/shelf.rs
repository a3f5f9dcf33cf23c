//! Data sets made for one test, in a folder that disappears with it.

use std::fs;
use std::path::{Path, PathBuf};

use dataset::{Dataset, Image, OpenOptions, Result};

pub(crate) struct Shelf {
    folder: tempfile::TempDir,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Two identities of three and two images.
    pub(crate) fn with_two_people() -> Self {
        let shelf = Self::new();
        for (index, path) in
            ["anna/anna_0001.png", "anna/anna_0002.png", "anna/anna_0003.jpg", "bob/bob_0001.png", "bob/bob_0002.jpg"]
                .into_iter()
                .enumerate()
        {
            shelf.put(path, &picture(path, index as u8));
        }
        shelf
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("faces")
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn open(&self) -> Result<Dataset> {
        open(&self.root())
    }

    /// A tar of the folder, its entries under `prefix`.
    pub(crate) fn tar(&self, prefix: &str) -> PathBuf {
        let path = self.beside("faces.tar");
        let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
        tar.append_dir_all(prefix, self.root()).unwrap();
        tar.finish().unwrap();
        path
    }
}

pub(crate) fn open(path: &Path) -> Result<Dataset> {
    Dataset::open(path, &OpenOptions::default())
}

pub(crate) fn open_rgb(path: &Path) -> Dataset {
    Dataset::open(path, &OpenOptions { channels: 3, ..OpenOptions::default() }).unwrap()
}

/// Paths that were set aside, and why.
pub(crate) fn reasons(set: &Dataset) -> Vec<(&str, String)> {
    set.report().set_aside.iter().map(|aside| (aside.path.as_str(), aside.reason.to_string())).collect()
}

/// A file as its ending says, of a smooth picture that depends on `tint`.
pub(crate) fn picture(path: &str, tint: u8) -> Vec<u8> {
    let image = smooth(3, tint);
    if path.ends_with("png") { image.to_png() } else { image.to_jpeg(90) }
}

/// A picture without edges, so that JPEG keeps it nearly as it is.
pub(crate) fn smooth(channels: usize, tint: u8) -> Image {
    let pixels = (0..128 * 128)
        .flat_map(|index| {
            let (x, y) = ((index % 128) as u8, (index / 128) as u8);
            [x.wrapping_add(tint * 5), y, 128 - tint].into_iter().take(channels)
        })
        .collect();
    Image::new(channels, pixels).unwrap()
}
