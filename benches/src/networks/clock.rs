//! How long something takes, and the lines that say so.

use candle_core::{DType, Device, Result};
use command::human::Table;
use serde::Serialize;
use std::{
    fmt::{self, Display, Formatter},
    io::{self, Write},
    time::{Duration, Instant},
};

/// Measures for a while.
pub(crate) struct Clock<'a> {
    /// Images of each run.
    pub(crate) batch: usize,
    /// Spent on each figure.
    pub(crate) budget: Duration,
    /// What a line's name must hold to be measured at all.
    pub(crate) only: &'a str,
    pub(crate) device: &'a Device,
    /// What the networks compute in.
    pub(crate) dtype: DType,
}

/// What was measured.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

#[derive(Serialize)]
struct Figure {
    work: String,
    batch: usize,
    images_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    images_per_second_with_gradients: Option<f64>,
}

impl Clock<'_> {
    /// Whether a line is asked for.
    pub(crate) fn wants(&self, work: &str) -> bool {
        work.contains(self.only)
    }

    /// A line of something that is run with and without gradients.
    pub(crate) fn network(
        &self,
        figures: &mut Figures,
        work: &str,
        forward: impl FnMut() -> Result<()>,
        with_gradients: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        if self.wants(work) {
            let images_per_second = self.images_per_second(forward)?;
            let with_gradients = Some(self.images_per_second(with_gradients)?);
            figures.add(work, self.batch, images_per_second, with_gradients);
        }
        Ok(())
    }

    /// A line of whole steps.
    pub(crate) fn step<E: From<candle_core::Error>>(
        &self,
        figures: &mut Figures,
        work: &str,
        step: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let images_per_second = self.images_per_second(step)?;
        figures.add(work, self.batch, images_per_second, None);
        Ok(())
    }

    /// After one run that warms caches up.
    fn images_per_second<E: From<candle_core::Error>>(
        &self,
        mut run: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<f64, E> {
        run()?;
        self.device.synchronize()?;
        let (began, mut runs) = (Instant::now(), 0);
        while runs == 0 || began.elapsed() < self.budget {
            run()?;
            self.device.synchronize()?;
            runs += 1;
        }
        Ok((runs * self.batch) as f64 / began.elapsed().as_secs_f64())
    }
}

impl Figures {
    fn add(&mut self, work: &str, batch: usize, images_per_second: f64, with_gradients: Option<f64>) {
        let work = work.to_owned();
        self.0.push(Figure { work, batch, images_per_second, images_per_second_with_gradients: with_gradients });
    }

    /// A line of JSON for each.
    pub(crate) fn print_json(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for figure in &self.0 {
            writeln!(out, "{}", serde_json::to_string(figure)?)?;
        }
        Ok(())
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut table = Table::new(["work", "images/s", "with gradients, images/s"]);
        for figure in &self.0 {
            let with_gradients = figure.images_per_second_with_gradients.map(|rate| format!("{rate:.0}"));
            table.row([
                figure.work.clone(),
                format!("{:.0}", figure.images_per_second),
                with_gradients.unwrap_or_default(),
            ]);
        }
        write!(f, "{table}")
    }
}
