//! Where and when, for a report.

use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

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
    written(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Years begin in March here, so that leap days stand at their end (Hinnant's `civil_from_days`).
fn written(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        // As `date -u -d @SECONDS` writes them.
        assert_eq!(written(0), "1970-01-01 00:00");
        assert_eq!(written(951_782_399), "2000-02-28 23:59");
        assert_eq!(written(951_868_800), "2000-03-01 00:00");
        assert_eq!(written(1_709_164_800), "2024-02-29 00:00");
        assert_eq!(written(4_102_444_799), "2099-12-31 23:59");
    }
}
