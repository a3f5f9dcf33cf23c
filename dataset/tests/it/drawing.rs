use dataset::drawn::{DrawnSet, draw};
use dataset::{Dataset, Error, OpenOptions, demo};

use crate::shelf::open_rgb;

fn open(text: &str) -> dataset::Result<Dataset> {
    Dataset::open(text, &OpenOptions::default())
}

#[test]
fn an_image_depends_on_identity_number_and_seed_alone() {
    assert_eq!(draw(3, 4, 5), draw(3, 4, 5));
    let others = [draw(4, 4, 5), draw(3, 5, 5), draw(3, 4, 6)];
    assert!(others.iter().all(|other| *other != draw(3, 4, 5)));
    let set = open_rgb("demo:identities=2,images=3,seed=5,first=3".as_ref());
    assert_eq!(set.read(4).unwrap(), draw(4, 1, 5));
    assert_eq!(set.image_path(4), "d0004/d0004_0002.png");
    assert_eq!(open("demo:identities=2,images=3,seed=5,first=3").unwrap().read(4).unwrap(), draw(4, 1, 5).to_grey());
}

#[test]
fn the_same_faces_are_drawn_on_every_machine() {
    // Made on x86-64; debug and release builds and AVX-512 agree. When faces are meant to change,
    // raise `drawn::VERSION` and put the new hash here.
    let mut hasher = blake3::Hasher::new();
    for place in 0..12 {
        hasher.update(draw(place * 7, place, 5).pixels());
    }
    let expected = "883ea6cecbcde84fdc6d5d3e5fc969823c52013cca6ffbb43d4e4a7373b76000";
    assert_eq!((dataset::drawn::VERSION, hasher.finalize().to_hex().as_str()), (1, expected));
}

#[test]
fn nobody_of_the_demo_is_both_trained_on_and_held_out() {
    let (train, held_out) = (open("demo").unwrap(), open("demo:held-out").unwrap());
    assert_eq!(train.len(), demo::TRAINING.identities as usize * demo::TRAINING.images as usize);
    let names: Vec<_> = train.identities().iter().map(|one| &one.name).collect();
    assert!(held_out.identities().iter().all(|one| !names.contains(&&one.name)));
    let pairs = dataset::pairs::Pairs::of(&held_out).unwrap();
    assert_eq!(pairs.folds.len(), 10);
    assert!(pairs.folds_are_disjoint(&held_out));
}

#[test]
fn the_digest_tells_sets_apart_without_drawing_them() {
    let digest = |text: &str| open(text).unwrap().digest().to_owned();
    assert_eq!(digest("demo"), digest(&demo::TRAINING.to_string()));
    let others = ["demo:seed=2", "demo:images=21", "demo:identities=33", "demo:first=1", "demo:held-out"];
    assert!(others.iter().all(|other| digest(other) != digest("demo")));
}

#[test]
fn names_sort_as_numbers_do() {
    let names: Vec<_> = [0, 9, 10, 9_999, 10_000, 4_000_000_000].map(DrawnSet::identity_name).to_vec();
    assert!(names.is_sorted());
    let images: Vec<_> = [0, 9_998, 9_999, 20_000].map(|image| DrawnSet::image_name(1, image)).to_vec();
    assert!(images.is_sorted());
    assert_eq!(images[0], "d0001_0001");
}

#[test]
fn descriptions_that_make_no_sense_say_why() {
    for (text, part) in [
        ("demo:", "has no `=`"),
        ("demo:faces=3", "`faces` is none of"),
        ("demo:images=many", "not a whole number"),
        ("demo:seed=1,seed=2", "stands there twice"),
        ("demo:images=0", "found 0"),
        ("demo:identities=4000000000", "between 1 and"),
        ("demo:first=4294967295", "too large"),
    ] {
        let error = open(text).unwrap_err();
        assert!(matches!(error, Error::DrawnSpec { .. }) && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn faces_are_lit_and_various() {
    for image in 0..24 {
        let face = draw(image, image, 9).to_grey();
        let mean = face.pixels().iter().map(|&value| f64::from(value)).sum::<f64>() / 16384.0;
        let spread = face.pixels().iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / 16384.0;
        assert!((15.0..245.0).contains(&mean) && spread.sqrt() > 12.0, "{image}: {mean} {spread}");
    }
}
