//! The one standard error that bars, log lines and messages share without tearing each other.
//!
//! It is process-wide state because the terminal is.

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::MultiProgress;

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
static QUIET: AtomicBool = AtomicBool::new(false);

/// Prints one line to standard error, above any progress bar; nothing under `--quiet`.
pub fn say(line: impl AsRef<str>) {
    if !quiet() {
        // A closed standard error is no reason to stop the work.
        let _ = LogWriter.write_all(format!("{}\n", line.as_ref()).as_bytes());
    }
}

/// All bars of the process.
pub(crate) fn bars() -> &'static MultiProgress {
    &BARS
}

/// Whether bars can be drawn at all.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

pub(crate) fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

pub(crate) fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Standard error with the bars lifted out of the way for the time of each write.
#[derive(Clone, Copy)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
