//! The parts, in order of importance, and how one is run.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Here,
    Torch,
}

/// One run of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) side: Side,
    /// Behind the device's name, as in `/tf32`.
    precision: &'static str,
    arguments: &'static [&'static str],
    /// The longest it may take [unit: seconds].
    most: u64,
}

const fn here(precision: &'static str, arguments: &'static [&'static str], most: u64) -> Part {
    Part { side: Side::Here, precision, arguments, most }
}

const fn torch(arguments: &'static [&'static str], most: u64) -> Part {
    Part { side: Side::Torch, precision: "", arguments, most }
}

/// Right first, then fast; what a server computes, then what a training does.
pub(crate) const PARTS: &[Part] = &[
    here("", &["--check", "ops"], 60),
    here("/tf32", &["--check", "ops"], 40),
    here("", &["--check", "ops", "--numbers", "bf16"], 40),
    here("/tf32", &["--check", "rows"], 30),
    here("", &["--check", "networks"], 60),
    here("/tf32", &["--check", "steps"], 60),
    here("/tf32", &["--check", "steps", "--numbers", "bf16"], 60),
    here("/tf32", &["--only", "generator"], 40),
    here("", &["--only", "generator", "--numbers", "bf16"], 40),
    torch(&["--unchecked", "--work", "generator", "--modes", "tf32,bf16-cl,graphs-tf32,graphs-bf16"], 100),
    here("/tf32", &["--only", "lightcnn-29 step"], 40),
    here("", &["--only", "lightcnn-29 step", "--numbers", "bf16"], 40),
    torch(&["--unchecked", "--work", "lightcnn-29 step", "--modes", "tf32,bf16-cl"], 60),
    here("/tf32", &["--only", "cvae-gan step"], 40),
    here("/tf32", &["--only", "cvae-gan step", "--numbers", "bf16"], 40),
    torch(&["--unchecked", "--work", "cvae-gan step", "--modes", "tf32,bf16-cl"], 60),
    // Compiling takes longer than all that is measured.
    torch(&["--unchecked", "--work", "lightcnn-29 step", "--modes", "compile-bf16"], 120),
    torch(&["--unchecked", "--work", "cvae-gan step", "--modes", "compile-bf16"], 180),
    here("/tf32", &["--only", "modern step", "--numbers", "bf16"], 40),
    here("", &["--check", "ops", "--numbers", "f64"], 40),
    here("", &["--check", "ops", "--numbers", "f16"], 40),
    here("/tf32", &["--check", "networks"], 60),
    here("", &["--check", "networks", "--numbers", "bf16"], 60),
    here("/tf32", &["--only", "lightcnn-29"], 60),
    here("", &["--only", "lightcnn-29", "--numbers", "bf16"], 60),
    here("/tf32", &["--only", "encoder"], 30),
    here("", &["--only", "encoder", "--numbers", "bf16"], 30),
    torch(&["--unchecked", "--work", "lightcnn-29,encoder", "--modes", "tf32,bf16-cl"], 60),
];

/// What the parts run on and with.
pub(crate) struct Machine {
    pub(crate) program: PathBuf,
    pub(crate) python: Option<PathBuf>,
    pub(crate) peers: PathBuf,
    pub(crate) device: String,
    pub(crate) width: String,
    pub(crate) batch: String,
}

/// What a part said.
pub(crate) struct Outcome {
    pub(crate) side: Side,
    /// The command, for whoever wants to see it again.
    pub(crate) command: String,
    /// Its number type, where its lines don't say.
    pub(crate) numbers: String,
    /// Its lines of JSON.
    pub(crate) lines: Vec<serde_json::Value>,
    /// Why there are no more, if it did not end well.
    pub(crate) failure: Option<String>,
}

impl Part {
    /// The number type as one says it, for figures from here.
    fn numbers(&self) -> String {
        let named = self.arguments.iter().skip_while(|argument| **argument != "--numbers").nth(1);
        match (named, self.precision) {
            (Some(numbers), _) => (*numbers).to_owned(),
            (None, "/tf32") => "tf32".to_owned(),
            (None, _) => "f32".to_owned(),
        }
    }
}

impl Machine {
    /// Runs a part for as long as it may take, and as is left.
    pub(crate) fn run(&self, part: &Part, left: Duration) -> Outcome {
        let (command, program) = self.command(part);
        let outcome = |lines, failure| Outcome {
            side: part.side,
            command: program.clone(),
            numbers: part.numbers(),
            lines,
            failure,
        };
        let Some(mut command) = command else {
            return outcome(Vec::new(), Some("there is no python with torch".into()));
        };
        if left.is_zero() {
            return outcome(Vec::new(), Some("no time was left".into()));
        }
        let most = Duration::from_secs(part.most).min(left);
        eprintln!("{program}");
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => return outcome(Vec::new(), Some(format!("cannot be started: {error}"))),
        };
        let (lines, failure) = listen(&mut child, most);
        outcome(lines, failure)
    }

    fn command(&self, part: &Part) -> (Option<Command>, String) {
        let device = format!("{}{}", self.device, part.precision);
        let shape = ["--device", &device, "--width", &self.width, "--batch", &self.batch];
        let (program, first) = match part.side {
            Side::Here => (Some(&self.program), vec!["--json".to_owned()]),
            Side::Torch => (self.python.as_ref(), vec![self.peers.display().to_string()]),
        };
        let words: Vec<String> =
            first.into_iter().chain(part.arguments.iter().chain(&shape).map(|word| (*word).to_owned())).collect();
        let command = program.map(|program| {
            let mut command = Command::new(program);
            command.args(&words);
            command
        });
        let shown = program.map_or("python".into(), |program| program.display().to_string());
        (command, format!("{shown} {}", words.join(" ")))
    }
}

/// A child's lines of JSON until it ends, or is ended because its time is over.
fn listen(child: &mut Child, most: Duration) -> (Vec<serde_json::Value>, Option<String>) {
    let Some(out) = child.stdout.take() else { return (Vec::new(), Some("it has no output".into())) };
    let (sender, receiver) = channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&line)
                && value.is_object()
                && sender.send(value).is_err()
            {
                return;
            }
        }
    });
    let (deadline, mut lines) = (Instant::now() + most, Vec::new());
    let in_time = loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    if !in_time {
        // It may have ended in this moment.
        let _ = child.kill();
    }
    let ended = child.wait();
    let _ = reader.join();
    let failure = match ended {
        _ if !in_time => Some(format!("it took longer than {} s", most.as_secs())),
        Ok(status) if status.success() => None,
        Ok(status) => Some(status.to_string()),
        Err(error) => Some(error.to_string()),
    };
    (lines, failure)
}
