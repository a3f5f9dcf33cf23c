use std::collections::BTreeSet;

use dataset::split::{by_identity, by_image};
use dataset::{Dataset, OpenOptions};
use proptest::prelude::*;

use crate::shelf::{Shelf, picture};

fn drawn(identities: u32, images: u32) -> Dataset {
    Dataset::open(format!("demo:identities={identities},images={images}"), &OpenOptions::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn parts_are_disjoint_whole_and_repeatable(identities in 2u32..40, images in 2u32..9, seed: u64, share in 0.05f64..0.95) {
        let set = drawn(identities, images);
        let held_out = 1 + seed as usize % (identities as usize - 1);
        let people = by_identity(&set, held_out, seed).unwrap();
        prop_assert_eq!(people.held_out.len(), held_out);
        let all: BTreeSet<usize> = people.train.iter().chain(&people.held_out).copied().collect();
        prop_assert_eq!(all, (0..identities as usize).collect::<BTreeSet<_>>());
        prop_assert_eq!(&by_identity(&set, held_out, seed).unwrap(), &people);

        let pictures = by_image(&set, share, seed).unwrap();
        let all: BTreeSet<usize> = pictures.train.iter().chain(&pictures.held_out).copied().collect();
        prop_assert_eq!(all.len(), set.len());
        prop_assert_eq!(pictures.train.len() + pictures.held_out.len(), set.len());
        for part in [&pictures.train, &pictures.held_out] {
            prop_assert_eq!(set.subset(part).unwrap().identities().len(), identities as usize);
        }
    }
}

#[test]
fn another_person_hardly_moves_the_others() {
    let (small, large) = (drawn(40, 2), drawn(41, 2));
    let one: BTreeSet<usize> = by_identity(&small, 10, 3).unwrap().held_out.into_iter().collect();
    let other: BTreeSet<usize> = by_identity(&large, 10, 3).unwrap().held_out.into_iter().collect();
    assert!(one.intersection(&other).count() >= 9);
}

#[test]
fn another_seed_gives_another_split() {
    let set = drawn(40, 2);
    assert_ne!(by_identity(&set, 10, 3).unwrap(), by_identity(&set, 10, 4).unwrap());
    assert_ne!(by_image(&set, 0.5, 3).unwrap(), by_image(&set, 0.5, 4).unwrap());
}

#[test]
fn an_identity_with_one_image_is_only_trained_on() {
    let shelf = Shelf::with_two_people();
    shelf.put("carl/1.png", &picture("x.png", 60));
    let set = shelf.open().unwrap();
    let split = by_image(&set, 0.9, 1).unwrap();
    assert!(split.train.contains(&5) && split.train.len() == 3, "{split:?}");
}

#[test]
fn splits_that_would_leave_a_part_empty_are_refused() {
    let set = drawn(4, 2);
    for held_out in [0, 4, 9] {
        let error = by_identity(&set, held_out, 1).unwrap_err().to_string();
        assert!(error.contains("between 1 and 3 of 4"), "{error}");
    }
    assert!(by_image(&set, 0.0, 1).is_err() && by_image(&set, f64::NAN, 1).is_err());
    assert!(by_image(&drawn(4, 1), 0.5, 1).is_err());
}

#[test]
fn a_subset_counts_classes_and_digest_anew() {
    let shelf = Shelf::with_two_people();
    let set = shelf.open().unwrap();
    let bob = set.subset_of_identities(&[1]).unwrap();
    assert_eq!((bob.identities().len(), bob.len(), bob.image_identity(0)), (1, 2, 0));
    assert_eq!(bob.image_path(1), "bob/bob_0002.jpg");
    assert_eq!(bob.read(0).unwrap(), set.read(3).unwrap());
    assert_ne!(bob.digest(), set.digest());
    assert_eq!(set.subset(&[4, 0, 1, 2, 3, 4]).unwrap().digest(), set.digest());
    assert!(set.subset(&[]).is_err() && set.subset(&[5]).is_err() && set.subset_of_identities(&[2]).is_err());
}
