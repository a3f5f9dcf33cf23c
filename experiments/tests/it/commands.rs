//! The commands as a user types them.

use crate::world::TINY;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn experiments(verb: &str, out: &Path, more: &[&str]) -> Output {
    let out = ["--out", out.to_str().unwrap()];
    Command::new(env!("CARGO_BIN_EXE_experiments")).arg(verb).args(TINY).args(out).args(more).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("no error in {text}")).to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn all_of_it_is_run_reported_and_not_run_twice() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let more = ["--shares", "0.5", "--real-images", "2"];

    // The plan, and nothing left behind.
    let plan = stdout(&experiments("all", &out, &[&more[..], &["--dry-run"]].concat()));
    assert!(plan.contains("# judge: LightCNN-9") || plan.contains("# judge: lightcnn-9"), "{plan}");
    assert!(plan.contains("recognizer-images = 16 # flag") && plan.contains(" trainings; "), "{plan}");
    assert!(!out.exists());

    let told = stdout(&experiments("all", &out, &more));
    for (experiment, pictures) in [
        (
            "verification",
            &["accuracy-cosine.png", "accuracy-euclidean.png", "gain-cosine.png", "gain-euclidean.png"][..],
        ),
        ("ratio", &["by-share.png", "by-real-images.png"]),
        ("generation", &["top-1.png"]),
        ("figures", &["samples.png", "blended.png", "models.png", "latents.png", "identities.png"]),
        ("gan-train", &["gan-train.png"]),
    ] {
        let folder = out.join(experiment);
        let text = read(folder.join("report.md"));
        for picture in pictures {
            assert!(
                text.contains(&format!("]({picture})")) && folder.join(picture).is_file(),
                "{experiment}: {picture}"
            );
        }
        assert!(text.contains("## How it was found") && text.contains("recognizer-images = 16"), "{text}");
        let report: Value = serde_json::from_str(&read(folder.join("report.json"))).unwrap();
        let title = report["title"].as_str().unwrap();
        assert!(told.contains(title) && text.starts_with(&format!("# {title}\n")), "{told}");
        let provenance = &report["provenance"];
        assert_eq!(provenance["data"][0]["digest"].as_str().unwrap().len(), 64);
        let digests = provenance["trainings"].as_array().unwrap();
        assert!(!digests.is_empty() && digests.iter().all(|training| training["digest"].as_str().unwrap().len() == 64));
        // Findings are the same for people and programs.
        for finding in report["findings"].as_array().unwrap() {
            assert!(text.contains(finding.as_str().unwrap()));
        }
    }
    let verification: Value = serde_json::from_str(&read(out.join("verification/report.json"))).unwrap();
    let losses = verification["figures"]["losses"].as_array().unwrap();
    assert_eq!(losses.len(), 2);
    assert!(losses.iter().all(|loss| loss["arms"].as_array().unwrap().len() == 5));
    assert!(losses.iter().all(|loss| loss["comparisons"].as_array().unwrap().len() == 6));
    assert!(read(out.join("index.md")).contains("](gan-train/report.md)"));
    assert!(read(out.join("plan.toml")).contains("[trainings]"));

    // Everything is trained: the same again trains nothing, and finds the same.
    let checkpoints = || -> Vec<_> {
        let runs = std::fs::read_dir(out.join("trainings")).unwrap().map(|run| run.unwrap().path());
        let mut times: Vec<_> = runs.map(|run| (read(run.join("time.json")), run)).collect();
        times.sort();
        times
    };
    let before = checkpoints();
    let again = experiments("verification", &out, &[&more[..], &["--json"]].concat());
    let again: Value = serde_json::from_str(&stdout(&again)).unwrap();
    assert_eq!(again["verification"]["figures"], verification["figures"]);
    assert_eq!(again["verification"]["provenance"]["trainings"], verification["provenance"]["trainings"]);
    assert_eq!(checkpoints(), before);
    let plan = stdout(&experiments("all", &out, &[&more[..], &["--dry-run"]].concat()));
    assert!(plan.contains(" trainings; 0 ms for those that aren't done"), "{plan}");

    // Another plan takes another folder.
    let other = refusal(&experiments("verification", &out, &[&more[..], &["--brightness", "0.1"]].concat()));
    let expected = "was begun with another plan: expected settings.brightness = 0.2, found 0.1; leave it as it was or take \
                    another --out";
    assert!(other.ends_with(expected), "{other}");
    let other = refusal(&experiments("verification", &out, &[&more[..], &["--learning-rate", "0.1"]].concat()));
    assert!(other.contains("expected none of settings.learning-rate, found 0.1; leave it out or"), "{other}");
}

#[test]
fn the_ablation_tells_of_each_part() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let told = stdout(&experiments("ablation", &out, &[]));
    let report: Value = serde_json::from_str(&read(out.join("ablation/report.json"))).unwrap();
    let recipes = report["figures"]["recipes"].as_array().unwrap();
    assert_eq!(recipes.len(), 10);
    assert!(recipes[0]["gain"].is_null() && recipes.iter().skip(1).all(|recipe| recipe["gain"].is_object()));
    for part in ["+ repaired losses", "+ changed copies", "+ projection", "+ even deconvolutions"] {
        assert!(told.contains(part) && read(out.join("ablation/report.md")).contains(part), "{told}");
    }
    assert!(out.join("ablation/ablation.png").is_file());
}

/// Of two steps, the last.
const REAL_LAST: [&str; 2] = ["--real-last", "0.5"];

/// A command that has been started.
fn started(verb: &str, out: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_experiments"))
        .arg(verb)
        .args(TINY)
        .args(["--out", out.to_str().unwrap()])
        .args(REAL_LAST)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Trainings that a command names, as it begins them.
fn named(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines.filter(|line| line.contains(" loss, seed ") || line.contains(", preset "))
}

/// Starts a command and kills it as soon as it has named so many trainings.
fn killed(verb: &str, out: &Path, trainings: usize) {
    let mut child = started(verb, out);
    assert_eq!(named(&mut child).take(trainings).count(), trainings);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_ways_to_take_generated_rows_are_compared_and_neither_killing_nor_sharing_changes_them() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let told = stdout(&experiments("usage", &out, &REAL_LAST));
    let report: Value = serde_json::from_str(&read(out.join("usage/report.json"))).unwrap();
    let ways = report["figures"]["ways"].as_array().unwrap();
    assert_eq!(ways.len(), 6);
    assert!(ways[0]["over_real"].is_null() && ways[1]["over_plain"].is_null());
    assert!(ways.iter().skip(1).all(|way| way["over_real"].is_object()));
    assert!(
        told.contains("all three") && read(out.join("usage/report.md")).contains("none in the last 50.0 %"),
        "{told}"
    );
    // Each way is another training.
    let trainings = report["provenance"]["trainings"].as_array().unwrap();
    let names = trainings.iter().map(|training| training["name"].as_str().unwrap());
    let features: BTreeSet<Vec<u8>> = names
        .filter(|name| name.starts_with("recognizer-"))
        .map(|name| std::fs::read(out.join("trainings").join(name).join("features-of-pairs.bin")).unwrap())
        // Behind what they are of: a digest of themselves, and the numbers.
        .map(|bytes| bytes[32..].to_vec())
        .collect();
    assert_eq!(features.len(), 6);
    assert!(out.join("usage/usage.png").is_file());

    let as_before = |out: &Path| {
        let again: Value = serde_json::from_str(&read(out.join("usage/report.json"))).unwrap();
        assert_eq!(again["figures"], report["figures"]);
        let digests = |report: &Value| -> Vec<(Value, Value)> {
            let trainings = report["provenance"]["trainings"].as_array().unwrap();
            trainings.iter().map(|training| (training["name"].clone(), training["digest"].clone())).collect()
        };
        assert_eq!(digests(&again), digests(&report));
    };
    let other = place.path().join("killed");
    [2, 1, 3, 3, 2].into_iter().for_each(|trainings| killed("usage", &other, trainings));
    stdout(&experiments("usage", &other, &REAL_LAST));
    as_before(&other);

    // Two at once make each training once, and both come to the end.
    let shared = place.path().join("shared");
    let both = [started("usage", &shared), started("usage", &shared)]
        .map(|mut one| std::thread::spawn(move || (named(&mut one).count(), one.wait().unwrap().success())));
    let both = both.map(|one| one.join().unwrap());
    assert!(both.iter().all(|(_, succeeded)| *succeeded), "{both:?}");
    assert_eq!(both.iter().map(|(made, _)| made).sum::<usize>(), trainings.len());
    as_before(&shared);

    // What a killed one was at is made by the other.
    let left = place.path().join("left");
    let (mut first, mut second) = (started("usage", &left), started("usage", &left));
    let by_first = std::thread::spawn(move || named(&mut first).count());
    let by_second = named(&mut second).take(1).count();
    second.kill().unwrap();
    second.wait().unwrap();
    let made = by_first.join().unwrap() + by_second;
    let (least, most) = (trainings.len(), trainings.len() + 1);
    assert!((least..=most).contains(&made), "{made} beginnings of {least} trainings");
    as_before(&left);
}

#[test]
fn what_can_not_work_is_refused_before_anything_is_trained() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let refused = |verb: &str, more: &[&str]| refusal(&experiments(verb, &out, more));
    let told = refused("verification", &["--synthetic-share", "1"]);
    assert_eq!(told, "error: expected a share between 0 and 1 as synthetic-share, found 1");
    // People who are trained on are nobody to judge by.
    let told = refused("figures", &["--inception-data", "demo:identities=3,images=2"]);
    assert!(
        told.contains("expected other people in --inception-data") && told.contains("found 3 of the same names"),
        "{told}"
    );
    // Whatever they are called.
    let (own, theirs) = (place.path().join("own"), place.path().join("theirs"));
    let drawn = dataset::drawn::DrawnSet { first: 0, identities: 3, images: 3, seed: 1 };
    dataset::write::folder(&drawn, &own, dataset::write::Encoding::Png, None, || true).unwrap();
    for (nth, person) in ["ada", "eve"].into_iter().enumerate() {
        std::fs::create_dir_all(theirs.join(person)).unwrap();
        let image = format!("d{nth:04}_0001.png");
        std::fs::copy(own.join(format!("d{nth:04}")).join(&image), theirs.join(person).join(&image)).unwrap();
    }
    let given = ["--data", own.to_str().unwrap(), "--inception-data", theirs.to_str().unwrap()];
    let given = [&given[..], &["--out", out.to_str().unwrap()]].concat();
    let told = refusal(&Command::new(env!("CARGO_BIN_EXE_experiments")).arg("figures").args(given).output().unwrap());
    assert!(told.contains("found 2 of the same images, such as d000") && told.contains(", there "), "{told}");
    assert!(!out.exists());

    let data = ["--data", "demo:identities=4,images=6", "--out", out.to_str().unwrap()];
    let output = Command::new(env!("CARGO_BIN_EXE_experiments")).arg("ratio").args(data).output().unwrap();
    assert!(refusal(&output).contains("expected --pairs"), "{output:?}");

    // Shares that come to nothing.
    let told = refused("verification", &["--synthetic-share", "0.01"]);
    let expected =
        "expected a share of at least one row in the 16 of a training as share of generated rows, found 0.01";
    assert!(told.ends_with(expected), "{told}");
    assert!(refused("ratio", &["--shares", "0"]).ends_with("expected a share above 0 as shares, found none"));

    // A folder with files of another kind is left alone, by a plan too.
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("mine"), "").unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let output = experiments("figures", &out, more);
        let told = String::from_utf8_lossy(&output.stderr);
        let expected =
            "expected an empty folder, or one that `experiments` began, with its plan.toml; found other files";
        assert!(output.status.code() == Some(1) && told.contains(expected), "{told}");
    }
    // So is a plan that is none.
    for (text, expected) in [("", "found no settings"), ("[settings]\na = = 1\n", "found in line 2: ")] {
        std::fs::write(out.join("plan.toml"), text).unwrap();
        let output = experiments("figures", &out, &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && told.contains(expected), "{told}");
    }
}

#[test]
fn a_plan_has_the_models_and_the_recipe_that_were_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let own = ["--generator-preset", "modern", "--generator-set", "lambda-kl=0.02,batch=8"];
    let more = [&["--dry-run", "--models", "cgan"][..], &own].concat();
    let plan = stdout(&experiments("generation", &place.path().join("out"), &more));
    let trainings = plan.lines().skip_while(|line| *line != "# Trainings");
    let generators: Vec<&str> = trainings.filter_map(|line| line.strip_prefix("# generator-")).collect();
    let [ours, cgan] = generators[..] else { panic!("{generators:?}") };
    assert!(ours.starts_with("ours: ") && cgan.starts_with("cgan: "), "{generators:?}");
    assert!(ours.contains("preset modern with batch=8, lambda-kl=0.02, seed"), "{ours}");
    assert!(cgan.contains("preset modern with batch=8, seed"), "{cgan}");

    // Blended people who are no classes of their own are other trainings.
    let soft = ["--dry-run", "--blended-labels", "soft", "--blended-spread", "1"];
    let plan = stdout(&experiments("verification", &place.path().join("soft"), &soft));
    assert!(plan.contains("-blended-soft-spread-1-0.5-online-seed-1") && !plan.contains("-blended-0.5-"), "{plan}");
    let told = refusal(&experiments("verification", &place.path().join("soft"), &["--blended-spread", "3"]));
    assert!(told.contains("expected a number from 0 to 2"), "{told}");

    // Slips in settings of one's own are told with the command line.
    let out = place.path().join("own");
    for (slip, expected) in [
        (
            "lambda-x=1",
            "expected a setting of a recipe, as `cvae-gan train --help` lists them as generator-set, found `lambda-x=1`",
        ),
        ("seed=3", "expected a setting that neither an experiment nor another flag decides, found seed"),
    ] {
        let told = refusal(&experiments("figures", &out, &["--generator-set", slip]));
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn committed_settings_are_understood() {
    for file in ["smoke.toml", "drawn.toml", "faces.toml", "gpu.toml"] {
        let text = read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let place = tempfile::tempdir().unwrap();
        let config = place.path().join(file);
        // Of a template, whose folder isn't there, the settings are read all the same: they fail on it alone.
        std::fs::write(&config, text).unwrap();
        let given = ["--config", config.to_str().unwrap(), "--out", "nowhere", "--synthetic-share", "1"];
        let output = Command::new(env!("CARGO_BIN_EXE_experiments")).arg("figures").args(given).output().unwrap();
        assert_eq!(refusal(&output), "error: expected a share between 0 and 1 as synthetic-share, found 1", "{file}");
    }
}
