//! `lookalike-server serve`.

use clap::Args;
use command::{CommonArgs, Interrupt, WrongUse, say};
use server::{
    Config, Served,
    listeners::{
        Listen, Listeners,
        tls::{Tls, TlsFiles},
    },
};
use std::{net::SocketAddr, sync::Arc};

/// Where to listen, and what to serve.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Addresses for trainers, each IP:PORT (port 0 takes a free one) or unix:PATH
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        default_value = "127.0.0.1:50051",
        help_heading = "Serving"
    )]
    listen: Vec<Listen>,
    /// Permissions of Unix sockets, octal: 600 for the server's own user, 660 for its group too
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode, help_heading = "Serving")]
    socket_mode: Mode,
    /// Address of the Prometheus metrics, at /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464", value_parser = address, help_heading = "Serving")]
    metrics: SocketAddr,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    tls: TlsFiles,
}

/// Permissions of a file.
#[derive(Clone, Copy, Debug)]
struct Mode(u32);

/// Serves until the first Ctrl-C or SIGTERM.
pub(crate) fn run(
    args: ServeArgs,
    common: &CommonArgs,
    interrupt: &Interrupt,
) -> Result<(), Box<dyn std::error::Error>> {
    let address = args.metrics;
    if args.listen.contains(&Listen::Tcp(address)) && address.port() != 0 {
        let twice = format!("expected different addresses for --listen and --metrics, found {address} twice");
        return Err(WrongUse(twice).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // Bound before the dataset is opened, which may take minutes: a wrong address shows at once.
        let tls = Tls::open(&args.tls)?;
        warn_of_readable_tokens(&args, tls.is_some());
        let listeners = Listeners::bind(&args.listen, args.socket_mode.0, tls).await?;
        let metrics = server::bind(args.metrics).await?;
        let metrics_address = metrics.local_addr()?;
        let (places, urls) = (listeners.places()?, listeners.urls()?);
        let shutdown = Arc::new(tokio::sync::Notify::new());
        let wake = shutdown.clone();
        interrupt.on_request(move || wake.notify_one());

        let config = args.config;
        let opening = tokio::task::spawn_blocking(move || Served::open(&config));
        let served = tokio::select! {
            opened = server::answer_while(&listeners, opening) => Arc::new(opened??.map_err(told)?),
            // It was told to stop and stops: that is no failure, whoever supervises it.
            () = shutdown.notified() => {
                say("stopped before anything was served");
                return Ok(());
            }
        };
        if common.json {
            let ready = serde_json::json!({
                "listen": places.first().map(ToString::to_string), "urls": urls,
                "metrics": metrics_address, "serving": served.describe(),
            });
            println!("{ready}");
        } else {
            say(format!("serving {}", served.describe()));
            let urls = urls.join(" or ");
            say(format!("trainers connect to {urls}; metrics are at http://{metrics_address}/metrics"));
        }
        server::serve_opened(served, listeners, metrics, shutdown.notified()).await?;
        say("stopped");
        Ok(())
    });
    // Without waiting for what can't be stopped in the middle: the opening of a large dataset.
    runtime.shutdown_background();
    outcome
}

/// A token that goes over a network in the clear is anybody's.
fn warn_of_readable_tokens(args: &ServeArgs, tls: bool) {
    let open = |place: &&Listen| matches!(place, Listen::Tcp(address) if !address.ip().is_loopback());
    if let (Some(_), false, Some(place)) = (&args.config.access.tokens, tls, args.listen.iter().find(open)) {
        tracing::warn!("tokens can be read on their way to {place}; encrypt it with --tls-cert and --tls-key");
    }
}

/// Names the setting that an error is about, where it is one alone.
fn told(error: server::Error) -> Box<dyn std::error::Error> {
    match error {
        server::Error::Dataset(dataset::Error::WithheldAbsent { .. }) => {
            WrongUse(format!("--withhold: {error}")).into()
        }
        error => error.into(),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.map(Mode).ok_or_else(|| format!("expected permissions from 0 to 777, found `{text}`"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an IP address and a port, as in 127.0.0.1:50051, or 0.0.0.0:50051 for every network";
    text.parse().map_err(|_| format!("{expected}, found `{text}`"))
}
