//! Ops and networks held against f64 on the CPU, as a table or as lines of JSON.

use crate::steps;
use candle_core::{DType, Device};
use clap::ValueEnum;
use command::human::Table;
use nets::Width;
use nets::device_check::Check;
use serde::Serialize;
use std::{
    error::Error,
    io::{self, Write},
};

/// What is held against the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Every op, forward and backward
    Ops,
    /// Whether a row has the same bits wherever it stands in its tile
    Rows,
    /// Every network, with the gradients of its weights
    Networks,
    /// Whether a training takes the same steps again, to the bit
    Steps,
}

#[derive(Serialize)]
struct Line<'a> {
    check: &'a str,
    device: &'a str,
    numbers: &'a str,
    error: f64,
    bound: f64,
    right: bool,
}

/// Prints how far everything lies from what it should be.
///
/// # Errors
/// When something is wrong, or can't be computed.
pub(crate) fn run(
    name: &str,
    device: Device,
    dtype: DType,
    what: What,
    width: Width,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    let check = Check { device, dtype, tf32: name.ends_with("/tf32") };
    let findings = match what {
        What::Ops => check.ops()?,
        What::Rows => check.rows()?,
        What::Networks => check.networks()?,
        What::Steps => steps::again(&check.device, dtype, width)?,
    };
    let mut table = Table::new(["", "error", "bound", ""]);
    let mut out = io::stdout().lock();
    for finding in &findings {
        let right = finding.is_right();
        let (error, bound) = (finding.error, finding.bound);
        let line = Line { check: &finding.what, device: name, numbers: dtype.as_str(), error, bound, right };
        if json {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        let verdict = if right { "right" } else { "WRONG" };
        table.row([finding.what.clone(), format!("{error:.1e}"), format!("{bound:.1e}"), verdict.to_owned()]);
    }
    if !json {
        writeln!(out, "{table}")?;
    }
    match findings.iter().filter(|finding| !finding.is_right()).count() {
        0 => Ok(()),
        wrong => Err(format!("{wrong} of {} are wrong in {} on {name}", findings.len(), dtype.as_str()).into()),
    }
}
