//! A whole command as the shell sees it: exit codes, signals, pipes. The command is the example
//! `count`, which `cargo test` builds beside this test.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

fn count(args: &[&str]) -> Command {
    let test = std::env::current_exe().unwrap();
    let examples: PathBuf = test.ancestors().nth(2).unwrap().join("examples");
    let program = examples.join(format!("count{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "expected the example at {}; run `cargo test` without `--test`", program.display());
    let mut command = Command::new(program);
    command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(args: &[&str]) -> Output {
    count(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Starts a long count and waits until it runs.
fn started(args: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = count(args).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("counting up to"), "{line}");
    (child, stderr)
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn success_is_0_and_results_alone_are_on_standard_output() {
    let output = output(&["up", "--steps", "3"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "counted\n");
    assert!(text(&output.stderr).starts_with("counting up to 3\ncounting: 3 steps in "), "{}", text(&output.stderr));
}

#[test]
fn quiet_says_nothing() {
    let output = output(&["up", "--steps", "3", "--quiet"]);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "counted\n");
}

#[test]
fn a_wrong_command_line_is_2_and_help_is_0() {
    for args in [&["up", "--steps", "many"][..], &["up", "--nope"], &[], &["up", "--config", "/absent"], &["up", "-qv"]]
    {
        let output = output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
    }
    assert!(
        text(&output(&["up", "--config", "/absent"]).stderr).starts_with("error: cannot read /absent: no such file")
    );
    let help = output(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).starts_with("Count up, to show the manners of every command"));
}

#[test]
fn a_dry_run_prints_settings_and_does_nothing() {
    let output = output(&["up", "--steps", "5", "--dry-run"]);
    assert!(text(&output.stdout).contains("\nsteps = 5 # flag\n"), "{}", text(&output.stdout));
    assert!(!text(&output.stdout).contains("counted"));
}

#[test]
#[cfg(unix)]
fn the_first_signal_asks_politely() {
    for name in ["INT", "TERM"] {
        let (mut child, mut stderr) = started(&["up", "--steps", "1000000", "--pause", "0", "--serve"]);
        signal(&child, name);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("stopping in good order"), "{rest}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    }
}

#[test]
#[cfg(unix)]
fn an_interrupted_command_that_can_go_on_is_130_without_an_error() {
    let (mut child, mut stderr) = started(&["up", "--steps", "1000000", "--pause", "0"]);
    signal(&child, "INT");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("error"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_setting_that_only_the_body_finds_wrong_is_2() {
    let output = output(&["up", "--steps", "3", "--fussy"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "error: expected another number as steps, found 3\n");
}

#[test]
#[cfg(unix)]
fn an_interrupted_command_with_nothing_usable_is_130() {
    let (mut child, mut stderr) = started(&["up", "--steps", "1000000", "--pause", "0", "--wasteful"]);
    signal(&child, "INT");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("error: interrupted before there was a result to keep\n"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
#[cfg(unix)]
fn the_second_signal_ends_at_once() {
    // One step that lasts longer than any test.
    let (mut child, mut stderr) = started(&["up", "--steps", "1", "--pause", "600000"]);
    signal(&child, "INT");
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("stopping in good order"), "{line}");
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_is_no_crash() {
    let mut child = count(&["list"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(141));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_find_a_full_disk_are_an_error_and_no_crash() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = count(&["list"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("error: cannot write standard output: ") && stderr.lines().count() == 1, "{stderr}");
}
