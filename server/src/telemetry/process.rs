//! The `process_*` metrics that Prometheus users expect of every program, from Linux's /proc;
//! nothing elsewhere.

use std::fs::read_to_string;

/// Clock ticks a second in /proc, the same on every architecture Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures of this moment in Prometheus's text format. They are read, not counted, and
/// processor time has fractions, which the registry's counters don't; so they are written here.
pub(super) fn render() -> String {
    let stat = Stat::read();
    let stat = |figure: fn(&Stat) -> f64| stat.as_ref().map(figure);
    let figures = [
        ("process_cpu_seconds_total", "counter", "User and system processor time", stat(|stat| stat.cpu_seconds)),
        ("process_max_fds", "gauge", "Files that may be open", most_files()),
        ("process_open_fds", "gauge", "Open files", open_files()),
        ("process_resident_memory_bytes", "gauge", "Memory in use", resident_bytes()),
        ("process_start_time_seconds", "gauge", "When the program began, since 1970", started(stat(|stat| stat.began))),
        ("process_threads", "gauge", "Threads", stat(|stat| stat.threads)),
        ("process_virtual_memory_bytes", "gauge", "Memory that is mapped", stat(|stat| stat.virtual_bytes)),
    ];
    let known = figures.into_iter().filter_map(|(name, kind, help, value)| Some((name, kind, help, value?)));
    known
        .map(|(name, kind, help, value)| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"))
        .collect()
}

/// Some of the fields of /proc/self/stat.
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    /// In seconds since the machine began.
    began: f64,
    virtual_bytes: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in brackets, which may hold blanks. The third is here
        // the first.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |nth: usize| fields.get(nth - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            began: field(22)? / TICKS_PER_SECOND,
            virtual_bytes: field(23)?,
        })
    }
}

/// When a program that began so long after its machine did, since 1970.
fn started(after_boot: Option<f64>) -> Option<f64> {
    let stat = read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + after_boot?)
}

fn resident_bytes() -> Option<f64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

/// `None` also where there is no bound.
fn most_files() -> Option<f64> {
    let limits = read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
