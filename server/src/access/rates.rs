//! How often somebody may call: a bucket for each, that fills steadily and that calls are paid from.

use crate::{
    error::{Error, Result},
    listeners::connection::Address,
};
use lru::LruCache;
use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Seconds' worth of calls in a full bucket: a trainer asks its first questions all at once.
const BURST_SECONDS: f64 = 5.0;

/// Buckets at most; who hasn't called for longest is forgotten, and begins with a full one.
const MAX_BUCKETS: NonZeroUsize = NonZeroUsize::new(1 << 14).expect("above zero");

/// Whose bucket pays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Payer {
    /// A token's name.
    Name(String),
    /// A machine; of IPv6 the first half, which is what a machine is given.
    Machine([u8; 8]),
    /// Everybody who comes through a Unix socket.
    Unix,
}

impl From<Address> for Payer {
    fn from(address: Address) -> Self {
        let Address::Tcp(address) = address else { return Self::Unix };
        let octets = match address.ip().to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let mut machine = [0; 8];
        // The first half of every IPv4 address is the same here.
        let part = if address.ip().to_canonical().is_ipv4() { &octets[8..] } else { &octets[..8] };
        machine.copy_from_slice(part);
        Self::Machine(machine)
    }
}

/// Everybody's buckets.
pub(super) struct Rates {
    /// Calls a second; 0 for any number.
    rate: f64,
    buckets: Mutex<LruCache<Payer, Bucket>>,
}

struct Bucket {
    calls: f64,
    filled: Instant,
}

impl Rates {
    /// At most `rate` calls a second; 0 for any number.
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, buckets: Mutex::new(LruCache::new(MAX_BUCKETS)) }
    }

    /// Takes one call out of a bucket at `now`.
    ///
    /// # Errors
    /// [`Error::TooOften`], with the time until there is one.
    pub(super) fn pay(&self, payer: Payer, now: Instant) -> Result<()> {
        if self.rate == 0.0 {
            return Ok(());
        }
        let most = (self.rate * BURST_SECONDS).max(1.0);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get_or_insert_mut(payer, || Bucket { calls: most, filled: now });
        let since = now.saturating_duration_since(bucket.filled);
        bucket.calls = (bucket.calls + since.as_secs_f64() * self.rate).min(most);
        bucket.filled = bucket.filled.max(now);
        if bucket.calls < 1.0 {
            let wait = Duration::from_secs_f64((1.0 - bucket.calls) / self.rate);
            return Err(Error::TooOften { rate: self.rate, wait });
        }
        bucket.calls -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_then_a_steady_rate_and_each_pays_for_itself() {
        let rates = Rates::new(2.0);
        let begin = Instant::now();
        let pay = |name: &str, millis| rates.pay(Payer::Name(name.into()), begin + Duration::from_millis(millis));
        assert_eq!((0..20).filter(|_| pay("one", 0).is_ok()).count(), 10);
        let Err(Error::TooOften { wait, .. }) = pay("one", 100) else { panic!("it is empty") };
        assert_eq!(wait, Duration::from_millis(400));
        assert!(pay("two", 100).is_ok());
        assert!(pay("one", 500).is_ok() && pay("one", 500).is_err());
        // It doesn't fill beyond its size, and time never runs backwards in it.
        assert_eq!((0..20).filter(|_| pay("one", 3_600_000).is_ok()).count(), 10);
        assert!(pay("one", 0).is_err());
        let any = Rates::new(0.0);
        assert!((0..10_000).all(|_| any.pay(Payer::Unix, begin).is_ok()));
    }

    #[test]
    fn machines_are_told_apart_and_their_ports_are_not() {
        let payer = |address: &str| Payer::from(Address::Tcp(address.parse().unwrap()));
        assert_eq!(payer("192.0.2.7:1"), payer("192.0.2.7:2"));
        assert_eq!(payer("192.0.2.7:1"), payer("[::ffff:192.0.2.7]:1"));
        assert_ne!(payer("192.0.2.7:1"), payer("192.0.2.8:1"));
        assert_eq!(payer("[2001:db8::1]:1"), payer("[2001:db8::2]:1"));
        assert_ne!(payer("[2001:db8::1]:1"), payer("[2001:db8:0:1::1]:1"));
    }
}
