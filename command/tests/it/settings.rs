//! Flags win over the environment, the environment over the file, the file over the defaults.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use command::settings::Parsed;
use command::{CommonArgs, Error, parse_from};
use proptest::prelude::*;

#[derive(Parser, Debug, PartialEq)]
#[command(name = "trainer")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: Everywhere,
    /// A flag of the root alone
    #[arg(long, default_value = "here")]
    place: String,
}

/// [`CommonArgs`] with an equality for these tests.
#[derive(clap::Args, Debug)]
struct Everywhere {
    #[command(flatten)]
    args: CommonArgs,
}

impl PartialEq for Everywhere {
    fn eq(&self, other: &Self) -> bool {
        (self.args.threads, self.args.json, self.args.verbose)
            == (other.args.threads, other.args.json, other.args.verbose)
    }
}

#[derive(Subcommand, Debug, PartialEq)]
enum Verb {
    Train(Train),
    Sample {
        run: PathBuf,
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(clap::Args, Debug, PartialEq)]
struct Train {
    #[arg(long)]
    data: String,
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    #[arg(long, default_value_t = 0.001)]
    learning_rate: f64,
    #[arg(long, value_enum, default_value_t = Width::Paper)]
    width: Width,
    #[arg(long)]
    flip: bool,
    #[arg(long, value_delimiter = ',')]
    server: Vec<String>,
    #[arg(long, conflicts_with = "data_seed")]
    resume: Option<PathBuf>,
    #[arg(long)]
    data_seed: Option<u64>,
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true)]
    prefetch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Width {
    Paper,
    Small,
}

fn parse(args: &[&str], environment: &[(&str, &str)]) -> Result<Parsed<Cli>, Error> {
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    parse_from(std::iter::once("trainer").chain(args.iter().copied()), environment)
}

fn train(args: &[&str], environment: &[(&str, &str)]) -> Train {
    match parse(args, environment).unwrap_or_else(|error| panic!("{error}")).cli.verb {
        Verb::Train(train) => train,
        other => panic!("expected train, found {other:?}"),
    }
}

fn refusal(args: &[&str], environment: &[(&str, &str)]) -> String {
    parse(args, environment).map(|parsed| parsed.cli).unwrap_err().to_string()
}

struct File(tempfile::TempDir);

impl File {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.toml"), text).unwrap();
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("config.toml")
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let file = File::new("data = \"file\"\nbatch-size = 1\nlearning_rate = 0.5\n");
    let config = file.text();
    let args = ["train", "--config", &config];
    assert_eq!((train(&args, &[]).batch_size, train(&args, &[]).learning_rate), (1, 0.5));
    let environment = [("LOOKALIKE_BATCH_SIZE", "2"), ("LOOKALIKE_DATA", "environment"), ("LOOKALIKE_WIDTH", "")];
    let from_environment = train(&args, &environment);
    assert_eq!((from_environment.batch_size, from_environment.data.as_str()), (2, "environment"));
    let from_flags = train(&["train", "--config", &config, "--batch-size", "3"], &environment);
    assert_eq!((from_flags.batch_size, from_flags.width), (3, Width::Paper));
}

#[test]
fn the_file_may_be_named_before_the_subcommand_or_by_the_environment() {
    let file = File::new("data = \"file\"");
    let config = file.text();
    assert_eq!(train(&["--config", &config, "train"], &[]).data, "file");
    assert_eq!(train(&["train", &format!("--config={config}")], &[]).data, "file");
    assert_eq!(train(&["train"], &[("LOOKALIKE_CONFIG", &config)]).data, "file");
}

#[test]
fn a_file_can_hold_lists_switches_counts_and_choices() {
    let file = File::new(
        "data = 7\nserver = [\"http://a\", \"http://b\"]\nflip = true\nprefetch = false\nwidth = \"small\"\nverbose = 2\nthreads = 3\njson = true\nplace = \"there\"",
    );
    let parsed = parse(&["train", "--config", &file.text()], &[]).unwrap();
    assert_eq!(parsed.cli.common.args.verbose, 2);
    assert_eq!(parsed.cli.common.args.threads, Some(3));
    assert_eq!(parsed.cli.place, "there");
    assert!(parsed.cli.common.args.json);
    let Verb::Train(train) = parsed.cli.verb else { panic!("expected train") };
    assert_eq!(train.data, "7");
    assert_eq!(train.server, ["http://a", "http://b"]);
    assert!(train.flip && !train.prefetch);
    assert_eq!(train.width, Width::Small);
}

#[test]
fn a_list_on_the_command_line_replaces_the_files() {
    let file = File::new("data = \"x\"\nserver = [\"http://a\", \"http://b\"]");
    let train = train(&["train", "--config", &file.text(), "--server", "http://c,http://d"], &[]);
    assert_eq!(train.server, ["http://c", "http://d"]);
}

#[test]
fn the_environment_can_hold_switches_and_lists() {
    let environment = [
        ("LOOKALIKE_DATA", "x"),
        ("LOOKALIKE_FLIP", "1"),
        ("LOOKALIKE_SERVER", "a,b"),
        ("LOOKALIKE_VERBOSE", "1"),
        ("LOOKALIKE_ELSE", "?"),
    ];
    let train = train(&["train"], &environment);
    assert!(train.flip);
    assert_eq!(train.server, ["a", "b"]);
}

#[test]
fn a_switch_from_the_file_can_be_turned_off_by_a_flag() {
    let file = File::new("data = \"x\"\nflip = true");
    let config = file.text();
    assert!(train(&["train", "--config", &config], &[]).flip);
    assert!(train(&["train", "--config", &config, "--flip"], &[]).flip);
    assert!(!train(&["train", "--config", &config, "--flip=false"], &[]).flip);
}

#[test]
fn a_flag_also_wins_over_what_contradicts_it() {
    let file = File::new("data = \"x\"\ndata-seed = 4");
    let train = train(&["train", "--config", &file.text(), "--resume", "run"], &[]);
    assert_eq!((train.resume, train.data_seed), (Some("run".into()), None));
    // A switch that the file has off contradicts nothing.
    let parsed = parse(&["train", "--data", "x", "-v"], &[("LOOKALIKE_QUIET", "false")]).unwrap();
    assert_eq!(parsed.cli.common.args.verbose, 1);
}

#[test]
fn resuming_a_run_reads_the_settings_it_was_started_with() {
    let file = File::new("data = \"x\"\nbatch-size = 5");
    let run = file.0.path().to_str().unwrap().to_owned();
    assert_eq!(train(&["train", "--resume", &run], &[]).batch_size, 5);
    assert_eq!(train(&["train", "--resume", &run, "--batch-size=6"], &[]).batch_size, 6);
    let other = File::new("data = \"y\"");
    assert_eq!(train(&["train", "--resume", &run, "--config", &other.text()], &[]).data, "y");
}

#[test]
fn how_a_run_was_asked_to_talk_is_forgotten_when_it_goes_on() {
    let started = parse(&["train", "--data", "x", "-v", "--json", "--threads", "2"], &[]).unwrap();
    let file = File::new(&started.settings.to_toml());
    let run = file.0.path().to_str().unwrap().to_owned();
    let resumed = parse(&["train", "--resume", &run, "--quiet"], &[]).unwrap().cli.common.args;
    assert_eq!((resumed.verbose, resumed.json, resumed.threads, resumed.quiet), (0, false, None, true));
}

#[test]
fn what_is_no_run_or_anothers_run_is_not_gone_on_with() {
    let text = refusal(&["train", "--resume", "runs/typo"], &[]);
    assert_eq!(text, "expected a run directory (one that holds config.toml), found none at runs/typo");
    let file = File::new("# grower train: resolved settings. To use them: grower train --config FILE\nheight = 2\n");
    let run = file.0.path().to_str().unwrap().to_owned();
    let text = refusal(&["train", "--resume", &run], &[]);
    assert_eq!(text, format!("{run} is a run of `grower train`; resume it with that, not with `trainer train`"));
}

#[test]
fn one_file_serves_several_subcommands() {
    let file = File::new("threads = 2\n[train]\ndata = \"x\"\n[sample]\nout = \"grid.png\"");
    let config = file.text();
    assert_eq!(train(&["train", "--config", &config], &[]).data, "x");
    let sample = parse(&["sample", "run", "--config", &config], &[]).unwrap().cli.verb;
    assert_eq!(sample, Verb::Sample { run: "run".into(), out: "grid.png".into() });
}

#[test]
fn an_unknown_key_names_the_file_and_the_nearest_setting() {
    let file = File::new("data = \"x\"\nbatchsize = 5");
    let text = refusal(&["train", "--config", &file.text()], &[]);
    assert_eq!(text, format!("{}: unknown setting `batchsize`; did you mean `batch-size`?", file.path().display()));
    let file = File::new("something_else_entirely = 5");
    let text = refusal(&["train", "--config", &file.text()], &[]);
    assert!(text.contains("this command knows batch-size, data, data-seed"), "{text}");
    let file = File::new("config = \"other.toml\"");
    assert!(refusal(&["train", "--config", &file.text()], &[]).ends_with("a settings file cannot name another"));
}

#[test]
fn a_value_of_the_wrong_type_is_refused_where_it_stands() {
    let cases = [
        ("batch-size = \"many\"", "setting `batch-size`: expected a whole number, found \"many\""),
        ("batch_size = 2.5", "setting `batch_size`: expected a whole number, found \"2.5\""),
        ("data-seed = -1", "setting `data-seed`: expected a whole number of at least 0, found \"-1\""),
        ("learning-rate = true", "setting `learning-rate`: expected a number, found \"true\""),
        ("batch-size = [1, 2]", "setting `batch-size`: expected a single value, found a list"),
        ("flip = \"maybe\"", "setting `flip`: expected true or false, found the text \"maybe\""),
        ("server = []", "setting `server`: expected at least one value, found an empty list"),
        ("width = \"huge\"", "setting `width`: expected one of paper, small, found \"huge\""),
        ("threads = 0", "setting `threads`: expected 1 to 1024 threads, found 0"),
        ("verbose = \"very\"", "setting `verbose`: expected a number from 0 to 255, found the text \"very\""),
    ];
    for (setting, expected) in cases {
        let file = File::new(&format!("data = \"x\"\n{setting}\n"));
        let text = refusal(&["train", "--config", &file.text()], &[]);
        assert!(text.starts_with(&file.text()), "{text}");
        assert!(text.contains(expected), "expected {expected:?} in {text:?}");
    }
    let text = refusal(&["train", "--data", "x"], &[("LOOKALIKE_BATCH_SIZE", "many")]);
    assert!(
        text.starts_with("the environment: setting `LOOKALIKE_BATCH_SIZE`: expected a whole number, found \"many\""),
        "{text}"
    );
}

#[test]
fn a_file_that_is_absent_or_no_toml_is_refused() {
    assert_eq!(
        refusal(&["train", "--config", "/absent/x.toml"], &[]),
        "cannot read /absent/x.toml: no such file or directory"
    );
    let file = File::new("data = \"x\"\nbatch size\n");
    let text = refusal(&["train", "--config", &file.text()], &[]);
    assert!(text.contains("expected a TOML settings file, found a mistake at line 2"), "{text}");
}

#[test]
fn the_command_lines_own_mistakes_are_claps() {
    for args in [
        &["train"][..],
        &["train", "--data", "x", "--batch-size", "many"],
        &["fly"],
        &["train", "--data", "x", "--nope"],
        &[],
    ] {
        assert!(matches!(parse(args, &[]).unwrap_err(), Error::Usage(_)), "{args:?}");
    }
    let text = refusal(&["train"], &[]);
    assert!(text.contains("--data <DATA>"), "{text}");
}

#[test]
fn help_needs_no_required_flag_and_shows_switches_as_switches() {
    let Err(Error::Usage(help)) = parse(&["train", "--help"], &[]).map(|parsed| parsed.cli) else {
        panic!("expected help")
    };
    assert_eq!(help.exit_code(), 0);
    let text = help.to_string();
    assert!(text.contains("--flip\n") || text.contains("--flip "), "{text}");
    assert!(!text.contains("--flip[="), "{text}");
    assert!(text.contains("LOOKALIKE_SOME_OPTION"), "{text}");
}

#[test]
fn resolved_settings_say_where_each_came_from() {
    let file = File::new("batch-size = 5");
    let parsed =
        parse(&["train", "--config", &file.text(), "--data", "x", "--dry-run"], &[("LOOKALIKE_FLIP", "yes")]).unwrap();
    let text = parsed.settings.to_toml();
    for line in [
        "data = \"x\" # flag".to_owned(),
        format!("batch-size = 5 # {}", file.path().display()),
        "flip = true # LOOKALIKE_FLIP".to_owned(),
        "learning-rate = 0.001".to_owned(),
        "# resume is not set".to_owned(),
        "prefetch = true".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "expected {line:?} in\n{text}");
    }
    assert!(!text.contains("dry-run =") && !text.contains("\nconfig ="), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn resolved_settings_read_back_as_themselves(
        data in ".{1,12}", batch_size in 0usize..1000, learning_rate in -1e9f64..1e9, small: bool, flip: bool,
        server in proptest::collection::vec("[a-z:/.]{1,8}", 0..3), data_seed in proptest::option::of(0u64..1 << 40), prefetch: bool,
    ) {
        prop_assume!(!data.contains('\0'));
        let mut args = vec![
            "train".to_owned(), format!("--data={data}"), format!("--batch-size={batch_size}"), format!("--learning-rate={learning_rate}"),
            format!("--width={}", if small { "small" } else { "paper" }), format!("--flip={flip}"), format!("--prefetch={prefetch}"),
        ];
        args.extend(server.iter().map(|server| format!("--server={server}")));
        args.extend(data_seed.map(|seed| format!("--data-seed={seed}")));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let first = parse(&args, &[]).unwrap();
        let file = File::new(&first.settings.to_toml());
        let second = parse(&["train", "--config", &file.text()], &[]).unwrap();
        prop_assert_eq!(first.cli, second.cli);
    }
}

#[test]
fn an_argument_stays_on_the_command_line() {
    let parsed = parse(&["sample", "runs/1", "--out", "x.png"], &[]).unwrap();
    assert!(parsed.settings.to_toml().contains("# run \"runs/1\" (argument)"), "{}", parsed.settings.to_toml());
    assert!(
        Path::new("x.png")
            == match parsed.cli.verb {
                Verb::Sample { out, .. } => out,
                Verb::Train(_) => PathBuf::new(),
            }
    );
}

#[test]
fn what_was_left_open_is_kept_with_its_value_and_read_back_to_the_last_bit() {
    let mut settings = parse(&["train", "--data", "d", "--batch-size", "3"], &[]).unwrap().settings;
    settings.fill("data-seed", u64::MAX, "drawn");
    settings.fill("batch-size", 9, "never");
    settings.fill("unheard-of", 9, "never");
    let text = settings.to_toml();
    assert!(text.contains("data-seed = \"18446744073709551615\" # drawn\n"), "{text}");
    let file = File::new(&text);
    let again = train(&["train", "--config", &file.text()], &[]);
    assert_eq!((again.data_seed, again.batch_size), (Some(u64::MAX), 3));
}

#[test]
fn numbers_that_are_none_are_refused_in_our_words_wherever_they_stand() {
    for (value, expected) in [
        ("nan", "expected a whole number, found \"nan\""),
        ("2.5", "expected a whole number, found \"2.5\""),
        ("-1", "expected a whole number of at least 0, found \"-1\""),
    ] {
        let flag = refusal(&["train", "--data", "x", "--batch-size", value], &[]);
        let first = flag.lines().next().unwrap();
        assert!(first.contains("--batch-size <BATCH_SIZE>") && first.contains(expected), "{flag}");
        let variable = refusal(&["train", "--data", "x"], &[("LOOKALIKE_BATCH_SIZE", value)]);
        assert!(variable.contains(expected), "{variable}");
    }
    let flag = refusal(&["train", "--data", "x", "--learning-rate", "fast"], &[]);
    assert!(flag.contains("expected a number, found \"fast\""), "{flag}");
    assert_eq!(train(&["train", "--learning-rate", "-0.001", "--data", "x"], &[]).learning_rate, -0.001);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let environment = [(OsString::from("LOOKALIKE_BATCH_SIZE"), OsString::from_vec(vec![0xff]))];
    let error = parse_from::<Cli>(["trainer", "train", "--data", "x"], environment).unwrap_err().to_string();
    assert!(error.contains("`LOOKALIKE_BATCH_SIZE`: expected text in UTF-8"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_settings_file_without_end_is_refused() {
    let sentence = refusal(&["train", "--data", "x", "--config", "/dev/zero"], &[]);
    assert!(sentence.contains("/dev/zero") && sentence.contains("found more"), "{sentence}");
}
