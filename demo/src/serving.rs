//! The real server, on free ports of this machine, on a thread of its own.

use crate::Error;
use command::RunDirectory;
use command::atomic_file::write_atomically;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Notify;

/// A server that is up; it ends with [`Serving::stop`].
pub(crate) struct Serving {
    address: SocketAddr,
    metrics: SocketAddr,
    shutdown: Arc<Notify>,
    thread: JoinHandle<Result<(), Error>>,
}

/// Opens the demo's faces and `weights` (the built-in ones without) and serves them.
pub(crate) fn start(weights: Option<PathBuf>) -> Result<Serving, Error> {
    let config = server::Config { weights, grace: 1, ..server::Config::default() };
    let served = Arc::new(server::Served::open(&config)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let (sender, addresses) = sync_channel(1);
    let shutdown = Arc::new(Notify::new());
    let stop = shutdown.clone();
    let body = move || {
        runtime.block_on(async {
            let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let (listener, metrics) = (server::bind(anywhere).await?, server::bind(anywhere).await?);
            let bound = listener.local_addr().and_then(|address| Ok((address, metrics.local_addr()?)));
            // Whoever waits for the addresses reads the outcome below when there are none.
            let _ = sender.send(bound.map_err(Error::Runtime)?);
            Ok(server::serve_opened(served, listener, metrics, stop.notified()).await?)
        })
    };
    let thread = std::thread::Builder::new().name("server".into()).spawn(body).map_err(Error::Runtime)?;
    match addresses.recv() {
        Ok((address, metrics)) => Ok(Serving { address, metrics, shutdown, thread }),
        Err(_) => Err(ended(thread).err().unwrap_or_else(|| Error::Interrupted("starting the server".into()))),
    }
}

impl Serving {
    /// Where trainers connect.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where Prometheus reads.
    pub(crate) fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.metrics)
    }

    /// The metrics page, as Prometheus gets it.
    pub(crate) fn metrics(&self) -> Result<String, Error> {
        let fetch = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect(self.metrics)?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(socket, "GET /metrics HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics)?;
            let mut page = String::new();
            socket.read_to_string(&mut page)?;
            Ok(page.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(page))
        };
        fetch().map_err(Error::Metrics)
    }

    /// Ends the server and says how it went.
    pub(crate) fn stop(self) -> Result<(), Error> {
        self.shutdown.notify_one();
        ended(self.thread)
    }
}

fn ended(thread: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Keeps the page beside the pictures; gives the file.
pub(crate) fn save_metrics(page: &str, directory: &RunDirectory) -> Result<PathBuf, Error> {
    let path = directory.path().join("metrics.txt");
    write_atomically(&path, |file| file.write_all(page.as_bytes()))?;
    Ok(path)
}

/// What the server did, in a line: images by source, summed over trainers.
pub(crate) fn summary(page: &str) -> String {
    let images = |source: &str| -> u64 {
        let label = format!("source=\"{source}\"");
        let lines = page.lines().filter(|line| line.starts_with("lookalike_images_total{") && line.contains(&label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    };
    let [real, existing, blended] = ["real", "existing", "blended"].map(|source| command::human::count(images(source)));
    format!("the server sent {real} real images and made {existing} of existing and {blended} of blended people")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_all_trainers_are_summed_by_source() {
        let page = "# TYPE lookalike_images counter\n\
            lookalike_images_total{trainer=\"a\",source=\"real\"} 1000\n\
            lookalike_images_total{trainer=\"b\",source=\"real\"} 500\n\
            lookalike_images_total{trainer=\"b\",source=\"blended\"} 7\n";
        assert_eq!(summary(page), "the server sent 1,500 real images and made 0 of existing and 7 of blended people");
    }
}
