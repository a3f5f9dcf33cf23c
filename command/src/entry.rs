//! A command from its first line to its exit code.

use std::process::ExitCode;

use clap::Parser;
use clap::parser::ValueSource;

use crate::interrupt::EXIT_INTERRUPTED;
use crate::settings::{LogFormat, Parsed};
use crate::{Error, Interrupt, Result, Settings, WrongSetting, WrongUse, parse_from, terminal};

/// The exit code for a command line or settings file that cannot be understood.
const EXIT_USAGE: u8 = 2;
/// As a shell reports a process that a closed pipe ended: 128 + SIGPIPE.
const EXIT_BROKEN_PIPE: i32 = 141;

/// What [`main`] hands to the body beside the parsed command line.
#[derive(Clone, Debug)]
pub struct Context {
    /// Set by the first Ctrl-C or SIGTERM.
    pub interrupt: Interrupt,
    /// Every setting as it was resolved, for `--dry-run` and a run's `config.toml`.
    pub settings: Settings,
}

/// How a body that didn't fail came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All was done that was asked for. A server that was told to stop has done all.
    Done,
    /// Ctrl-C came first; there is something to go on with.
    Interrupted,
}

impl From<()> for Ending {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// Runs a command: settings, log lines, threads and signals, then `body`.
///
/// Exit codes: 0 when `body` did what it was asked to; 1 when it returns an error, printed as
/// `error: ...` with its causes; 2 for a command line, variable or settings file that is wrong, also
/// where only `body` finds out ([`WrongSetting`], [`WrongUse`]); 130 when Ctrl-C kept it from its end, whether it
/// returns [`Ending::Interrupted`] or an error; 141 when whoever read standard output went away.
pub fn main<Cli, End, Failure>(body: impl FnOnce(Cli, Context) -> Result<End, Failure>) -> ExitCode
where
    Cli: Parser,
    End: Into<Ending>,
    Failure: Into<Box<dyn std::error::Error>>,
{
    end_in_order_without_standard_output();
    keep_one_thread_pool();
    let Parsed { cli, settings, matches } = match parse_from(std::env::args_os(), std::env::vars_os()) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(error).into(),
    };
    let context = Context { interrupt: Interrupt::new(), settings };
    if let Err(error) = prepare(&matches, &context.interrupt) {
        report(&error);
        return ExitCode::FAILURE;
    }
    match body(cli, context.clone()).map(Into::into) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => EXIT_INTERRUPTED.into(),
        Err(failure) => {
            let failure = failure.into();
            report(&*failure);
            if context.interrupt.requested() {
                EXIT_INTERRUPTED.into()
            } else if is_wrong_setting(&*failure) {
                EXIT_USAGE.into()
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn is_wrong_setting(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<WrongSetting>() || error.is::<WrongUse>())
}

/// Prints `error: ...` and each cause that the sentence doesn't already contain, to standard error.
pub fn report(error: &(dyn std::error::Error + 'static)) {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str("\n  caused by: ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    // Errors are printed under --quiet too, so this is no `say`. A closed standard error leaves
    // nobody to tell.
    use std::io::Write;
    let _ = terminal::LogWriter.write_all(format!("{text}\n").as_bytes());
}

/// Prints why the command line was refused, or the help that it asked for.
fn refuse(error: Error) -> u8 {
    match error {
        Error::Usage(usage) => {
            // Help goes to standard output; a reader that went away has seen enough.
            let _ = usage.print();
            u8::try_from(usage.exit_code()).unwrap_or(EXIT_USAGE)
        }
        error => {
            report(&error);
            EXIT_USAGE
        }
    }
}

/// Applies the shared flags, where this command has them.
fn prepare(matches: &clap::ArgMatches, interrupt: &Interrupt) -> Result<()> {
    let quiet = flag(matches, "quiet");
    terminal::set_quiet(quiet);
    let verbosity = matches.try_get_one::<u8>("verbose").ok().flatten().copied().unwrap_or(0);
    let format = matches.try_get_one::<LogFormat>("log_format").ok().flatten().copied();
    start_log(quiet, verbosity, format.unwrap_or_default());
    if let Some(threads) = matches.try_get_one::<usize>("threads").ok().flatten() {
        rayon::ThreadPoolBuilder::new()
            .num_threads(*threads)
            .build_global()
            .map_err(|error| Error::Setup { what: "worker threads", reason: error.to_string() })?;
    }
    interrupt.listen()
}

/// candle brings a second pool whose workers spin while they wait for each other: beside rayon's,
/// on cores that other programs use too, that costs a fifth of the time. Parallel work is rayon's.
fn keep_one_thread_pool() {
    const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(CANDLE_THREADS).is_none() {
        // SAFETY: the first thing of `main`; no other thread reads the environment yet.
        unsafe { std::env::set_var(CANDLE_THREADS, "1") };
    }
}

fn flag(matches: &clap::ArgMatches, name: &str) -> bool {
    let given = matches.try_get_one::<bool>(name).ok().flatten().copied();
    given.unwrap_or(false) && matches.value_source(name) != Some(ValueSource::DefaultValue)
}

/// Log lines go to standard error. `RUST_LOG` rules; without it warnings are shown, `-v` adds the
/// workspace's progress notes, `-vv` its details, `-vvv` everything.
fn start_log(quiet: bool, verbosity: u8, format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let default = match (quiet, verbosity) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| terminal::EventWriter);
    // A second subscriber is refused; the first then stays, as in a test that runs two commands.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(terminal::is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// `println!` panics when its reader is gone, as after `| head`, or the disk behind it is full. The
/// first is an ordinary end, the second an error, and neither is a crash. (Restoring SIGPIPE's
/// default instead would let any closed socket end a server.)
fn end_in_order_without_standard_output() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if let Some(reason) = message.strip_prefix("failed printing to stdout: ") {
            if reason.contains("Broken pipe") {
                std::process::exit(EXIT_BROKEN_PIPE);
            }
            use std::io::Write;
            let _ = writeln!(terminal::LogWriter, "error: cannot write standard output: {reason}");
            std::process::exit(1);
        }
        usual(panic);
    }));
}
