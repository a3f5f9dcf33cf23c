use std::collections::HashSet;

use dataset::pairs::{PairList, Pairs, Request, make};
use dataset::{Dataset, Error};
use proptest::prelude::*;

use crate::shelf::{Shelf, picture};

const TWO: &str = "1\t2\nanna\t1\t2\nanna\t1\t3\nanna\t3\tbob\t1\nanna\t2\tbob\t2\n";

fn drawn(identities: u32, images: u32) -> Dataset {
    Dataset::open(format!("demo:identities={identities},images={images}"), &Default::default()).unwrap()
}

fn parse_error(text: &str) -> String {
    PairList::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn lfw_numbers_name_files() {
    let set = Shelf::with_two_people().open().unwrap();
    let pairs = Pairs::read(TWO.as_bytes(), &set).unwrap();
    let found: Vec<_> = pairs.folds[0].iter().map(|pair| (pair.first, pair.second, pair.same)).collect();
    assert_eq!(found, [(0, 1, true), (0, 2, true), (2, 3, false), (1, 4, false)]);
}

#[test]
fn file_names_stems_and_bare_numbers_name_files_too() {
    let shelf = Shelf::new();
    for (index, path) in ["a b/front view.png", "a b/left.jpg", "c/007.png", "c/8.png"].into_iter().enumerate() {
        shelf.put(path, &picture(path, index as u8));
    }
    let set = shelf.open().unwrap();
    let text = "1 2\r\na b\tfront view.png\tleft\r\nc\t7\t8\r\na b\tleft.jpg\tc\t8.png\r\na b\tleft\tc\t007\r\n\r\n";
    let pairs = Pairs::read(text.as_bytes(), &set).unwrap();
    let found: Vec<_> = pairs.folds[0].iter().map(|pair| (pair.first, pair.second)).collect();
    assert_eq!(found, [(0, 1), (2, 3), (1, 3), (1, 2)]);
}

#[test]
fn a_data_set_brings_its_own_pairs() {
    let shelf = Shelf::with_two_people();
    assert!(matches!(Pairs::of(&shelf.open().unwrap()), Err(Error::NoPairs { .. })));
    shelf.put("pairs.txt", TWO.as_bytes());
    let set = shelf.open().unwrap();
    assert!(set.report().set_aside.is_empty());
    assert_eq!(Pairs::of(&set).unwrap().len(), 4);
    let tar = crate::shelf::open(&shelf.tar("faces-val")).unwrap();
    assert_eq!(Pairs::of(&tar).unwrap(), Pairs::of(&set).unwrap());
}

#[test]
fn absent_images_are_named_with_their_line() {
    let set = Shelf::with_two_people().open().unwrap();
    let error = |text: &str| Pairs::read(text.as_bytes(), &set).unwrap_err().to_string();
    let absent = error("1\t1\nanna\t1\t9\nanna\t3\tbob\t1\n");
    assert!(absent.contains("line 2: identity anna has no image 9"), "{absent}");
    let unknown = error("1\t1\nanna\t1\t2\nanna\t3\tcarl\t1\n");
    assert!(unknown.contains("line 3: the data set has no identity carl"), "{unknown}");
}

#[test]
fn one_image_is_no_pair() {
    let set = Shelf::with_two_people().open().unwrap();
    for twice in ["1\t1", "1\tanna_0001.png"] {
        let text = format!("1\t2\nanna\t1\t2\nanna\t{twice}\nanna\t3\tbob\t1\nanna\t1\tbob\t1\n");
        let error = Pairs::read(text.as_bytes(), &set).unwrap_err().to_string();
        assert_eq!(error, "pairs, line 3: expected two images, found anna/anna_0001.png twice");
    }
}

#[test]
fn what_is_no_pairs_file_is_refused_with_its_line() {
    for (text, part) in [
        ("", "line 1: expected a header"),
        ("anna\t1\t2\n", "line 1: expected a header"),
        ("1\t0\n", "at least one fold"),
        ("99999999999999999999\t300\n", "expected a header"),
        ("1\t1\nanna\t1\tbob\t2\n", "line 2: expected a same pair"),
        ("1\t1\nanna\t1\t2\nanna\t1\t3\n", "line 3: expected a different pair"),
        ("1\t1\nanna\t1\t2\nanna\t1\tanna\t3\n", "found anna twice"),
        ("2\t1\nanna\t1\t2\nanna\t1\tbob\t3\n", "fold 2 ends after 0 of 1 same pairs"),
        ("1\t1\nanna\t1\t2\nanna\t1\tbob\t3\nanna\t1\t2\n", "line 4: expected the end"),
        ("1000000000\t1000000000\nanna\t1\t2\n", "fold 1 ends after 1"),
    ] {
        let error = parse_error(text);
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(PairList::parse(b"\xff\xfe").unwrap_err().to_string(), "pairs: expected UTF-8 text");
}

#[test]
fn made_pairs_survive_the_file() {
    let set = drawn(24, 6);
    let list = make(&set, &Request::default(), 7).unwrap();
    let again = PairList::parse(list.to_string().as_bytes()).unwrap();
    assert_eq!(again.to_string(), list.to_string());
    assert_eq!(again.resolve(&set).unwrap(), list.resolve(&set).unwrap());
    assert!(list.to_string().starts_with("10\t30\nd00"), "{}", &list.to_string()[..40]);
}

#[test]
fn the_demos_pairs_stay_the_same() {
    // The figures of the demo are measured on them.
    let pairs = make(&Dataset::open("demo:held-out", &Default::default()).unwrap(), &Request::default(), 1).unwrap();
    let expected = "b030664f989877581334513390ebc3661c8bc6b61804197625afa1bcfdd9d125";
    assert_eq!(blake3::hash(pairs.to_string().as_bytes()).to_hex().as_str(), expected);
}

#[test]
fn made_pairs_name_files_that_share_a_number_by_their_whole_names() {
    let shelf = Shelf::with_two_people();
    for (index, path) in
        ["anna/anna_0001.jpg", "anna/2", "b o b/two  words.png", "b o b/\u{e9}.png"].into_iter().enumerate()
    {
        shelf.put(path, &picture(path, 40 + index as u8));
    }
    let set = shelf.open().unwrap();
    for seed in 0..20 {
        let list = make(&set, &Request::default(), seed).unwrap();
        assert_eq!(Pairs::read(list.to_string().as_bytes(), &set).unwrap(), list.resolve(&set).unwrap());
    }
}

#[test]
fn names_that_would_not_read_back_are_refused_by_name() {
    for path in [" anna/1.png", "an\tna/1.png", "an\nna/1.png", "anna\r/1.png", "anna/ 1.png", "anna/1.png "] {
        let shelf = Shelf::new();
        for other in ["bob/1.png", "bob/2.png", "bob/3.png"] {
            shelf.put(other, &picture("x.png", 1));
        }
        let (identity, file) = path.split_once('/').unwrap();
        for name in [path.to_owned(), format!("{identity}/2{file}"), format!("{identity}/3{file}")] {
            shelf.put(&name, &picture("x.png", 2));
        }
        let error = make(&shelf.open().unwrap(), &Request::default(), 1).unwrap_err();
        let Error::PairsName { name } = &error else { panic!("{path:?}: {error}") };
        assert!(path.contains(name.trim_start_matches(['2', '3'])), "{path:?}: {error}");
    }
}

#[test]
fn too_few_identities_say_how_many_would_do() {
    let few = make(&drawn(12, 5), &Request { folds: Some(10), pairs: None }, 1).unwrap_err().to_string();
    assert!(few.contains("expected 20 identities") && few.contains("at most 6 folds"), "{few}");
    let single = make(&drawn(12, 1), &Request::default(), 1).unwrap_err().to_string();
    assert!(single.contains("add images"), "{single}");
    let many = Request { folds: Some(2), pairs: Some(100_000) };
    let poor = make(&drawn(4, 3), &many, 1).unwrap_err().to_string();
    assert!(poor.contains("allows only 6"), "{poor}");
    assert_eq!(make(&drawn(12, 5), &Request::default(), 1).unwrap().folds.len(), 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn folds_share_no_identity_and_no_pair_repeats(identities in 4u32..60, images in 2u32..12, seed: u64) {
        let set = drawn(identities, images);
        let pairs = make(&set, &Request::default(), seed).unwrap().resolve(&set).unwrap();
        prop_assert_eq!(pairs.folds.len(), 10.min(identities as usize / 2));
        prop_assert!(pairs.folds_are_disjoint(&set));
        let mut seen = HashSet::new();
        for fold in &pairs.folds {
            prop_assert_eq!(fold.len(), pairs.folds[0].len());
            for (position, pair) in fold.iter().enumerate() {
                prop_assert_eq!(pair.same, position < fold.len() / 2);
                prop_assert_eq!(pair.same, set.image_identity(pair.first) == set.image_identity(pair.second));
                prop_assert!(pair.first != pair.second && seen.insert((pair.first, pair.second)));
            }
        }
        let again = make(&set, &Request::default(), seed).unwrap().resolve(&set).unwrap();
        prop_assert_eq!(again, pairs);
    }
}
