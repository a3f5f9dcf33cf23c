//! A part of a stream as files, from which its digests can be taken again.

use crate::commands::{client, json, refusal};
use crate::fixture::*;
use dataset::{Dataset, OpenOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const STREAM: [&str; 8] = ["--batch", "8", "--batches", "10", "--seed", "7", "--blended-identities", "6"];

fn export(here: &Path, url: &str, more: &[&str]) -> std::process::Output {
    client(here, &[&["export", "--server", url, "--quiet", "--json"], &STREAM[..], more].concat())
}

fn check(here: &Path, out: &str) -> std::process::Output {
    client(here, &["export", "--check", out, "--quiet", "--json"])
}

/// Every file below a folder, by its path.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

#[test]
fn a_folder_of_images_gives_the_stream_s_digests_and_opens_as_a_dataset() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let server = Running::ordinary();
    let url = server.url();
    let exported = json(&export(here, &url, &["--out", "faces"]));
    let probed = json(&client(here, &[&["probe", "--server", &url, "--quiet", "--json"], &STREAM[..]].concat()));
    assert_eq!((&exported["digest"], &exported["images"]), (&probed["digest"], &80.into()));
    assert_eq!(json(&check(here, "faces"))["digest"], probed["digest"]);
    let proven =
        json(&client(here, &["probe", "--server", &url, "--verify", "faces/recipe.toml", "--quiet", "--json"]));
    assert_eq!(proven["digest"], probed["digest"]);

    let opened =
        Dataset::open(here.join("faces"), &OpenOptions { decode_all: true, ..OpenOptions::default() }).unwrap();
    assert_eq!(opened.report().lines(), Vec::<String>::new(), "nothing is set aside");
    let mut source =
        try_connect(client::StreamSettings { end: Some(10), ..settings(std::slice::from_ref(&url), 7) }).unwrap();
    let names = fs::read_to_string(here.join("faces/classes.txt")).unwrap();
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(names.len(), 12);
    let mut images = 0;
    for batch in read(&mut source, 10) {
        for (row, (&label, pixels)) in batch.labels.iter().zip(batch.pixels.chunks(128 * 128)).enumerate() {
            let identity = opened.identities().iter().find(|identity| identity.name == names[label as usize]).unwrap();
            let file = format!("{:012}-{row:04}.png", batch.index);
            assert!(here.join("faces").join(&identity.name).join(&file).is_file(), "{file}");
            let mut found = (identity.first_image..).take(identity.images).map(|image| opened.read(image).unwrap());
            assert!(found.any(|image| image.pixels() == pixels), "{file}");
            images += 1;
        }
    }
    assert_eq!(images, 80);
    assert!(names[6..].iter().enumerate().all(|(number, name)| *name == format!("blended-{number:06}")));

    // Changed images are found, and by their batch.
    let some = tree(&here.join("faces")).into_keys().filter(|path| path.extension().is_some_and(|end| end == "png"));
    let some: Vec<PathBuf> = some.map(|path| here.join("faces").join(path)).collect();
    let [one, other] = [&some[3], &some[4]].map(|path| fs::read(path).unwrap());
    fs::write(&some[3], &other).unwrap();
    let (code, sentence) = refusal(&check(here, "faces"));
    assert_eq!((code, sentence.lines().count()), (Some(1), 1));
    let number: u64 = some[3].file_name().unwrap().to_str().unwrap()[..12].parse().unwrap();
    assert!(sentence.starts_with(&format!("error: batch {number} differs: expected digest ")), "{sentence}");
    fs::write(&some[3], &one[..one.len() / 2]).unwrap();
    assert_eq!(check(here, "faces").status.code(), Some(1));
    fs::write(&some[3], &one).unwrap();
    fs::write(some[3].with_file_name("mine.png"), &one).unwrap();
    let (_, sentence) = refusal(&check(here, "faces"));
    assert_eq!(sentence, "error: expected 80 images in the folders, found 81");
}

#[test]
fn tars_hold_what_webdataset_reads() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let server = Running::ordinary();
    let url = server.url();
    let exported = json(&export(here, &url, &["--out", "sets/faces.tar", "--shard-images", "35"]));
    let one = json(&export(here, &url, &["--out", "one.tar"]));
    assert_eq!(exported["digest"], one["digest"]);
    for out in ["sets/faces.tar", "one.tar"] {
        assert_eq!(json(&check(here, out))["digest"], one["digest"], "{out}");
    }
    // Four whole batches of eight in each tar.
    let names = ["faces-000000.tar", "faces-000001.tar", "faces-000002.tar"];
    let mut keys = Vec::new();
    for (name, images) in names.into_iter().zip([32, 32, 16]) {
        let mut archive = tar::Archive::new(fs::File::open(here.join("sets").join(name)).unwrap());
        let mut members = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            members.push((name, content));
        }
        assert_eq!(members.len(), 3 * images, "{name}");
        for sample in members.chunks(3) {
            let key = sample[0].0.strip_suffix(".png").unwrap();
            assert_eq!([&sample[1].0, &sample[2].0], [&format!("{key}.cls"), &format!("{key}.json")]);
            assert!(sample[0].1.starts_with(b"\x89PNG"));
            let facts: Value = serde_json::from_slice(&sample[2].1).unwrap();
            assert_eq!(facts["class"].to_string().as_bytes(), sample[1].1);
            let blended = facts["source"] == "blended";
            assert_eq!(facts["parents"].as_array().is_some_and(|parents| parents.len() == 2), blended);
            assert_eq!(facts["name"].as_str().unwrap().starts_with("blended-"), blended);
            assert_eq!(key, format!("{:012}-{:04}", facts["batch"].as_u64().unwrap(), facts["row"].as_u64().unwrap()));
            keys.push(key.to_owned());
        }
    }
    assert!(keys.len() == 80 && keys.is_sorted());
    assert!(!here.join("sets/faces-000003.tar").exists());

    let mut bytes = fs::read(here.join("one.tar")).unwrap();
    let at = bytes.windows(9).position(|window| window == b"\"batch\":4").unwrap();
    bytes[at + 8] = b'5';
    fs::write(here.join("one.tar"), bytes).unwrap();
    let (code, sentence) = refusal(&check(here, "one.tar"));
    assert_eq!(code, Some(1));
    assert!(sentence.starts_with("error: 000000000004-0000.json: expected {\"batch\":4,"), "{sentence}");
}

/// Begins an export, kills it once its list has so many lines, and again and again, up to its end.
fn killed_again_and_again(here: &Path, url: &str, out: &[&str], list: &Path) {
    for least in [1, 3, 4, 8] {
        let args = [&["export", "--server", url, "--quiet", "--prefetch", "1"], &STREAM[..], out].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lookalike-client"));
        let mut child = command.current_dir(here).args(args).stdout(Stdio::null()).spawn().unwrap();
        until(|| lines(list) >= least || child.try_wait().unwrap().is_some());
        let _ = child.kill();
        child.wait().unwrap();
    }
}

#[test]
fn an_export_that_was_killed_ends_as_the_same_files() {
    let place = tempfile::tempdir().unwrap();
    let server = Running::ordinary();
    let url = server.url();
    let forms: [(&[&str], &str); 3] = [
        (&["--out", "faces"], "faces/batches.jsonl"),
        (&["--out", "faces.tar"], "faces.batches.jsonl"),
        (&["--out", "faces.tar", "--shard-images", "24"], "faces.batches.jsonl"),
    ];
    for (form, (out, list)) in forms.into_iter().enumerate() {
        let [quiet, killed] = ["quiet", "killed"].map(|name| place.path().join(format!("{name}{form}")));
        [&quiet, &killed].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let undisturbed = json(&export(&quiet, &url, out));
        killed_again_and_again(&killed, &url, out, &killed.join(list));
        // What a crash may leave of a line.
        let mut torn = fs::File::options().append(true).open(killed.join(list)).unwrap();
        if lines(&killed.join(list)) < 10 {
            std::io::Write::write_all(&mut torn, b"{\"index\":").unwrap();
        }
        drop(torn);
        let exported = json(&export(&killed, &url, out));
        assert_eq!(exported["digest"], undisturbed["digest"], "{out:?}");
        let (expected, found) = (tree(&quiet), tree(&killed));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert!(found == expected, "{out:?}: the files differ");
        // Once more: it is finished.
        assert_eq!(json(&export(&killed, &url, out))["digest"], undisturbed["digest"]);
        assert!(tree(&killed) == expected);
    }
}

#[test]
fn a_disk_that_takes_no_more_leaves_an_export_that_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let server = Running::ordinary();
    let url = server.url();
    let [quiet, full] = ["quiet", "full"].map(|name| place.path().join(name));
    [&quiet, &full].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    export(&quiet, &url, &["--out", "faces.tar"]);
    // A limit on the size of a file, in the middle of the tar; the signal about it is ignored.
    let size = fs::metadata(quiet.join("faces.tar")).unwrap().len();
    let program = env!("CARGO_BIN_EXE_lookalike-client");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec {program} \"$@\"", size / 2 / 1024);
    let args = [&["export", "--server", &url, "--quiet"], &STREAM[..], &["--out", "faces.tar"]].concat();
    let limited = Command::new("bash").current_dir(&full).args(["-c", &script, "export"]).args(args).output().unwrap();
    let (code, sentence) = refusal(&limited);
    assert_eq!((code, sentence.lines().count()), (Some(1), 1), "{sentence}");
    assert!(sentence.starts_with("error: cannot write ./faces.tar: file too large"), "{sentence}");
    assert!(!full.join("faces.tar").exists(), "what is not whole has not its name");
    let (code, sentence) = refusal(&check(&full, "faces.tar"));
    assert_eq!(code, Some(2));
    assert!(sentence.contains("expected a finished export, found one that is not"), "{sentence}");
    json(&export(&full, &url, &["--out", "faces.tar"]));
    assert!(tree(&full) == tree(&quiet));
}

#[test]
fn what_is_there_already_is_not_touched() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let server = Running::ordinary();
    let url = server.url();
    fs::create_dir(here.join("mine")).unwrap();
    fs::write(here.join("mine/letter.txt"), "dear").unwrap();
    fs::write(here.join("mine/set.tar"), "dear").unwrap();
    let refuses = |more: &[&str], words: &str| {
        let before = tree(here);
        let (code, sentence) = refusal(&export(here, &url, more));
        assert_eq!((code, sentence.lines().count()), (Some(2), 1), "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
        assert!(tree(here) == before, "something was changed");
    };
    refuses(&["--out", "mine"], "found other files at mine");
    refuses(&["--out", "mine/letter.txt"], "found other files at mine/letter.txt");
    refuses(&["--out", "mine/set.tar"], "found other files at mine/set*.tar");
    refuses(&["--out", "faces", "--shard-images", "10"], "expected a file NAME.tar beside --shard-images");
    json(&export(here, &url, &["--out", "mine/other.tar"]));
    refuses(&["--out", "mine/other.tar", "--mix", "real=1"], "choose another --out");
    refuses(&["--out", "mine/other.tar", "--world-size", "2"], "choose another --out");
    for (wrong, recipe) in [("nowhere", "nowhere/recipe.toml"), ("mine", "mine/recipe.toml")] {
        let (code, sentence) = refusal(&check(here, wrong));
        let expected = format!("error: expected an export with its recipe {recipe}, found none");
        assert_eq!((code, sentence), (Some(2), expected));
    }
    // A finished one is taken for what its files are, and not for what its recipe says.
    json(&export(here, &url, &["--out", "mine/other.tar"]));
    let mut bytes = fs::read(here.join("mine/other.tar")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 512].fill(0x55);
    fs::write(here.join("mine/other.tar"), bytes).unwrap();
    let (code, sentence) = refusal(&export(here, &url, &["--out", "mine/other.tar"]));
    assert_eq!((code, sentence.lines().count()), (Some(1), 1), "{sentence}");
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_files_of_an_export_is_not_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let server = Running::ordinary();
    json(&export(here, &server.url(), &["--out", "faces"]));
    let classes = here.join("faces/classes.txt");
    fs::remove_file(&classes).unwrap();
    assert!(Command::new("mkfifo").arg(&classes).status().unwrap().success());
    let (code, sentence) = refusal(&check(here, "faces"));
    assert_eq!(code, Some(1));
    assert!(sentence.ends_with("expected a file, found a folder, a pipe or a device"), "{sentence}");
}

#[test]
fn a_recipe_is_exported_by_any_replica_and_comes_out_as_it_says() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let [server, replica] = [Running::ordinary(), Running::ordinary()];
    let [url, other] = [server.url(), replica.url()];
    let part = ["--rank", "1", "--world-size", "3", "--first", "4", "--recipe-out", "part.toml"];
    let probe = [&["probe", "--server", &url, "--quiet", "--json"], &STREAM[..], &part].concat();
    let probed = json(&client(here, &probe));
    let by_recipe = |recipe: &str, out: &str| {
        let args = ["export", "--server", &other, "--recipe", recipe, "--out", out, "--quiet", "--json"];
        client(here, &args)
    };
    let exported = json(&by_recipe("part.toml", "part"));
    assert_eq!((&exported["digest"], &exported["images"]), (&probed["digest"], &probed["images"]));
    assert_eq!(fs::read(here.join("part/recipe.toml")).unwrap(), fs::read(here.join("part.toml")).unwrap());
    let text = fs::read_to_string(here.join("part.toml")).unwrap();
    fs::write(here.join("forged.toml"), text.replace("seed = 7", "seed = 8")).unwrap();
    let (code, sentence) = refusal(&by_recipe("forged.toml", "forged"));
    assert_eq!(code, Some(1));
    assert!(sentence.starts_with("error: the export differs from the recipe: expected digest "), "{sentence}");
}
