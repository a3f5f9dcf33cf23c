use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use dataset::drawn::{Circumstances, DrawnSet, circumstances};
use dataset::write::{Encoding, folder, tar};
use dataset::{Dataset, Error, OpenOptions};

use crate::shelf::{Shelf, open, open_rgb};

const SET: DrawnSet = DrawnSet { first: 3, identities: 2, images: 2, seed: 8 };

#[test]
fn written_faces_are_the_drawn_ones() {
    let shelf = Shelf::new();
    assert!(folder(&SET, &shelf.root(), Encoding::Png, Some("1\t1\n"), || true).unwrap());
    assert!(tar(&SET, &shelf.beside("set.tar"), Encoding::Png, None, || true).unwrap());
    let drawn = Dataset::of_drawn(&SET, &OpenOptions { channels: 3, ..OpenOptions::default() }).unwrap();
    for written in [open_rgb(&shelf.root()), open_rgb(&shelf.beside("set.tar"))] {
        assert_eq!(written.identities(), drawn.identities());
        for image in 0..drawn.len() {
            assert_eq!(written.image_path(image), drawn.image_path(image));
            assert_eq!(written.read(image).unwrap(), drawn.read(image).unwrap());
        }
    }
    let grey = Dataset::of_drawn(&SET, &OpenOptions::default()).unwrap();
    assert_eq!(open(&shelf.root()).unwrap().read(0).unwrap(), grey.read(0).unwrap());
}

#[test]
fn the_circumstances_of_every_image_lie_beside_it_and_are_no_part_of_the_set() {
    let shelf = Shelf::new();
    folder(&SET, &shelf.root(), Encoding::Jpeg(90), None, || true).unwrap();
    tar(&SET, &shelf.beside("set.tar"), Encoding::Jpeg(90), None, || true).unwrap();
    let set = shelf.open().unwrap();
    let file = shelf.root().join("circumstances.jsonl");
    let lines = fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), set.len());
    for (image, line) in lines.lines().enumerate() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["path"], set.image_path(image));
        let (identity, number) = (SET.first + image as u32 / SET.images, image as u32 % SET.images);
        let told: Circumstances = serde_json::from_value(value).unwrap();
        assert_eq!(told, circumstances(identity, number, SET.seed));
    }
    let mut tar = ::tar::Archive::new(fs::File::open(shelf.beside("set.tar")).unwrap());
    let first = tar.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(std::io::read_to_string(first).unwrap(), lines);

    fs::remove_file(file).unwrap();
    let without = shelf.open().unwrap();
    assert_eq!(without.digest(), set.digest());
    assert!(set.report().set_aside.is_empty() && without.report().set_aside.is_empty());
}

#[test]
fn a_tar_of_the_same_faces_has_the_same_bytes() {
    let shelf = Shelf::new();
    let (one, other) = (shelf.beside("one.tar"), shelf.beside("other.tar"));
    tar(&SET, &one, Encoding::Jpeg(90), None, || true).unwrap();
    tar(&SET, &other, Encoding::Jpeg(90), None, || true).unwrap();
    assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let shelf = Shelf::with_two_people();
    let refused = folder(&SET, &shelf.root(), Encoding::Png, None, || true).unwrap_err();
    assert!(matches!(refused, Error::Occupied { .. }), "{refused}");
    fs::write(shelf.beside("set.tar"), b"mine").unwrap();
    assert!(tar(&SET, &shelf.beside("set.tar"), Encoding::Png, None, || true).is_err());
    assert!(folder(&SET, &shelf.beside("set.tar"), Encoding::Png, None, || true).is_err());
    assert_eq!(fs::read(shelf.beside("set.tar")).unwrap(), b"mine");
    fs::create_dir(shelf.beside("empty")).unwrap();
    assert!(folder(&SET, &shelf.beside("empty"), Encoding::Png, None, || true).unwrap());
    let none = DrawnSet { images: 0, ..SET };
    assert!(matches!(folder(&none, &shelf.beside("none"), Encoding::Png, None, || true), Err(Error::DrawnSpec { .. })));
}

#[test]
fn stopping_leaves_nothing_behind() {
    let shelf = Shelf::new();
    let count = AtomicUsize::new(0);
    let stop = || count.fetch_add(1, Ordering::Relaxed) < 1;
    assert!(!folder(&SET, &shelf.beside("a"), Encoding::Png, None, stop).unwrap());
    count.store(0, Ordering::Relaxed);
    assert!(!tar(&SET, &shelf.beside("a.tar"), Encoding::Png, None, stop).unwrap());
    assert_eq!(fs::read_dir(shelf.beside("")).unwrap().count(), 0);
}
