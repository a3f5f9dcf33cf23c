use crate::between::Between;
use crate::fixture::*;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) fn client(place: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lookalike-client")).current_dir(place).args(args).output().unwrap()
}

pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn refusal(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap().trim_end().to_owned())
}

#[test]
fn a_stream_that_breaks_behind_its_last_batch_is_nobodys_trouble() {
    let place = tempfile::tempdir().unwrap();
    let server = Running::ordinary();
    let between = Between::breaking_ends(&server);
    let url = between.url();
    for _ in 0..5 {
        let output = client(place.path(), &["probe", "--server", &url, "--batch", "16", "--batches", "5"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !told.contains("does not answer"), "{told}");
    }
}

#[test]
fn a_probe_measures_a_stream_and_shows_it() {
    let place = tempfile::tempdir().unwrap();
    let server = Running::ordinary();
    let url = server.url();
    let probe = |more: &[&str]| {
        let args = ["probe", "--server", &url, "--mix", "real=0.5,existing=0.3,blended=0.2", "--batch", "16"];
        client(place.path(), &[&args[..], &["--batches", "20", "--seed", "7", "--quiet"], more].concat())
    };
    let figures = json(&probe(&["--json", "--save", "grid.png"]));
    assert_eq!(
        [&figures["batches"], &figures["images"], &figures["real"], &figures["existing"], &figures["blended"]],
        [20, 320, 160, 96, 64]
    );
    for name in ["images_per_second", "bytes_per_second", "wait_seconds_p50", "wait_seconds_p99", "first_batch_seconds"]
    {
        assert!(figures[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}");
    }
    assert_eq!(std::fs::read(place.path().join("grid.png")).unwrap()[..4], *b"\x89PNG");
    assert_eq!(figures["digest"].as_str().unwrap().len(), 64);
    let digest = |more: &[&str]| json(&probe(&[&["--json"], more].concat()))["digest"].clone();
    assert_eq!(digest(&["--prefetch", "1"]), figures["digest"]);
    assert_ne!(digest(&["--first", "1"]), figures["digest"]);
    assert_ne!(digest(&["--truncation", "0.5"]), figures["digest"]);

    let table = String::from_utf8(probe(&[]).stdout).unwrap();
    for words in ["20, number 0 to 19", "320 grey", "160 real, 96 existing, 64 blended", "images/s", "99 of 100"] {
        assert!(table.contains(words), "{table}");
    }
    assert!(table.contains(figures["digest"].as_str().unwrap()), "{table}");

    assert!(figures["similarity"].is_null() && !table.contains("similarity"), "{table}");
    let filtered = json(&probe(&["--json", "--min-similarity", "0.95", "--max-retries", "1"]));
    let [similarity, retried, doubtful] =
        ["similarity", "retried", "doubtful"].map(|name| filtered[name].as_f64().unwrap());
    assert!([similarity, retried, doubtful].iter().all(|share| (0.05..0.99).contains(share)), "{filtered}");
    let table = String::from_utf8(probe(&["--min-similarity", "0.95", "--max-retries", "1"]).stdout).unwrap();
    let line = format!(
        "{similarity:.3} mean, {:.1} % from further tries, {:.1} % doubtful",
        100.0 * retried,
        100.0 * doubtful
    );
    assert!(table.contains(&line), "{table}");

    // A name that no file system takes: known only when the picture is saved.
    let endless = format!("{}.png", "x".repeat(300));
    let unsaved = probe(&["--json", "--save", &endless]);
    assert_eq!(unsaved.status.code(), Some(1));
    assert_eq!(serde_json::from_slice::<Value>(&unsaved.stdout).unwrap()["digest"], figures["digest"]);
    let (code, sentence) = refusal(&probe(&["--save", "absent/grid.png"]));
    let expected = "error: expected a file in a folder that is there for --save, found absent/grid.png";
    assert_eq!((code, &sentence[..]), (Some(2), expected));
}

#[test]
fn every_flag_of_a_spec_reaches_the_stream() {
    let place = tempfile::tempdir().unwrap();
    let server = Running::ordinary();
    let url = server.url();
    std::fs::write(place.path().join("weights"), "1\n0\n0\n0\n0\n2.5\n").unwrap();
    let probe = |more: &[&str]| {
        let args = ["probe", "--server", &url, "--batch", "8", "--batches", "2", "--quiet", "--json"];
        client(place.path(), &[&args, more].concat())
    };
    let usual = json(&probe(&[]))["digest"].clone();
    let specs: [&[&str]; 21] = [
        &["--seed", "2"],
        &["--mix", "real=1,existing=1"],
        &["--mix-at", "1:blended=1"],
        &["--mix-at", "1:real=1", "--mix-at", "2:blended=1"],
        &["--mix-at", "2:real=1;3:blended=1", "--mix-shape", "linear"],
        &["--sampling", "by-identity"],
        &["--sampling", "4x2"],
        &["--sampling", "4x2~2"],
        &["--sampling", "4x2~3:2"],
        &["--sampling", "weights:weights"],
        &["--blended-identities", "3"],
        &["--parents", "3"],
        &["--alpha", "0.5"],
        &["--max-weight", "0.6"],
        &["--blended-spread", "1"],
        &["--blending-seed", "5"],
        &["--max-leakage", "0.9", "--blended-identities", "60"],
        &["--min-similarity", "0.95"],
        &["--min-similarity", "0.95", "--max-retries", "1"],
        &["--jitter", "0.5"],
        &["--augmentation", "off"],
    ];
    let mut digests: Vec<Value> = specs.iter().map(|spec| json(&probe(spec))["digest"].clone()).collect();
    digests.push(json(&probe(&["--rank", "1", "--world-size", "2"]))["digest"].clone());
    for (nth, digest) in digests.iter().enumerate() {
        assert!(*digest != usual && !digests[..nth].contains(digest), "{nth}");
    }
}

#[test]
fn a_manifest_tells_the_size_of_the_head_and_who_each_class_is() {
    let place = tempfile::tempdir().unwrap();
    let server = Running::ordinary();
    let url = server.url();
    let manifest = |more: &[&str]| {
        let args = ["manifest", "--server", &url, "--blended-identities", "5000", "--parents", "3", "--quiet"];
        client(place.path(), &[&args, more].concat())
    };
    let figures = json(&manifest(&["--json", "--out", "list.jsonl"]));
    let number = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!(
        ["classes", "identities", "blended", "identities_shown", "blended_shown"].map(number),
        [5006, 6, 5000, 6, 5000]
    );
    assert_eq!((&figures["dataset"], &figures["bundle"]), (&Value::from("d0"), &Value::from("b0")));
    // More than one page, in order.
    let list = std::fs::read_to_string(place.path().join("list.jsonl")).unwrap();
    let classes: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(classes.len(), 5006);
    assert!(classes.iter().enumerate().all(|(nth, class)| class["class"] == nth));
    assert_eq!((&classes[2]["name"], &classes[2]["images"]), (&Value::from("person 2"), &Value::from(4)));
    let heaviest = classes[4500]["parents"][0]["weight"].as_f64().unwrap();
    assert!(classes[4500]["parents"].as_array().unwrap().len() == 3 && heaviest >= 1.0 / 3.0, "{}", classes[4500]);

    let table = String::from_utf8(manifest(&["--out", "list.csv"]).stdout).unwrap();
    assert!(table.contains("5,006 classes") && table.contains("5,000, of whom rows can show 5,000"), "{table}");
    let list = std::fs::read_to_string(place.path().join("list.csv")).unwrap();
    assert_eq!(list.lines().take(2).collect::<Vec<_>>(), ["class,shown,name,images,parents", "0,true,person 0,4,"]);
    assert_eq!(list.lines().count(), 5007);
    // Without blended rows nobody is invented.
    assert_eq!(json(&manifest(&["--json", "--mix", "real=1"]))["classes"], 6);
    let (code, sentence) = refusal(&manifest(&["--out", "absent/list.csv"]));
    assert!(code == Some(1) && sentence.contains("absent/list.csv"), "{sentence}");
    let (code, sentence) = refusal(&manifest(&["--sampling", "7x7", "--out", "never.csv"]));
    assert!(code == Some(1) && sentence.contains("expected identities x images to be the batch size 64"), "{sentence}");
    assert!(!place.path().join("never.csv").exists());
}

#[test]
fn a_recognizer_is_trained_online_and_goes_on_where_it_was() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let server = Running::ordinary();
    let url = server.url();
    let args = ["train", "--server", &url, "--batch", "8", "--width", "tiny", "--arch", "lightcnn-9", "--seed", "3"];
    let more = ["--images", "800", "--log-every", "8", "--out", "run", "--quiet", "--json"];
    let training = Command::new(env!("CARGO_BIN_EXE_lookalike-client"))
        .current_dir(here)
        .args([&args[..], &more].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Ctrl-C after a few of its hundred batches.
    until(|| std::fs::read_to_string(here.join("run/stats.jsonl")).is_ok_and(|stats| stats.lines().count() > 2));
    assert!(Command::new("kill").args(["-INT", &training.id().to_string()]).status().unwrap().success());
    let stopped = in_time(move || training.wait_with_output().unwrap());
    assert_eq!(stopped.status.code(), Some(130), "{}", String::from_utf8_lossy(&stopped.stderr));
    let stopped: Value = serde_json::from_slice(&stopped.stdout).unwrap();
    assert_eq!(stopped["interrupted"], true);
    let seen = stopped["images_seen"].as_u64().unwrap();
    assert!((16..800).contains(&seen), "{seen}");
    // With the settings it was started with, at a server that moved.
    let moved = Running::ordinary();
    let resume = ["train", "--resume", "run", "--server", &moved.url(), "--quiet", "--json"];
    let trained = json(&client(here, &resume));
    assert_eq!((&trained["images_seen"], &trained["interrupted"]), (&Value::from(800), &Value::from(false)));

    let other = Setup { numerics: "there", ..Setup::default() }.start();
    let refused = client(here, &["train", "--resume", "run", "--server", &other.url(), "--quiet"]);
    let (code, sentence) = refusal(&refused);
    assert_eq!(code, Some(1));
    assert!(sentence.starts_with("error: can't go on in this stream:"), "{sentence}");
    assert!(sentence.contains("--accept"), "{sentence}");
    let accepted = ["train", "--resume", "run", "--server", &other.url(), "--accept", "numerics", "--quiet"];
    assert_eq!(client(here, &accepted).status.code(), Some(0));
}

#[test]
fn what_can_not_be_done_is_refused_in_one_sentence() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let url = nowhere();
    for verb in [&["probe"][..], &["train", "--out", "run"]] {
        let args = [verb, &["--server", &url, "--patience", "0.2", "--quiet"]].concat();
        let (code, sentence) = refusal(&client(here, &args));
        assert_eq!(code, Some(1));
        let begin = format!("error: no server answers: {url} (connection refused); waited ");
        assert!(sentence.starts_with(&begin) && sentence.lines().count() == 1, "{sentence}");
    }
    assert!(!here.join("run").exists(), "a refused training leaves no run behind");

    let server = Running::ordinary();
    let probe =
        |more: &[&str]| refusal(&client(here, &[&["probe", "--server", &server.url(), "--quiet"], more].concat()));
    for wrong in [
        ["--batch", "0"],
        ["--batch", "1025"],
        ["--mix", "real=0"],
        ["--mix", "new=1"],
        ["--mix-at", "real=1"],
        ["--mix-at", "0:real=1"],
        ["--mix-shape", "round"],
        ["--parents", "1"],
        ["--parents", "6"],
        ["--alpha", "0"],
        ["--max-weight", "1.5"],
        ["--blended-spread", "-1"],
        ["--blended-spread", "2.5"],
        ["--max-leakage", "0"],
        ["--min-similarity", "-1.5"],
        ["--max-retries", "5"],
        ["--truncation", "0.01"],
        ["--jitter", "11"],
        ["--sampling", "by-age"],
        ["--sampling", "4x2~0"],
        ["--sampling", "4~2"],
        ["--sampling", "by-loss:power=5"],
        ["--sampling", "by-loss:every=0"],
        ["--sampling", "by-loss:often"],
        ["--sampling", "by-lossy"],
        ["--server", "ftp://x"],
        ["--batches", "0"],
        ["--accept", "all"],
        ["--patience", "-1"],
    ] {
        assert_eq!(probe(&wrong).0, Some(2), "{wrong:?}");
    }
    let unnamed = client(place.path(), &["train", "--server", &server.url(), "--sampling", "by-loss"]);
    let sentence = String::from_utf8_lossy(&unnamed.stderr).into_owned();
    assert!(sentence.starts_with("error: expected --trainer NAME with --sampling by-loss, found none"), "{sentence}");
    let begin = "error: the server at ";
    for (wrong, reason) in [
        (
            &["--parents", "5", "--max-weight", "0.2"][..],
            "expected a largest weight above 1/5 and at most 1, found 0.2",
        ),
        (&["--sampling", "3x2"], "expected identities x images to be the batch size 64, found 3 x 2"),
        (&["--pixels", "rgb"], "colour pixels are asked for, but the bundle served makes grey images"),
        (&["--trainer", "a b"], "expected a trainer name of at most 64 letters"),
    ] {
        let (code, sentence) = probe(wrong);
        assert_eq!(code, Some(1));
        assert!(sentence.starts_with(begin) && sentence.contains(reason), "{sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
    }
    let (code, sentence) = probe(&["--rank", "2", "--world-size", "2"]);
    assert_eq!((code, &sentence[..]), (Some(2), "error: expected a rank below the world size 2, found 2"));
    let (code, sentence) = probe(&["--sampling", "weights:absent"]);
    assert_eq!((code, &sentence[..]), (Some(2), "error: cannot read absent: no such file or directory"));
    // What is wrong at this end is no server's silence, and is not waited for.
    let (code, sentence) = probe(&["--token-file", "absent"]);
    let expected =
        format!("error: can't ask the server at {}: cannot read absent: no such file or directory", server.url());
    assert_eq!((code, sentence), (Some(1), expected));
}

#[cfg(unix)]
#[test]
fn an_interrupted_probe_says_so() {
    let place = tempfile::tempdir().unwrap();
    let server = Running::ordinary();
    let args = ["probe", "--server", &server.url(), "--batch", "8", "--batches", "1000000000", "--json", "-v"];
    let mut probe = Command::new(env!("CARGO_BIN_EXE_lookalike-client"));
    let probe = probe.current_dir(place.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut probe = probe.spawn().unwrap();
    // It reads once it says what.
    let mut words = BufReader::new(probe.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(words.any(|words| words.contains("batches of")), "it never began");
    assert!(Command::new("kill").args(["-INT", &probe.id().to_string()]).status().unwrap().success());
    let rest = std::thread::spawn(move || words.count());
    let output = probe.wait_with_output().unwrap();
    rest.join().unwrap();
    assert_eq!(output.status.code(), Some(130));
    // What it saw, if it saw anything yet.
    let seen = output.stdout.is_empty()
        || serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|figures| figures["interrupted"] == true);
    assert!(seen, "{}", String::from_utf8_lossy(&output.stdout));
}
