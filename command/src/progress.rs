//! How far the work is, how fast it goes and when it will end.
//!
//! On a terminal a bar; in a pipe or file a plain line at most every [`PLAIN_INTERVAL`] and a last
//! one; under `--quiet` nothing. All of it on standard error, so that standard output holds results
//! alone.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::{human, terminal};

/// How often a plain line is printed at most.
pub const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// One task's progress. All methods take `&self`, so that workers may share it.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: u64,
    unit: String,
    state: Mutex<State>,
    bar: Option<ProgressBar>,
}

#[derive(Debug)]
struct State {
    start: u64,
    done: u64,
    started: Instant,
    printed: Instant,
    note: String,
    finished: bool,
}

impl Progress {
    /// `label` is a present participle ("training"), `unit` a plural ("images").
    pub fn new(label: &str, total: u64, unit: &str) -> Self {
        let now = Instant::now();
        let state = State { start: 0, done: 0, started: now, printed: now, note: String::new(), finished: false };
        let bar = (terminal::is_terminal() && !terminal::quiet()).then(|| {
            let bar = terminal::bars().add(ProgressBar::new(total));
            bar.set_style(style(label));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self { label: label.to_owned(), total, unit: unit.to_owned(), state: Mutex::new(state), bar }
    }

    /// Sets where a resumed task starts. What was done before counts towards the end, not the rate.
    pub fn start_at(&self, done: u64) {
        let mut state = self.state();
        let now = Instant::now();
        (state.start, state.done, state.started, state.printed) = (done, done, now, now);
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// Counts `amount` more units as done.
    pub fn advance(&self, amount: u64) {
        let mut state = self.state();
        state.done = state.done.saturating_add(amount);
        match &self.bar {
            Some(bar) => {
                bar.set_message(self.tail(&state));
                bar.set_position(state.done);
            }
            None if state.printed.elapsed() >= PLAIN_INTERVAL => {
                state.printed = Instant::now();
                terminal::say(self.line(&state));
            }
            None => {}
        }
    }

    /// A few figures to show behind the rate, such as "loss 3.21".
    pub fn note(&self, note: impl Into<String>) {
        self.state().note = note.into();
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: impl AsRef<str>) {
        terminal::say(line);
    }

    /// Ends the task: the bar is removed and one line says how much was done in what time.
    pub fn finish(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.finished, true) {
            if let Some(bar) = &self.bar {
                bar.finish_and_clear();
            }
            terminal::say(self.summary(&state));
        }
    }

    /// "training 12,800 of 50,000 images (25.6 %), 43.1 images/s, 14 min 5 s left, loss 3.21"
    fn line(&self, state: &State) -> String {
        let amount = if self.total > 0 {
            format!(
                "{} of {} {} ({})",
                human::count(state.done),
                human::count(self.total),
                self.unit,
                human::percent(state.done as f64 / self.total as f64)
            )
        } else {
            format!("{} {}", human::count(state.done), self.unit)
        };
        format!("{} {amount}, {}", self.label, self.tail(state))
    }

    /// "43.1 images/s, 14 min 5 s left, loss 3.21"
    fn tail(&self, state: &State) -> String {
        let rate = state.rate();
        let mut text = format!("{} {}/s", human::rate(rate), self.unit);
        let left = self.total.saturating_sub(state.done) as f64 / rate;
        // Whole seconds: a bar that counts milliseconds down is hard to read.
        if let Ok(left) = Duration::try_from_secs_f64(left.ceil()) {
            let seconds = left.as_secs();
            let left = if seconds < 60 { format!("{seconds} s") } else { human::duration(left) };
            text.push_str(&format!(", {left} left"));
        }
        if !state.note.is_empty() {
            text.push_str(", ");
            text.push_str(&state.note);
        }
        text
    }

    /// "training: 50,000 images in 19 min 20 s, 43.1 images/s"
    fn summary(&self, state: &State) -> String {
        format!(
            "{}: {} {} in {}, {} {}/s",
            self.label,
            human::count(state.done - state.start),
            self.unit,
            human::duration(state.started.elapsed()),
            human::rate(state.rate()),
            self.unit
        )
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Every update leaves the state whole, so a worker's panic spoils nothing here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Units a second since the start.
    fn rate(&self) -> f64 {
        (self.done - self.start) as f64 / self.started.elapsed().as_secs_f64()
    }
}

/// A task that ended early leaves no dead bar on the terminal.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(label: &str) -> ProgressStyle {
    let template = "{label} {bar:28.cyan/dim} {percent:>3} % {done}/{total}, {wide_msg}";
    let label = label.to_owned();
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸━")
        .with_key("label", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&label);
        })
        .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&human::count(state.pos()));
        })
        .with_key("total", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&human::count(state.len().unwrap_or(0)));
        })
}
