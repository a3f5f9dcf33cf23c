//! Names of several servers, such as that of a headless Service: which of its addresses is asked.
//!
//! A name is looked up for every connection anew, for servers come and go, and its addresses take turns.
//! So the parts of a leased stream spread over all of them, and what can't be reached is passed over.

use hyper_util::rt::TokioIo;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};

/// How long one address may take; then the next one is tried.
const ADDRESS: Duration = Duration::from_secs(2);
/// How long all of them together may take.
pub(crate) const NAME: Duration = Duration::from_secs(10);

/// Counts connections by name, so that each begins with another address. Programs begin anywhere, or all
/// trainers would ask the same server at first.
static TURN: LazyLock<AtomicUsize> =
    LazyLock::new(|| AtomicUsize::new(RandomState::new().hash_one("which server first") as usize));

/// A connection to one of a name's servers, where it's the next one's turn.
pub(crate) async fn dial(host: String, port: u16) -> io::Result<TokioIo<TcpStream>> {
    let addresses = lookup_host((host.as_str(), port)).await?.collect();
    let stream = reach(in_turn(addresses, TURN.fetch_add(1, Ordering::Relaxed))).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

/// All addresses, beginning with another one each turn. Their order in an answer says nothing.
fn in_turn(mut addresses: Vec<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    let first = turn.checked_rem(addresses.len()).unwrap_or(0);
    addresses.rotate_left(first);
    addresses
}

/// The first of some addresses that answers; why the last one doesn't, when none does.
async fn reach(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut trouble = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in addresses {
        match tokio::time::timeout(ADDRESS, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => trouble = error,
            Err(_) => trouble = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn addresses_take_turns_in_whatever_order_they_are_told() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [a, b, c] = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"].map(address);
        assert_eq!(in_turn(vec![c, a, b], 0), [a, b, c]);
        assert_eq!(in_turn(vec![b, c, a, a], 4), [b, c, a]);
        assert_eq!(in_turn(vec![a, b, c], usize::MAX), in_turn(vec![c, b, a], usize::MAX));
        assert_eq!(in_turn(Vec::new(), 7), []);
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_passed_over() {
        let (gone, there) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await);
        let (gone_at, there) = (gone.local_addr().unwrap(), there.unwrap());
        drop(gone);
        let there_at = there.local_addr().unwrap();
        assert_eq!(reach(vec![gone_at, there_at]).await.unwrap().peer_addr().unwrap(), there_at);
        assert_eq!(reach(vec![gone_at]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(reach(Vec::new()).await.unwrap_err().to_string(), "its name has no address");
    }

    #[tokio::test]
    async fn a_name_is_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // It may mean ::1 too, where nobody listens.
        for _ in 0..3 {
            assert_eq!(dial("localhost".to_owned(), port).await.unwrap().inner().peer_addr().unwrap().port(), port);
        }
        assert!(dial("no such name".to_owned(), 1).await.is_err());
    }
}
