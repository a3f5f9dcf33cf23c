//! One server and its consumers, from their start to their figures.

use crate::{Cli, Rows, Way, consumer::Counted, name};
use serde::Serialize;
use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

/// What is measured together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) rows: Rows,
    pub(crate) way: Way,
    pub(crate) channels: u8,
    pub(crate) consumers: usize,
}

/// What a cell came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Figures {
    images_per_second: f64,
    megabytes_per_second: f64,
    server_cores: f64,
    consumer_cores: f64,
    megabytes_per_core_second: f64,
    p50_milliseconds: f64,
    p99_milliseconds: f64,
    slowest_by_fastest: f64,
}

/// A process of this program, that dies with this.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Cell {
    pub(crate) fn measure(&self, cli: &Cli) -> Result<Figures, Box<dyn Error>> {
        let (channels, way) = (self.channels.to_string(), name(&self.way));
        let mut server = Process::start(&["--role", "server", "--channels", &channels, "--ways", &way])?;
        let url = server.line()?;
        let (rows, batch, seconds) = (name(&self.rows), cli.batch.to_string(), cli.seconds.to_string());
        let mut consumers = Vec::new();
        for number in 0..self.consumers {
            let number = number.to_string();
            let mut words = vec!["--role", "consumer", "--url", &url, "--rows", &rows, "--batch", &batch];
            words.extend(["--seconds", &seconds, "--number", &number]);
            words.extend(cli.plain.then_some("--plain"));
            consumers.push(Process::start(&words)?);
        }
        for consumer in &mut consumers {
            consumer.line()?;
        }
        let (busy, began) = (cpu_seconds(server.child.id())?, Instant::now());
        for consumer in &mut consumers {
            consumer.input.write_all(b"go\n")?;
        }
        let counted: Vec<Counted> = consumers
            .iter_mut()
            .map(|consumer| Ok(serde_json::from_str(&consumer.line()?)?))
            .collect::<Result<_, Box<dyn Error>>>()?;
        let server_cores = (cpu_seconds(server.child.id())? - busy) / began.elapsed().as_secs_f64();
        Ok(self.figures(server_cores, &counted))
    }

    fn figures(&self, server_cores: f64, counted: &[Counted]) -> Figures {
        let rates = || counted.iter().map(|counted| counted.images_per_second);
        let images_per_second: f64 = rates().sum();
        let megabytes_per_second = images_per_second * f64::from(self.channels) * 128.0 * 128.0 / 1e6;
        let consumer_cores: f64 = counted.iter().map(|counted| counted.cores).sum();
        let worst = |of: fn(&Counted) -> f64| counted.iter().map(of).fold(0.0, f64::max);
        Figures {
            images_per_second,
            megabytes_per_second,
            server_cores,
            consumer_cores,
            megabytes_per_core_second: megabytes_per_second / (server_cores + consumer_cores),
            p50_milliseconds: worst(|counted| counted.p50_milliseconds),
            p99_milliseconds: worst(|counted| counted.p99_milliseconds),
            slowest_by_fastest: rates().fold(f64::INFINITY, f64::min) / rates().fold(0.0, f64::max),
        }
    }

    /// The cell and its figures, for programs.
    pub(crate) fn described(&self, figures: &Figures) -> serde_json::Value {
        serde_json::json!({
            "rows": name(&self.rows),
            "way": name(&self.way),
            "channels": self.channels,
            "consumers": self.consumers,
            "figures": figures,
        })
    }

    /// The same for people.
    pub(crate) fn row(&self, figures: &Figures) -> [String; 12] {
        [
            name(&self.rows),
            name(&self.way),
            self.channels.to_string(),
            self.consumers.to_string(),
            format!("{:.0}", figures.images_per_second),
            format!("{:.0}", figures.megabytes_per_second),
            format!("{:.2}", figures.server_cores),
            format!("{:.2}", figures.consumer_cores),
            format!("{:.0}", figures.megabytes_per_core_second),
            format!("{:.1}", figures.p50_milliseconds),
            format!("{:.1}", figures.p99_milliseconds),
            format!("{:.2}", figures.slowest_by_fastest),
        ]
    }
}

impl Figures {
    /// Of each figure by itself.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let median = |of: fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Self {
            images_per_second: median(|figures| figures.images_per_second),
            megabytes_per_second: median(|figures| figures.megabytes_per_second),
            server_cores: median(|figures| figures.server_cores),
            consumer_cores: median(|figures| figures.consumer_cores),
            megabytes_per_core_second: median(|figures| figures.megabytes_per_core_second),
            p50_milliseconds: median(|figures| figures.p50_milliseconds),
            p99_milliseconds: median(|figures| figures.p99_milliseconds),
            slowest_by_fastest: median(|figures| figures.slowest_by_fastest),
        }
    }
}

impl Process {
    fn start(words: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start another process of this program: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { return Err("a process has no pipes".into()) };
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// The next line that it says.
    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err("a process of the measurement ended early; what it said stands above".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Time that a process has used of all cores.
pub(crate) fn cpu_seconds(process: u32) -> Result<f64, Box<dyn Error>> {
    /// What Linux counts in.
    const TICKS_PER_SECOND: f64 = 100.0;
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    // The name before it, in brackets, may hold anything.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}
