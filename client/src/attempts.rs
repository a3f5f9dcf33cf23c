//! Whom to ask next, after how long a pause, and when to give up. No socket in here, and no clock but in
//! [`Attempts::recover`].

use crate::{Error, Result};
use std::time::Duration;
use tokio::time::Instant;

/// The pause after each server has failed once; doubled with every round.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: a server that comes back is found soon after.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Why a server gave no batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may pass: not there, restarting, overloaded.
    Passing(String),
    /// It answers, and has no room for another stream now; after so long it may.
    Full(String, Duration),
    /// It can't be asked for something at this end: a file that can't be read, a certificate that
    /// nobody here trusts. Both are replaced now and then, so it passes where it once was otherwise.
    Here(String),
    /// This server will say the same the next time; another one may not.
    Lasting(String),
    /// Every server would say the same.
    Final(String),
}

/// What to do after a failure.
#[derive(Debug)]
pub(crate) enum Next {
    /// Ask [`Attempts::server`] after a pause.
    Ask { pause: Duration },
    /// Tell the trainer.
    GiveUp(Error),
}

/// Failures since the last success.
#[derive(Debug)]
pub(crate) struct Attempts {
    servers: Vec<State>,
    current: usize,
    patience: Duration,
    /// Whether a server has been read from.
    established: bool,
    failures: u32,
    trouble: Option<Instant>,
}

#[derive(Debug)]
struct State {
    url: String,
    reason: Option<String>,
    /// Whether that is something at this end.
    here: bool,
    /// Not asked again before another server has had success.
    refused: bool,
    /// Its last answer was that it has no room.
    full: bool,
    /// When it said to ask again.
    not_before: Option<Instant>,
}

impl Attempts {
    /// Begins with the first server. `urls` name them in sentences.
    pub(crate) fn new(urls: impl IntoIterator<Item = String>, patience: Duration) -> Self {
        let server = |url| State { url, reason: None, here: false, refused: false, full: false, not_before: None };
        let servers = urls.into_iter().map(server).collect();
        Self { servers, current: 0, patience, established: false, failures: 0, trouble: None }
    }

    /// Begins with the server that answered before, which may be another one than the first.
    pub(crate) fn going_on_with(mut self, server: usize) -> Self {
        self.current = server.min(self.servers.len().saturating_sub(1));
        self.established = true;
        self
    }

    /// Tells people of a failure, once in each trouble, unless they want to hear nothing, and waits until
    /// a server can be asked again.
    ///
    /// # Errors
    /// What to tell the trainer, where none can.
    pub(crate) async fn recover(&mut self, failure: Failure, silent: bool) -> Result<()> {
        if self.trouble.is_none() && !silent {
            self.announce(&failure);
        }
        match self.failed(failure, Instant::now()) {
            Next::Ask { pause } => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Next::GiveUp(error) => Err(error),
        }
    }

    fn announce(&self, failure: &Failure) {
        let Some(State { url, .. }) = self.servers.get(self.current) else { return };
        let (trouble, reason) = match failure {
            Failure::Passing(reason) => ("does not answer", reason),
            Failure::Full(reason, _) => ("has no room", reason),
            Failure::Here(reason) if self.established => ("can't be asked", reason),
            Failure::Here(_) | Failure::Lasting(_) | Failure::Final(_) => return,
        };
        let patience = command::human::duration(self.patience);
        command::say(format!("{url} {trouble} ({reason}); trying again for up to {patience}"));
    }

    /// Position of the server to ask.
    pub(crate) fn server(&self) -> usize {
        self.current
    }

    /// Whether nothing has failed since the last success.
    pub(crate) fn is_untroubled(&self) -> bool {
        self.trouble.is_none()
    }

    /// The current server has sent its part: the next one that hasn't refused goes on.
    pub(crate) fn pass_on(&mut self) {
        let count = self.servers.len();
        let following = (1..=count).map(|step| (self.current + step) % count);
        if let Some(next) = following.into_iter().find(|&server| !self.servers[server].refused) {
            self.current = next;
        }
    }

    /// The current server kept its word.
    pub(crate) fn succeeded(&mut self) {
        self.established = true;
        if self.trouble.take().is_some() {
            self.failures = 0;
            self.servers.iter_mut().for_each(|server| (server.reason, server.refused) = (None, false));
        }
    }

    /// The current server failed at `now`.
    pub(crate) fn failed(&mut self, failure: Failure, now: Instant) -> Next {
        let since = *self.trouble.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        let Some(server) = self.servers.get_mut(self.current) else {
            return Next::GiveUp(Error::settings("expected at least one server, found none"));
        };
        server.full = matches!(failure, Failure::Full(..));
        server.here = matches!(failure, Failure::Here(_));
        server.not_before = None;
        match failure {
            Failure::Final(reason) => return Next::GiveUp(Error::Refused(vec![refusal(&server.url, &reason)])),
            Failure::Lasting(reason) => (server.reason, server.refused) = (Some(reason), true),
            Failure::Here(reason) => (server.reason, server.refused) = (Some(reason), !self.established),
            Failure::Passing(reason) => server.reason = Some(reason),
            Failure::Full(reason, delay) => {
                (server.reason, server.not_before) = (Some(reason), now.checked_add(delay));
            }
        }
        let count = self.servers.len();
        let following = (1..=count).map(|step| (self.current + step) % count);
        let delay_of = |server: usize| {
            self.servers[server].not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(now))
        };
        // The first one that can be asked soonest.
        let willing = following.filter(|&server| !self.servers[server].refused);
        let Some((delay, next)) = willing.map(|server| (delay_of(server), server)).min_by_key(|&(delay, _)| delay)
        else {
            return Next::GiveUp(Error::Refused(self.reasons(State::refusal)));
        };
        self.current = next;
        let waited = now.saturating_duration_since(since);
        if waited >= self.patience {
            let reasons = self.reasons(|server, reason| format!("{} ({reason})", server.url));
            let full = self.servers.iter().any(|server| server.full);
            return Next::GiveUp(if full {
                Error::Full { waited, reasons }
            } else {
                Error::Unreachable { waited, reasons }
            });
        }
        // Each server is asked once before anybody waits.
        let round = (self.failures as usize / count) as u32;
        let pause = match round {
            0 => Duration::ZERO,
            round => FIRST_PAUSE.saturating_mul(1 << (round - 1).min(10)).min(LONGEST_PAUSE),
        };
        Next::Ask { pause: pause.max(delay).min(self.patience - waited) }
    }

    fn reasons(&self, sentence: impl Fn(&State, &str) -> String) -> Vec<String> {
        let reason = |server: &State| Some(sentence(server, server.reason.as_deref()?));
        self.servers.iter().filter_map(reason).collect()
    }
}

impl State {
    fn refusal(&self, reason: &str) -> String {
        if self.here { format!("can't ask the server at {}: {reason}", self.url) } else { refusal(&self.url, reason) }
    }
}

fn refusal(url: &str, reason: &str) -> String {
    format!("the server at {url} can't send this stream: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(count: usize, patience: u64) -> (Attempts, Instant) {
        let urls = (0..count).map(|server| format!("s{server}"));
        (Attempts::new(urls, Duration::from_secs(patience)), Instant::now())
    }

    fn gone() -> Failure {
        Failure::Passing("gone".to_owned())
    }

    #[test]
    fn all_servers_are_asked_once_before_anybody_waits() {
        let (mut attempts, now) = attempts(3, 10);
        let mut asked = vec![attempts.server()];
        for _ in 0..2 {
            assert!(matches!(attempts.failed(gone(), now), Next::Ask { pause: Duration::ZERO }));
            asked.push(attempts.server());
        }
        assert_eq!(asked, [0, 1, 2]);
        assert!(matches!(attempts.failed(gone(), now), Next::Ask { pause } if pause == FIRST_PAUSE));
        assert_eq!(attempts.server(), 0);
    }

    #[test]
    fn pauses_double_to_a_limit_and_end_with_the_patience() {
        let (mut attempts, start) = attempts(1, 20);
        let (mut now, mut pauses) = (start, Vec::new());
        let error = loop {
            match attempts.failed(gone(), now) {
                Next::Ask { pause } => {
                    pauses.push(pause.as_millis());
                    now += pause;
                }
                Next::GiveUp(error) => break error,
            }
        };
        assert_eq!(pauses[..7], [100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(now - start, Duration::from_secs(20));
        assert!(error.to_string().starts_with("no server answers: s0 (gone); waited 20.0 s in all"), "{error}");
    }

    #[test]
    fn a_server_that_refuses_is_not_asked_again_and_the_last_refusal_ends_it() {
        let (mut attempts, now) = attempts(2, 10);
        let refused = |reason: &str| Failure::Lasting(reason.to_owned());
        assert!(matches!(attempts.failed(refused("other dataset"), now), Next::Ask { .. }));
        for _ in 0..3 {
            assert_eq!(attempts.server(), 1);
            assert!(matches!(attempts.failed(gone(), now), Next::Ask { .. }));
        }
        let Next::GiveUp(error) = attempts.failed(refused("other bundle"), now) else { panic!("both refused") };
        assert_eq!(
            error.to_string(),
            "the server at s0 can't send this stream: other dataset; the server at s1 can't send this stream: other bundle"
        );
    }

    #[test]
    fn what_is_wrong_at_this_end_is_told_at_once_and_waited_for_once_batches_came() {
        let here = || Failure::Here("cannot read token: permission denied".to_owned());
        let (mut attempts, now) = attempts(1, 10);
        let Next::GiveUp(error) = attempts.failed(here(), now) else { panic!("there is nobody to wait for") };
        assert_eq!(error.to_string(), "can't ask the server at s0: cannot read token: permission denied");
        let (attempts, now) = self::attempts(1, 10);
        let mut attempts = attempts.going_on_with(0);
        assert!(matches!(attempts.failed(here(), now), Next::Ask { .. }));
    }

    #[test]
    fn a_full_server_is_not_called_absent() {
        let (mut attempts, now) = attempts(2, 0);
        let full = || Failure::Full("the limit of 1 is reached".to_owned(), Duration::ZERO);
        let Next::GiveUp(error) = attempts.failed(full(), now) else { panic!("nobody waits") };
        assert_eq!(error.to_string(), "no server has room: s0 (the limit of 1 is reached); waited 0 ms in all");
        let Next::GiveUp(error) = attempts.failed(gone(), now) else { panic!("nobody waits") };
        let begin = "no server has room: s0 (the limit of 1 is reached), s1 (gone); waited";
        assert!(error.to_string().starts_with(begin), "{error}");
    }

    #[test]
    fn a_full_server_is_asked_again_when_it_said_and_others_before() {
        let (mut attempts, now) = attempts(2, 100);
        let full = |seconds| Failure::Full("full".to_owned(), Duration::from_secs(seconds));
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(matches!(attempts.failed(full(10), now), Next::Ask { pause: Duration::ZERO }));
        assert_eq!(attempts.server(), 1);
        // The other one only fails, and is asked in turn until the first one's time has come.
        assert!(matches!(attempts.failed(gone(), later(1)), Next::Ask { pause } if pause == FIRST_PAUSE));
        assert_eq!(attempts.server(), 1);
        attempts.failed(gone(), later(11));
        assert_eq!(attempts.server(), 0);
        attempts.failed(full(20), later(12));
        assert_eq!(attempts.server(), 1);
        let Next::Ask { pause } = attempts.failed(full(30), later(12)) else { panic!("there is patience") };
        assert_eq!((attempts.server(), pause), (0, Duration::from_secs(20)));
    }

    #[test]
    fn parts_are_asked_of_all_servers_in_turn() {
        let (mut attempts, now) = attempts(3, 10);
        attempts.failed(Failure::Lasting("other dataset".to_owned()), now);
        let asked: Vec<usize> = (0..4).map(|_| (attempts.server(), attempts.pass_on()).0).collect();
        assert_eq!(asked, [1, 2, 1, 2], "one that refused is left out");
        attempts.succeeded();
        let asked: Vec<usize> = (0..4).map(|_| (attempts.server(), attempts.pass_on()).0).collect();
        assert_eq!(asked, [1, 2, 0, 1], "until another has had success");
    }

    #[test]
    fn success_forgets_what_was_before() {
        let (mut attempts, now) = attempts(1, 10);
        for _ in 0..5 {
            attempts.failed(gone(), now);
        }
        attempts.succeeded();
        let later = now + Duration::from_secs(1000);
        assert!(matches!(attempts.failed(gone(), later), Next::Ask { pause } if pause == FIRST_PAUSE));
    }
}
