//! Both programs, and the worst that can happen to either: killed in mid-sentence, without a chance
//! to say or save anything. The weights come out the same to the last bit.
#![cfg(unix)]

use crate::bundle::{DRAWN, drawn_bundle};
use crate::fixture::until;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// In batches of 8. A trainer's receive window holds 64 of them, so that a server which dies near the
/// beginning is missed before the end.
const IMAGES: &str = "720";

/// A program that dies with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    /// Kills it, which must still be at work.
    fn kill(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "it ended before it could be killed");
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().code(), None);
    }

    /// Waits until it ends well.
    fn finish(mut self) {
        until(|| self.0.try_wait().unwrap().is_some());
        let mut words = String::new();
        self.0.stderr.take().map(|mut stderr| stderr.read_to_string(&mut words));
        assert!(self.0.wait().unwrap().success(), "{words}");
    }
}

/// The server's program, which is built as an example of this crate, and its URL. Port 0 is a free
/// one.
fn serve(here: &Path, port: u16) -> (Program, u16) {
    let server = Path::new(env!("CARGO_BIN_EXE_lookalike-client")).with_file_name("examples").join("lookalike-server");
    let listen = format!("127.0.0.1:{port}");
    let mut server = Command::new(&server)
        .current_dir(here)
        .args(["serve", "--json", "--quiet", "--data", DRAWN, "--weights", "bundle.safetensors"])
        .args(["--listen", &listen, "--metrics", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo test -p client` builds it", server.display()));
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let server = Program(server);
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("it says where it listens");
    let address: std::net::SocketAddr = ready["listen"].as_str().unwrap().parse().unwrap();
    (server, address.port())
}

fn train(here: &Path, arguments: &[&str], port: u16) -> Program {
    let url = format!("http://127.0.0.1:{port}");
    let mut trainer = Command::new(env!("CARGO_BIN_EXE_lookalike-client"));
    trainer.current_dir(here).args(["train", "--server", &url, "--patience", "100"]).args(arguments);
    Program(trainer.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
}

fn begin(here: &Path, run: &str, port: u16) -> Program {
    let stream = ["--mix", "real=0.5,existing=0.25,blended=0.25", "--batch", "8", "--prefetch", "1"];
    let network = ["--arch", "lightcnn-9", "--width", "tiny", "--seed", "3", "--images", IMAGES];
    let rhythm = ["--log-every", "8", "--checkpoint-every", "64", "--out", run];
    train(here, &[&stream[..], &network, &rhythm].concat(), port)
}

/// The lines that a run has written of itself.
fn progress(run: &Path) -> usize {
    fs::read_to_string(run.join("stats.jsonl")).map_or(0, |stats| stats.lines().count())
}

fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut whole: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
    whole.sort();
    whole
}

/// Everything that a finished training leaves: its last checkpoint, its figures, and what it was trained
/// on.
fn outcome(run: &Path) -> (String, Vec<u8>, [String; 3]) {
    let last = checkpoints(run).pop().unwrap();
    let texts = ["stats.jsonl", "batches.jsonl", "recipe.toml"];
    let texts = texts.map(|text| fs::read_to_string(run.join(text)).unwrap());
    let name = last.file_name().unwrap().to_string_lossy().into_owned();
    (name, fs::read(&last).unwrap(), texts)
}

#[test]
fn weights_are_the_same_whichever_program_is_killed_on_the_way() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    fs::write(here.join("bundle.safetensors"), drawn_bundle()).unwrap();
    let [undisturbed, orphan, phoenix] = ["undisturbed", "orphan", "phoenix"].map(|run| here.join(run));
    let (server, port) = serve(here, 0);
    begin(here, "undisturbed", port).finish();
    let expected = outcome(&undisturbed);
    assert_eq!(expected.0, format!("images-{IMAGES:0>9}.safetensors"));

    // The trainer is killed after its first checkpoint and on the way to the next.
    let trainer = begin(here, "phoenix", port);
    until(|| !checkpoints(&phoenix).is_empty() && progress(&phoenix) > 9);
    trainer.kill();
    assert!(
        checkpoints(&phoenix).pop()
            < checkpoints(&undisturbed).pop().map(|last| phoenix.join(last.file_name().unwrap()))
    );
    train(here, &["--resume", "phoenix"], port).finish();
    assert!(outcome(&phoenix) == expected, "the killed trainer came to other weights");

    // The server is killed in the middle of a training, and comes back once it is missed.
    let mut trainer = begin(here, "orphan", port);
    until(|| progress(&orphan) > 3);
    server.kill();
    let mut words = BufReader::new(trainer.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(words.any(|words| words.contains("does not answer")), "it went on without a server");
    let _again = serve(here, port);
    // Read on, or the trainer waits for a reader of its words.
    let rest = std::thread::spawn(move || words.collect::<Vec<_>>().join("\n"));
    trainer.finish();
    assert!(rest.join().unwrap().contains("going on at batch"));
    assert!(outcome(&orphan) == expected, "the orphaned trainer came to other weights");
}
