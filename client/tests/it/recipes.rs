//! What was read can be had again, and proven.

use crate::between::Between;
use crate::commands::{client, json, refusal};
use crate::fixture::*;
use client::verify::{self, Expected};
use client::{BundleChoice, Error, Recipe, StreamSettings, Takeover};
use command::Interrupt;
use proptest::prelude::*;
use proto::v1::stream_response::Message;
use std::fs;
use std::path::Path;

/// A recipe of `count` batches of a stream, and their digests.
fn read_some(settings: StreamSettings, count: u64) -> (Recipe, Vec<[u8; 32]>) {
    let first = settings.first;
    let mut source = try_connect(settings).unwrap();
    let mut sequence = proto::digest::Sequence::new();
    let digests = (0..count).map(|_| source.next_received().unwrap()).map(|received| {
        sequence.push(received.batch.index, &received.digest);
        received.digest
    });
    let digests = digests.collect();
    (Recipe::of(&source.current_place(), first, count, sequence.hex()), digests)
}

fn verify(server: &str, recipe: &Recipe, expected: Expected<'_>) -> Result<(), Error> {
    let settings = settings(&[server.to_owned()], 7);
    verify::against(&server.parse().unwrap(), recipe, expected, &settings, &Interrupt::new())
}

fn refused(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    let error = Recipe::read(path).unwrap_err().to_string();
    let reason = error.strip_prefix(&format!("{}: ", path.display())).unwrap_or_else(|| panic!("{error}"));
    assert_eq!(reason.lines().count(), 1, "{reason}");
    reason.to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_recipe_comes_back_from_its_file_to_the_last_bit(spec in crate::specs::spec(), json: bool, follows: bool) {
        let place = client::Place {
            kind: client::place::Kind::Stream,
            labels: client::Labels::Hard,
            rank: 0,
            world_size: 1,
            origin: client::place::Origin {
                dataset: "d".repeat(64),
                bundle: "b".repeat(64),
                numerics: "here \"quoted\"".to_owned(),
                plan_version: 3,
            },
            takeovers: if follows { vec![Takeover { first: 9, bundle: "c".repeat(64) }] } else { Vec::new() },
            tables: Vec::new(),
            next: 12,
            spec,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if json { "recipe.json" } else { "recipe.toml" });
        let recipe = Recipe::of(&place, 5, 7, "0".repeat(64));
        recipe.write(&path).unwrap();
        prop_assert_eq!(Recipe::read(&path).unwrap(), recipe);
    }
}

#[test]
fn a_recipe_is_a_few_hundred_bytes_and_what_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.toml");
    let server = Running::ordinary();
    let (recipe, _) = read_some(settings(&[server.url()], 7), 3);
    recipe.write(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.len() < 1000, "{text}");
    assert!(text.contains("\nrecipe = 1\n") && text.contains("\nseed = 7\n"), "{text}");

    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}: {text}");
        refused(&path, &text.replacen(from, to, 1))
    };
    assert_eq!(changed("seed = 7", "seed = 7\nsede = 8"), "expected only what a recipe says, found `spec.sede`");
    assert_eq!(changed("recipe = 1", "recipe = 1\nhue = 2"), "expected only what a recipe says, found `hue`");
    let other = "expected a recipe of form 1, found form 2: another version of Lookalike wrote it";
    assert_eq!(changed("recipe = 1", "recipe = 2"), other);
    let missing = changed("count = 3", "");
    assert!(missing.starts_with("expected a recipe, found a mistake at line"), "{missing}");
    assert!(missing.contains("count"), "{missing}");
    let empty = changed("count = 3", "count = 0");
    assert!(empty.starts_with("expected a range of at least one batch"), "{empty}");
    changed("count = 3", "count = 9223372036854775807");
    changed("world_size = 1", "world_size = 9");
    changed("batch_size = 8", "batch_size = 0");
    let digest = changed(&recipe.range.digest, "12345");
    assert_eq!(digest, r#"expected 64 hexadecimal digits as the range's digest, found "12345""#);
    let late = format!("{text}\n[[takeovers]]\nfirst = 3\nbundle = \"b1\"\n");
    assert!(refused(&path, &late).starts_with("expected at most 1023 takeovers, ascending and within the range"));
    for nothing in ["", "seed = 7", "{", "recipe = \"one\""] {
        let reason = refused(&path, nothing);
        assert!(reason.starts_with("expected a recipe, found a mistake at line"), "{reason}");
    }
    let twin = folder.path().join("recipe.json");
    recipe.write(&twin).unwrap();
    let text = fs::read_to_string(&twin).unwrap().replace("\"seed\": 7", "\"seed\": 7, \"sede\": 8");
    assert_eq!(refused(&twin, &text), "expected only what a recipe says, found `spec.sede`");
}

#[test]
fn a_probe_proves_that_what_it_read_is_made_again() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let [server, replica] = [Running::ordinary(), Running::ordinary()];
    let both = format!("{},{}", server.url(), replica.url());
    let probe = |more: &[&str]| client(here, &[&["probe", "--quiet", "--json"], more].concat());
    let spec = ["--mix", "real=1,blended=1", "--batch", "16", "--seed", "5", "--first", "3", "--batches", "6"];
    let written = ["--server", &server.url(), "--recipe-out", "recipe.toml", "--verify", "--against", &both];
    let read = json(&probe(&[&spec[..], &written].concat()));
    assert_eq!(read["verified"].as_array().unwrap().len(), 2);

    // By the recipe alone: the same digest, with pixels and without.
    let again = json(&probe(&["--server", &replica.url(), "--recipe", "recipe.toml", "--verify"]));
    assert_eq!((&again["digest"], &again["batches"], &again["first"]), (&read["digest"], &read["batches"], &3.into()));
    let proven = json(&probe(&["--server", &both, "--verify", "recipe.toml"]));
    assert_eq!((&proven["digest"], &proven["batches"]), (&read["digest"], &read["batches"]));
    assert_eq!(proven["verified"].as_array().unwrap().len(), 2);

    let refuses = |more: &[&str], words: &str| {
        let (code, sentence) = refusal(&probe(more));
        assert!(matches!(code, Some(1 | 2)) && sentence.lines().count() == 1, "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
    };
    let url = server.url();
    refuses(
        &["--server", &url, "--recipe", "recipe.toml", "--seed", "5"],
        "expected --recipe without --seed, found both",
    );
    refuses(&["--server", &url, "--verify", "recipe.toml", "--mix", "real=1"], "without --mix");
    refuses(&["--server", &url, "--verify", "absent.toml"], "cannot read absent.toml: no such file or directory");
    let other = Setup { dataset: "d1", ..Setup::default() }.start();
    let other_url = other.url();
    for more in [["--recipe", "recipe.toml"], ["--verify", "recipe.toml"]] {
        let args = [&["--server", &*other_url][..], &more].concat();
        refuses(&args, "expected dataset d0 as the stream began with, found d1");
    }

    // One that says something else of one batch.
    let liar = Between::start(&server, |message| {
        if let Message::Batch(batch) = message
            && batch.index == 5
        {
            batch.digest = vec![0xab; 32].into();
        }
    });
    let liar_url = liar.url();
    let lie = format!("found {} at {liar_url}", "ab".repeat(32));
    let args = [&spec[..], &["--server", &url, "--verify", "--against", &liar_url]].concat();
    refuses(&args, "batch 5 differs: expected digest ");
    refuses(&args, &lie);
    // The recipe knows all of them together only.
    let args = ["--server", &liar.url(), "--verify", "recipe.toml"];
    refuses(&args, "batches 3 to 8 differ: expected digest ");

    // A recipe that was changed afterwards.
    let text = fs::read_to_string(here.join("recipe.toml")).unwrap();
    fs::write(here.join("forged.toml"), text.replace("seed = 5", "seed = 6")).unwrap();
    refuses(&["--server", &url, "--verify", "forged.toml"], "batches 3 to 8 differ");
    refuses(&["--server", &url, "--recipe", "forged.toml", "--verify"], "what was read differs from the recipe");
}

#[test]
fn a_stream_that_followed_is_proven_with_its_takeovers() {
    let server = Running::ordinary();
    let follow = StreamSettings { bundle: BundleChoice::Follow { from: None }, ..settings(&[server.url()], 7) };
    let mut source = try_connect(follow).unwrap();
    let mut digests = vec![source.next_received().unwrap().digest];
    server.swap("noise=0.9").unwrap();
    let mut sequence = proto::digest::Sequence::new();
    while source.current_place().takeovers.is_empty() {
        digests.push(source.next_received().unwrap().digest);
    }
    digests.extend((0..4).map(|_| source.next_received().unwrap().digest));
    (0..).zip(&digests).for_each(|(index, digest)| sequence.push(index, digest));
    let recipe = Recipe::of(&source.current_place(), 0, digests.len() as u64, sequence.hex());
    assert_eq!((recipe.origin.bundle.as_str(), recipe.takeovers.len()), ("b0", 1));
    drop(source);
    verify(&server.url(), &recipe, Expected::Each(&digests)).unwrap();
    // Without the table, the batches after the takeover are others.
    let mut forgetful = recipe.clone();
    forgetful.takeovers.clear();
    let error = verify(&server.url(), &forgetful, Expected::Each(&digests)).unwrap_err().to_string();
    let first = recipe.takeovers[0].first;
    assert!(error.starts_with(&format!("batch {first} differs: expected digest ")), "{error}");
    // A part that begins after it needs no table.
    let after = StreamSettings {
        first: first + 1,
        bundle: BundleChoice::Pin(recipe.takeovers[0].bundle.clone()),
        ..settings(&[server.url()], 7)
    };
    let (part, of_part) = read_some(after, 2);
    assert_eq!(of_part, digests[first as usize + 1..][..2]);
    verify(&server.url(), &part, Expected::Together).unwrap();
}

#[test]
fn a_verification_outlives_its_server() {
    // Enough tiles for some batches only; then the generator hangs.
    let first = Setup { tiles: 3, ..Setup::default() }.start();
    let port = first.address.port();
    let whole = Running::ordinary();
    let (recipe, digests) = read_some(settings(&[whole.url()], 7), 12);
    let url = first.url();
    let again = std::thread::spawn(move || {
        first.wait_until_it_hangs();
        drop(first);
        Setup { port, ..Setup::default() }.start()
    });
    in_time(move || verify(&url, &recipe, Expected::Each(&digests))).unwrap();
    drop(again.join().unwrap());
}

#[test]
fn a_training_says_what_it_was_trained_on() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let server = Running::ordinary();
    let url = server.url();
    let network = ["--width", "tiny", "--arch", "lightcnn-9", "--quiet", "--json", "--images", "96"];
    let train = |more: &[&str]| {
        json(&client(here, &[&["train", "--server", &url], &network[..], &["--checkpoint-every", "32"], more].concat()))
    };
    train(&["--batch", "8", "--seed", "3", "--out", "run"]);
    let recipe = Recipe::read(&here.join("run/recipe.toml")).unwrap();
    assert_eq!((recipe.range.first, recipe.range.count, recipe.spec.seed), (0, 12, 3));
    let verify = |recipe: &str| client(here, &["probe", "--server", &url, "--verify", recipe, "--quiet", "--json"]);
    assert_eq!(json(&verify("run/recipe.toml"))["batches"], 12);

    // A training by the recipe learns from the same batches.
    train(&["--recipe", "run/recipe.toml", "--seed", "4", "--out", "again"]);
    assert_eq!(Recipe::read(&here.join("again/recipe.toml")).unwrap(), recipe);
    let batches = |run: &str| fs::read_to_string(here.join(run).join("batches.jsonl")).unwrap();
    assert_eq!(batches("again"), batches("run"));
    // And goes on by it, without more flags.
    fs::remove_file(here.join("again/recipe.toml")).unwrap();
    json(&client(here, &["train", "--resume", "again", "--quiet", "--json"]));
    let args = ["--recipe", "run/recipe.toml", "--server", &url, "--images", "200", "--out", "longer", "--quiet"];
    let (code, sentence) = refusal(&client(here, &[&["train"][..], &args].concat()));
    let expected = "error: expected at most the 96 images of the recipe as --images, found 200";
    assert_eq!((code, &*sentence), (Some(2), expected));

    // The list beside the recipe tells which batch was changed.
    let forged = batches("run").replacen(&batches("run").lines().nth(4).unwrap()[21..30], "000000000", 1);
    fs::write(here.join("run/batches.jsonl"), forged).unwrap();
    let (code, sentence) = refusal(&verify("run/recipe.toml"));
    assert_eq!(code, Some(1));
    assert!(sentence.starts_with("error: batch 4 differs: expected digest 000000000"), "{sentence}");
}
