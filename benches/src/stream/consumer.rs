//! A consumer's clock: a first batch, a line that says so, a wait for the others, a second to warm up,
//! and then what comes.

use crate::{Cli, Rows, cell::cpu_seconds};
use client::{
    Patience, Spec, StreamSettings, StreamSource,
    spec::{Augmentation, Blending, Mix},
};
use command::Interrupt;
use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

const WARM_UP: Duration = Duration::from_secs(1);

/// What one consumer counted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) images_per_second: f64,
    /// Cores that it kept busy.
    pub(crate) cores: f64,
    /// Between two batches.
    pub(crate) p50_milliseconds: f64,
    pub(crate) p99_milliseconds: f64,
}

pub(crate) fn consume(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let rows = cli.rows[0];
    let mix = match rows {
        Rows::Real => Mix { real: 1.0, existing: 0.0, blended: 0.0 },
        Rows::Made | Rows::Shared => Mix { real: 0.0, existing: 0.5, blended: 0.5 },
    };
    let seed = if rows == Rows::Shared { 0 } else { cli.number };
    let spec = Spec {
        augmentation: if cli.plain { Augmentation::Off } else { Augmentation::Standard },
        blending: Blending { parents: 2, ..Blending::default() },
        ..Spec::new(seed, cli.batch, mix)
    };
    let settings = StreamSettings {
        trainer: format!("consumer-{}", cli.number),
        patience: Patience::always(Duration::from_secs(30)),
        ..StreamSettings::new(vec![cli.url.parse()?], spec)
    };
    let mut source = StreamSource::connect(settings, &Interrupt::new())?;
    source.next_received()?;
    println!("ready");
    io::stdin().read_line(&mut String::new())?;
    let warm = Instant::now();
    while warm.elapsed() < WARM_UP {
        source.next_received()?;
    }
    let (busy, began, mut last) = (cpu_seconds(std::process::id())?, Instant::now(), Instant::now());
    let (mut images, mut gaps) = (0, Vec::new());
    while began.elapsed().as_secs_f64() < cli.seconds {
        images += source.next_received()?.batch.rows;
        gaps.push(last.elapsed().as_secs_f64() * 1e3);
        last = Instant::now();
    }
    let seconds = began.elapsed().as_secs_f64();
    gaps.sort_by(f64::total_cmp);
    let counted = Counted {
        images_per_second: images as f64 / seconds,
        cores: (cpu_seconds(std::process::id())? - busy) / seconds,
        p50_milliseconds: gaps[gaps.len() / 2],
        p99_milliseconds: gaps[gaps.len() * 99 / 100],
    };
    println!("{}", serde_json::to_string(&counted)?);
    Ok(())
}
