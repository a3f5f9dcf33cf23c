//! Data sets: archives, the images in them, and lists of pairs.

mod files;

pub(crate) use files::with_checks;
pub use files::{archives, images};

use crate::scratch;
use dataset::pairs::{NamedPair, PairList, Pairs, Request, make};
use dataset::{Dataset, OpenOptions};
use std::sync::LazyLock;

/// Faces that pairs are looked up in.
static DRAWN: LazyLock<Dataset> =
    LazyLock::new(|| Dataset::open("demo:identities=6,images=3,seed=1", &OpenOptions::default()).expect("drawn faces"));

/// A tar of identities, with the sums of its headers put right. Everything in it is read.
pub fn archive(input: &[u8]) -> bool {
    read_all(&files::with_sums(input), 1)
}

/// An image file, with the sums of a PNG put right, grey and in colour.
pub fn image(input: &[u8]) -> bool {
    let file = files::with_checks(input);
    [1, 3].map(|channels| read_all(&files::archive_of(&[("a/image", &file)]), channels)) == [true; 2]
}

/// Whether a set opens and an image of it can be read.
fn read_all(archive: &[u8], channels: usize) -> bool {
    let folder = scratch::folder();
    let path = folder.path().join("set.tar");
    std::fs::write(&path, archive).expect("a file can be written");
    let Ok(set) = Dataset::open(&path, &OpenOptions { channels, ..OpenOptions::default() }) else { return false };
    let mut any = false;
    assert_eq!(set.identities().iter().map(|one| one.images).sum::<usize>(), set.len());
    for index in 0..set.len() {
        if let Ok(image) = set.read(index) {
            assert_eq!(image.pixels().len(), 128 * 128 * channels);
            any = true;
        }
    }
    if let Ok(pairs) = Pairs::of(&set) {
        assert!(pairs.images().iter().all(|&image| image < set.len()));
        pairs.folds_are_disjoint(&set);
    }
    let _ = set.report().lines();
    any
}

/// A `pairs.txt`. What was accepted is printed and read back as the same.
pub fn pairs(input: &[u8]) -> bool {
    let found = Pairs::read(input, &DRAWN).is_ok();
    let Ok(list) = PairList::parse(input) else { return false };
    let again = PairList::parse(list.to_string().as_bytes()).expect("a list that was read is read again");
    let names = |list: &PairList| -> Vec<Vec<_>> {
        let name = |pair: &NamedPair| (pair.first.clone(), pair.second.clone());
        list.folds.iter().map(|fold| fold.iter().map(name).collect()).collect()
    };
    assert_eq!(names(&list), names(&again));
    found
}

/// Lists of drawn faces, by number and by file name.
pub fn pair_lists() -> Vec<Vec<u8>> {
    let made = |folds, pairs| {
        let request = Request { folds: Some(folds), pairs: Some(pairs) };
        make(&DRAWN, &request, 1).expect("pairs of drawn faces").to_string()
    };
    let drawn = made(2, 2);
    vec![
        made(1, 3).into_bytes(),
        drawn.replace('\t', " ").replace('\n', "\r\n").into_bytes(),
        drawn.into_bytes(),
        "\u{feff}1\n\nA B\t1\t2\nA B\tx.png\tC\ty.png\n".as_bytes().to_vec(),
    ]
}
