//! The commands as a user types them.

use crate::world::{FACES, recognizer};
use nets::LightCnnKind;
use std::path::Path;
use std::process::{Command, Output};

fn cvae_gan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cvae-gan")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let error = text.lines().find(|line| line.starts_with("error: "));
    error.unwrap_or_else(|| panic!("no error in {text}")).to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_run_is_trained_sampled_judged_and_exported() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let weights = recognizer(&at("fr"), LightCnnKind::Nine, FACES);
    let judge = recognizer(&at("judge"), LightCnnKind::TwentyNine, FACES);
    let run = at("run");
    let training = [
        "train",
        "--data",
        FACES,
        "--identity-weights",
        text(&weights),
        "--width",
        "tiny",
        "--images",
        "16",
        "--batch",
        "8",
        "--out",
        text(&run),
    ];

    let dry = stdout(&cvae_gan(&[&training[..], &["--dry-run"]].concat()));
    assert!(dry.contains("lambda-kl = 0.003 # preset small-budget") && dry.contains("# time: "), "{dry}");
    assert!(!run.exists(), "a dry run leaves nothing");

    stdout(&cvae_gan(&training));
    // What the run keeps is complete: going on needs no other flag.
    let resumed = stdout(&cvae_gan(&["train", "--resume", text(&run)]));
    assert!(resumed.starts_with("trained for 16 images"), "{resumed}");

    let grid = at("grid.png");
    stdout(&cvae_gan(&["sample", text(&run), "--rows", "2", "--columns", "3", "--out", text(&grid)]));
    assert!(std::fs::read(&grid).unwrap().starts_with(b"\x89PNG"));

    let bundle = at("bundle.safetensors");
    let exported = stdout(&cvae_gan(&["export", text(&run), "--half", "--out", text(&bundle), "--json"]));
    let exported: serde_json::Value = serde_json::from_str(&exported).unwrap();
    assert_eq!((&exported["identities"], &exported["encoder"]), (&4.into(), &true.into()));

    let evaluated = cvae_gan(&[
        "evaluate",
        text(&bundle),
        "--judge",
        text(&judge),
        "--data",
        FACES,
        "--per-identity",
        "4",
        "--json",
    ]);
    let evaluated: serde_json::Value = serde_json::from_str(&stdout(&evaluated)).unwrap();
    assert!(evaluated["images"]["generated"]["top1"].is_number(), "{evaluated}");
    assert_eq!(evaluated["judge_took_part"], false);
    for trained in [&run, &bundle] {
        let flattered = cvae_gan(&["evaluate", text(trained), "--judge", text(&weights), "--data", FACES, "--json"]);
        assert!(String::from_utf8_lossy(&flattered.stderr).contains("its figures flatter"), "{}", trained.display());
    }
}

#[test]
fn what_cannot_work_is_refused_in_one_sentence_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let deep = recognizer(&at("deep"), LightCnnKind::TwentyNine, FACES);
    let strange = recognizer(&at("strange"), LightCnnKind::Nine, "demo:identities=3,images=3,seed=9");
    let run = at("run");
    let train = |more: &[&str]| {
        let usual = ["train", "--data", FACES, "--width", "tiny", "--images", "8", "--batch", "8", "--out", text(&run)];
        refusal(&cvae_gan(&[&usual[..], more].concat()))
    };
    let cases = [
        (vec![], "found none; give --identity-weights FILE"),
        (vec!["--identity-weights", text(&deep)], "expected a lightcnn-9, found a lightcnn-29"),
        (vec!["--identity-weights", text(&strange)], "(4 identities), found 3 others"),
        (vec!["--identity-weights", "/nowhere"], "/nowhere"),
        (vec!["--model", "cvae", "--lambda-id", "1"], "expected 0 for the model cvae"),
        (vec!["--learning-rate", "0"], "expected a number above 0 as learning-rate"),
    ];
    for (flags, expected) in cases {
        let error = train(&flags);
        assert!(error.contains(expected), "{flags:?}: {error}");
        assert!(!run.exists(), "{flags:?} left a run");
    }

    let error = refusal(&cvae_gan(&["sample", text(&deep), "--out", text(&at("grid.png"))]));
    assert!(error.contains("expected a checkpoint of kind `cvae-gan run`, found `recognizer`"), "{error}");
    let cut = at("cut.safetensors");
    let whole = std::fs::read(&deep).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let error = refusal(&cvae_gan(&["export", text(&cut), "--out", text(&at("bundle"))]));
    assert!(error.contains("cut short"), "{error}");
    assert!(!at("bundle").exists());
    let empty = at("empty");
    std::fs::create_dir(&empty).unwrap();
    let error = refusal(&cvae_gan(&["export", text(&empty), "--out", text(&at("bundle"))]));
    assert!(error.contains("expected a checkpoint in"), "{error}");
}
