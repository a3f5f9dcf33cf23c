//! Where and when, for a report.

use serde::Serialize;
use time::OffsetDateTime;

/// What computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model of the processor, where the system tells it.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Name of the operating system.
    pub system: &'static str,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(':').nth(1));
        Self {
            processor: model.map_or(std::env::consts::ARCH, str::trim).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: std::env::consts::OS,
        }
    }
}

/// Now, in UTC: `2026-11-26 05:40`.
pub fn now() -> String {
    let now = OffsetDateTime::now_utc();
    format!("{} {:02}:{:02}", now.date(), now.hour(), now.minute())
}
