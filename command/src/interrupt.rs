//! Ctrl-C and SIGTERM: the first asks politely, the second ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result, terminal};

/// The exit code of a process that a signal ended, as shells report it for Ctrl-C.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// A cloneable flag: "please come to a good end". All clones share one state.
#[derive(Clone, Default)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requested: AtomicBool,
    callbacks: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Interrupt {
    /// A flag that no signal is tied to yet, for tests and for libraries' callers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether somebody asked the work to end. Loops look at it once a step.
    pub fn requested(&self) -> bool {
        self.shared.requested.load(Ordering::SeqCst)
    }

    /// Asks the work to end, as the first Ctrl-C does.
    pub fn request(&self) {
        self.shared.requested.store(true, Ordering::SeqCst);
        let callbacks = std::mem::take(&mut *self.callbacks());
        for callback in callbacks {
            callback();
        }
    }

    /// Calls `wake` once the end is asked for: at once if it already was. For code that sleeps
    /// instead of looking, such as a server that waits on a channel. `wake` runs on an ordinary
    /// thread, not inside a signal handler, and should return soon.
    pub fn on_request(&self, wake: impl FnOnce() + Send + 'static) {
        let mut callbacks = self.callbacks();
        if self.requested() {
            drop(callbacks);
            wake();
        } else {
            callbacks.push(Box::new(wake));
        }
    }

    /// Ties the flag to SIGINT and SIGTERM. SIGHUP is left alone, so that `nohup` works.
    pub(crate) fn listen(&self) -> Result<()> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let setup = |error: std::io::Error| Error::Setup { what: "Ctrl-C handling", reason: error.to_string() };
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(setup)?;
        let interrupt = self.clone();
        let listener = move || {
            for _ in signals.forever() {
                if interrupt.requested() {
                    std::process::exit(i32::from(EXIT_INTERRUPTED));
                }
                terminal::say("stopping in good order; Ctrl-C again stops at once");
                interrupt.request();
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(listener).map_err(setup)?;
        Ok(())
    }

    fn callbacks(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn FnOnce() + Send>>> {
        // A panicking callback leaves the list whole, so its poison means nothing here.
        self.shared.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").field("requested", &self.requested()).finish()
    }
}
