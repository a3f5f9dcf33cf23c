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

/// Standard error for log lines: one event, one line, whatever names it repeats.
#[derive(Clone, Copy)]
pub(crate) struct EventWriter;

impl Write for EventWriter {
    /// A whole event, which ends with a line end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        LogWriter.write_all(&one_line(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        LogWriter.flush()
    }
}

/// An event with the line ends inside it written as `\n` and `\r`.
fn one_line(event: &[u8]) -> Vec<u8> {
    let (inside, end) = match event.split_last() {
        Some((b'\n', inside)) => (inside, &b"\n"[..]),
        _ => (event, &b""[..]),
    };
    let mut line = Vec::with_capacity(event.len());
    for &byte in inside {
        match byte {
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            byte => line.push(byte),
        }
    }
    line.extend(end);
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_name_with_a_line_end_forges_no_log_line() {
        assert_eq!(
            one_line(b"WARN folder=a\n2026 INFO all is well\r\n"),
            b"WARN folder=a\\n2026 INFO all is well\\r\n"
        );
        assert_eq!(one_line(b"whole\n"), b"whole\n");
        assert_eq!(one_line(b""), b"");
    }
}
