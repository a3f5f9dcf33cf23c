//! The `faces` command, as a shell sees it.

use std::path::Path;
use std::process::{Command, Output};

use crate::shelf::Shelf;

fn faces(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_faces")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    let output = faces(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refuse(arguments: &[&str]) -> (i32, String) {
    let output = faces(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), error)
}

#[test]
fn drawn_faces_are_inspected_and_paired() {
    let shelf = Shelf::new();
    let (folder, sheet, pairs) = (shelf.beside("drawn"), shelf.beside("sheet.png"), shelf.beside("pairs.txt"));
    succeed(&["draw", "--identities", "6", "--images", "3", "--seed", "2", "--out", text(&folder), "--quiet"]);
    let found = succeed(&["inspect", text(&folder), "--json", "--quiet", "--sheet", text(&sheet)]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["identities"], &found["images"]), (&6.into(), &18.into()));
    assert_eq!(found["images_per_identity"]["median"], 3);
    assert_eq!(found["pairs"]["folds"], 3, "the drawn folder brings pairs");
    assert_eq!(found["digest"].as_str().unwrap().len(), 64);
    assert!(image::open(sheet).is_ok());

    succeed(&["pairs", text(&folder), "--folds", "2", "--pairs", "4", "--out", text(&pairs)]);
    let file = std::fs::read_to_string(&pairs).unwrap();
    assert!(file.starts_with("2\t4\nd0"), "{file}");
    assert_eq!(file, succeed(&["pairs", text(&folder), "--folds", "2", "--pairs", "4"]));
}

#[test]
fn what_was_set_aside_is_told() {
    let shelf = Shelf::with_two_people();
    shelf.put("anna/cut.jpg", b"\xff\xd8\xff");
    shelf.put("pairs.txt", b"nonsense");
    let told = succeed(&["inspect", text(&shelf.root())]);
    assert!(told.contains("1 x the file is cut short (first: anna/cut.jpg)"), "{told}");
    assert!(told.contains("unusable: pairs, line 1: expected a header"), "{told}");
}

#[test]
fn the_current_folder_is_not_replaced() {
    let shelf = Shelf::new();
    let here = shelf.beside("here");
    std::fs::create_dir(&here).unwrap();
    for out in [".", "../here"] {
        let arguments = ["draw", "--identities", "1", "--images", "1", "--out", out];
        let output = Command::new(env!("CARGO_BIN_EXE_faces")).args(arguments).current_dir(&here).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("name a new one inside it"), "{error}");
    }
    assert_eq!(std::fs::read_dir(shelf.beside("")).unwrap().count(), 1);
}

#[test]
fn refusals_are_one_sentence_and_an_exit_code() {
    let shelf = Shelf::with_two_people();
    let root = shelf.root();
    for (arguments, code, part) in [
        (vec!["inspect", "/nowhere/at/all"], 1, "error: no data set at /nowhere/at/all"),
        (vec!["inspect", "demo:images=x"], 2, "`x` is not a whole number"),
        (vec!["draw", "--out", text(&root)], 1, "exists and is not empty"),
        (vec!["draw"], 1, "give --out, --sheet or both"),
        (vec!["draw", "--identities", "0", "--out", "x"], 2, "0"),
        (
            vec!["draw", "--identities", "1000000", "--images", "1000000", "--out", "x"],
            2,
            "between 1 and 10000000 images",
        ),
        (vec!["draw", "--out", "/nowhere/.."], 1, "can't write /nowhere/.."),
        (vec!["pairs", text(&root), "--folds", "9"], 1, "ask for at most 1 folds"),
    ] {
        let (found, error) = refuse(&arguments);
        assert_eq!(found, code, "{arguments:?}: {error}");
        assert!(error.contains(part), "{error}");
    }
}
