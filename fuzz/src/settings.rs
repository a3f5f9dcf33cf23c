//! Settings files, and the files of a run directory that a resumed training reads.

use crate::scratch;
use clap::{Args, Parser, Subcommand};
use client::flags::StreamFlags;
use command::CommonArgs;
use command::run_directory::{RunDirectory, read_stats};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::Table;

/// A command with the settings of the server and of a stream's reader.
#[derive(Parser)]
#[command(name = "fuzzed")]
struct Cli {
    #[command(flatten)]
    _common: CommonArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// The server's
    Serve(Box<Serve>),
    /// A stream reader's
    Train(Box<Train>),
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    _config: server::Config,
}

#[derive(Args)]
struct Train {
    #[command(flatten)]
    stream: StreamFlags,
    /// Run to go on with
    #[arg(long)]
    resume: Option<PathBuf>,
}

fn parse(verb: &str, flag: &str, path: &Path) -> command::Result<command::settings::Parsed<Cli>> {
    let args = ["fuzzed".into(), verb.into(), flag.into(), path.as_os_str().to_owned()];
    command::settings::parse_from(args, std::iter::empty::<(OsString, OsString)>())
}

/// A settings file, for the verb that the first byte says; or a file of identity weights. What was
/// accepted is printed and read back as the same.
pub fn settings(input: &[u8]) -> bool {
    let Some((&verb, text)) = input.split_first() else { return false };
    let folder = scratch::folder();
    let (file, again) = (folder.path().join("settings.toml"), folder.path().join("again.toml"));
    std::fs::write(&file, text).expect("a file can be written");
    if verb % 3 == 2 {
        let rule = format!("sampling = \"weights:{}\"", file.display());
        std::fs::write(&again, rule).expect("a file can be written");
        let parsed = parse("train", "--config", &again).map(|parsed| parsed.cli.verb);
        return matches!(parsed, Ok(Verb::Train(train)) if train.stream.settings(1).is_ok());
    }
    let verb = ["serve", "train"][usize::from(verb % 3)];
    let Ok(parsed) = parse(verb, "--config", &file) else { return false };
    let printed = parsed.settings.to_toml();
    std::fs::write(&again, &printed).expect("a file can be written");
    let reread = parse(verb, "--config", &again).unwrap_or_else(|error| panic!("{error} of {printed}"));
    let values = |text: &str| text.parse::<Table>().map(|table| format!("{table:?}"));
    assert_eq!(values(&printed), values(&reread.settings.to_toml()), "the settings printed are the settings read");
    true
}

/// `config.toml`, a zero byte and `stats.jsonl`, of a run that is gone on with.
pub fn run(input: &[u8]) -> bool {
    let folder = scratch::folder();
    let end = input.iter().position(|&byte| byte == 0).unwrap_or(input.len());
    let (config, stats) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    std::fs::write(folder.path().join("config.toml"), config).expect("a file can be written");
    std::fs::write(folder.path().join("stats.jsonl"), stats).expect("a file can be written");
    let parsed = parse("train", "--resume", folder.path());
    if let Ok(Verb::Train(train)) = parsed.map(|parsed| parsed.cli.verb) {
        assert_eq!(train.resume.as_deref(), Some(folder.path()), "the flag wins");
    }
    let Ok(run) = RunDirectory::open(folder.path()) else { return false };
    let before = read_stats(folder.path()).expect("figures that a run opened with");
    let place = before.get(before.len() / 2).map_or(0, |(seen, _)| *seen);
    run.resume_at(place).expect("a run that was opened goes on");
    let after = read_stats(folder.path()).expect("figures that were cut back");
    assert!(after.iter().all(|(seen, _)| *seen <= place), "nothing is left beyond the place to go on from");
    if run.append_stats(place, &[("loss", f64::NAN)]).is_ok() {
        let last = read_stats(folder.path()).expect("figures that were added to");
        assert_eq!(last.len(), after.len() + 1);
    }
    run.change_setting("images", "12", "more than before").is_ok()
}

/// Settings of both verbs, as people and programs write them.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "\0data = \"demo\"\nwatch = 0\nleast_similarity = 0.5\nwithhold = [\"a\", \"b\"]\nshare = [\"night-run=0.5\"]\n",
        "\0[serve]\ntile = 16\nread-ahead = 4\ngrace = 18446744073709551615\nlog-format = \"json\"\nverbose = 2\n[train]\nbatch = 3\n",
        "\u{1}server = [\"http://127.0.0.1:1\", \"http://[::1]:2\"]\nmix = \"real=0.5,existing=0.3,blended=0.2\"\nsampling = \"16x4\"\nfollow = true\n",
        "\u{1}[train]\nalpha = 1e-2\nmax_weight = 1.0\naccept = [\"dataset\", 'world']\npixels = \"rgb\"\npatience = 0.5\njitter = 10\n",
        "\u{2}0.5\n1\n\n0\n1e300\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let folder = scratch::folder();
    let empty = folder.path().join("empty.toml");
    std::fs::write(&empty, "").expect("a file can be written");
    for (number, verb) in ["serve", "train"].into_iter().enumerate() {
        let printed = parse(verb, "--config", &empty).expect("no settings are settings").settings.to_toml();
        seeds.push([&[number as u8], printed.as_bytes()].concat());
    }
    seeds
}

/// Runs, one with a last line that was cut short.
pub fn runs() -> Vec<Vec<u8>> {
    [
        "# fuzzed train: resolved settings\nbatch = 8\n\0{\"images_seen\":8,\"loss\":1.5}\n{\"images_seen\":16,\"loss\":null}\n",
        "images = 3 # flag\n[train]\nbatch = 2\n\0{\"images_seen\":0}\n{\"images_seen\":18446744073709551615,\"a\":[1]}\n{\"ima",
        "# recognizer train: resolved settings\n\0",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
