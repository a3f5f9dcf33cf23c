//! What a training leaves behind.

use std::fs;
use std::io::Write;

use command::picture::Plot;
use command::run_directory::{Checkpoints, load, read_stats};
use command::{Error, RunDirectory};

fn name(run: &RunDirectory) -> String {
    run.path().file_name().unwrap().to_str().unwrap().to_owned()
}

fn save(run: &RunDirectory, images_seen: u64) {
    run.checkpoints().write_verified(images_seen, images_seen.to_string().as_bytes()).unwrap();
}

#[test]
fn runs_are_numbered_in_order_and_old_numbers_are_never_reused() {
    let parent = tempfile::tempdir().unwrap();
    let first = RunDirectory::create(parent.path(), "tiny demo/../x", "seed = 1\n").unwrap();
    assert_eq!(name(&first), "00000-tiny-demo-..-x");
    assert_eq!(fs::read_to_string(first.path().join("config.toml")).unwrap(), "seed = 1\n");
    fs::create_dir(parent.path().join("00011-other")).unwrap();
    fs::write(parent.path().join("notes.txt"), "").unwrap();
    assert_eq!(name(&RunDirectory::create(parent.path(), "next", "").unwrap()), "00012-next");
}

#[test]
fn runs_started_at_once_get_directories_of_their_own() {
    let parent = tempfile::tempdir().unwrap();
    let names: Vec<String> = std::thread::scope(|scope| {
        let start = || name(&RunDirectory::create(parent.path(), "same", "").unwrap());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), 8);
}

#[test]
fn shards_come_and_go_with_their_checkpoint() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "run", "").unwrap();
    let checkpoints = run.checkpoints();
    let write = |images_seen: u64, count: usize| {
        let shards: Vec<(String, &[u8])> =
            (0..count).map(|nth| (Checkpoints::shard_name(images_seen, nth, count), &b"part"[..])).collect();
        checkpoints.write_in_shards(images_seen, &shards, b"index").unwrap()
    };
    let names = || {
        let entries = fs::read_dir(checkpoints.directory()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let path = write(64, 2);
    let of_64 =
        ["images-000000064.safetensors", "images-000000064.shard-001-of-002", "images-000000064.shard-002-of-002"];
    assert_eq!(names(), of_64);
    assert_eq!(fs::read(path).unwrap(), b"index");
    // Shards alone are no checkpoint.
    let listed: Vec<u64> = checkpoints.list().unwrap().iter().map(|checkpoint| checkpoint.images_seen).collect();
    assert_eq!(listed, [64]);
    // The same again in other files, and in one.
    write(64, 1);
    assert_eq!(names(), ["images-000000064.safetensors", "images-000000064.shard-001-of-001"]);
    save(&run, 64);
    assert_eq!(names(), ["images-000000064.safetensors"]);

    write(64, 2);
    // A crash between the shards and their index.
    fs::write(checkpoints.directory().join("images-000000096.shard-001-of-003"), "part").unwrap();
    write(128, 1);
    checkpoints.prune(128, 2).unwrap();
    let of_128 = ["images-000000128.safetensors", "images-000000128.shard-001-of-001"];
    assert_eq!(names(), [&of_64[..], &of_128].concat());
    checkpoints.prune(128, 1).unwrap();
    assert_eq!(names(), of_128);
}

#[test]
fn a_chosen_place_must_be_empty() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("run");
    drop(RunDirectory::create_at(&place, "").unwrap());
    assert!(matches!(RunDirectory::create_at(&place, ""), Err(Error::Occupied(_))));
    assert!(matches!(RunDirectory::open(parent.path()), Err(Error::NotARun(_))));
}

#[test]
fn two_writers_on_one_run_are_refused_until_the_first_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let first = RunDirectory::create(parent.path(), "run", "").unwrap();
    let path = first.path().to_path_buf();
    assert!(RunDirectory::is_held(&path).unwrap() && !RunDirectory::is_held(parent.path()).unwrap());
    let text = RunDirectory::open(&path).unwrap_err().to_string();
    assert!(text.ends_with("is in use by another process; wait for it to end or choose another run"), "{text}");
    drop(first);
    assert!(!RunDirectory::is_held(&path).unwrap());
    RunDirectory::open(&path).unwrap();
}

#[test]
fn a_resumed_runs_figures_equal_an_undisturbed_ones() {
    let parent = tempfile::tempdir().unwrap();
    let figures = |run: &RunDirectory, range: std::ops::RangeInclusive<u64>| {
        for step in range {
            let loss = if step == 3 { f64::NAN } else { 1.0 / step as f64 };
            run.append_stats(step * 64, &[("loss/kl", loss), ("lr", 1e-4)]).unwrap();
        }
    };
    let undisturbed = RunDirectory::create(parent.path(), "a", "").unwrap();
    figures(&undisturbed, 1..=6);

    let disturbed = RunDirectory::create(parent.path(), "b", "").unwrap();
    let path = disturbed.path().to_path_buf();
    figures(&disturbed, 1..=4);
    drop(disturbed);
    // Killed in the middle of a line, two steps after the checkpoint at 128 images.
    fs::OpenOptions::new().append(true).open(path.join("stats.jsonl")).unwrap().write_all(b"{\"images_se").unwrap();
    let resumed = RunDirectory::open(&path).unwrap();
    assert!(matches!(resumed.append_stats(128, &[]), Err(Error::Damaged { .. })));
    resumed.resume_at(128).unwrap();
    figures(&resumed, 3..=6);

    let text = |run: &RunDirectory| fs::read_to_string(run.path().join("stats.jsonl")).unwrap();
    assert_eq!(text(&resumed), text(&undisturbed));
    assert_eq!(text(&resumed).lines().nth(2), Some("{\"images_seen\":192,\"loss/kl\":null,\"lr\":0.0001}"));
    let lines = read_stats(resumed.path()).unwrap();
    assert_eq!(lines.iter().map(|(seen, _)| *seen).collect::<Vec<_>>(), [64, 128, 192, 256, 320, 384]);
    assert_eq!(lines[1].1["loss/kl"], 0.5);
}

#[test]
fn tensorboard_drops_what_a_resumed_run_makes_again() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "a", "").unwrap();
    run.append_stats(64, &[("loss", 1.0)]).unwrap();
    run.append_stats(128, &[("loss", 0.5)]).unwrap();
    run.resume_at(64).unwrap();
    run.append_stats(128, &[("loss", 0.5)]).unwrap();
    let mut files: Vec<_> = fs::read_dir(run.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("tfevents"))
        .collect();
    files.sort();
    let starts: Vec<i64> = files.iter().map(|file| command::tensorboard::read(file).unwrap()[1].step).collect();
    assert_eq!(starts, [0, 65]);
}

#[test]
fn pictures_are_named_by_images_seen() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "a", "").unwrap();
    let path = run.save_picture("grid", 12_800, &Plot::new("t", "x", "y").render()).unwrap();
    assert_eq!(path, run.path().join("samples/grid-000012800.png"));
    assert_eq!(image::open(path).unwrap().width(), 960);
}

#[test]
fn damaged_figures_are_named() {
    let parent = tempfile::tempdir().unwrap();
    let path = RunDirectory::create(parent.path(), "a", "").unwrap().path().to_path_buf();
    fs::write(path.join("stats.jsonl"), "{\"images_seen\":1}\nnonsense\n").unwrap();
    let text = RunDirectory::open(&path).unwrap_err().to_string();
    assert!(text.ends_with("expected a JSON object with images_seen in line 2, found nonsense"), "{text}");
}

#[test]
fn the_newest_checkpoint_that_can_be_read_is_found() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "a", "").unwrap();
    let found = |damaged: &str| {
        load(run.path(), |path| match fs::read_to_string(path) {
            Ok(text) if text != damaged => Ok(text),
            _ => Err(Error::NotARun(path.to_path_buf())),
        })
    };
    let text = found("").unwrap_err().to_string();
    assert!(text.starts_with("expected a checkpoint in") && text.ends_with("found none"), "{text}");
    for images_seen in [64, 12_800, 640] {
        save(&run, images_seen);
    }
    fs::write(run.checkpoints().directory().join("images-x.safetensors"), "").unwrap();
    fs::write(run.checkpoints().directory().join(".images-000000001.safetensors.abc.tmp"), "").unwrap();
    assert_eq!(found("").unwrap(), "12800");
    assert_eq!(found("12800").unwrap(), "640");
    let file = run.path().join("checkpoints/images-000000064.safetensors");
    assert_eq!(load(&file, |path| Ok::<_, Error>(path.to_path_buf())).unwrap(), file);
    let (checkpoint, content) = run
        .checkpoints()
        .newest(|checkpoint| match fs::read_to_string(&checkpoint.path) {
            Ok(text) if text != "12800" => Ok(text),
            _ => Err("cut short"),
        })
        .unwrap();
    assert_eq!((checkpoint.images_seen, content.as_str()), (640, "640"));
    let refused = run.checkpoints().newest(|_| Err::<(), _>("cut short")).unwrap_err().to_string();
    assert!(refused.ends_with("found only damaged ones: cut short"), "{refused}");
}

#[test]
fn opening_a_run_removes_what_a_killed_process_left_unfinished() {
    let parent = tempfile::tempdir().unwrap();
    let path = RunDirectory::create(parent.path(), "a", "").unwrap().path().to_path_buf();
    let left = path.join("checkpoints/.images-000000064.safetensors.x1y2.tmp");
    fs::write(&left, "half").unwrap();
    let run = RunDirectory::open(&path).unwrap();
    assert!(!left.exists());
    assert_eq!(run.checkpoints().list().unwrap(), []);
}

fn seen(run: &RunDirectory) -> Vec<u64> {
    let left = Checkpoints::in_run(run.path()).list().unwrap();
    left.iter().map(|checkpoint| checkpoint.images_seen).collect()
}

#[test]
fn pruning_keeps_the_newest_and_at_least_the_one_just_written() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "a", "").unwrap();
    for images_seen in [64, 128, 192, 256] {
        save(&run, images_seen);
    }
    let pruned = run.checkpoints().prune(256, 2).unwrap();
    assert_eq!(pruned.iter().map(|checkpoint| checkpoint.images_seen).collect::<Vec<_>>(), [64, 128]);
    // One that is not known to be good is no reason to give up one that is.
    run.checkpoints().prune(192, 1).unwrap();
    assert_eq!(seen(&run), [192, 256]);
    run.checkpoints().prune(256, 0).unwrap();
    assert_eq!(seen(&run), [256]);
}

#[test]
fn a_checkpoint_that_a_resume_passed_over_is_set_aside() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "a", "").unwrap();
    save(&run, 400);
    save(&run, 800);
    run.resume_at(400).unwrap();
    assert_eq!(seen(&run), [400]);
    assert!(run.path().join("checkpoints/images-000000800.safetensors.damaged").is_file());
    save(&run, 408);
    run.checkpoints().prune(408, 1).unwrap();
    assert_eq!(seen(&run), [408]);
}

#[test]
fn a_setting_that_changed_on_the_way_is_recorded() {
    let parent = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(parent.path(), "a", "clip = 5.0 # flag\nclip-more = 1\n[train]\n").unwrap();
    run.change_setting("clip", "2.0", "5.0 before").unwrap();
    run.change_setting("learning-rate", "0.1", "0.2 before").unwrap();
    assert_eq!(
        fs::read_to_string(run.path().join("config.toml")).unwrap(),
        "learning-rate = 0.1 # 0.2 before\nclip = 2.0 # 5.0 before\nclip-more = 1\n[train]\n"
    );
}

#[test]
fn an_output_spares_what_it_is_made_of() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    let checkpoint = run.join("checkpoints/images-000000008.safetensors");
    fs::create_dir_all(checkpoint.parent().unwrap()).unwrap();
    fs::write(&checkpoint, "state").unwrap();
    for input in [&run, &checkpoint] {
        let text = command::run_directory::spare(input, &checkpoint).unwrap_err().to_string();
        assert!(text.ends_with("is an input of this command; choose another --out"), "{text}");
        command::run_directory::spare(input, &directory.path().join("features.safetensors")).unwrap();
    }
}
