//! The name of one call, which ties its log lines to what its caller saw.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::codegen::http::{HeaderMap, HeaderValue};

/// The header that carries it, in both directions.
pub(super) const HEADER: &str = "x-request-id";

/// The longest name that is taken over from a caller.
const MAX_LETTERS: usize = 64;

/// The name that the caller gives in its headers, if it is one: letters, digits, `.`, `-` and `_`, so
/// that it can't forge a log line. Else a new one.
pub(super) fn of(headers: &HeaderMap) -> String {
    let fits = |letter: &u8| letter.is_ascii_alphanumeric() || b".-_".contains(letter);
    let given = headers.get(HEADER).map(HeaderValue::as_bytes);
    let given = given.filter(|id| (1..=MAX_LETTERS).contains(&id.len()) && id.iter().all(fits));
    given.map_or_else(fresh, |id| String::from_utf8_lossy(id).into_owned())
}

/// One that no other call has, of this server or another.
fn fresh() -> String {
    static SERVER: LazyLock<u32> = LazyLock::new(|| {
        let mut random = [0; 4];
        // Without randomness the time has to do: a name, not a secret.
        if getrandom::fill(&mut random).is_err() {
            random = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().subsec_nanos().to_le_bytes();
        }
        u32::from_le_bytes(random)
    });
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:08x}-{}", *SERVER, NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_name_is_kept_if_it_is_one() {
        let name = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(id).unwrap());
            of(&headers)
        };
        assert_eq!(name(b"run-7.step_3"), "run-7.step_3");
        for forged in [&b""[..], b"a b", b"a\tlevel=error", &[b'x'; 65], b"\xff"] {
            let made = name(forged);
            assert!(made.len() > 9 && made.as_bytes() != forged, "{made}");
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
