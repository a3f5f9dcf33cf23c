use crate::faces;
use std::path::Path;
use std::process::{Command, Output};

fn recognizer(place: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recognizer"));
    // A backtrace is for those who develop, and has no place in a sentence.
    command.current_dir(place).env("RUST_BACKTRACE", "1").args(args).output().unwrap()
}

fn refusal(place: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = recognizer(place, args);
    (output.status.code(), String::from_utf8(output.stderr).unwrap().trim_end().to_owned())
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const TINY: [&str; 8] = ["--width", "tiny", "--batch", "4", "--images", "16", "--arch", "lightcnn-9"];

fn train(more: &[&'static str]) -> Vec<&'static str> {
    ["train", "--data", "data", "--quiet"].into_iter().chain(TINY).chain(more.iter().copied()).collect()
}

#[test]
fn a_recognizer_is_trained_judged_and_used_by_the_words_of_the_manual() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    faces::write_folder(&here.join("data"), 4, 3);
    let trained = json(&recognizer(here, &train(&["--pairs", "data", "--out", "run", "--json"])));
    assert_eq!(trained["images_seen"], 16);
    assert_eq!(trained["interrupted"], false);
    assert!(trained["evaluation"]["cosine"]["accuracy"].is_number());

    let judged =
        json(&recognizer(here, &["evaluate", "--weights", "run", "--pairs", "data", "--json", "--against", "run"]));
    let by_file = json(&recognizer(here, &["evaluate", "--weights", "run", "--pairs", "data/pairs.txt", "--json"]));
    assert_eq!(by_file["cosine"], judged["cosine"]);
    assert_eq!(judged["accuracy"], judged["cosine"]["accuracy"]);
    assert_eq!(judged["architecture"], "lightcnn-9");
    assert_eq!(judged["cosine"]["accuracy"], trained["evaluation"]["cosine"]["accuracy"]);
    assert_eq!(judged["against"]["gain"]["mcnemar"]["p_value"], 1.0);

    let embedded =
        json(&recognizer(here, &["embed", "--weights", "run", "--data", "data", "--out", "f.safetensors", "--json"]));
    assert_eq!(embedded["images"], 12);
    let bytes = std::fs::read(here.join("f.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("features").unwrap().shape(), [12, 256]);
    assert_eq!(file.tensor("labels").unwrap().shape(), [12]);
    assert_eq!(file.tensor("centres").unwrap().shape(), [4, 256]);

    // A finished run has nothing left to do, and says so by its result.
    let resumed = json(&recognizer(here, &["train", "--resume", "run", "--quiet", "--json"]));
    assert_eq!(resumed["images_seen"], 16);
    assert_eq!(resumed["evaluation"], trained["evaluation"]);
}

#[test]
fn what_can_not_be_done_is_refused_in_one_sentence() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    faces::write_folder(&here.join("data"), 4, 3);
    std::fs::write(here.join("noise.safetensors"), b"not a checkpoint").unwrap();

    let (code, sentence) = refusal(here, &["train", "--data", "absent"]);
    assert_eq!(code, Some(1));
    assert!(sentence.starts_with("error: no data set at absent"), "{sentence}");

    let (code, sentence) = refusal(here, &["evaluate", "--weights", "absent", "--pairs", "data"]);
    assert_eq!((code, sentence.as_str()), (Some(1), "error: cannot read absent: no such file or directory"));

    let (code, sentence) = refusal(here, &["evaluate", "--weights", "noise.safetensors", "--pairs", "data"]);
    assert_eq!(code, Some(1));
    assert!(sentence.starts_with("error: noise.safetensors: expected a checkpoint, found"), "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");

    for wrong in
        [["--batch", "0"], ["--arch", "lightcnn-8"], ["--width", "huge"], ["--loss", "hinge"], ["--log-every", "0"]]
    {
        let (code, _) = refusal(here, &["train", "--data", "data", wrong[0], wrong[1]]);
        assert_eq!(code, Some(2), "{wrong:?}");
    }
    for more in [&[][..], &["--dry-run"]] {
        let (code, sentence) = refusal(here, &[&["train", "--data", "data", "--images", "0"], more].concat());
        assert_eq!((code, sentence.as_str()), (Some(2), "error: expected at least 1 as images, found 0"));
    }
    let (code, _) = refusal(here, &["train", "--data", "data", "--dropout", "1"]);
    assert_eq!(code, Some(2));

    std::fs::create_dir(here.join("taken")).unwrap();
    std::fs::write(here.join("taken/file"), b"").unwrap();
    let (code, sentence) = refusal(here, &train(&["--out", "taken"]));
    assert_eq!(code, Some(1));
    assert!(sentence.contains("taken already holds files"), "{sentence}");

    let (code, sentence) = refusal(here, &["train", "--resume", "taken", "--data", "data"]);
    assert_eq!(code, Some(2));
    assert!(sentence.contains("expected a run directory"), "{sentence}");
    assert!(!here.join("runs").exists(), "a refused training leaves no run behind");
}

#[test]
fn a_run_keeps_every_setting_as_it_came_out() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let shown = recognizer(here, &["train", "--data", "absent", "--dry-run", "--batch", "64", "--images", "2000"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    for line in
        ["learning-rate = 0.005 #", "warm-up = 100 #", "log-every = 20 #", "evaluate-every = 5000 #", "keep = 2\n"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    faces::write_folder(&here.join("data"), 4, 3);
    assert!(recognizer(here, &train(&["--out", "run"])).status.success());
    let kept = std::fs::read_to_string(here.join("run/config.toml")).unwrap();
    assert!(kept.contains("\nlearning-rate = 0.0003125 # of --batch and --arch\n"), "{kept}");
}

#[test]
fn a_damaged_image_is_set_aside_in_training_and_refused_in_pairs_before_it() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    faces::write_folder(&here.join("data"), 4, 3);
    faces::write_folder(&here.join("pairs"), 4, 3);
    for folder in ["data", "pairs"] {
        let image = here.join(folder).join("grating_1/grating_1_0001.png");
        // Its header is whole, its pixels aren't.
        let mut bytes = std::fs::read(&image).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(&image, bytes).unwrap();
    }
    let (code, sentence) = refusal(here, &train(&["--pairs", "pairs", "--out", "run"]));
    assert_eq!(code, Some(1), "{sentence}");
    assert!(sentence.contains("grating_1_0001.png") && !here.join("run").exists(), "{sentence}");
    let trained =
        recognizer(here, &["train", "--data", "data", "--out", "run"].iter().chain(&TINY).copied().collect::<Vec<_>>());
    let said = String::from_utf8(trained.stderr).unwrap();
    assert!(trained.status.success() && said.contains("11 real images of 4 identities"), "{said}");
    assert!(said.contains("1 x its data are damaged") && said.contains("grating_1/grating_1_0001.png"), "{said}");
}

#[test]
#[cfg(unix)]
fn an_interrupted_training_leaves_a_checkpoint_and_130() {
    use std::io::{BufRead, BufReader};
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    faces::write_folder(&here.join("data"), 4, 3);
    let mut training = Command::new(env!("CARGO_BIN_EXE_recognizer"))
        .current_dir(here)
        .args(["train", "--data", "data", "--out", "run", "--width", "tiny", "--batch", "4"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(training.stderr.take().unwrap());
    // Its images are checked first.
    let mut line = String::new();
    while !line.starts_with("lightcnn-9 tiny") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it began");
    }
    let id = training.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let rest: Vec<String> = stderr.lines().map(Result::unwrap).collect();
    assert_eq!(training.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(!rest.iter().any(|line| line.starts_with("error")), "{rest:?}");
    recognizer::load(here.join("run"), &candle_core::Device::Cpu).unwrap();
}

#[test]
fn generated_images_of_known_and_new_people_are_judged() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    faces::write_folder(&here.join("real"), 4, 6);
    faces::write_folder(&here.join("made"), 6, 4);
    assert!(
        recognizer(
            here,
            &["train", "--data", "real", "--quiet", "--out", "run"].iter().chain(&TINY).copied().collect::<Vec<_>>()
        )
        .status
        .success()
    );
    let args = ["evaluate", "--weights", "run", "--images", "made", "--real", "real"];
    let judged = json(&recognizer(here, &[&args[..], &["--json"]].concat()));
    assert_eq!(judged["new_identities"]["identities"], 2);
    assert_eq!(judged["images"]["generated"]["templates"][0]["images"], 1);
    assert_eq!(judged["images"]["generated"]["templates"][0]["identities"], 4);
    assert!(judged["images"]["generated"]["templates"][0]["rank1"].is_number());
    let output = String::from_utf8(recognizer(here, &args).stdout).unwrap();
    assert!(output.contains("2 people of made who are not in real: ") && output.contains("rank 1"), "{output}");
}
