//! Folders of trainings that somebody damaged, mixed up or emptied.

use crate::world;
use command::Interrupt;
use experiments::Settings;
use experiments::jobs::{Arm, RecognizerJob};
use experiments::world::{Part, World};
use recognizer::flags::LossName;
use std::path::{Path, PathBuf};

/// A finished arm with generated rows, and what it took.
struct Finished {
    place: tempfile::TempDir,
    settings: Settings,
    world: World,
    job: RecognizerJob,
}

impl Finished {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let settings = world::settings(place.path(), &[]);
        let world = world::open(&settings);
        let job = settings.arm_job(Arm::existing(0.5), LossName::Softmax, 1, Part::Training).unwrap();
        let finished = Self { place, settings, world, job };
        finished.digests().unwrap();
        finished
    }

    /// Digests of all that the arm took, in order, or why it can't be used. Trains what is missing.
    fn digests(&self) -> Result<Vec<String>, String> {
        let interrupt = Interrupt::new();
        let trainings = world::trainings(&self.settings, &self.world, &interrupt);
        trainings.recognizer(&self.job).map_err(|error| error.to_string())?;
        Ok(trainings.records().into_iter().map(|record| record.digest).collect())
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.place.path().join("trainings").join(name)
    }
}

/// The only checkpoint of a finished training.
fn checkpoint(folder: &Path) -> PathBuf {
    std::fs::read_dir(folder.join("checkpoints")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn what_was_deleted_is_trained_again_to_the_same_bits() {
    let finished = Finished::new();
    let before = finished.digests().unwrap();
    assert_eq!(before.len(), 3);
    for name in ["generator-ours", "identity-network", &finished.job.name] {
        std::fs::remove_dir_all(finished.folder(name)).unwrap();
        assert_eq!(finished.digests().unwrap(), before, "{name}");
    }
}

#[test]
fn damaged_and_foreign_trainings_are_refused_with_the_way_out() {
    let finished = Finished::new();
    let arm = finished.folder(&finished.job.name);
    for name in ["generator-ours", "identity-network", &finished.job.name] {
        let path = checkpoint(&finished.folder(name));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..100]).unwrap();
        let told = finished.digests().unwrap_err();
        assert!(told.contains(name) && told.ends_with("delete that folder and it is trained again"), "{told}");
        std::fs::write(&path, whole).unwrap();
    }
    // Another training's checkpoint under this one's name.
    let (own, others) = (checkpoint(&arm), checkpoint(&finished.folder("identity-network")));
    let whole = std::fs::read(&own).unwrap();
    std::fs::copy(others, &own).unwrap();
    let told = finished.digests().unwrap_err();
    assert!(told.contains("expected a training with") && told.contains("delete that folder"), "{told}");
    std::fs::write(&own, whole).unwrap();
    finished.digests().unwrap();
}

#[test]
fn files_of_others_in_a_trainings_place_are_left_alone() {
    let finished = Finished::new();
    let folder = finished.folder(&finished.job.name);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("notes.txt"), "precious").unwrap();
    let told = finished.digests().unwrap_err();
    assert!(told.contains("expected a training of this plan, found other files"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.join("notes.txt")).unwrap(), "precious");
}
