//! The commands as a user types them.

use crate::world::{FACES, folder_of_faces, recognizer};
use dataset::{Dataset, OpenOptions};
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

/// The sentence of a command that failed, with exit code 1.
fn refusal(output: &Output) -> String {
    refused(1, output)
}

fn refused(code: i32, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(code));
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
    assert!(dry.contains("lambda-kl = 0.1 # preset small-budget") && dry.contains("# time: "), "{dry}");
    assert!(!run.exists(), "a dry run leaves nothing");
    let dry = stdout(&cvae_gan(&[&training[..], &["--dry-run", "--json"]].concat()));
    let dry: serde_json::Value = serde_json::from_str(&dry).unwrap();
    let foretold = dry["estimate"]["checkpoint_bytes"].as_u64().unwrap();

    stdout(&cvae_gan(&training));
    let written = std::fs::metadata(run.join("checkpoints/images-000000016.safetensors")).unwrap().len();
    assert!(written.abs_diff(foretold) < written / 100, "{foretold} of {written} bytes");
    // What the run keeps is complete: going on needs no other flag.
    let resumed = stdout(&cvae_gan(&["train", "--resume", text(&run)]));
    assert!(resumed.starts_with("trained for 16 images"), "{resumed}");
    let steadied = cvae_gan(&["train", "--resume", text(&run), "--learning-rate", "0.0005"]);
    let told = String::from_utf8_lossy(&steadied.stderr);
    let expected = "from 16 images on with learning-rate 0.0005, 0.001 before";
    assert!(steadied.status.success() && told.contains(expected), "{told}");
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("\nlearning-rate = 0.0005 #"), "{config}");

    let grid = at("grid.png");
    let many = ["sample", text(&run), "--columns", "100", "--out", text(&grid)];
    let names = Dataset::open(FACES, &OpenOptions::default()).unwrap();
    let names: Vec<&str> = names.identities().iter().map(|identity| identity.name.as_str()).collect();
    let repeated: Vec<&str> = (0..101).flat_map(|nth| ["--identity", names[nth % 4]]).collect();
    let error = refused(2, &cvae_gan(&[&many[..], &repeated[..]].concat()));
    assert!(error.contains("expected 1 to 10,000 images as people times --columns, found 10,100"), "{error}");
    assert!(!grid.exists());
    stdout(&cvae_gan(&["sample", text(&run), "--rows", "2", "--columns", "3", "--out", text(&grid)]));
    assert!(std::fs::read(&grid).unwrap().starts_with(b"\x89PNG"));
    let nobody = refused(2, &cvae_gan(&["sample", text(&run), "--rows", "0", "--out", text(&at("nobody.png"))]));
    assert!(nobody.contains("found 0"), "{nobody}");
    let alone = ["sample", text(&run), "--identity", names[0], "--blended", "1", "--out", text(&grid)];
    assert!(refused(2, &cvae_gan(&alone)).contains("expected 0 where there are no two people to blend as blended"));
    let blended = ["--rows", "1", "--blended", "2", "--blended-spread", "1", "--columns", "2"];
    let told = stdout(&cvae_gan(&[&["sample", text(&run), "--out", text(&grid)], &blended[..]].concat()));
    assert!(told.starts_with("6 images of 1 identities and 2 blended ones: "), "{told}");

    let bundle = at("bundle.safetensors");
    let exported = stdout(&cvae_gan(&["export", text(&run), "--half", "--out", text(&bundle), "--json"]));
    let exported: serde_json::Value = serde_json::from_str(&exported).unwrap();
    assert_eq!((&exported["identities"], &exported["encoder"]), (&4.into(), &true.into()));

    // The network that a run was trained against is no matter of choice.
    let other = at("other.safetensors");
    let export = ["export", text(&run), "--identity-weights", text(&judge), "--data", FACES, "--out", text(&other)];
    let error = refusal(&cvae_gan(&export));
    assert!(error.contains("the network it was trained against; leave --identity-weights away"), "{error}");
    assert_eq!(cvae_gan(&["export", text(&run), "--data", FACES, "--out", text(&other)]).status.code(), Some(2));
    stdout(&cvae_gan(&["export", text(&run), "--without-encoder", "--out", text(&other)]));

    let evaluated = cvae_gan(&[
        "evaluate",
        text(&bundle),
        "--judge",
        text(&judge),
        "--data",
        FACES,
        "--per-identity",
        "4",
        "--blended",
        "3",
        "--json",
    ]);
    let evaluated: serde_json::Value = serde_json::from_str(&stdout(&evaluated)).unwrap();
    assert!(evaluated["images"]["generated"]["top1"].is_number(), "{evaluated}");
    assert_eq!(evaluated["judge_took_part"], false);
    let swapped = &evaluated["swapped"];
    assert_eq!(swapped["images"], 16);
    let share = |name: &str| swapped[name].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&(share("as_asked") + share("as_encoded"))), "{swapped}");
    let blended = &evaluated["blended"];
    assert_eq!(blended["identities"], 3);
    for figure in ["distinct", "apart", "real_apart", "consistency", "real_consistency"] {
        assert!(blended[figure].is_number(), "{figure}: {blended}");
    }
    let told =
        stdout(&cvae_gan(&["evaluate", text(&bundle), "--judge", text(&judge), "--data", FACES, "--blended", "2"]));
    assert!(told.contains("16 real images drawn again") && told.contains("2 blended identities"), "{told}");
    let told = stdout(&cvae_gan(&["evaluate", text(&other), "--judge", text(&judge), "--data", FACES]));
    assert!(!told.contains("drawn again") && !told.contains("blended"), "{told}");
    for trained in [&run, &bundle] {
        let flattered = cvae_gan(&["evaluate", text(trained), "--judge", text(&weights), "--data", FACES, "--json"]);
        assert!(String::from_utf8_lossy(&flattered.stderr).contains("its figures flatter"), "{}", trained.display());
    }
}

#[test]
fn an_image_that_does_not_decode_is_set_aside_and_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("faces");
    folder_of_faces(&folder);
    let person = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let damaged = std::fs::read_dir(person).unwrap().next().unwrap().unwrap().path();
    let mut png = std::fs::read(&damaged).unwrap();
    let middle = png.len() / 2;
    png[middle] ^= 0x55;
    std::fs::write(&damaged, png).unwrap();
    let usual = ["--model", "cvae", "--width", "tiny", "--images", "16", "--batch", "8", "--data", text(&folder)];
    let trained = cvae_gan(&[&["train", "--out", text(&place.path().join("run"))], &usual[..]].concat());
    assert!(stdout(&trained).starts_with("trained for 16 images"));
    let told = String::from_utf8_lossy(&trained.stderr).into_owned();
    assert!(told.contains("1 x ") && told.contains(damaged.file_name().unwrap().to_str().unwrap()), "{told}");
}

#[test]
fn help_shows_values_as_they_are_typed() {
    let help = stdout(&cvae_gan(&["train", "--help"]));
    // However wide the lines are.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "[paper: cvae-gan; small-budget: cvae-gan; modern: cvae-gan]",
        "[paper: none; small-budget: none; modern: colour-translation]",
        "[paper: 0.0002; small-budget: if paper_width { 5e-4 } else { 1e-3 }; modern: if images < 200_000 {",
        "images / 4; modern: images / 8]",
    ] {
        assert!(help.contains(expected), "{expected} is not in {help}");
    }
    assert!(!help.contains("::"), "{help}");
}

#[test]
fn a_budget_chooses_what_is_not_given() {
    let settings = |flags: &[&str]| {
        let usual = ["train", "--data", FACES, "--model", "cvae", "--dry-run"];
        stdout(&cvae_gan(&[&usual[..], flags].concat()))
    };
    let hour = settings(&["--budget", "cpu-hour"]);
    for line in ["width = \"small\" # budget cpu-hour", "images = 50000 # budget", "preset = \"small-budget\" # budget"]
    {
        assert!(hour.contains(line), "{line} is not in {hour}");
    }
    let of_preset = "conditioning = \"every-layer\" # preset small-budget";
    assert!(hour.contains(of_preset) && hour.contains("batch = 16 #"), "{hour}");
    let minutes = settings(&["--budget", "gpu-10", "--device", "cpu"]);
    let of_budget = ["preset = \"small-budget\" # budget", "width = \"paper\" #", "batch = 64 # preset small-budget"];
    assert!(of_budget.iter().all(|line| minutes.contains(line)), "{minutes}");
    let own = settings(&["--budget", "gpu-25", "--width", "tiny", "--device", "cpu", "--preset", "small-budget"]);
    for line in ["width = \"tiny\" # flag", "images = 1500000 # budget gpu-25", "preset = \"small-budget\" # flag"] {
        assert!(own.contains(line), "{line} is not in {own}");
    }
    let long = settings(&["--preset", "modern", "--images", "500000", "--width", "tiny"]);
    assert!(long.contains("batch = 64 # preset modern") && long.contains("learning-rate = 0.0002 #"), "{long}");
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
        cvae_gan(&[&usual[..], more].concat())
    };
    let cases = [
        (1, vec![], "found none; give --identity-weights FILE"),
        (1, vec!["--identity-weights", text(&deep)], "expected a lightcnn-9, found a lightcnn-29"),
        (1, vec!["--identity-weights", text(&strange)], "(4 identities), found 3 others"),
        (1, vec!["--identity-weights", "/nowhere"], "/nowhere"),
        (2, vec!["--model", "cvae", "--lambda-id", "1"], "expected 0 for the model cvae"),
        (2, vec!["--preset", "modern", "--lambda-gp", "10"], "expected 0 with the critic loss hinge"),
        (2, vec!["--learning-rate", "0"], "expected a number above 0 as learning-rate"),
    ];
    for (code, flags, expected) in cases {
        let error = refused(code, &train(&flags));
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
