//! A small world to train in: drawn faces, and a recognizer that has just begun to learn them.

use command::{Interrupt, RunDirectory};
use dataset::drawn::DrawnSet;
use dataset::write::{self, Encoding};
use dataset::{Dataset, OpenOptions};
use nets::{LightCnnKind, Width};
use recognizer::{FolderSettings, FolderSource, Rhythm, Session, TrainConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Four people, four images each.
pub(crate) const FACES: &str = "demo:identities=4,images=4,seed=1";

pub(crate) fn faces(of: &str) -> Dataset {
    Dataset::open(of, &OpenOptions::default()).unwrap()
}

/// Those four people as files.
pub(crate) fn folder_of_faces(place: &Path) {
    let drawn = DrawnSet { first: 0, identities: 4, images: 4, seed: 1 };
    assert!(write::folder(&drawn, place, Encoding::Png, None, || true).unwrap());
}

/// Trains a recognizer for one step in `directory`; gives its checkpoint.
pub(crate) fn recognizer(directory: &Path, kind: LightCnnKind, of: &str) -> PathBuf {
    let config = TrainConfig::new(kind, Width::Tiny, 8, 8);
    let settings = FolderSettings { batch_size: 8, seed: 1, augmentation: dataset::augment::STANDARD };
    let mut source = FolderSource::new(Arc::new(faces(of)), settings).unwrap();
    let session = Session {
        run: &RunDirectory::create_at(directory, "").unwrap(),
        device: &candle_core::Device::Cpu,
        interrupt: &Interrupt::new(),
        resume: false,
        pairs: None,
        rhythm: Rhythm::over(8),
    };
    recognizer::train(&config, &mut source, &session).unwrap().checkpoint
}
