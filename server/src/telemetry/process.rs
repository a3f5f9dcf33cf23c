//! The `process_*` metrics that Prometheus users expect of every program, from Linux's /proc;
//! nothing elsewhere.

/// Clock ticks a second in /proc, the same on every architecture Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures of this moment in Prometheus's text format. They are read, not counted, and
/// processor time has fractions, which the registry's counters don't; so they are written here.
pub(super) fn render() -> String {
    let figures = [
        ("process_cpu_seconds_total", "counter", "User and system processor time", cpu_seconds()),
        ("process_resident_memory_bytes", "gauge", "Memory in use", resident_bytes()),
        ("process_open_fds", "gauge", "Open files", open_files()),
    ];
    let known = figures.into_iter().filter_map(|(name, kind, help, value)| Some((name, kind, help, value?)));
    known
        .map(|(name, kind, help, value)| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"))
        .collect()
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, which may hold blanks.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}
