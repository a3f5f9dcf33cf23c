//! Each part, from its server to its figures.

use crate::{Cli, gallery};
use benches::program::Server;
use clap::ValueEnum;
use client::{
    Patience, Spec, StreamSettings, StreamSource,
    spec::{Augmentation, Blending, Mix},
};
use command::Interrupt;
use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// From the start of the server's process to the first batch
    First,
    /// From the kill of a server, whose port the next one takes, to the next batch
    Resume,
    /// What a training waits for batches, where the server has capacity to spare
    Wait,
    /// Rows generated for four trainers of one stream, by those for one
    Shared,
    /// Memory of the server for each stream that nobody reads
    Idle,
    /// Real images: read and decoded, and kept
    Gallery,
}

/// What it is, its unit, and how much.
pub(crate) type Figure = (&'static str, &'static str, f64);

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ANY_PORT: &str = "127.0.0.1:0";

/// Rows of a batch, where nothing else is said.
const BATCH: u32 = 16;

/// A training's step is so many times as long as a batch takes to be made.
const SPARE: u32 = 4;

/// Trainers of one stream.
const SHARING: u64 = 4;

/// Counts a tile's rows; its sum is the rows generated.
const ROWS: &str = "lookalike_device_batch_images_sum";

impl Part {
    pub(crate) fn measure(self, cli: &Cli) -> Result<Vec<Figure>> {
        match self {
            Self::First => Ok(vec![(
                "from the start of the server's process to a trainer's first batch",
                "seconds",
                median(cli, || first_batch(cli))?,
            )]),
            Self::Resume => Ok(vec![(
                "from the kill of a server to the next batch, of another at its port",
                "seconds",
                median(cli, || resume(cli))?,
            )]),
            Self::Wait => wait(cli),
            Self::Shared => Ok(vec![(
                "rows generated for four trainers of one stream, by those for one",
                "times",
                generated(cli, SHARING)? / generated(cli, 1)?,
            )]),
            Self::Idle => idle(cli),
            Self::Gallery => gallery::measure(),
        }
    }
}

fn median(cli: &Cli, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut all = (0..cli.rounds).map(|_| measure()).collect::<Result<Vec<f64>>>()?;
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

fn server(cli: &Cli, address: &str, flags: &[&str]) -> Result<Server> {
    Server::start(cli.server.as_deref(), address, flags)
}

/// A trainer's stream of generated rows, and some real ones.
fn settings(server: &Server, seed: u64) -> Result<StreamSettings> {
    let mix = Mix { real: 0.25, existing: 0.5, blended: 0.25 };
    Ok(StreamSettings {
        patience: Patience::always(Duration::from_secs(60)),
        silent: true,
        ..StreamSettings::new(vec![server.url().parse()?], Spec::new(seed, BATCH, mix))
    })
}

fn connect(settings: StreamSettings) -> Result<StreamSource> {
    Ok(StreamSource::connect(settings, &Interrupt::new())?)
}

fn first_batch(cli: &Cli) -> Result<f64> {
    let began = Instant::now();
    let server = server(cli, ANY_PORT, &[])?;
    connect(settings(&server, 1)?)?.next_received()?;
    let seconds = began.elapsed().as_secs_f64();
    server.kill()?;
    Ok(seconds)
}

fn resume(cli: &Cli) -> Result<f64> {
    /// Longer than a batch takes, and shorter than a server's start.
    const GAP: Duration = Duration::from_millis(80);
    let first = server(cli, ANY_PORT, &[])?;
    let address = first.address().to_owned();
    let settings = StreamSettings { prefetch: 1, ..settings(&first, 2)? };
    let mut source = connect(settings)?;
    source.next_received()?;
    let began = Instant::now();
    first.kill()?;
    thread::scope(|scope| {
        let second = scope.spawn(|| server(cli, &address, &[]).map_err(|error| error.to_string()));
        // What was read ahead comes at once.
        loop {
            let asked = Instant::now();
            source.next_received()?;
            if asked.elapsed() > GAP {
                break;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        second.join().map_err(|_| "the server's start failed")??.kill()?;
        Ok(seconds)
    })
}

fn wait(cli: &Cli) -> Result<Vec<Figure>> {
    const WARM_UP: u32 = 10;
    const STEPS: u32 = 100;
    let server = server(cli, ANY_PORT, &[])?;
    let mut source = connect(settings(&server, 3)?)?;
    for _ in 0..WARM_UP {
        source.next_received()?;
    }
    let began = Instant::now();
    for _ in 0..STEPS {
        source.next_received()?;
    }
    let step = began.elapsed() / STEPS * SPARE;
    let (mut waited, began) = (Duration::ZERO, Instant::now());
    for _ in 0..STEPS {
        // Stands for the work on a batch, which takes the processor on a trainer's own machine.
        thread::sleep(step);
        let asked = Instant::now();
        source.next_received()?;
        waited += asked.elapsed();
    }
    let share = waited.as_secs_f64() / began.elapsed().as_secs_f64();
    server.kill()?;
    Ok(vec![
        ("a training's step in what follows, four times as long as a batch takes", "seconds", step.as_secs_f64()),
        ("waited for batches, of a training's time", "percent", 100.0 * share),
    ])
}

/// Rows generated for trainers that read the same batches side by side.
fn generated(cli: &Cli, trainers: u64) -> Result<f64> {
    const BATCHES: u64 = 60;
    let server = server(cli, ANY_PORT, &[])?;
    thread::scope(|scope| -> Result<()> {
        let readers: Vec<_> = (0..trainers)
            .map(|number| {
                let server = &server;
                scope.spawn(move || -> std::result::Result<(), String> {
                    let read = || -> Result<()> {
                        let trainer = format!("trainer-{number}");
                        let settings = StreamSettings { trainer, end: Some(BATCHES), ..settings(server, 4)? };
                        let mut source = connect(settings)?;
                        (0..BATCHES).try_for_each(|_| source.next_received().map(drop))?;
                        Ok(())
                    };
                    read().map_err(|error| error.to_string())
                })
            })
            .collect();
        readers.into_iter().try_for_each(|reader| Ok(reader.join().map_err(|_| "a trainer failed")??))
    })?;
    let rows = server.metric(ROWS)?;
    server.kill()?;
    Ok(rows)
}

fn idle(cli: &Cli) -> Result<Vec<Figure>> {
    /// Until what is sent ahead of the readers was sent.
    const SETTLE: Duration = Duration::from_secs(10);
    let room = (cli.streams + 1).to_string();
    // Finished batches are kept for others, whoever reads; that is no stream's memory.
    let server = server(cli, ANY_PORT, &["--max-streams", &room, "--shelf", "0"])?;
    let asleep = |seed: u64| -> Result<StreamSource> {
        let settings = settings(&server, seed)?;
        let spec = Spec {
            augmentation: Augmentation::Off,
            blending: Blending::default(),
            ..Spec::new(seed, BATCH, Mix { real: 1.0, existing: 0.0, blended: 0.0 })
        };
        let mut source = connect(StreamSettings { spec, prefetch: 1, ..settings })?;
        source.next_received()?;
        Ok(source)
    };
    let warm = asleep(0)?;
    thread::sleep(SETTLE);
    let before = server.resident_bytes()?;
    let streams = (1..=u64::from(cli.streams)).map(asleep).collect::<Result<Vec<_>>>()?;
    thread::sleep(SETTLE);
    let bytes = server.resident_bytes()?.saturating_sub(before) as f64;
    drop((streams, warm));
    server.kill()?;
    let batch = f64::from(BATCH) * 128.0 * 128.0;
    Ok(vec![
        ("memory of the server for each stream that nobody reads", "MiB", bytes / f64::from(cli.streams) / 1048576.0),
        ("a batch of such a stream", "MiB", batch / 1048576.0),
    ])
}
